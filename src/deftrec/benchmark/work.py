"""Finished work on disk, one folder per system and seed, so that an interrupted benchmark can continue."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from deftrec.benchmark.tables import Record, SystemRecord
from deftrec.data.split import Fit
from deftrec.evaluation.protocol import Seen
from deftrec.files import locked, writable, write_text
from deftrec.records import read_record

UNIT_FILE = "unit.json"


class RankingFile(NamedTuple):
    """A Parquet file with the best 100 items of every evaluated user, relative to the folder of system and seed."""

    fit: Fit
    seen: Seen
    file: str


class SystemRun(SystemRecord):
    """Rankings and costs of one system under one seed; one training may give several, a model and its parts.

    Attributes:
        lists: one file for each fit and rule for seen items.
        train_seconds: training time by fit.
    """

    lists: tuple[RankingFile, ...]
    train_seconds: dict[Fit, float]

    def file(self, fit: Fit, seen: Seen) -> str | None:
        """Name the rankings of one table; None where this system has none."""
        return next((one.file for one in self.lists if (one.fit, one.seen) == (fit, seen)), None)


class _Unit(Record):
    runs: tuple[SystemRun, ...]


class WorkFolder:
    """Folder `work` of a report: `SYSTEM/seed-N/` with rankings, and `unit.json`, which is written last."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def held(self, system: str, seed: int, *, wait: bool) -> Iterator[None]:
        """Keep other processes from the work on a system and seed inside the block.

        Raises a `BlockingIOError` if another process works on it, and `wait` is false.
        """
        place = self.place(system, seed)
        with writable(place):
            place.parent.mkdir(parents=True, exist_ok=True)
        with locked(place, wait=wait, needed=False):
            yield

    def place(self, system: str, seed: int) -> Path:
        """Name the folder of a system and seed."""
        return self.folder / system / f"seed-{seed}"

    def finished(self, system: str, seed: int) -> tuple[SystemRun, ...] | None:
        """Read the complete record of a system and seed; None where there is none.

        Raises a `DeftRecError` if the record is damaged.
        """
        file = self.place(system, seed) / UNIT_FILE
        return read_record(file, _Unit, "delete it, and it is measured again").runs if file.is_file() else None

    def finish(self, system: str, seed: int, runs: tuple[SystemRun, ...]) -> None:
        """Record that a system has finished under a seed."""
        write_text(self.place(system, seed) / UNIT_FILE, _Unit(runs=runs).model_dump_json(indent=2) + "\n")

    def set_aside(self, system: str, seed: int) -> Path:
        """Rename a folder that cannot be read, so that the work is repeated and nothing is lost."""
        place = self.place(system, seed)
        aside = place.with_name(f"{place.name}.unreadable")
        shutil.rmtree(aside, ignore_errors=True)
        return place.rename(aside)

    def forget(self, system: str, seed: int) -> None:
        """Remove the folder of a failed system and seed."""
        shutil.rmtree(self.place(system, seed), ignore_errors=True)
