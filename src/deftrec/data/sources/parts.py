"""A table in several files: those of a directory, of a pattern with `*`, or of a list."""

import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from glob import glob
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from deftrec.data.sources.opening import absent, is_hidden, is_pattern, is_there
from deftrec.data.sources.textfile import Broken, NoRowsError
from deftrec.data.sources.values import as_text
from deftrec.errors import DataError

EXACT = 2**53  # greatest integer up to which floats are exact


class Table(Protocol):
    """A file of rows: names and types of its columns, their values, and names of the places of its records."""

    @property
    def schema(self) -> Mapping[str, pl.DataType]:
        """The type of each column."""

    def read(self, columns: list[str], broken: Broken | None = None) -> pl.DataFrame:
        """Read columns, and `record`, the number of each record, from 0.

        A record that is no row goes to `broken`; without it, it is a `DataError`. Raises a `NoRowsError` if there is no
        row.
        """

    def places(self, records: Sequence[int]) -> list[str]:
        """The names of the places of records, such as "line 17"."""


class Parts:
    """Tables that are one: the rows of each follow those of the one before.

    Args:
        name: name of the whole, for errors.
        tables: each part by its name.
        alike: whether all parts must have the same columns.
    """

    def __init__(self, name: str, tables: Mapping[str, Table], *, alike: bool) -> None:
        self.name, self.tables = name, tables
        self._begins = list[int]()
        first_name, first = next(iter(tables.items()))
        for part, table in tables.items():
            different = set(table.schema).symmetric_difference(first.schema)
            if alike and different:
                column = min(different)
                has, lacks = (part, first_name) if column in table.schema else (first_name, part)
                fault = f"its parts differ: {has} has a column {column!r}, and {lacks} has not"
                raise DataError(f"{name}: {fault}; give files with the same columns")
        self.schema = {column: kind for table in tables.values() for column, kind in table.schema.items()}

    def read(self, columns: list[str], broken: Broken | None = None) -> pl.DataFrame:
        """See `Table.read`; a column without a value in a part takes its type from the others."""
        frames, end = dict[str, pl.DataFrame](), 0
        for part, table in self.tables.items():
            self._begins.append(end)
            noted = _Noted(broken, end)
            try:
                frame = table.read(columns, None if broken is None else noted)
                empty = [pl.lit(None).alias(one.name) for one in frame if one.null_count() == len(one)]
                frames[part] = frame.with_columns(pl.col("record") + end, *empty)
                noted.last = max(noted.last, int(frame["record"][-1]))
            except NoRowsError:
                pass
            end += noted.last + 1
        if not frames:
            raise NoRowsError(f"{self.name}: no rows; all of its files are empty")
        types = dict[str, set[pl.DataType]]()
        for column in (one for frame in frames.values() for one in frame if one.dtype != pl.Null):
            types.setdefault(column.name, set()).add(column.dtype)
        frames = {part: _without_lists(frame, types) for part, frame in frames.items()}
        self._check_types(frames)
        return pl.concat(frames.values(), how="diagonal_relaxed")

    def places(self, records: Sequence[int]) -> list[str]:
        """See `Table.places`; a place begins with the name of the part."""
        places = dict[int, str]()
        parts = [bisect_right(self._begins, record) - 1 for record in records]
        for number, (name, table) in enumerate(self.tables.items()):
            here = [record for record, part in zip(records, parts, strict=True) if part == number]
            found = table.places([record - self._begins[number] for record in here]) if here else []
            places.update({record: f"{name}, {place}" for record, place in zip(here, found, strict=True)})
        return [places[record] for record in records]

    def _check_types(self, frames: Mapping[str, pl.DataFrame]) -> None:
        """Refuse a column that holds, say, texts in one part and numbers in another: a common type would change ids."""
        known = dict[str, tuple[str, pl.Series]]()
        for part, frame in frames.items():
            for column in frame:
                first_part, first = known.setdefault(column.name, (part, column))
                if column.dtype == pl.Null or first.dtype == pl.Null:
                    continue
                if _kind(column) != _kind(first) and not (_is_exact(column) and _is_exact(first)):
                    fault = f"column {column.name!r} holds {column.dtype}, and {first.dtype} in {first_part}"
                    raise DataError(f"{self.name}: {part}: {fault}; write the parts with the same types")


class _Noted:
    """Callback that hands the broken records of a part on, numbered in the whole.

    Attributes:
        last: number of the last broken record in the part, or -1.
    """

    def __init__(self, broken: Broken | None, begin: int) -> None:
        self.broken, self.begin, self.last = broken, begin, -1

    def __call__(self, record: int, text: str, reason: str) -> None:
        self.last = max(self.last, record)
        if self.broken is not None:
            self.broken(self.begin + record, text, reason)


def _without_lists(frame: pl.DataFrame, types: Mapping[str, set[pl.DataType]]) -> pl.DataFrame:
    """Write lists as texts where a column holds texts, or other lists of them, in other parts; `types` are all its."""
    mixed = [name for name in frame.columns if len(types.get(name, ())) > 1 and all(map(_holds_texts, types[name]))]
    lists = [frame[name] for name in mixed if isinstance(frame.schema[name], pl.List)]
    return frame.with_columns(pl.Series(one.name, list(map(as_text, one.to_list())), pl.String) for one in lists)


def _holds_texts(dtype: Any) -> bool:
    return _holds_texts(dtype.inner) if isinstance(dtype, pl.List) else bool(dtype == pl.String)


def _kind(column: pl.Series) -> str:
    if column.dtype.is_integer():
        return "integers"
    if isinstance(column.dtype, pl.Datetime):
        return f"times, zone {column.dtype.time_zone}"
    return str(column.dtype.base_type())


def _is_exact(column: pl.Series) -> bool:
    """Whether a column of numbers can be cast to floats without loss."""
    if not column.dtype.is_numeric():
        return False
    most = column.cast(pl.Float64, strict=False).abs().max()
    return most is None or float(most) <= EXACT  # type: ignore[arg-type]


def files_of(paths: Sequence[Path], rank: Callable[[Path], int]) -> dict[str, Path]:
    """The files of a table by their names: files, those of directories, and those of patterns such as `logs/*.csv`.

    The files of a directory and of a pattern are in natural order ("part-2" before "part-10"), without hidden ones. Of
    a directory, those of the highest `rank` above 0 are taken. Raises a `DataError` if there is no file.
    """
    found = dict[str, Path]()
    for path in paths:
        if path.is_dir():
            inside = [one for one in path.rglob("*") if one.is_file() and not is_hidden(one.relative_to(path))]
            highest = max(map(rank, inside), default=0)
            if not highest:
                raise DataError(f"{path}: no file in this directory has the name of a table; name one, or --format")
            chosen = sorted((one for one in inside if rank(one) == highest), key=_natural)
            found |= {str(one if len(paths) > 1 else one.relative_to(path)): one for one in chosen}
        elif is_there(path):
            found[str(path)] = path
        elif not is_pattern(path):
            raise DataError(f"{path}: {absent(path)}")
        else:
            matches = [Path(one) for one in glob(str(path), recursive=True)]  # noqa: PTH207 - the path is a pattern
            matches = sorted((one for one in matches if one.is_file() and not is_hidden(Path(one.name))), key=_natural)
            if not matches:
                raise DataError(f"{path}: no file has such a name; correct the pattern")
            above = next(one for one in path.parents if not is_pattern(one))
            found |= {str(one if len(paths) > 1 else one.relative_to(above)): one for one in matches}
    return found


def _natural(path: Path) -> list[tuple[int, str]]:
    """A key that sorts numbers within names by their value."""
    parts = enumerate(re.split("([0-9]+)", str(path)))
    return [(int(part), "") if place % 2 else (-1, part) for place, part in parts]
