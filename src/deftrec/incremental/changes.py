"""Add items to a finished run, remove them, and let new interactions count: seconds, and no training.

Each change reads the overlay, makes the next one and puts it in its place as a whole, under a lock that dies with its
process: a reader sees the run before or after it, and so does whoever comes after a kill. Doing a change again does
nothing more.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
import torch
from torch import Tensor

from deftrec.config import Config
from deftrec.data import Id, Interactions
from deftrec.data.extend import conform, conformed_events, extended, unknown_events
from deftrec.data.interactions import CATALOGUE_COLUMNS
from deftrec.data.sources.columns import as_row
from deftrec.data.words import texts_of
from deftrec.errors import DataError
from deftrec.incremental.capabilities import Capabilities
from deftrec.incremental.overlay import Overlay, changing, read_overlay, write_overlay
from deftrec.pretrained_files.locate import model_folder
from deftrec.pretrained_files.origin import check_origin, origin_in
from deftrec.run import RunInfo, read_run
from deftrec.text.sentences import kept_sentence_model

Describe = Callable[[int], str]
"""Names a record of a file: "row 3"."""


@dataclass(frozen=True)
class ItemsAdded:
    """What `add_items` did.

    Attributes:
        added: items that the run did not have.
        updated: added earlier, now with other words.
        restored: that had been removed.
        unchanged: that it had, with these words.
        trained: of the items it had, those of training whose words here are others: they keep theirs, which their
            vectors were trained with.
        items: in the catalogue now, removed ones aside.
    """

    added: int
    updated: int
    restored: int
    unchanged: int
    trained: int
    items: int


@dataclass(frozen=True)
class ItemsRemoved:
    """What `remove_items` did: items removed now, those that had been before, and those that are left."""

    removed: int
    before: int
    items: int


@dataclass(frozen=True)
class EventsAdded:
    """What `add_events` did.

    Attributes:
        added: interactions that are new.
        known: exact duplicates of what was there.
        users: that the run did not have.
        interactions: that count now, those of training included.
    """

    added: int
    known: int
    users: int
    interactions: int


def add_items(
    folder: str | Path,
    items: pl.DataFrame,
    *,
    source: str = "items",
    on_batch: Callable[[int], None] | None = None,
    device: torch.device | None = None,
) -> ItemsAdded:
    """Make items recommendable by their words alone.

    Args:
        folder: of the run.
        items: `item` and any of `title`, `category`, `text`.
        source: what errors call them.
        on_batch: called with the number of texts read since the last call.
        device: where texts are read; None: the CPU.

    Raises:
        ConfigError: the run cannot recommend items that it was not trained on; the message says what mends it.
        DataError: an item has no words, is named twice, or has an id of another kind.
        DeftRecError: no complete run lies there, or its sentence model has changed.
    """
    folder = Path(folder)
    interactions, config, info = read_run(folder)
    scaled = (folder / "scaling.safetensors").is_file()
    Capabilities.of(config, info, scaled).unseen_items.require("recommend items that it was not trained on")
    given = _catalogue(items, interactions, source)
    with changing(folder):
        overlay = read_overlay(folder, interactions)
        known = given.join(interactions.catalogue, on="item", how="semi")
        trained = known.join(interactions.catalogue, on=["item", *CATALOGUE_COLUMNS], how="anti")
        later = given.join(known, on="item", how="anti", maintain_order="left")
        changed = later.join(overlay.items, on=["item", *CATALOGUE_COLUMNS], how="anti", maintain_order="left")
        updated = changed.join(overlay.items, on="item", how="semi").height
        restored = given.join(overlay.removed, on="item", how="semi").height
        _check_words(changed, source)
        vectors = _vectors(changed, config, info, folder, on_batch, device or torch.device("cpu"))
        after = overlay.with_items(changed, vectors) if changed.height else overlay
        after = after.without_removal(given["item"])
        if changed.height or restored:
            write_overlay(folder, replace(after, version=overlay.version + 1))
    return ItemsAdded(
        added=changed.height - updated,
        updated=updated,
        restored=restored,
        unchanged=given.height - changed.height,
        trained=trained.height,
        items=_recommendable(interactions, after),
    )


def remove_items(folder: str | Path, items: Sequence[Id], *, source: str = "items") -> ItemsRemoved:
    """Recommend items no more; whoever took them keeps them in the history.

    Raises:
        DataError: an item is unknown, or all would go.
        DeftRecError: no complete run lies there.
    """
    folder = Path(folder)
    interactions, _, _ = read_run(folder)
    with changing(folder):
        overlay = read_overlay(folder, interactions)
        known = _now(interactions, overlay)
        try:
            numbers = known.item_numbers(items)
        except DataError as error:
            raise DataError(f"{source}: {error}") from error
        asked = known.catalogue["item"].gather(numbers).unique(maintain_order=True)
        after = overlay.with_removal(asked)
        if after.removed.height == known.n_items:
            raise DataError(f"{source}: this removes all {known.n_items} items; leave one or more")
        removed = after.removed.height - overlay.removed.height
        if removed:
            write_overlay(folder, replace(after, version=overlay.version + 1))
    return ItemsRemoved(removed, len(asked) - removed, _recommendable(interactions, after))


def add_events(
    folder: str | Path, events: pl.DataFrame, *, source: str = "events", describe: Describe = as_row
) -> EventsAdded:
    """Let new interactions count in the histories of their users, known or not, and in the vectors of later items.

    Args:
        folder: of the run.
        events: `user`, `item`, `time`, and, where rows are to be named as in a file, `record`. Exact duplicates, of
            each other and of what is there, count once.
        source: what errors call them.
        describe: names a record.

    Raises:
        DataError: an item is unknown, named with its row; or an id or time is of another kind.
        DeftRecError: no complete run lies there.
    """
    folder = Path(folder)
    interactions, _, _ = read_run(folder)
    given = conformed_events(events, interactions, source)
    with changing(folder):
        overlay = read_overlay(folder, interactions)
        before = _now(interactions, overlay)
        strange = given.with_row_index("row").join(before.catalogue, on="item", how="anti", maintain_order="left")
        if strange.height:
            row = int(strange["record"][0] if "record" in strange.columns else strange["row"][0])
            raise DataError(
                f"{source}: {describe(row)}, column 'item': {strange['item'][0]!r} is not in the catalogue of "
                "this run; add it first with 'deftrec items add', or leave the row out"
            )
        new = unknown_events(before, given.select("user", "item", "time"))
        after = overlay.with_events(new)
        if new.height:
            write_overlay(folder, replace(after, version=overlay.version + 1))
    now = _now(interactions, after)
    return EventsAdded(new.height, given.height - new.height, now.n_users - before.n_users, now.n_interactions)


def _now(interactions: Interactions, overlay: Overlay) -> Interactions:
    return extended(interactions, overlay.items, overlay.events)


def _recommendable(interactions: Interactions, overlay: Overlay) -> int:
    return interactions.n_items + overlay.items.height - overlay.removed.height


def _catalogue(items: pl.DataFrame, interactions: Interactions, source: str) -> pl.DataFrame:
    """`items` with all columns of a catalogue, ids in the run's form."""
    if "item" not in items.columns:
        raise DataError(f"{source}: no column 'item'; the columns are {', '.join(items.columns)}")
    words = [
        (pl.col(name).cast(pl.String).fill_null("").str.strip_chars() if name in items.columns else pl.lit("")).alias(
            name
        )
        for name in CATALOGUE_COLUMNS
    ]
    given = items.select(conform(items["item"], interactions.catalogue["item"], source, "item"), *words)
    twice = given["item"].is_duplicated()
    if twice.any():
        raise DataError(f"{source}: item {given['item'][int(twice.arg_max() or 0)]!r} stands there twice; keep one row")
    return given


def _check_words(items: pl.DataFrame, source: str) -> None:
    for item, text in zip(items["item"], texts_of(items), strict=True):
        if not text:
            raise DataError(
                f"{source}: item {item!r} has no title, category or text, and nothing else tells it from another; give "
                "it words, or leave it out"
            )


def _vectors(
    items: pl.DataFrame,
    config: Config,
    info: RunInfo,
    folder: Path,
    on_batch: Callable[[int], None] | None,
    device: torch.device,
) -> Tensor:
    """Sentence vectors by the very model that read the items of training."""
    model = config.text.model
    if model is None or not items.height:
        return torch.zeros(items.height, info.text_width)
    where = model_folder(model)
    check_origin(info.sentences, origin_in(where, model), str(folder), "text.model")
    return kept_sentence_model(where, device).vectors(
        texts_of(items), max_tokens=config.text.max_tokens, dtype=torch.float32, on_batch=on_batch
    )
