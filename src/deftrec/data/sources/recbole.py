"""Atomic files of RecBole: tab-separated, with the type of each column in the header (`user_id:token`)."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import polars as pl

from deftrec.data.download import checksums
from deftrec.data.prepare import Raw
from deftrec.data.sources.columns import ids, require
from deftrec.data.sources.faults import Faults
from deftrec.data.sources.roles import Reading, recognise
from deftrec.data.sources.tabular import Columns, behind, events_of
from deftrec.data.sources.textfile import TextFile
from deftrec.data.sources.texts import CATEGORY_SEPARATOR, words
from deftrec.errors import DataError

ROLES = {"user": "user_id", "item": "item_id", "time": "timestamp", "value": "rating"}
TYPES = ("token", "token_seq", "float", "float_seq")
YEAR = "release_year"


def read_recbole(
    path: str | Path,
    names: Mapping[str, str] = {},
    as_given: bool = False,
    *,
    time_format: str | None = None,
    faults: Faults | None = None,
    on_reading: Callable[[Reading], None] = lambda _: None,
) -> Raw:
    """Read `NAME.inter` and, if it is in the same directory, `NAME.item`.

    Titles, categories and texts are recognised by the names of their columns; a `release_year` follows the title in
    parentheses, like MovieLens writes titles. Raises a `DataError` if a file or column is missing or malformed.

    Args:
        path: the `.inter` file, or a directory with exactly one.
        names: column names, without types, of `user`, `item`, `time` and `value` where they are not those of `ROLES`.
        as_given: read the rows in the order of events, without times.
        time_format: see `Columns`.
        faults: collection of the bad rows to leave out; `None`: the first one is an error.
        on_reading: called with the columns taken from each file.
    """
    inter = _inter_file(Path(path))
    file = TextFile(inter, separator="\t", quote=None)
    there, wanted = _names(file), {**ROLES, **names}
    if as_given:
        del wanted["time"]
    if wanted["value"] not in there:
        del wanted["value"]
    require(there, wanted, str(inter))
    on_reading(recognise(str(inter), _types(there), wanted))
    frame = file.read([there[name] for name in wanted.values()], None if faults is None else faults.add_record)
    frame = frame.rename({there[name]: name for name in wanted.values()})
    columns = Columns(wanted["user"], wanted["item"], wanted.get("time"), wanted.get("value"), time_format=time_format)
    events = events_of(frame, file.place(frame, faults), columns)
    if faults is not None:
        faults.settle(str(inter), events.height, file.places)
    item_file = inter.with_suffix(".item")
    items = _read_items(item_file, columns.item, on_reading) if item_file.is_file() else None
    sha256 = checksums(inter, *([] if items is None else [item_file]))
    kind: Literal["clock", "position"] = "position" if as_given else "clock"
    return Raw(events, items, f"recbole:{inter.stem}", sha256, times=kind).noting(faults)


def _inter_file(path: Path) -> Path:
    if path.is_dir():
        found = sorted(path.glob("*.inter"))
        if len(found) != 1:
            names = ", ".join(file.name for file in found) or "none"
            raise DataError(f"{path}: needs exactly one .inter file, and has {names}; give the file itself")
        return found[0]
    if path.suffix != ".inter":
        raise DataError(f"{path}: not a .inter file of RecBole; give one, or a directory with one")
    return path


def _names(file: TextFile) -> dict[str, str]:
    """The columns of the header, by their names without the type."""
    names = {}
    for field in file.columns:
        name, _, kind = field.partition(":")
        if kind not in TYPES:
            message = f"{file.path}: line 1: {field!r} is not of the form name:type, with a type of {', '.join(TYPES)}"
            raise DataError(message)
        names[name] = field
    return names


def _types(names: Iterable[str]) -> dict[str, pl.DataType]:
    return dict.fromkeys(names, pl.String())


def _read_items(path: Path, item: str, on_reading: Callable[[Reading], None]) -> pl.DataFrame:
    file = TextFile(path, separator="\t", quote=None)
    names = _names(file)
    if item not in names:
        raise DataError(f"{path}: no column {item!r}; it has {', '.join(map(repr, names))}")
    reading = recognise(str(path), _types(names), {"item": item, "title": "", "category": "", "text": "", "brand": ""})
    on_reading(replace(reading, ignored=[name for name in reading.ignored if name != YEAR]))
    frame = file.read(list(names.values()))
    place = file.place(frame)
    columns = {"item": ids(frame[names[item]].alias(item), place)}
    for role, name in list(reading.columns.items())[1:]:
        field = names[name]
        split = role == "category" and field.endswith("_seq")
        columns[role] = words(frame[field].str.split(" ") if split else frame[field], place)
    if "brand" in columns:
        columns["text"] = behind(columns.pop("brand"), columns.get("text"))
    if "title" in columns and YEAR in names:
        title, year = columns["title"], words(frame[names[YEAR]], place)
        columns["title"] = (title + " (" + year + ")").zip_with((year != "") & (title != ""), title)
    if "category" in columns:
        columns["category"] = columns["category"].str.replace_all(rf"\{CATEGORY_SEPARATOR}{{2,}}", CATEGORY_SEPARATOR)
    return pl.DataFrame(columns)
