"""Tables of interactions and items in CSV, Parquet or JSON lines; the user names the columns."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import polars as pl

from deftrec.data.download import checksums
from deftrec.data.prepare import Raw
from deftrec.data.sources.columns import Place, decoded, first_true, ids, numbers, require, times
from deftrec.data.sources.jsonlines import JsonLines
from deftrec.data.sources.parquet import Parquet
from deftrec.data.sources.textfile import TextFile
from deftrec.data.sources.texts import words
from deftrec.errors import DataError

TableFormat: TypeAlias = Literal["csv", "parquet", "jsonl"]
_File: TypeAlias = TextFile | JsonLines | Parquet

SUFFIXES: dict[str, TableFormat] = {
    **dict.fromkeys((".csv", ".tsv", ".txt"), "csv"),
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), "jsonl"),
}


@dataclass(frozen=True)
class Columns:
    """Column names of the tables of interactions and items.

    Attributes:
        user, item: columns of ids.
        time: column of times (numbers in any unit, or ISO dates); `None` if the rows are in the order of events.
        rating: column of ratings (numbers), or `None`.
        title, category, text: columns of the items' table; `None` stands for columns of these names, if present.
        catalogue_item: column of item ids in the items' table; `None` stands for `item`'s name, `item` or `item_id`.
        separator: one character that separates the fields of a CSV file; `None` finds it in the first line.
    """

    user: str = "user"
    item: str = "item"
    time: str | None = "time"
    rating: str | None = None
    title: str | None = None
    category: str | None = None
    text: str | None = None
    catalogue_item: str | None = None
    separator: str | None = None


def format_of(path: Path, mend: str = f"say --format {'|'.join(get_args(TableFormat))}") -> TableFormat:
    """The format of a table, from its file name without `.gz`.

    Raises a `DataError` that ends with `mend` if the name has no known suffix.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    found = SUFFIXES.get(suffixes[-1]) if suffixes else None
    if found is None:
        raise DataError(f"{path}: its name does not tell its format; {mend}")
    return found


def read_tabular(
    path: str | Path, columns: Columns = Columns(), *, form: TableFormat | None = None, items: str | Path | None = None
) -> Raw:
    """Read a table of interactions, and optionally a table of items.

    An id column of a CSV or JSON lines file holds integers if every value is an integer in plain form, and strings
    otherwise: `"007"` stays a string. The types of a Parquet file are kept.

    Args:
        path: table of interactions, one per row; may be gzipped.
        columns: names of the columns.
        form: format of `path`; `None` stands for the format of its name.
        items: table of items, one per row, in the format of its name.

    A `DataError` names the file, the line (in Parquet the row) and the column of the fault.
    """
    path = Path(path)
    roles = {"user": columns.user, "item": columns.item, "time": columns.time, "rating": columns.rating}
    wanted = {role: name for role, name in roles.items() if name is not None}
    frame, place = _wanted(path, form, wanted, columns)
    catalogue = None if items is None else read_items(items, columns)
    sha256 = checksums(path, *([] if items is None else [items]))
    kind: Literal["clock", "position"] = "position" if columns.time is None else "clock"
    return Raw(events_of(frame, place, columns), catalogue, path.name, sha256, times=kind)


def read_events(
    path: str | Path, columns: Columns = Columns(), *, form: TableFormat | None = None
) -> tuple[pl.DataFrame, Place]:
    """Read interactions in the order of their file: columns `record`, `user`, `item`, `time`; and the records' names.

    Arguments and errors are those of `read_tabular`.
    """
    path = Path(path)
    wanted = {"user": columns.user, "item": columns.item, "time": columns.time or "time"}
    frame, place = _wanted(path, form, wanted, columns, in_order=None)
    return events_of(frame, place, columns).select(frame["record"], "user", "item", "time"), place


def read_items(
    path: str | Path, columns: Columns, *, form: TableFormat | None = None, option: str = "--items-id"
) -> pl.DataFrame:
    """Read a table of items: column `item` and any of `title`, `category`, `text`.

    `form` is the format of `path`; `None` stands for the format of its name. Errors are those of `read_tabular`; a
    message names the `option` of the command line for the id column.
    """
    path = Path(path)
    form = form or format_of(path, f"rename it, so that it ends in one of {' '.join(SUFFIXES)}")
    if path.is_file() and not path.stat().st_size:
        raise DataError(f"{path}: no items; the file is empty")
    file = _open(path, form, None if ".tsv" in path.suffixes else columns.separator, whole=True)
    there = list(file.schema)
    candidates = [columns.catalogue_item] if columns.catalogue_item else [columns.item, "item", "item_id"]
    key = next((name for name in candidates if name in there), None)
    if key is None:
        names = ", ".join(map(repr, there))
        message = f"{path}: no column {candidates[0]!r} with the items' ids; it has {names}; name it with {option} COL"
        raise DataError(message)
    roles = {"item": key}
    for role, named in (("title", columns.title), ("category", columns.category), ("text", columns.text)):
        if named is not None and named not in there:
            raise DataError(f"{path}: no column {named!r} for the {role}; name the right one with --{role} COL")
        name = named or role
        if name in there and name != key:
            roles[role] = name
    frame, place = _read(file, roles.values())
    parts = {role: (ids if role == "item" else words)(frame[name], place) for role, name in roles.items()}
    again = ~parts["item"].is_first_distinct()
    if again.any():
        entry = first_true(again)
        raise place.error(entry, key, f"{parts['item'][entry]!r} occurs again; leave one row")
    return pl.DataFrame({name: part.alias(name) for name, part in parts.items()})


def events_of(frame: pl.DataFrame, place: Place, columns: Columns) -> pl.DataFrame:
    """Convert a table to interactions: columns `user`, `item`, `time` and perhaps `rating`.

    `frame` holds the wanted columns, and `record`, the number of each row in the file.
    """
    parts = {
        "user": ids(frame[columns.user], place),
        "item": ids(frame[columns.item], place),
        "time": frame["record"].cast(pl.Int64) if columns.time is None else times(frame[columns.time], place),
    }
    if columns.rating is not None:
        parts["rating"] = numbers(frame[columns.rating], place)
    return pl.DataFrame({name: part.alias(name) for name, part in parts.items()})


def _wanted(
    path: Path,
    form: TableFormat | None,
    wanted: Mapping[str, str],
    columns: Columns,
    in_order: str | None = "--order-as-given",
) -> tuple[pl.DataFrame, Place]:
    """The wanted columns of a table of interactions; see `_read`."""
    file = _open(path, form or format_of(path), columns.separator)
    require(file.schema, wanted, str(path), in_order=in_order)
    frame, place = _read(file, wanted.values())
    if not frame.height:
        raise DataError(f"{path}: the file has no rows; give a file with interactions")
    return frame, place


def _open(path: Path, form: TableFormat, separator: str | None, *, whole: bool = False) -> _File:
    """Open a table; of JSON lines, `whole` finds the keys of all lines."""
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if form == "csv":
        return TextFile(path, separator or ("\t" if ".tsv" in path.suffixes else None))
    return JsonLines(path, whole=whole) if form == "jsonl" else Parquet(path)


def _read(file: _File, names: Iterable[str]) -> tuple[pl.DataFrame, Place]:
    """Some columns with `record`, the number of each row in the file, and the rows' names."""
    frame = file.read(list(dict.fromkeys(names)))
    place = Place(str(file.path), file.describe, frame["record"])
    return frame.with_columns(decoded(one, place) for one in frame if one.dtype == pl.Binary), place
