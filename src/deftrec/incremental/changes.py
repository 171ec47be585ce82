"""Add items, remove items and add events to a finished run, in seconds and without training.

Each change reads the overlay, makes the next one and replaces it as a whole. In a directory that happens under a lock
that dies with its process: a reader sees the run before or after the change, even after a kill. Repeating a change does
nothing more.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import polars as pl
import torch
from torch import Tensor

from deftrec.attributes import encode_attributes
from deftrec.config import Config
from deftrec.data import Id, Interactions
from deftrec.data.catalogue import CATALOGUE_COLUMNS, attribute, attributes_of
from deftrec.data.extend import conform, conformed_events, unknown_events
from deftrec.data.kinds import without_ignored
from deftrec.data.sources.columns import Place, as_row, first_true, typed_ids
from deftrec.data.sources.texts import texts, words
from deftrec.data.words import texts_of
from deftrec.errors import DataError
from deftrec.incremental.capabilities import Capabilities
from deftrec.incremental.overlay import Overlay
from deftrec.incremental.places import ChangedRun, opened
from deftrec.pretrained_files.locate import model_folder
from deftrec.pretrained_files.origin import check_origin, origin_in
from deftrec.run import RunInfo
from deftrec.text import sentence_vectors


@dataclass(frozen=True)
class ItemsAdded:
    """Result of `add_items`, in numbers of items.

    Attributes:
        added: items that the run did not have.
        updated: items added earlier, now with other text or attributes, and training items with other attributes.
        restored: items that had been removed.
        unchanged: items that the run had with this text and these attributes.
        trained: training items with other text here; they keep the text that they were trained with.
        items: items that can be recommended now.
    """

    added: int
    updated: int
    restored: int
    unchanged: int
    trained: int
    items: int


@dataclass(frozen=True)
class ItemsRemoved:
    """Result of `remove_items`: numbers of items removed now, removed before, and left."""

    removed: int
    before: int
    items: int


@dataclass(frozen=True)
class EventsAdded:
    """Result of `add_events`: numbers of new interactions, of duplicates, of new users, and of interactions now."""

    added: int
    known: int
    users: int
    interactions: int


def add_items(
    run: ChangedRun,
    items: pl.DataFrame,
    *,
    source: str = "items",
    on_batch: Callable[[int], None] | None = None,
    device: torch.device | None = None,
) -> ItemsAdded:
    """Make items recommendable: new ones by their text, removed ones again with the vectors that they had.

    An item that the run knows keeps its text where none is given, and each attribute that is not given. New attributes
    of an item of the training (price, stock) count for rules; the model keeps those that it was trained with. Raises a
    `ConfigError` for a new item or text if the run cannot recommend items that it was not trained on, with the remedy;
    a `DataError` if a new item has neither text nor attributes, an item appears twice, or an id or attribute has
    another type; and a `DeftRecError` if the folder holds no complete run, or its sentence model has changed.

    Args:
        run: run directory, or a run in memory.
        items: columns `item`, any of `title`, `category`, `text`, and attributes of the run.
        source: name of the items in errors.
        on_batch: called with the number of texts read since the last call.
        device: device that reads the texts; None: the CPU.
    """
    place = opened(run)
    interactions, config, info = place.interactions, place.config, place.info
    given = _catalogue(items, interactions, source)
    with place.changing() as overlay:
        before = overlay.applied(interactions).catalogue
        given = _with_stored_values(given, before)
        known = given.join(interactions.catalogue, on="item", how="semi")
        trained = known.join(interactions.catalogue, on=["item", *CATALOGUE_COLUMNS], how="anti")
        attributes = known.drop(CATALOGUE_COLUMNS)
        other = attributes.join(before, on=attributes.columns, how="anti", nulls_equal=True).height
        repriced = overlay.with_attributes(attributes, interactions)
        new = given.join(known, on="item", how="anti", maintain_order="left")
        changed = new.join(overlay.items, on=given.columns, how="anti", nulls_equal=True, maintain_order="left")
        if changed.height:
            Capabilities.of(config, info).unseen_items.require("recommend items that it was not trained on")
        updated = changed.join(overlay.items, on="item", how="semi").height
        restored = given.join(overlay.removed, on="item", how="semi").height
        texts = texts_of(changed)
        described = encode_attributes(info.attributes, changed).abs().sum(1) > 0
        for row, text in enumerate(texts):
            if not text and not described[row]:
                what = "title, category or text" if not info.attributes else "title, category, text or attribute"
                raise DataError(
                    f"{source}: item {changed['item'][row]!r} has no {what}, so nothing distinguishes it; give it "
                    "text, or leave it out"
                )
        vectors = _vectors(texts, config, info, place.name, on_batch, device or torch.device("cpu"))
        after = repriced.with_items(changed, vectors) if changed.height else repriced
        after = after.without_removal(given["item"])
        if changed.height or restored or repriced is not overlay:
            place.write(replace(after, version=overlay.version + 1))
    unchanged = given.height - changed.height - other
    counts = changed.height - updated, updated + other, restored, unchanged, trained.height
    return ItemsAdded(*counts, items=_recommendable(interactions, after))


def remove_items(run: ChangedRun, items: Sequence[Id], *, source: str = "items") -> ItemsRemoved:
    """Stop recommending items; they stay in the histories of users.

    Raises a `DataError` if an item is unknown, or no item would be left; and a `DeftRecError` if the folder holds no
    complete run.
    """
    place = opened(run)
    interactions = place.interactions
    with place.changing() as overlay:
        known = overlay.applied(interactions)
        try:
            numbers = known.item_numbers(items)
        except DataError as error:
            raise DataError(f"{source}: {error}") from error
        unwanted = known.catalogue["item"].gather(numbers).unique(maintain_order=True)
        removals = pl.concat([overlay.removed, unwanted.to_frame("item")]).unique(maintain_order=True)
        after = replace(overlay, removed=removals)
        if after.removed.height == known.n_items:
            raise DataError(f"{source}: this removes all {known.n_items} items; leave one or more")
        removed = after.removed.height - overlay.removed.height
        if removed:
            place.write(replace(after, version=overlay.version + 1))
    return ItemsRemoved(removed, len(unwanted) - removed, _recommendable(interactions, after))


def add_events(
    run: ChangedRun, events: pl.DataFrame, *, source: str = "events", describe: Callable[[int], str] = as_row
) -> EventsAdded:
    """Add interactions to the histories of users, known or new, and to the vectors of added items.

    Raises a `DataError` if an item is unknown (the row is named), or an id or time has another type; and a
    `DeftRecError` if the folder holds no complete run.

    Args:
        run: run directory, or a run in memory.
        events: columns `user`, `item`, `time`, the run's signals (`kind`, `value`), and optionally `record`, the row of
            a file. Exact duplicates count once.
        source: name of the events in errors.
        describe: names a record.
    """
    place = opened(run)
    interactions = place.interactions
    events = events if "record" in events.columns else events.with_row_index("record")
    given = conformed_events(events, interactions, Place(source, describe, events["record"]))  # perhaps reordered
    with place.changing() as overlay:
        before = overlay.applied(interactions)
        strange = given.join(before.catalogue, on="item", how="anti").sort("record")
        if strange.height:
            unknown = f"{strange['item'][0]!r} is not in the catalogue of this run"
            mend = f"add it first with {place.adding}, or leave the row out"
            raise Place(source, describe).error(int(strange["record"][0]), "item", f"{unknown}; {mend}")
        given = without_ignored(given, interactions.roles)
        new = unknown_events(before, given.select(interactions.events_schema.columns))
        after = overlay.with_events(new)
        if new.height:
            place.write(replace(after, version=overlay.version + 1))
    now = after.applied(interactions)
    return EventsAdded(new.height, given.height - new.height, now.n_users - before.n_users, now.n_interactions)


def _recommendable(interactions: Interactions, overlay: Overlay) -> int:
    return interactions.n_items + overlay.items.height - overlay.removed.height


def _catalogue(items: pl.DataFrame, interactions: Interactions, source: str) -> pl.DataFrame:
    """`items` with all columns of the run's catalogue, as far as they are given, and ids of its type."""
    if "item" not in items.columns:
        raise DataError(f"{source}: no column 'item'; the columns are {', '.join(items.columns)}")
    items = items.with_columns(pl.lit("").alias(name) for name in CATALOGUE_COLUMNS if name not in items.columns)
    place, known = Place(source), interactions.catalogue["item"]
    given = pl.DataFrame(
        [
            conform(typed_ids(items["item"], place), known, source, "item"),
            *(texts(items[name], place) for name in CATALOGUE_COLUMNS),
            *(_attribute(items, column, place) for column in interactions.attributes),
        ]
    )
    twice = given["item"].is_duplicated()
    if twice.any():
        raise DataError(f"{source}: item {given['item'][int(twice.arg_max() or 0)]!r} appears twice; keep one row")
    return given


def _attribute(items: pl.DataFrame, like: pl.Series, place: Place) -> pl.Series:
    """An attribute of items in the type of the run's; null where it is not given."""
    if like.name not in items.columns:
        return like.clear().extend_constant(None, items.height)
    if like.dtype == pl.String:  # "42" among sizes S, M and 42 is no number
        text = words(items[like.name], place)
        return text.set(text == "", None)
    found = attribute(items[like.name], place)
    if found.dtype == like.dtype:
        return found
    filled = found.cast(pl.String).fill_null("") != ""
    if not filled.any():
        return like.clear().extend_constant(None, items.height)
    wanted = "dates" if like.dtype == pl.Date else "numbers"
    raise place.error(first_true(filled), like.name, f"{found.filter(filled)[0]!r}: this run's are {wanted}")


def _with_stored_values(given: pl.DataFrame, stored: pl.DataFrame) -> pl.DataFrame:
    """The items `given`, those without any words with the words of `stored` items, and attributes as far as missing."""
    both = given.join(stored, on="item", how="left", suffix=" stored", maintain_order="left")
    wordless = pl.concat_str(CATALOGUE_COLUMNS) == ""
    words = {name: pl.when(wordless).then(f"{name} stored").otherwise(name).fill_null("") for name in CATALOGUE_COLUMNS}
    others = {name: pl.coalesce(name, f"{name} stored") for name in attributes_of(given).columns}
    filled = {name: one.fill_null("") if given[name].dtype == pl.String else one for name, one in others.items()}
    return both.select("item", **words, **filled)


def _vectors(
    texts: list[str],
    config: Config,
    info: RunInfo,
    name: str,
    on_batch: Callable[[int], None] | None,
    device: torch.device,
) -> Tensor:
    """Sentence vectors from the model that read the items of training."""
    model = config.text.model
    if model is None or not info.text_width or not any(texts):
        return torch.zeros(len(texts), info.text_width)
    where = model_folder(model)
    check_origin(info.sentences, origin_in(where, model), name, "text.model")
    return sentence_vectors(
        texts,
        where,
        max_tokens=config.text.max_tokens,
        device=device,
        dtype=torch.float32,
        on_batch=on_batch,
        keep=True,
    )
