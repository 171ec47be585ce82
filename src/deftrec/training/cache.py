"""Results of early stages, kept for other runs: an ablation computes text vectors and LightGCN once for each seed."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from deftrec.errors import DeftRecError
from deftrec.files import atomic_directory, recover
from deftrec.training.checkpoint import load_tensors, save_tensors

TENSORS, ABOUT = "result.safetensors", "about.json"
VERSION = 1
"""Part of every key: raise it with any change to the numbers of a stage whose results are shared."""


@dataclass(frozen=True, eq=False)
class StageResult:
    """What a stage hands to the next ones.

    Attributes:
        tensors: by name.
        about: anything else, as JSON holds it.
        seconds: what it took to make, whenever that was.
    """

    tensors: dict[str, Tensor]
    about: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


class SharedStages:
    """A folder of stage results, each under a hash of everything that decides it.

    Several processes may share the folder: an entry appears whole or not at all.

    Args:
        folder: where; None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def get(self, stage: str, deciding: Mapping[str, Any], make: Callable[[], StageResult]) -> StageResult:
        """The result of `stage`, made if it is not there yet.

        Args:
            stage: its name.
            deciding: data, options, seed and whatever else the result depends on, as JSON holds it.
            make: makes the result; its `seconds`, those of an interrupted run, are added to what is measured here.

        Raises:
            DeftRecError: a kept result is damaged.
        """
        content = {"stage": stage, "version": VERSION, **deciding}
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
        entry = None if self.folder is None else self.folder / f"{stage}-{digest}"
        if entry is not None and recover(entry).is_dir():
            return _read(entry)
        started = time.monotonic()
        made = make()
        result = StageResult(made.tensors, made.about, round(made.seconds + time.monotonic() - started, 3))
        if entry is not None:
            _write(entry, result, content)
        return result


def _write(entry: Path, result: StageResult, content: Mapping[str, Any]) -> None:
    try:
        with atomic_directory(entry) as temporary:
            save_tensors(temporary / TENSORS, result.tensors)
            about = {"about": result.about, "seconds": result.seconds, "decided_by": content}
            (temporary / ABOUT).write_text(json.dumps(about, indent=2), encoding="utf-8")
    except OSError:
        if not entry.is_dir():  # else another process was faster, with the same result
            raise


def _read(entry: Path) -> StageResult:
    try:
        about = json.loads((entry / ABOUT).read_text(encoding="utf-8"))
        return StageResult(load_tensors(entry / TENSORS), about["about"], about["seconds"])
    except (OSError, ValueError, KeyError, DeftRecError) as error:
        raise DeftRecError(f"{entry}: damaged; delete it, and it is made again") from error
