"""The request that a benchmark answers, and the check that a report's folder belongs to the same request."""

import difflib
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deftrec.benchmark.tables import Record
from deftrec.config import Config
from deftrec.data.split import Fit, SplitName
from deftrec.errors import ConfigError, DeftRecError
from deftrec.evaluation.protocol import Seen
from deftrec.files import locked, writable, write_text
from deftrec.records import read_record

REQUEST_FILE = "request.json"


class BenchmarkRequest(Record):
    """Everything that decides the rankings and costs of a system. Results of equal requests share one report.

    Models and seeds are not part of it, so they can be added to a report later.

    Attributes:
        data: fingerprint of the interactions, after clones were dropped.
        split: kind of split.
        fits, seens: fits and rules for seen items, one table for each pair, in this order.
        budget_minutes: longest search for settings of a peer, and longest joint training of DeftRec, per seed; None for
            no limit.
        config: options of DeftRec and LightGCN, before the seed is set.
        versions: versions of the code and processor, because costs are measured too.
    """

    data: str
    split: SplitName
    fits: tuple[Fit, ...]
    seens: tuple[Seen, ...]
    budget_minutes: float | None
    config: Config
    versions: dict[str, str]

    @property
    def fingerprint(self) -> str:
        """Compute the SHA-256 of the request."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


def claim(folder: Path, request: BenchmarkRequest) -> None:
    """Create `folder` for the results of `request`, or check that it belongs to it; safe for several processes.

    Raises a `DeftRecError` if the folder holds results of another request, or something other than a benchmark.
    """
    if not folder.exists():
        with writable(folder):
            folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, wait=True, needed=False):
        file = folder / "work" / REQUEST_FILE
        if not file.is_file():
            if not folder.is_dir() or any(folder.iterdir()):
                raise DeftRecError(f"{folder}: not empty, and no benchmark that could continue; give another directory")
            write_text(file, request.model_dump_json(indent=2) + "\n")
        elif (before := read_record(file, BenchmarkRequest, "give another directory")) != request:
            odd = _first_difference(before.model_dump(mode="json"), request.model_dump(mode="json"))
            message = f"{folder}: holds another benchmark ({odd}); give another directory, or repeat the same request"
            raise DeftRecError(message)


def choose_models(wanted: Sequence[str] | None, known: Sequence[str]) -> list[str]:
    """Select the requested models, once each and in that order; None selects all known models.

    Raises a `ConfigError` if a model is unknown; the message names the nearest known one.
    """
    if wanted is None:
        return list(known)
    for name in wanted:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
            raise ConfigError(f"no model is called {name!r}; did you mean {near!r}? There are {', '.join(known)}")
    return list(dict.fromkeys(wanted))


def _first_difference(before: dict[str, Any], now: dict[str, Any], prefix: str = "") -> str:
    key = next(key for key in [*before, *now] if before.get(key) != now.get(key))
    one, other = before.get(key), now.get(key)
    if isinstance(one, dict) and isinstance(other, dict):
        return _first_difference(one, other, f"{prefix}{key}.")
    if prefix + key == "data":
        return "it is of other data"
    return f"its {prefix}{key} is {_short(one)}, not {_short(other)}"


def _short(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
