"""Finished work on disk: what a system left under one seed, so that a benchmark that broke off goes on from there."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from deftrec.data.split import Fit
from deftrec.evaluation.protocol import Seen
from deftrec.files import locked, writable, write_text
from deftrec.run import read_model

UNIT_FILE = "unit.json"


class Lists(BaseModel):
    """A file of rankings: external ids, the best 100 items of every asked user.

    Attributes:
        fit: what the system was fitted on.
        seen: whether items of the history were candidates.
        file: relative to the unit's folder.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fit: Fit
    seen: Seen
    file: str


class Run(BaseModel):
    """What one system left under one seed.

    Attributes:
        name: the system; one training may leave several, a model and its parts.
        seed: of its training.
        lists: one file for each fit and rule for seen items.
        settings, parameters, library, users_per_second, budget_cut, revision: see `deftrec.benchmark.tables.Row`.
        train_seconds: by fit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    seed: int
    lists: tuple[Lists, ...]
    settings: dict[str, Any]
    parameters: int | None
    library: str
    train_seconds: dict[Fit, float]
    users_per_second: float | None
    budget_cut: bool = False
    revision: str | None

    def file(self, fit: Fit, seen: Seen) -> str | None:
        """The rankings of one table; None where this system has none."""
        return next((one.file for one in self.lists if (one.fit, one.seen) == (fit, seen)), None)


class _Unit(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    runs: tuple[Run, ...]


class Work:
    """The folder of finished work: `SYSTEM/seed-N/` with rankings, and `unit.json`, which is written last.

    Args:
        folder: `work` of a report.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def held(self, system: str, seed: int, *, wait: bool) -> Iterator[None]:
        """Inside the block no other process works on a system under a seed.

        Args:
            system: its name.
            seed: of its training.
            wait: until another process is done with it.

        Raises:
            BlockingIOError: another process works on it, and `wait` is false.
        """
        place = self.place(system, seed)
        with writable(place):
            place.parent.mkdir(parents=True, exist_ok=True)
        with locked(place, wait=wait, needed=False):
            yield

    def place(self, system: str, seed: int) -> Path:
        """Where a system works under a seed."""
        return self.folder / system / f"seed-{seed}"

    def finished(self, system: str, seed: int) -> tuple[Run, ...] | None:
        """What lies there complete; None where there is work to do.

        Raises:
            DeftRecError: the record is damaged.
        """
        place = self.place(system, seed)
        return read_model(place / UNIT_FILE, _Unit).runs if (place / UNIT_FILE).is_file() else None

    def finish(self, system: str, seed: int, runs: tuple[Run, ...]) -> None:
        """Record that a system is done under a seed."""
        write_text(self.place(system, seed) / UNIT_FILE, _Unit(runs=runs).model_dump_json(indent=2) + "\n")

    def set_aside(self, system: str, seed: int) -> Path:
        """Give what lies there, and cannot be read, another name, so that it is made again and nothing is lost."""
        place = self.place(system, seed)
        aside = place.with_name(f"{place.name}.unreadable")
        shutil.rmtree(aside, ignore_errors=True)
        return place.rename(aside)

    def forget(self, system: str, seed: int) -> None:
        """Remove what a failed system left."""
        shutil.rmtree(self.place(system, seed), ignore_errors=True)
