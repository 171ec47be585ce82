"""Items that come and go while their run is served, by the operations of `deftrec items`.

An answer means that the change is on disk, in the run directory: the overlay is replaced as a whole, under a lock that
all workers and the command line share. What is written is read again before anybody is answered.
"""

import os
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias

import polars as pl
from safetensors import SafetensorError

from deftrec.data.extend import conform
from deftrec.errors import DataError, DeftRecError
from deftrec.incremental import Capability
from deftrec.incremental.changes import add_items, remove_items
from deftrec.serving.engine import InferenceEngine
from deftrec.serving.model_manager import ModelManager

Reason: TypeAlias = Literal["fixed_catalogue", "trained_item", "last_item", "invalid"]
"""The run or its directory; words that were trained; the only one that is left; no such id, or no words."""


class ItemRefusedError(DeftRecError):
    """An item cannot come or go; the message says why, and the mend.

    Attributes:
        code: which reason it is.
    """

    def __init__(self, code: Reason, message: str) -> None:
        super().__init__(message)
        self.code = code


class RunUnwritableError(DeftRecError):
    """The run directory took no change, for want of room maybe; the same change may succeed later."""


@dataclass(frozen=True)
class ItemDescription:
    """What tells an item from others; all empty: what is known of it already."""

    title: str = ""
    category: str = ""
    text: str = ""

    def __bool__(self) -> bool:
        return any(word.strip() for word in asdict(self).values())


def new_items(engine: InferenceEngine) -> Capability:
    """Whether items may come to the run of `engine`, and why; where not, with the mend."""
    able, writable = engine.recommender.capabilities.unseen_items, _writable(engine.folder)
    return able if writable else writable


async def put_item(holder: ModelManager, item: str, words: ItemDescription) -> tuple[InferenceEngine, int, bool]:
    """Recommend an item from now on, by its words.

    Returns:
        The engine that knows it, its number there, and whether it is new.

    Raises:
        ItemRefusedError: the run cannot, or its directory must not be written; the item was trained with other words,
            has none, or an id of another kind than the run's.
        RunUnwritableError: nothing could be written.
        DeftRecError: the run is damaged.
    """
    added, engine = await holder.change(partial(_put, item=item, words=words))
    return engine, engine.numbers[_known_as(engine, item)], added


async def remove_item(holder: ModelManager, item: str) -> InferenceEngine:
    """Recommend an item no more; it stays in histories.

    Raises:
        ItemRefusedError: the run's directory must not be written, or no item would be left.
        RunUnwritableError: nothing could be written.
        DeftRecError: it is unknown, or the run is damaged.
    """
    _, engine = await holder.change(partial(_remove, item=item))
    return engine


def _put(engine: InferenceEngine, item: str, words: ItemDescription) -> bool:
    """Whether it is new."""
    _require(new_items(engine))
    known_as = _known_as(engine, item)
    frame = pl.DataFrame({"item": [known_as], **asdict(words)})
    number = engine.numbers.get(known_as)
    if number is None and not words:
        raise ItemRefusedError("invalid", "nothing tells this item from others; give it a title, category or text")
    if number is not None:
        present = engine.interactions.catalogue[number]
        if number < engine.recommender.fitted_on.n_items and words and _differ(present, words):
            raise ItemRefusedError(
                "trained_item",
                "this item's vector was trained with its words, and they stay; send {} to recommend it as it is, or "
                "train with the other words",
            )
        frame = frame if words else present
    try:
        return add_items(engine.folder, frame, source="the item").added == 1
    except (OSError, SafetensorError) as error:
        raise RunUnwritableError(f"{engine.folder}: not written ({error})") from error


def _remove(engine: InferenceEngine, item: str) -> None:
    _require(_writable(engine.folder))
    known_as = _known_as(engine, item)
    if engine.removed | {engine.numbers.get(known_as)} == set(range(len(engine.items))):
        raise ItemRefusedError("last_item", "no other item can be recommended; put one before this one goes")
    try:
        remove_items(engine.folder, [known_as], source="the item")
    except (OSError, SafetensorError) as error:
        raise RunUnwritableError(f"{engine.folder}: not written ({error})") from error


def _known_as(engine: InferenceEngine, item: str) -> str:
    """The id in the run's form, as text; `007` is refused where ids are numbers."""
    try:
        return str(conform(pl.Series([item]), engine.interactions.catalogue["item"], "the path", "item")[0])
    except DataError as error:
        raise ItemRefusedError("invalid", str(error)) from error


def _differ(present: pl.DataFrame, words: ItemDescription) -> bool:
    return any(present[name][0] != word.strip() for name, word in asdict(words).items())


def _require(able: Capability) -> None:
    if not able:
        raise ItemRefusedError("fixed_catalogue", f"this run's catalogue stays as it is: {able.reason}")


def _writable(folder: Path) -> Capability:
    if os.access(folder, os.W_OK):
        return Capability(True, "the run directory can be written")
    return Capability(False, "its directory cannot be written by the service; mount it so that it can")
