"""A training from the lock on its run directory to the run that lies in it."""

import shutil
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import torch

from deftrec.config import Config
from deftrec.data import Interactions
from deftrec.errors import ConfigError
from deftrec.incremental import start_of
from deftrec.progress import Progress, Silent
from deftrec.run import Request, Run, RunInfo, save_run, training_in
from deftrec.training.distributed import Team
from deftrec.training.log import TrainingLog
from deftrec.training.pipeline import Fitted, Pipeline


def fit_run(
    interactions: Interactions,
    config: Config,
    *,
    folder: Path | None,
    refit: bool,
    resume: bool,
    device: torch.device,
    progress: Progress | None,
    shared: Path | None,
    on_train: Callable[[Run], None] | None,
    start: Run | None,
) -> Run:
    """Train every stage, and save what came of it in `folder`; every process of a launch returns the same.

    Args:
        interactions, config, refit, resume, shared: see `Recommender.fit`.
        folder: the run directory; None: nothing is written.
        device: where to train.
        progress: who is told, by the first process of a launch.
        on_train: called, where there is a refit, with the run fitted on train alone that it replaces.
        start: the run whose weights training goes on from.

    Raises:
        DeftRecError: as `Recommender.fit`.
    """
    if folder is None and resume:
        raise ConfigError("resume needs the run directory: give out")
    if start is not None:
        before = start.config.text
        if before.model is not None and config.text.model is not None:  # the same model may lie elsewhere now
            before = before.model_copy(update={"model": config.text.model})
        for key, value in config.text:
            if value != getattr(before, key):
                raise ConfigError(
                    f"text.{key} is another than in the run to start from, whose items were read with it: leave it, or "
                    "train anew without --from"
                )
    begun = None if start is None else start_of(start)
    request = Request(
        config=config,
        fingerprint=interactions.fingerprint,
        refit=refit,
        start=None if begun is None else begun.provenance,
    )
    team = Team.on(device)

    def run_of(fitted: Fitted) -> Run:
        info, scaling = RunInfo.of(fitted, interactions), fitted.features.scaling
        return Run(interactions, fitted.config, info, fitted.model, fitted.prior, None, scaling)

    with ExitStack() as block:
        if folder is not None:
            team.broadcast(lambda: block.enter_context(training_in(folder, request, interactions, resume)))
        log = block.enter_context(closing(TrainingLog(None if folder is None or not team.is_main else folder / "logs")))
        pipeline = Pipeline(
            interactions,
            config,
            work=None if folder is None else folder / "work",
            log=log,
            resume=resume,
            device=device,
            progress=progress if progress is not None and team.is_main else Silent(),
            shared=shared,
            start=begun,
            team=team,
        )
        run = run_of(pipeline.run(refit, None if on_train is None else lambda fitted: on_train(run_of(fitted))))
        if folder is not None:
            team.broadcast(lambda: save_run(folder, run))
            if team.is_main:
                shutil.rmtree(folder / "work", ignore_errors=True)
    return run
