"""Load a run, quietly: libraries that take seconds to import are imported here, behind a sign of life."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from deftrec.cli.console import working
from deftrec.progress import Progress

if TYPE_CHECKING:
    from deftrec.recommender import Recommender


def load_recommender(run: Path, progress: Progress) -> "Recommender":
    """The recommender of a run directory.

    Raises:
        DeftRecError: it is missing, unfinished or damaged.
    """
    with working(progress, f"loading {run}"):
        silence_libraries()
        from deftrec.recommender import Recommender

        return Recommender.load(run)


def silence_libraries() -> None:
    """Keep bars and advice of the model libraries off the terminal: what is worth saying is said here."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
