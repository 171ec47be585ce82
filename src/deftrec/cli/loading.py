"""Load a run: libraries that take seconds to import are imported here, behind a sign of life."""

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
    """The recommender of a run directory, which reads histories in `precision` by `runtime`.

    Raises:
        DeftRecError: it is missing, unfinished or damaged.
    """
    with working(progress, f"loading {run}"):
        from deftrec.recommender import Recommender

        return Recommender.load(run, precision=precision, runtime=runtime)
