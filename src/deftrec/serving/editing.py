"""Changes of the catalogue while its run is served, by the operations of `deftrec items`.

A change is complete when it is on disk in the run directory. The overlay is replaced as a whole, under a lock that all
workers and the command line share, and is read again before the request is answered (`ModelManager.change`).
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import polars as pl
from safetensors import SafetensorError

from deftrec.data.extend import conform
from deftrec.errors import DataError
from deftrec.incremental import Capability
from deftrec.incremental.changes import add_items, remove_items
from deftrec.serving.engine import InferenceEngine
from deftrec.serving.model_manager import RETRY
from deftrec.serving.problems import ProblemError


def new_items(engine: InferenceEngine) -> Capability:
    """Whether items can be added to the run of `engine`, with the reason."""
    able, writable = engine.recommender.capabilities.unseen_items, _writable(engine.folder)
    return able if writable else writable


def put_item(
    engine: InferenceEngine, item: str, description: Mapping[str, str], attributes: Mapping[str, object] = {}
) -> bool:
    """Add an item to the run on disk, change its description or restore it; returns whether the item is new.

    The description holds `title`, `category` and `text`; if all are empty, the stored description is used. Attributes
    that are not given stay. Raises a `ProblemError` for what the client can correct, and a `DeftRecError` if the run is
    damaged.
    """
    known, there = run_id(engine, item), engine.interactions.attributes.columns
    for name in attributes:
        if name not in there:
            message = f"no attribute of this run has the name {name!r}; it has {', '.join(there) or 'none'}"
            raise ProblemError(422, "unknown_attribute", message)
    given = {name: [value] for name, value in attributes.items() if value is not None}
    frame = pl.DataFrame({"item": [known], **description, **given})
    described = any(map(str.strip, description.values()))
    number = engine.numbers.get(known)
    if number is None:
        _require(new_items(engine))
        if not described and not given:
            raise ProblemError(422, "invalid", "a new item needs a description; give it a title, category or text")
    else:
        present = engine.interactions.catalogue[number]
        changed = described and any(present[name][0] != value.strip() for name, value in description.items())
        if changed and number < engine.recommender.fitted_on.n_items:
            message = (
                "this item was trained with its description, which cannot change; send {} to restore the item, or "
                "train again with the new description"
            )
            raise ProblemError(409, "trained_item", message)
        _require(new_items(engine) if changed else _writable(engine.folder))
    with _writing(engine.folder):
        try:
            return add_items(engine.folder, frame, source="the item").added == 1
        except DataError as error:
            raise ProblemError(422, "invalid", str(error)) from error


def remove_item(engine: InferenceEngine, item: str) -> None:
    """Remove an item from the run on disk, unless it is the last one; it stays in histories."""
    _require(_writable(engine.folder))
    known = run_id(engine, item)
    if engine.removed | {engine.numbers.get(known)} == set(range(len(engine.items))):
        raise ProblemError(409, "last_item", "this is the last item that can be recommended; add another one first")
    with _writing(engine.folder):
        remove_items(engine.folder, [known], source="the item")


def run_id(engine: InferenceEngine, item: str) -> str:
    """External id in the run's form, as text; `007` is refused with 422 if the run's ids are numbers."""
    try:
        return str(conform(pl.Series([item]), engine.interactions.catalogue["item"], "the path", "item")[0])
    except DataError as error:
        raise ProblemError(422, "invalid", str(error)) from error


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Convert errors of the disk to 503."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        message, internal = "the run directory could not be written; nothing was changed", f"{folder}: {error}"
        raise ProblemError(503, "run_unwritable", message, retry_after=RETRY, internal=internal) from error


def _require(able: Capability) -> None:
    if not able:
        raise ProblemError(409, "fixed_catalogue", f"the catalogue of this run cannot be changed: {able.reason}")


def _writable(folder: Path) -> Capability:
    if os.access(folder, os.W_OK):
        return Capability(True, "the run directory can be written")
    return Capability(False, "the service cannot write to the run directory; mount it so that it can")
