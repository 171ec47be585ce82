"""Trains a run in a folder, and continues where an interrupted process stopped."""

import shutil
from pathlib import Path

import torch

from deftrec.config import Config
from deftrec.data import Interactions
from deftrec.progress import Progress
from deftrec.recommender import Recommender


def trained_in(
    folder: Path,
    interactions: Interactions,
    config: Config,
    *,
    progress: Progress,
    shared: Path | None = None,
    device: torch.device | None = None,
    start: Recommender | None = None,
) -> Recommender:
    """The recommender of a run folder: read if its training is finished, continued if it was interrupted.

    Args:
        folder: run folder.
        interactions: data of the training.
        config: options.
        progress: receiver of progress.
        shared: folder of text and collaborative vectors, shared by runs with the same data, options and seed.
        device: device of the training; None: the first GPU, else the CPU.
        start: recommender whose weights training continues from.
    """
    if (folder / "run.json").is_file():
        return Recommender.load(folder, device)
    begun = (folder / "request.json").is_file()
    if folder.exists() and not begun:
        shutil.rmtree(folder)
    return Recommender.fit(
        interactions, config, out=folder, resume=begun, device=device, progress=progress, shared=shared, start=start
    )
