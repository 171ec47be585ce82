"""Results of a study on disk, so that an interrupted study continues with what is not finished."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from deftrec.benchmark.machine import versions
from deftrec.config import Config
from deftrec.files import locked
from deftrec.run import git_revision
from deftrec.training.cache import CachedStage, StageCache, StageResult


@dataclass(frozen=True)
class ResultKey:
    """Everything that decides a result.

    Attributes:
        study: name of the study.
        fingerprint: fingerprint of the data.
        config: options, as JSON holds them.
        seed: seed of every random draw.
        revision: git revision of the code; None outside a checkout.
        other: further settings of the study, as JSON holds them.
        machine: versions, processor and threads, which decide costs.
    """

    study: str
    fingerprint: str
    config: dict[str, Any]
    seed: int
    revision: str | None
    other: dict[str, Any] = field(default_factory=dict)
    machine: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, study: str, fingerprint: str, config: Config, **other: Any) -> "ResultKey":
        """The key of a result on this machine, at this revision."""
        options = config.model_dump(mode="json")
        return cls(study, fingerprint, options, config.seed, git_revision(), other, versions())

    @property
    def digest(self) -> str:
        """Hash of all attributes, 16 hexadecimal digits."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


class ResultsCache:
    """A folder of results. Several processes may share it: one of them computes a result, the others wait for it.

    Args:
        folder: folder of the results, and of the runs that are being trained.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: ResultKey, measure: Callable[[Path], StageResult]) -> StageResult:
        """The result of a key, computed if it is missing.

        Args:
            key: key of the result.
            measure: computes the result. It gets a run folder, which is kept after an interruption and removed
                after success.

        Raises:
            DeftRecError: a stored result is damaged.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        work = self.folder / f"{key.digest}.run"
        lock = self.folder / f"{key.digest}.lock"
        lock.touch()
        with locked(lock, wait=True, needed=False):
            result = StageCache(self.folder).get(_Measurement(key, measure, work))
            shutil.rmtree(work, ignore_errors=True)
            lock.unlink(missing_ok=True)
        return result


class _Measurement(CachedStage):
    def __init__(self, key: ResultKey, measure: Callable[[Path], StageResult], work: Path) -> None:
        self.name, self._key, self._measure, self._work = key.study, key, measure, work

    def key(self) -> dict[str, Any]:
        """See `CachedStage.key`."""
        return asdict(self._key)

    def run(self) -> StageResult:
        """See `CachedStage.run`."""
        return self._measure(self._work)
