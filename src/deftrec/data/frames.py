"""Interactions and items from the data frames that people have: columns are found by their names, or named."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from deftrec.data.catalogue import CATALOGUE_COLUMNS
from deftrec.data.interactions import Interactions, Meta
from deftrec.data.signals import SIGNALS
from deftrec.data.sources.columns import Place, to_polars
from deftrec.data.sources.roles import Reading, attribute_columns, recognise
from deftrec.data.sources.texts import words
from deftrec.errors import DataError

EVENTS, ITEMS = "the interactions", "the items"  # names in errors


def as_interactions(
    data: Any,
    items: Any = None,
    *,
    user: str | None = None,
    item: str | None = None,
    time: str | None = None,
    kind: str | None = None,
    value: str | None = None,
    attributes: Sequence[str] | None = None,
) -> Interactions:
    """Interactions of a data frame (polars or pandas), or `data` if it is `Interactions` already.

    `Meta.source` says which columns were taken and which were not. Raises a `DataError` if a column is neither named
    nor found, and the errors of `Interactions.from_frame`.

    Args:
        data: one row per interaction. Titles, categories, texts and attributes in it are read where `items` is None.
        items: data frame of items, one row each, or None.
        user, item, time: columns of `data`; None: recognised by their names (`deftrec.data.sources.roles`).
        kind, value: columns of `data` with the kind of event, and with its rating or amount; None: recognised, if there
            are any.
        attributes: columns of the items' attributes (price, brand); None: recognised.
    """
    named = {"user": user, "item": item, "time": time}
    signals = {"kind": kind, "value": value}
    if isinstance(data, Interactions):
        given = {**named, **signals, "items": items, "attributes": attributes}
        needless = [name for name, value in given.items() if value is not None]
        if needless:
            raise DataError(f"Interactions have their columns already: leave {', '.join(needless)} out")
        return data
    frame = _frame(data, EVENTS)
    reading = _columns(frame, named, EVENTS, signals, attributes if items is None else ())
    events = _taken(frame, reading, EVENTS)
    texts = [role for role in CATALOGUE_COLUMNS if role in reading.columns]
    catalogue = events.select("item", *texts, *reading.attributes).unique("item", keep="first", maintain_order=True)
    if items is not None:
        goods = _frame(items, ITEMS)
        catalogue = items_frame(goods, item=item if item in goods.columns else None, attributes=attributes)
    there = {name: name for name in SIGNALS if name in reading.columns}
    columns = ["user", "item", "time", *there]
    return Interactions.from_frame(events.select(columns), catalogue, **there, meta=Meta(source=str(reading)))


def events_frame(
    data: Any, *, user: str | None = None, item: str | None = None, time: str | None = None
) -> pl.DataFrame:
    """Interactions with the columns `user`, `item`, `time`, and `kind` and `value` as far as they are recognised.

    Arguments and errors as for `as_interactions`.
    """
    frame = _frame(data, EVENTS)
    reading = _columns(frame, {"user": user, "item": item, "time": time}, EVENTS, dict.fromkeys(SIGNALS), ())
    found = _taken(frame, reading, EVENTS)
    return found.select(name for name in ("user", "item", "time", *SIGNALS) if name in found.columns)


def items_frame(data: Any, *, item: str | None = None, attributes: Sequence[str] | None = None) -> pl.DataFrame:
    """Items with the columns `item` and, as far as they were found, `title`, `category`, `text`, and attributes.

    Arguments and errors as for `as_interactions`.
    """
    frame = _frame(data, ITEMS)
    return _taken(frame, _columns(frame, {"item": item}, ITEMS, {}, attributes), ITEMS)


def _frame(data: Any, what: str) -> pl.DataFrame:
    if isinstance(data, Interactions):
        return data.events()
    if isinstance(data, str | Path):
        read = f"Interactions.load({str(data)!r}) for a data directory, or a frame such as polars.read_csv(...)"
        raise DataError(f"{what} are a path; give {read}")
    if hasattr(data, "tocoo"):
        raise DataError(f"a {type(data).__name__} has no times; give a data frame with columns user, item and time")
    return to_polars(data)


def _columns(
    frame: pl.DataFrame,
    named: Mapping[str, str | None],
    what: str,
    signals: Mapping[str, str | None],
    attributes: Sequence[str] | None,
) -> Reading:
    """The column of each role: the roles of `named`, which are needed, and those of a catalogue that are there."""
    columns = [*named.items(), *signals.items(), *(("attribute", name) for name in attributes or ())]
    for role, column in columns:
        if column is not None and column not in frame.columns:
            raise DataError(f"{what} have no column {column!r} for the {role}; there are {', '.join(frame.columns)}")
    wanted = {role: column or "" for role, column in (*named.items(), *signals.items())}
    reading = recognise("data frame", frame.schema, {**wanted, **dict.fromkeys(CATALOGUE_COLUMNS, "")})
    taken = list(reading.columns.values())
    more = attribute_columns(frame.schema, taken) if attributes is None else list(attributes)
    reading = replace(reading, attributes=more, ignored=[name for name in reading.ignored if name not in more])
    missing = next((role for role in named if role not in reading.columns), None)
    if missing is not None:
        mend = f"name it, as in {missing}='...'"
        if missing == "time":
            mend += "; rows that are in order: frame.with_row_index('time'), or pandas: frame.assign(time=range(...))"
        raise DataError(f"{what} have no column for the {missing} among {', '.join(frame.columns)}; {mend}")
    return reading


def _taken(frame: pl.DataFrame, reading: Reading, what: str) -> pl.DataFrame:
    """The columns under the names of their roles, and attributes; lists of categories are joined."""
    taken = {role: frame[column] for role, column in reading.columns.items()}
    taken |= {name: frame[name] for name in reading.attributes}
    texts = {role: words(taken[role], Place(what)) for role in CATALOGUE_COLUMNS if role in taken}
    return pl.DataFrame([series.alias(role) for role, series in {**taken, **texts}.items()])
