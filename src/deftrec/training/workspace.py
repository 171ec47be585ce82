"""Where a training leaves its results, which process does what, and how long each stage took."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from deftrec.config import Config
from deftrec.files import write_text
from deftrec.pretrained_files.origin import Origin, check_origin, origin_of, pinned
from deftrec.progress import Progress
from deftrec.records import read_record
from deftrec.training.cache import CachedStage, StageCache, StageResult
from deftrec.training.checkpoint import TrainingState
from deftrec.training.distributed import ALONE, Team
from deftrec.training.loop import Plan, Stage, TrainingLog, train

T = TypeVar("T")

BASE = "base.json"  # record of the pre-trained weights that an interrupted run began with


@dataclass(eq=False)
class Workspace:
    """Place and processes of one training.

    Attributes:
        folder: folder for checkpoints; None keeps nothing.
        cache: results of early stages.
        resume: continue from the checkpoints of an interrupted run.
        team: processes that share the joint stages; everything else is the main process's work.
        seconds: seconds of each stage, those of an interrupted run included.
        before: seconds of trainings that an interrupted run had begun.
    """

    folder: Path | None
    cache: StageCache
    log: TrainingLog
    resume: bool
    progress: Progress
    team: Team = ALONE
    seconds: dict[str, float] = field(default_factory=dict)
    before: float = 0.0

    def cached(self, stage: CachedStage) -> StageResult:
        """Result of a stage that other runs may have computed; the main process computes or reads it."""
        result = self.team.broadcast(lambda: self.cache.get(stage))
        self.seconds[stage.name] = result.seconds
        return result

    def on_main(self, name: str, work: Callable[[], T]) -> T:
        """Result of `work`, done by the main process and timed as the stage `name`."""
        self.progress.begin(name, 0)
        result = self.timed(name, lambda: self.team.broadcast(work))
        self.progress.end(name)
        return result

    def timed(self, name: str, work: Callable[[], T]) -> T:
        """Result of `work`, timed as the stage `name`."""
        started, before = time.monotonic(), self.before
        result = work()
        self.seconds[name] = round(time.monotonic() - started + self.before - before, 3)
        return result

    def train(self, stage: Stage, plan: Plan, team: Team = ALONE) -> TrainingState:
        """Train a stage with this workspace's checkpoints and log; see `loop.train`."""
        checkpoints = None if self.folder is None else self.folder / "checkpoints"
        started = time.monotonic()
        trained = train(
            stage, plan, checkpoints=checkpoints, resume=self.resume, log=self.log, progress=self.progress, team=team
        )
        self.before += max(0.0, trained.seconds - (time.monotonic() - started))
        return trained

    def pin_base(self, config: Config) -> tuple[Config, Origin | None]:
        """The configuration with the hub's commit in place of "the newest", and the pre-trained weights read.

        Files that are missing are fetched. Raises a `DeftRecError` if the weights are not those that an interrupted run
        began with.
        """
        record = None if self.folder is None else self.folder / BASE
        begun = None
        if self.resume and record is not None and record.is_file():
            begun = read_record(record, Origin, "begin the training again with `overwrite=True`")
        language = pinned(config.language, begun)
        found = origin_of(language)
        check_origin(begun, found, str(self.folder))
        if record is not None and found is not None and begun is None:
            write_text(record, found.model_dump_json(indent=2) + "\n")
        return config.model_copy(update={"language": pinned(language, found)}), found
