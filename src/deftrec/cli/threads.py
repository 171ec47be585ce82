"""Threads of the arithmetic: as many as the user says, else as many as are fastest beside the machine's other work."""

import json
import os
import sys
from pathlib import Path

from deftrec.cli.console import is_verbose
from deftrec.progress import Progress

VARIABLE = "OMP_NUM_THREADS"  # read by torch and NumPy when they are imported, here and in processes started later


def use_threads(count: int) -> None:
    """Compute with `count` threads, in this process and in those it starts."""
    os.environ[VARIABLE] = str(count)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)


def settle_threads(progress: Progress, resumed: Path | None = None) -> None:
    """Choose the number of threads by a probe, unless the user has said one, and say so where it is not all of them.

    An interrupted run in the directory `resumed` goes on with the number that it began with.
    """
    if VARIABLE in os.environ:
        return
    begun = None if resumed is None else _threads_of(resumed)
    if begun is not None:
        use_threads(begun)
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


def _threads_of(run: Path) -> int | None:
    """Number of threads that a training began with; None where it is not recorded."""
    try:
        return int(json.loads((run / "request.json").read_text(encoding="utf-8"))["threads"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
