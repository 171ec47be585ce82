"""Tables of interactions and items in CSV, Parquet or JSON lines; the user names the columns."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import polars as pl

from deftrec.data.download import sha256_of
from deftrec.data.prepare import Raw
from deftrec.data.sources.columns import Place, check_id_type, ids, numbers, require, times, words
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
    """Column names of the tables of interactions and items.

    Attributes:
        user, item: columns of the ids of users and items.
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


def format_of(path: Path) -> TableFormat:
    """The format of a table, from its file name without `.gz`.

    Raises:
        DataError: the name has no known suffix.
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
    """Read a table of interactions, and optionally a table of items.

    An id column of a CSV or JSON lines file holds integers if every value is an integer in plain form, and strings
    otherwise: `"007"` stays a string. The types of a Parquet file are kept.

    Args:
        path: table of interactions, one per row; may be gzipped.
        columns: names of the columns.
        form: format of `path`; `None` stands for the format of its name.
        items: table of items, one per row, in the format of its name.

    Raises:
        DataError: names the file, the line (in Parquet the row) and the column of the fault.
    """
    path = Path(path)
    roles = {"user": columns.user, "item": columns.item, "time": columns.time, "rating": columns.rating}
    wanted = {role: name for role, name in roles.items() if name is not None}
    frame, place = _read(path, form or format_of(path), wanted, columns.separator)
    sha256 = {path.name: sha256_of(path)}
    catalogue = None
    if items is not None:
        catalogue = read_items(items, columns)
        sha256[Path(items).name] = sha256_of(items)
    kind: Literal["clock", "position"] = "position" if columns.time is None else "clock"
    return Raw(events_of(frame, place, columns), catalogue, path.name, sha256, times=kind)


def read_events(path: str | Path, columns: Columns = Columns()) -> tuple[pl.DataFrame, Place]:
    """Read interactions in the order of their file: columns `record`, `user`, `item`, `time`.

    Returns:
        The interactions, and the place that names the line of a `record`.

    Raises:
        DataError: see `read_tabular`.
    """
    path = Path(path)
    wanted = {"user": columns.user, "item": columns.item, "time": columns.time or "time"}
    frame, place = _read(path, format_of(path), wanted, columns.separator, in_order=None)
    return events_of(frame, place, columns).select(frame["record"], "user", "item", "time"), place


def read_items(path: str | Path, columns: Columns, *, option: str = "--items-id") -> pl.DataFrame:
    """Read a table of items: column `item` and any of `title`, `category`, `text`.

    Args:
        path: table of items, one per row, in the format of its name.
        columns: names of the columns.
        option: command-line option that names the id column, for messages.

    Raises:
        DataError: see `read_tabular`.
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


def events_of(frame: pl.DataFrame, place: Place, columns: Columns) -> pl.DataFrame:
    """Convert a table read as strings to interactions: columns `user`, `item`, `time` and perhaps `rating`.

    Args:
        frame: the wanted columns, and `record`, the number of each row in the file.
        place: names of the records.
        columns: names of the columns.
    """
    record = frame["record"]
    parts = {
        "user": ids(frame[columns.user], place, record),
        "item": ids(frame[columns.item], place, record),
        "time": record.cast(pl.Int64) if columns.time is None else times(frame[columns.time], place, record),
    }
    if columns.rating is not None:
        parts["rating"] = numbers(frame[columns.rating], place, record)
    return pl.DataFrame({name: part.alias(name) for name, part in parts.items()})


def _read(
    path: Path,
    form: TableFormat,
    wanted: dict[str, str],
    separator: str | None,
    in_order: str | None = "--order-as-given",
) -> tuple[pl.DataFrame, Place]:
    """The wanted columns, and `record`, the number of each row in the file."""
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
        raise DataError(f"{path}: the file has no rows; give a file with interactions")
    return frame, Place(str(path))


def _scan_parquet(path: Path) -> pl.LazyFrame:
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        scan = pl.scan_parquet(path)
        scan.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(
            f"{path}: not a Parquet file ({str(error).splitlines()[0]}); check the file and --format"
        ) from error
    return scan


# -- JSON lines ------------------------------------------------------------------------------------------------------


def _read_jsonl(path: Path, names: list[str] | None) -> pl.DataFrame:
    """The wanted keys as strings, or all keys in their own types if `names` is `None`; and `record`."""
    schema = None if names is None else dict.fromkeys(names, pl.String)
    try:
        scan = pl.scan_ndjson(path, schema=schema, infer_schema_length=None if schema is None else 1)
        frame = scan.collect(engine="streaming").with_row_index("record")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _jsonl_fault(path, error) from error
    if frame.height == 0:
        raise DataError(f"{path}: the file is empty")
    return frame


def _check_ids(path: Path, wanted: dict[str, str]) -> None:
    """Check that ids are strings or numbers in the first thousand objects; read as strings, all values look alike."""
    try:
        types = pl.scan_ndjson(path, infer_schema_length=1000).collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _jsonl_fault(path, error) from error
    for role in ("user", "item"):
        check_id_type(wanted[role], types[wanted[role]], str(path))


def _filled(path: Path) -> Iterator[tuple[int, str]]:
    """The number and the text of every line that is not empty."""
    with open_text(path) as lines:
        yield from ((number, line) for number, line in enumerate(lines, start=1) if line.strip())


def _object(path: Path, number: int, line: str) -> dict[str, object]:
    try:
        parsed = None if line.lstrip().startswith("[") else json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: line {number}: not JSON ({error}); write one object a line") from error
    if not isinstance(parsed, dict):
        raise DataError(f"{path}: line {number}: not a JSON object; write one object a line; an array is not read")
    return parsed


def _first_keys(path: Path) -> list[str]:
    """The keys of the first object. A later object that lacks one is an error with its line."""
    try:
        number, line = next(_filled(path), (0, ""))
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    if not number:
        raise DataError(f"{path}: no rows; the file is empty")
    return list(_object(path, number, line))


def _jsonl_place(path: Path) -> Place:
    def line(record: int) -> str:
        numbers = (number for number, _ in _filled(path))
        return f"line {next((number for place, number in enumerate(numbers) if place == record), record + 1)}"

    return Place(str(path), line)


def _jsonl_fault(path: Path, error: Exception) -> DataError:
    """The error that names the line at which polars failed."""
    try:
        for number, line in _filled(path):
            _object(path, number, line)
    except DataError as fault:
        return fault
    except (OSError, EOFError, UnicodeDecodeError) as broken:
        return DataError(f"{path}: cannot be read ({broken})")
    return DataError(f"{path}: cannot be read ({str(error).splitlines()[0]})")


# -- items -----------------------------------------------------------------------------------------------------------


def _catalogue(frame: pl.DataFrame, place: Place, columns: Columns, option: str) -> pl.DataFrame:
    candidates = [columns.catalogue_item] if columns.catalogue_item else [columns.item, "item", "item_id"]
    key = next((name for name in candidates if name in frame.columns), None)
    if key is None:
        raise DataError(
            f"{place.file}: no column {candidates[0]!r} with the items' ids; it has "
            f"{', '.join(repr(name) for name in frame.columns if name != 'record')}; name it with {option} COL"
        )
    record = frame["record"] if "record" in frame.columns else None
    parts = {"item": ids(frame[key], place, record)}
    for role, named in (("title", columns.title), ("category", columns.category), ("text", columns.text)):
        if named is not None and named not in frame.columns:
            raise DataError(f"{place.file}: no column {named!r} for the {role}; name the right one with --{role} COL")
        name = named or role
        if name in frame.columns and name != key:
            try:
                parts[role] = words(frame[name])
            except DataError as error:
                raise DataError(f"{place.file}: {error}") from error
    again = ~parts["item"].is_first_distinct()
    if again.any():
        entry = int(again.arg_max() or 0)
        where = int(record[entry]) if record is not None else entry
        raise place.error(where, key, f"{parts['item'][entry]!r} occurs again; leave one row")
    return pl.DataFrame({name: part.alias(name) for name, part in parts.items()})
