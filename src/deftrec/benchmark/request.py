"""What is asked of a benchmark, and whether what lies in a report's folder answers the same question."""

import difflib
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from deftrec.config import Config
from deftrec.data.split import Fit, SplitName
from deftrec.errors import ConfigError, DeftRecError
from deftrec.evaluation.protocol import Seen
from deftrec.files import locked, writable, write_text
from deftrec.run import read_model

REQUEST_FILE = "request.json"


class Request(BaseModel):
    """Everything that decides what a system's rankings and costs are. Results of equal requests go into one report.

    Which models and how many seeds are wanted is no part of it: more of them may be added to a report.

    Attributes:
        data: fingerprint of the interactions, clones already dropped where that was asked.
        split: how they are split.
        fits, seens: the tables, one each pair, in this order.
        budget_minutes: most time of a peer's search, and of DeftRec's joint stage, under one seed; None: no limit.
        config: of DeftRec, and of LightGCN; the seeds are set one by one.
        versions: of the code and the machine, because costs are measured too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    split: SplitName
    fits: tuple[Fit, ...]
    seens: tuple[Seen, ...]
    budget_minutes: float | None
    config: Config
    versions: dict[str, str]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the request."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


def claim(folder: Path, request: Request) -> None:
    """Make `folder` the place of results of `request`, or check that it is; several processes may do so at once.

    Raises:
        DeftRecError: results of another request lie there, or something that is no benchmark.
    """
    if not folder.exists():
        with writable(folder):
            folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, wait=True, needed=False):
        file = folder / "work" / REQUEST_FILE
        if not file.is_file():
            if not folder.is_dir() or any(folder.iterdir()):
                raise DeftRecError(f"{folder}: not empty, and no benchmark that could go on; give another --out")
            write_text(file, request.model_dump_json(indent=2) + "\n")
        elif (before := read_model(file, Request)) != request:
            odd = _first_difference(before.model_dump(mode="json"), request.model_dump(mode="json"))
            raise DeftRecError(
                f"{folder}: holds another benchmark ({odd}); give another --out, or ask for the same again"
            )


def choose_models(asked: Sequence[str] | None, known: Sequence[str]) -> list[str]:
    """The models that were asked for, once each and in that order; all that are known where none was named.

    Raises:
        ConfigError: a model is unknown; the message names the nearest.
    """
    if asked is None:
        return list(known)
    for name in asked:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
            raise ConfigError(f"no model is called {name!r}; did you mean {near!r}? There are {', '.join(known)}")
    return list(dict.fromkeys(asked))


def _first_difference(before: dict[str, Any], now: dict[str, Any], prefix: str = "") -> str:
    for key in dict.fromkeys([*before, *now]):
        one, other = before.get(key), now.get(key)
        if one != other:
            if isinstance(one, dict) and isinstance(other, dict):
                return _first_difference(one, other, f"{prefix}{key}.")
            if prefix + key == "data":
                return "it is of other data"
            return f"its {prefix}{key} is {_short(one)}, not {_short(other)}"
    return "nothing that differs"


def _short(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
