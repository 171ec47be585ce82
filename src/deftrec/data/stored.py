"""The tables of a data directory, read and checked: others may have written them."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from deftrec.data.sources.columns import Place, first_true, typed_ids
from deftrec.data.sources.parquet import Parquet
from deftrec.data.sources.texts import texts
from deftrec.data.sources.times import as_numbers, times
from deftrec.errors import DataError


def read_events(path: Path) -> pl.DataFrame:
    """Read the interactions of a data directory: columns `user`, `item`, `time`, in their order.

    Ids and times are converted as those of a frame. A `DataError` names the column and the row of a fault.
    """
    frame, place = _table(path, ("user", "item", "time"))
    found = times(frame["time"], place)
    user, item = (typed_ids(frame[name], place) for name in ("user", "item"))
    in_time = (found >= found.shift()).fill_null(True) | (user != user.shift()).fill_null(True)
    if not in_time.all() or len(user.rle()) != user.n_unique():
        fault = f"{path}: its rows are not user by user in the order of time"
        raise DataError(f"{fault}; make the directory with 'deftrec data import', which reads rows in any order")
    return pl.DataFrame([user, item, as_numbers(found, place)])


def read_catalogue(path: Path, columns: Sequence[str], events: pl.DataFrame, events_path: Path) -> pl.DataFrame:
    """Read the items of a data directory: `item` and the texts `columns`; errors as for `read_events`.

    Every item of `events`, which were read from `events_path`, must have one row.
    """
    frame, place = _table(path, ("item", *columns))
    item, used = typed_ids(frame["item"], place), events["item"]
    for name in columns:
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
    return pl.DataFrame([item, *(texts(frame[name], place) for name in columns)])


def _table(path: Path, columns: Sequence[str]) -> tuple[pl.DataFrame, Place]:
    """The `columns` of a Parquet file, and the names of its rows."""
    file = Parquet(path, "fetch or import it again")
    missing = [name for name in columns if name not in file.schema]
    if missing:
        there = ", ".join(map(repr, file.schema)) or "none"
        raise DataError(f"{path}: no column {missing[0]!r}; it has {there}, and needs {', '.join(columns)}")
    return file.read(list(columns)), Place(str(path))
