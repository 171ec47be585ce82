"""Threads of the arithmetic: as many as the user says, else as many as are fastest beside the machine's other work."""

import os
import sys

from deftrec.cli.console import is_verbose
from deftrec.progress import Progress

VARIABLE = "OMP_NUM_THREADS"  # read by torch and NumPy when they are imported, here and in processes started later


def use_threads(count: int) -> None:
    """Compute with `count` threads, in this process and in those it starts."""
    os.environ[VARIABLE] = str(count)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)


def settle_threads(progress: Progress) -> None:
    """Choose the number of threads by a probe, unless the user has said one, and say so where it is not all of them."""
    if VARIABLE in os.environ:
        return
    from deftrec.hardware import rates_by_threads

    rates = rates_by_threads()
    most, best = max(rates), max(rates, key=lambda count: rates[count])
    if best < most or is_verbose():
        shown = ", ".join(f"{count}: {rate / 1e9:,.0f}" for count, rate in rates.items())
        cores = f"{best} of {most} threads" if best < most else f"{most} thread{'s' if most > 1 else ''}"
        progress.say(
            f"computing with {cores}, the fastest beside other work (GFLOP/s by threads: {shown}); --threads N sets it"
        )
    use_threads(best)
