"""Loading of a run, with progress shown before the slow imports."""

from pathlib import Path
from typing import TYPE_CHECKING

from deftrec.cli.console import working
from deftrec.progress import Progress

if TYPE_CHECKING:
    from deftrec.hardware import Precision, Runtime
    from deftrec.recommender import Recommender


def load_recommender(
    run: Path, progress: Progress, precision: "Precision" = "fp32", runtime: "Runtime" = "torch"
) -> "Recommender":
    """Load the recommender of a run directory; see `Recommender.load`."""
    with working(progress, f"loading {run}"):
        from deftrec.recommender import Recommender

        return Recommender.load(run, precision=precision, runtime=runtime)
