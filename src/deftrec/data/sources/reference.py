"""The format of the DeftRec authors: sequences of numbers, and lists of the ids behind the numbers.

`train.txt` and `test.txt` hold one user per line, `user item item ...` in time order. A line of `test.txt` is the
complete sequence with the test item last; the same line of `train.txt` lacks that item. `item_list.txt` has the
columns `org_id remap_id title category` in any order, separated by spaces and quoted as in CSV; `user_list.txt` has
`org_id remap_id`.
"""

from pathlib import Path

import polars as pl

from deftrec.data.download import checksums
from deftrec.data.prepare import Raw
from deftrec.data.sources.columns import first_true, ids
from deftrec.data.sources.opening import open_text
from deftrec.data.sources.textfile import TextFile
from deftrec.data.sources.texts import words
from deftrec.errors import DataError

TRAIN, TEST, ITEMS, USERS = "train.txt", "test.txt", "item_list.txt", "user_list.txt"


def read_reference(directory: str | Path) -> Raw:
    """Read a directory in the authors' format; the time of an interaction is its position in the sequence.

    Users and items get their original ids (`org_id`), or their number if there is no list. Repeated items are kept.
    Raises a `DataError` if a file is missing or malformed, or `train.txt` is not a prefix of `test.txt` line by line.
    """
    directory = Path(directory)
    if not (directory / TEST).is_file():
        raise DataError(f"{directory}: no {TEST}; the reference format is a directory with {TRAIN}, {TEST} and {ITEMS}")
    complete = _lines(directory / TEST)
    if (directory / TRAIN).is_file():
        _check_prefix(directory / TRAIN, complete)
    sequences = {"user": list(complete), "item": [items for _, items in complete.values()]}
    events = pl.DataFrame(sequences, schema={"user": pl.Int64, "item": pl.List(pl.Int64)})
    events = events.with_columns(time=pl.int_ranges(pl.col("item").list.len())).explode("item", "time")
    events, _ = _rename(events, "user", directory / USERS)
    events, items = _rename(events, "item", directory / ITEMS)
    files = [directory / name for name in (TRAIN, TEST, ITEMS, USERS)]
    sha256 = checksums(*(file for file in files if file.is_file()))
    return Raw(events, items, f"reference:{directory.name}", sha256, times="position")


def _lines(file: Path, *, empty: bool = False) -> dict[int, tuple[int, list[int]]]:
    """The number of the line and the items of each user. With `empty`, a user may have no items."""
    read: dict[int, tuple[int, list[int]]] = {}
    with open_text(file) as lines:
        for number, line in enumerate(lines, start=1):
            where, fields = f"{file}: line {number}", line.split()
            bad = next((word for word in fields if not (word.isascii() and word.isdigit() and len(word) < 19)), None)
            if bad is not None:
                raise DataError(f"{where}: {bad!r} is not a number; a line holds numbers of a user and of items")
            if not fields:
                continue
            user, *items = map(int, fields)
            if not items and not empty:
                raise DataError(f"{where}: user {user} has no items")
            if user in read:
                raise DataError(f"{where}: user {user} is on line {read[user][0]} already; join both lines")
            read[user] = number, items
    if not read:
        raise DataError(f"{file}: no interactions; the file is empty")
    return read


def _check_prefix(train: Path, complete: dict[int, tuple[int, list[int]]]) -> None:
    """Check that the two files are of one data set, with the test item last."""
    for user, (number, items) in _lines(train, empty=True).items():
        where = f"{train}: line {number}"
        if user not in complete:
            raise DataError(f"{where}: user {user} is not in {TEST}")
        if items != complete[user][1][:-1][: len(items)]:
            fault = f"the items of user {user} do not begin those in {TEST}"
            raise DataError(f"{where}: {fault}, which holds complete sequences, the test item last")


def _rename(events: pl.DataFrame, column: str, path: Path) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """Replace numbers by the original ids of the list `path`; also return the list with its titles and categories.

    Without the file, `events` stay unchanged. The ids are integers if all are.
    """
    if not path.is_file():
        return events, None
    file = TextFile(path, separator=" ")
    for name in ("org_id", "remap_id"):
        if name not in file.columns:
            raise DataError(f"{path}: line 1: no column {name!r}; it has {' '.join(file.columns)!r}")
    kept: list[str] = [name for name in ("remap_id", "org_id", "title", "category") if name in file.columns]
    frame = file.read(kept)
    place = file.place(frame)
    remapped, original = (ids(frame[name], place) for name in kept[:2])
    if remapped.dtype != pl.Int64:
        raise DataError(f"{path}: column 'remap_id' must hold numbers only")
    for number in (remapped, original):
        twice = number.is_duplicated()
        if twice.any():
            raise DataError(f"{path}: {number.name} {number[first_true(twice)]!r} occurs twice; leave one row")
    names = pl.DataFrame({column: remapped, "org_id": original})
    named = events.join(names, on=column, how="left", maintain_order="left")
    missing = named["org_id"].is_null()
    if missing.any():
        unlisted = named[column][first_true(missing)]
        raise DataError(f"{path}: {column} {unlisted} of {TEST} is not listed; add a row with this remap_id")
    listed = pl.DataFrame([original.alias(column), *(words(frame[name], place) for name in kept[2:])])
    return named.with_columns(pl.col("org_id").alias(column)).drop("org_id"), listed
