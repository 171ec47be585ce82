"""Anybody's tables: CSV, Parquet, JSON lines, or a data frame; the user says which column is what."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import polars as pl

from deftrec.data.download import sha256_of
from deftrec.data.prepare import Raw
from deftrec.data.sources.columns import Place, check_id_type, ids, numbers, require, times, words
from deftrec.data.sources.frames import to_polars
from deftrec.data.sources.textfile import TextFile, open_text
from deftrec.errors import DataError

TableFormat: TypeAlias = Literal["csv", "parquet", "jsonl"]

SUFFIXES: dict[str, TableFormat] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
}


@dataclass(frozen=True)
class Columns:
    """Which column of a table is what.

    Attributes:
        user, item: ids.
        time: a number in any unit, or an ISO date; `None` takes the order of the rows as the order of events.
        rating: a number, or `None`.
        title, category, text: of the items; `None` takes columns of these very names where there are some.
        catalogue_item: the item column of the items' table; `None` takes `item`'s name, or one called item or item_id.
        separator: of a CSV file; `None` finds it from the first line.
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


def format_of(path: Path) -> TableFormat:
    """The format a file's name tells, `.gz` aside.

    Raises:
        DataError: it tells none.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    found = SUFFIXES.get(suffixes[-1]) if suffixes else None
    if found is None:
        raise DataError(f"{path}: its name does not tell its format; say --format {'|'.join(get_args(TableFormat))}")
    return found


def read_tabular(
    path: str | Path,
    columns: Columns = Columns(),
    *,
    form: TableFormat | None = None,
    items: str | Path | None = None,
) -> Raw:
    """Read events, and the items' titles, categories and texts where `items` names their file.

    A column of a CSV or JSON lines file is one of integers if every value is an integer in its plain form, else one of
    strings: `"007"` stays what it is. Parquet's own types are kept.

    Args:
        path: the events, one row each; `.gz` is read as it is.
        columns: which column is what.
        form: `None` goes by the file's name.
        items: one row an item; its format goes by its name.

    Raises:
        DataError: names the file, the line (of Parquet the row) and the column of what is wrong.
    """
    path = Path(path)
    wanted = {"user": columns.user, "item": columns.item}
    if columns.time is not None:
        wanted["time"] = columns.time
    if columns.rating is not None:
        wanted["rating"] = columns.rating
    frame, place = _read(path, form or format_of(path), wanted, columns.separator)
    sha256 = {path.name: sha256_of(path)}
    catalogue = None
    if items is not None:
        catalogue = read_items(items, columns)
        sha256[Path(items).name] = sha256_of(items)
    return _raw(frame, place, columns, catalogue, str(path.name), sha256)


def read_events(path: str | Path, columns: Columns = Columns()) -> tuple[pl.DataFrame, Place]:
    """Events as they stand in a file: columns `record`, `user`, `item`, `time`, and the place that names a record.

    Raises:
        DataError: as `read_tabular`.
    """
    path = Path(path)
    wanted = {"user": columns.user, "item": columns.item, "time": columns.time or "time"}
    frame, place = _read(path, format_of(path), wanted, columns.separator, in_order=None)
    raw = _raw(frame, place, columns, None, path.name, {})
    return raw.events.select(frame["record"].alias("record"), "user", "item", "time"), place


def read_frame(frame: Any, columns: Columns = Columns(), *, items: Any = None, source: str = "memory") -> Raw:
    """The same of data frames: polars, or anything that gives a column by `frame[name]` (pandas).

    Raises:
        DataError: names the row and the column of what is wrong.
    """
    place = Place(source)
    wanted = {"user": columns.user, "item": columns.item}
    wanted |= {"time": columns.time} if columns.time is not None else {}
    wanted |= {"rating": columns.rating} if columns.rating is not None else {}
    events = to_polars(frame)
    require(events.columns, wanted, source)
    if events.height == 0:
        raise DataError(f"{source}: no interactions; the frame is empty")
    catalogue = None if items is None else _catalogue(to_polars(items), Place(f"{source} items"), columns)
    selected = events.select(pl.int_range(pl.len()).alias("record"), *dict.fromkeys(wanted.values()))
    return _raw(selected, place, columns, catalogue, source, {})


def read_items(path: str | Path, columns: Columns, *, option: str = "--items-id") -> pl.DataFrame:
    """The items' table: `item` and any of `title`, `category`, `text`.

    Args:
        path: one row an item; its format goes by its name.
        columns: which column is what.
        option: what the caller calls the one that names the column of ids.

    Raises:
        DataError: as `read_tabular`.
    """
    path = Path(path)
    form = format_of(path)
    if path.is_file() and not path.stat().st_size:
        raise DataError(f"{path}: no items; the file is empty")
    if form == "parquet":
        return _catalogue(_scan_parquet(path).collect(), Place(str(path)), columns, option)
    if form == "csv":
        file = TextFile(path, columns.separator if path.suffix != ".tsv" else "\t")
        return _catalogue(file.read(file.columns), file.place, columns, option)
    return _catalogue(_read_jsonl(path, None), _jsonl_place(path), columns, option)


def _raw(
    frame: pl.DataFrame, place: Place, columns: Columns, items: pl.DataFrame | None, source: str, sha256: dict[str, str]
) -> Raw:
    record = frame["record"]
    parts = {
        "user": ids(frame[columns.user], place, record),
        "item": ids(frame[columns.item], place, record),
        "time": record.cast(pl.Int64) if columns.time is None else times(frame[columns.time], place, record),
    }
    if columns.rating is not None:
        parts["rating"] = numbers(frame[columns.rating], place, record)
    events = pl.DataFrame({name: part.alias(name) for name, part in parts.items()})
    return Raw(events, items, source, sha256, times="clock" if columns.time is not None else "position")


def _read(
    path: Path,
    form: TableFormat,
    wanted: dict[str, str],
    separator: str | None,
    in_order: str | None = "--order-as-given",
) -> tuple[pl.DataFrame, Place]:
    """The wanted columns and `record`, the number of each row in the file."""
    names = list(dict.fromkeys(wanted.values()))
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if form == "csv":
        file = TextFile(path, separator or ("\t" if ".tsv" in path.suffixes else None))
        require(file.columns, wanted, str(path), in_order=in_order)
        return file.read(names), file.place
    if form == "jsonl":
        require(_first_keys(path), wanted, str(path), in_order=in_order)
        _check_ids(path, wanted)
        return _read_jsonl(path, names), _jsonl_place(path)
    scan = _scan_parquet(path)
    require(scan.collect_schema().names(), wanted, str(path), in_order=in_order)
    try:
        frame = scan.select(names).with_row_index("record").collect(engine="streaming")
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from error
    if frame.height == 0:
        raise DataError(f"{path}: the file has no rows")
    return frame, Place(str(path))


def _scan_parquet(path: Path) -> pl.LazyFrame:
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        scan = pl.scan_parquet(path)
        scan.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path}: not a Parquet file ({str(error).splitlines()[0]})") from error
    return scan


# -- JSON lines ------------------------------------------------------------------------------------------------------


def _read_jsonl(path: Path, names: list[str] | None) -> pl.DataFrame:
    """Each wanted key as a string (all keys, with their own types, where `names` is `None`), and `record`."""
    schema = None if names is None else dict.fromkeys(names, pl.String)
    try:
        scan = pl.scan_ndjson(path, schema=schema, infer_schema_length=None if schema is None else 1)
        frame = scan.collect(engine="streaming").with_row_index("record")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _explain_jsonl(path, error) from error
    if frame.height == 0:
        raise DataError(f"{path}: the file is empty")
    return frame


def _check_ids(path: Path, wanted: dict[str, str]) -> None:
    """An id is a string or a number, as far as the first thousand objects show: as strings all values look alike."""
    try:
        types = pl.scan_ndjson(path, infer_schema_length=1000).collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _explain_jsonl(path, error) from error
    for role in ("user", "item"):
        check_id_type(wanted[role], types[wanted[role]], str(path))


def _first_keys(path: Path) -> list[str]:
    """The keys of the first object; later ones may lack some, which is then an error with its line."""
    try:
        with open_text(path) as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    if line.lstrip().startswith("["):
                        raise _no_object(path, number)
                    first = json.loads(line)
                    if isinstance(first, dict):
                        return list(first)
                    raise _no_object(path, number)
    except (ValueError, OSError, EOFError, RecursionError) as error:
        raise DataError(f"{path}: line 1: not JSON ({error})") from error
    raise DataError(f"{path}: no rows; the file is empty")


def _no_object(path: Path, line: int) -> DataError:
    return DataError(f"{path}: line {line}: not a JSON object; write one object a line; an array is not read")


def _jsonl_place(path: Path) -> Place:
    def line(record: int) -> str:
        with open_text(path) as lines:
            filled = (number for number, text in enumerate(lines, start=1) if text.strip())
            return f"line {next((number for place, number in enumerate(filled) if place == record), record + 1)}"

    return Place(str(path), line)


def _explain_jsonl(path: Path, error: Exception) -> DataError:
    """What polars stumbled over, with its line."""
    try:
        with open_text(path) as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                if line.lstrip().startswith("["):
                    return _no_object(path, number)
                try:
                    parsed = json.loads(line)
                except (ValueError, RecursionError) as broken:
                    return DataError(f"{path}: line {number}: not JSON ({broken})")
                if not isinstance(parsed, dict):
                    return _no_object(path, number)
    except (OSError, EOFError, UnicodeDecodeError) as broken:
        return DataError(f"{path}: cannot be read ({broken})")
    return DataError(f"{path}: cannot be read ({str(error).splitlines()[0]})")


# -- catalogue and frames --------------------------------------------------------------------------------------------


def _catalogue(frame: pl.DataFrame, place: Place, columns: Columns, option: str = "--items-id") -> pl.DataFrame:
    candidates = [columns.catalogue_item] if columns.catalogue_item else [columns.item, "item", "item_id"]
    key = next((name for name in candidates if name in frame.columns), None)
    if key is None:
        raise DataError(
            f"{place.file}: no column {candidates[0]!r} with the items' ids; it has "
            f"{', '.join(repr(name) for name in frame.columns if name != 'record')}; name it with {option} COL"
        )
    record = frame["record"] if "record" in frame.columns else None
    parts = {"item": ids(frame[key], place, record)}
    for role, asked in (("title", columns.title), ("category", columns.category), ("text", columns.text)):
        if asked is not None and asked not in frame.columns:
            raise DataError(f"{place.file}: no column {asked!r} for the {role}; name the right one with --{role} COL")
        name = asked or role
        if name in frame.columns and name != key:
            try:
                parts[role] = words(frame[name])
            except DataError as error:
                raise DataError(f"{place.file}: {error}") from error
    twice = parts["item"].is_duplicated()
    if twice.any():
        entry = int(twice.arg_max() or 0)
        later = next(n for n in range(entry + 1, frame.height) if parts["item"][n] == parts["item"][entry])
        raise place.error(int(record[later]) if record is not None else later, key, f"{parts['item'][later]!r} again")
    return pl.DataFrame({name: part.alias(name) for name, part in parts.items()})
