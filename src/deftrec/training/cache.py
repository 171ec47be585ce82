"""Results of stages on disk, under a key of everything that decides them: for resumption, and for other runs."""

import hashlib
import json
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from deftrec.data.download import sha256_of
from deftrec.errors import DeftRecError
from deftrec.files import atomic_directory, recover
from deftrec.tensors import load_tensors, save_tensors

TENSORS, ABOUT = "result.safetensors", "about.json"
VERSION = 4  # part of every key: raise it with any change to the result of a cached stage


@dataclass(frozen=True, eq=False)
class StageResult:
    """Result of a stage: tensors, anything else as JSON holds it, and the seconds its computation took."""

    tensors: dict[str, Tensor]
    about: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


class CachedStage(ABC):
    """A stage whose result depends on its key alone; `name` is used in the cache, in logs and in the run's record."""

    name: str

    @abstractmethod
    def key(self) -> dict[str, Any]:
        """Everything that decides the result, as JSON holds it: data, options, seed, weights read."""

    @abstractmethod
    def run(self) -> StageResult:
        """Compute the result; its `seconds` are those of an interrupted run, before this call."""


class StageCache:
    """A folder of stage results (None keeps nothing) that processes share: an entry appears whole or not at all."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def get(self, stage: CachedStage) -> StageResult:
        """The result of `stage`, computed if it is not there yet; a `DeftRecError` if a kept one is damaged."""
        content = {"stage": stage.name, "version": VERSION, **stage.key()}
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
        entry = None if self.folder is None else self.folder / f"{stage.name}-{digest}"
        if entry is not None and recover(entry).is_dir():
            return _read(entry)
        started = time.monotonic()
        made = stage.run()
        result = StageResult(made.tensors, made.about, round(made.seconds + time.monotonic() - started, 3))
        if entry is not None:
            _write(entry, result, content)
        return result


def _write(entry: Path, result: StageResult, content: dict[str, Any]) -> None:
    try:
        with atomic_directory(entry) as temporary:
            save_tensors(temporary / TENSORS, result.tensors)
            about = {"about": result.about, "seconds": result.seconds, "key": content}
            about["sha256"] = sha256_of(temporary / TENSORS)
            (temporary / ABOUT).write_text(json.dumps(about, indent=2), encoding="utf-8")
    except OSError:
        if not entry.is_dir():  # else another process was faster, with the same result
            raise


def _read(entry: Path) -> StageResult:
    try:
        about = json.loads((entry / ABOUT).read_text(encoding="utf-8"))
        if about["sha256"] != sha256_of(entry / TENSORS):
            raise ValueError(f"{TENSORS} has another SHA-256")
        return StageResult(load_tensors(entry / TENSORS), about["about"], about["seconds"])
    except (OSError, ValueError, LookupError, TypeError, RecursionError, DeftRecError) as error:
        raise DeftRecError(f"{entry}: damaged; delete it, and it is computed again") from error
