"""The tables of a data directory, read and checked: others may have written them."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from deftrec.data.catalogue import CATALOGUE_COLUMNS, attribute, check_names
from deftrec.data.signals import SIGNALS, signals_of
from deftrec.data.sources.columns import Place, first_true, typed_ids
from deftrec.data.sources.parquet import Parquet
from deftrec.data.sources.texts import texts
from deftrec.data.sources.times import as_numbers, times
from deftrec.errors import DataError


def read_events(path: Path) -> pl.DataFrame:
    """Read the interactions of a data directory: columns `user`, `item`, `time`, and `kind` and `value` if there.

    Ids and times are converted as those of a frame. A `DataError` names the column and the row of a fault.
    """
    frame, place = _table(path, ("user", "item", "time"), SIGNALS)
    found = times(frame["time"], place)
    user, item = (typed_ids(frame[name], place) for name in ("user", "item"))
    in_time = (found >= found.shift()).fill_null(True) | (user != user.shift()).fill_null(True)
    if not in_time.all() or len(user.rle()) != user.n_unique():
        fault = f"{path}: its rows are not user by user in the order of time"
        raise DataError(f"{fault}; make the directory with 'deftrec data import', which reads rows in any order")
    kind, value = (name if name in frame.columns else None for name in SIGNALS)
    return pl.DataFrame([user, item, as_numbers(found, place), *signals_of(frame, kind, value, place)])


def stored_signals(directory: Path) -> list[str]:
    """The signals that the interactions of a data directory have; none if it cannot be read."""
    return [name for name in SIGNALS if name in _columns(directory / "interactions.parquet")]


def stored_attributes(directory: Path) -> list[str]:
    """The attributes that the items of a data directory have; none if it cannot be read."""
    return [name for name in _columns(directory / "items.parquet") if name not in ("item", *CATALOGUE_COLUMNS)]


def _columns(path: Path) -> list[str]:
    try:
        return list(pl.read_parquet_schema(path))
    except (OSError, pl.exceptions.PolarsError):
        return []


def read_catalogue(path: Path, events: pl.DataFrame, events_path: Path) -> pl.DataFrame:
    """Read the items of a data directory: `item`, the texts, and attributes; errors as for `read_events`.

    Every item of `events`, which were read from `events_path`, must have one row.
    """
    frame, place = _table(path, ("item", *CATALOGUE_COLUMNS), None)
    item, used = typed_ids(frame["item"], place), events["item"]
    more = [name for name in frame.columns if name not in ("item", *CATALOGUE_COLUMNS)]
    check_names(more, str(path))
    for name in CATALOGUE_COLUMNS:
        missing = frame[name].is_null()
        if missing.any():
            raise place.error(first_true(missing), name, "a null is no text; write an empty text where there is none")
    if item.dtype != used.dtype:
        kinds = f"ids of {path.name} are {item.dtype}, those of {events_path.name} are {used.dtype}"
        raise DataError(f"{path}: column 'item': the {kinds}; write both in one type")
    twice = item.is_duplicated()
    if twice.any():
        raise DataError(f"{path}: item {item.filter(twice)[0]!r} has two rows; leave one")
    unknown = events.join(item.to_frame(), on="item", how="anti")
    if unknown.height:
        raise DataError(f"{events_path}: item {unknown['item'][0]!r} is not in {path.name}")
    known = [texts(frame[name], place) for name in CATALOGUE_COLUMNS]
    return pl.DataFrame([item, *known, *(_attribute(frame[name], place) for name in more)])


def _attribute(column: pl.Series, place: Place) -> pl.Series:
    """An attribute, whose type is kept: a text that looks like a number stays a text."""
    return texts(column, place) if column.dtype == pl.String else attribute(column, place)


def _table(path: Path, columns: Sequence[str], more: Sequence[str] | None) -> tuple[pl.DataFrame, Place]:
    """The `columns` of a Parquet file, those of `more` that it has (None: all), and the names of its rows."""
    file = Parquet(path, "fetch or import it again")
    missing = [name for name in columns if name not in file.schema]
    if missing:
        there = ", ".join(map(repr, file.schema)) or "none"
        raise DataError(f"{path}: no column {missing[0]!r}; it has {there}, and needs {', '.join(columns)}")
    others = file.schema if more is None else more
    found = [*columns, *(name for name in others if name in file.schema and name not in columns)]
    return file.read(found).select(found), Place(str(path))
