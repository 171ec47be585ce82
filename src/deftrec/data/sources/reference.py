"""The format of the DeftRec authors: sequences of numbers, and lists of the ids behind the numbers.

`train.txt` and `test.txt` hold one user per line, `user item item ...` in time order. A line of `test.txt` is the
complete sequence with the test item last; the same line of `train.txt` lacks that item. `item_list.txt` has the
columns `org_id remap_id title category` in any order, separated by spaces and quoted as in CSV; `user_list.txt` has
`org_id remap_id`.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from deftrec.data.download import sha256_of
from deftrec.data.prepare import Raw
from deftrec.data.sources.columns import ids, words
from deftrec.data.sources.textfile import TextFile, not_utf8, open_text
from deftrec.errors import DataError

TRAIN, TEST, ITEMS, USERS = "train.txt", "test.txt", "item_list.txt", "user_list.txt"


def read_reference(directory: str | Path) -> Raw:
    """Read a directory in the authors' format; the time of an interaction is its position in the sequence.

    Users and items get their original ids (`org_id`), or their number if there is no list. Repeated items are kept.

    Raises:
        DataError: a file is missing or malformed, or `train.txt` is not a prefix of `test.txt` line by line.
    """
    directory = Path(directory)
    if not (directory / TEST).is_file():
        raise DataError(f"{directory}: no {TEST}; the reference format is a directory with {TRAIN}, {TEST} and {ITEMS}")
    complete = _lines(directory / TEST)
    if (directory / TRAIN).is_file():
        _check_prefix(directory / TRAIN, complete, directory / TEST)
    lengths = [len(line.items) for line in complete]
    events = pl.DataFrame(
        {
            "user": np.repeat(np.array([line.user for line in complete], np.int64), lengths),
            "item": np.concatenate([np.array(line.items, np.int64) for line in complete]),
            "time": np.concatenate([np.arange(length) for length in lengths]),
        }
    )

    user_list = _listing(directory / USERS)
    item_list = _listing(directory / ITEMS)
    items = None
    if user_list is not None:
        events = _rename(events, "user", user_list, directory / USERS, directory / TEST)
    if item_list is not None:
        events = _rename(events, "item", item_list, directory / ITEMS, directory / TEST)
        items = item_list.rename({"org_id": "item"}).drop("remap_id")
    files = [directory / name for name in (TRAIN, TEST, ITEMS, USERS) if (directory / name).is_file()]
    sha256 = {file.name: sha256_of(file) for file in files}
    return Raw(events, items, f"reference:{directory.name}", sha256, times="position")


class _Line(NamedTuple):
    number: int
    user: int
    items: list[int]


def _lines(file: Path, *, empty: bool = False) -> list[_Line]:
    """The user and the items of every line. With `empty`, a user may have no items."""
    read: list[_Line] = []
    seen: dict[int, int] = {}
    try:
        with open_text(file) as lines:
            for number, line in enumerate(lines, start=1):
                words = line.split()
                if not words:
                    continue
                bad = next((word for word in words if not (word.isascii() and word.isdigit() and len(word) < 19)), None)
                if bad is not None:
                    raise DataError(
                        f"{file}: line {number}: {bad!r} is not a number; a line holds numbers of a user and of items"
                    )
                user, *items = map(int, words)
                if not items and not empty:
                    raise DataError(f"{file}: line {number}: user {user} has no items")
                if user in seen:
                    raise DataError(
                        f"{file}: line {number}: user {user} is on line {seen[user]} already; join both lines"
                    )
                seen[user] = number
                read.append(_Line(number, user, items))
    except UnicodeDecodeError as error:
        raise not_utf8(file, error) from error
    if not read:
        raise DataError(f"{file}: no interactions; the file is empty")
    return read


def _check_prefix(train: Path, complete: list[_Line], test: Path) -> None:
    """Check that the two files are of one data set, with the test item last."""
    sequences = {line.user: line.items for line in complete}
    for number, user, items in _lines(train, empty=True):
        whole = sequences.get(user)
        if whole is None:
            raise DataError(f"{train}: line {number}: user {user} is not in {test.name}")
        if len(items) >= len(whole) or items != whole[: len(items)]:
            raise DataError(
                f"{train}: line {number}: the items of user {user} do not begin those in {test.name}, which holds "
                "complete sequences, the test item last"
            )


def _listing(path: Path) -> pl.DataFrame | None:
    """Columns `remap_id`, `org_id` (integers if all are) and, if the file has them, `title` and `category`."""
    if not path.is_file():
        return None
    file = TextFile(path, separator=" ")
    for column in ("org_id", "remap_id"):
        if column not in file.columns:
            raise DataError(f"{path}: line 1: no column {column!r}; it has {' '.join(file.columns)!r}")
    kept: list[str] = [column for column in ("remap_id", "org_id", "title", "category") if column in file.columns]
    frame = file.read(kept)
    numbers = [ids(frame[column], file.place, frame["record"]) for column in kept[:2]]
    if numbers[0].dtype != pl.Int64:
        raise DataError(f"{path}: column 'remap_id' must hold numbers only")
    for number in numbers:
        twice = number.is_duplicated()
        if twice.any():
            raise DataError(f"{path}: {number.name} {number[int(twice.arg_max() or 0)]!r} occurs twice; leave one row")
    return pl.DataFrame([*numbers, *(words(frame[column]) for column in kept[2:])])


def _rename(events: pl.DataFrame, column: str, listing: pl.DataFrame, list_file: Path, file: Path) -> pl.DataFrame:
    """Replace numbers by the original ids."""
    names = listing.select(pl.col("remap_id").alias(column), "org_id")
    named = events.join(names, on=column, how="left", maintain_order="left")
    missing = named["org_id"].is_null()
    if missing.any():
        number = named[column][int(missing.arg_max() or 0)]
        raise DataError(f"{list_file}: {column} {number} of {file.name} is not listed; add a row with this remap_id")
    return named.with_columns(pl.col("org_id").alias(column)).drop("org_id")
