"""Trains the stages of one run, and keeps account of their time."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from deftrec.progress import Progress
from deftrec.training.distributed import ALONE, Team
from deftrec.training.log import TrainingLog
from deftrec.training.loop import Plan, Stage, Trained, train

T = TypeVar("T")


@dataclass(eq=False)
class Trainer:
    """Where stages leave checkpoints and figures, and how long each took.

    Attributes:
        work: folder for checkpoints; None keeps nothing.
        log: of losses and validations.
        resume: go on from the checkpoints that an interrupted run left.
        progress: who is told.
        seconds: of each stage, those of an interrupted run among them.
        before: seconds of trainings that an interrupted run had begun.
    """

    work: Path | None
    log: TrainingLog
    resume: bool
    progress: Progress
    seconds: dict[str, float] = field(default_factory=dict)
    before: float = 0.0

    def train(self, stage: Stage, plan: Plan, team: Team = ALONE) -> Trained:
        """See `loop.train`."""
        checkpoints = None if self.work is None else self.work / "checkpoints"
        started = time.monotonic()
        trained = train(
            stage, plan, checkpoints=checkpoints, resume=self.resume, log=self.log, progress=self.progress, team=team
        )
        self.before += max(0.0, trained.seconds - (time.monotonic() - started))
        return trained

    def timed(self, name: str, work: Callable[[], T]) -> T:
        """What `work` makes; its time counts as that of the stage `name`."""
        started, before = time.monotonic(), self.before
        result = work()
        self.seconds[name] = round(time.monotonic() - started + self.before - before, 3)
        return result
