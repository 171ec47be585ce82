"""JSON lines: one object a line, read by polars, and by Python where polars fails or cannot be trusted."""

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from deftrec.data.sources.opening import for_polars, open_text
from deftrec.data.sources.textfile import Broken, NoRowsError
from deftrec.data.sources.values import as_text
from deftrec.errors import DataError

DOUBTFUL = r"^(?:\[|\{|true$|false$)|\x00"
"""Texts that polars may have made: of a list, a record or a truth value, or NUL of half a surrogate pair."""

FIRST_LINES = 1000
BATCH = 50_000  # number of lines that Python parses at a time


class JsonLines:
    """A file with one JSON object per line; a key that an object lacks is null.

    Values are read as strings, or as lists of strings where `schema` has lists. A value that is neither text nor a
    number becomes what `as_text` makes of it, so that it is an error only where it is used. Raises a `DataError` if the
    file is missing, empty or not in Unicode, or has no object.

    Args:
        path: file, packed or not; see `open_text`.
        whole: whether all lines are searched for keys and types, and lists are read as such; else the first
            `FIRST_LINES`, and all values are read as strings.
    """

    def __init__(self, path: Path, *, whole: bool = False) -> None:
        self.path, self.whole, self.schema = path, whole, dict[str, pl.DataType]()
        last = None if whole else FIRST_LINES
        with suppress(pl.exceptions.PolarsError, OSError):
            self.schema |= pl.scan_ndjson(for_polars(path), infer_schema_length=last).collect_schema()
        if not self.schema:
            for _, one in self._objects(last=last, broken=lambda *_: None):
                for key, value in one.items():
                    if key not in self.schema or isinstance(value, dict):
                        self.schema[key] = pl.Struct([]) if isinstance(value, dict) else pl.String()
        if not self.schema:
            for _ in self._objects():  # the error about the first line that is no object
                pass
            raise NoRowsError(f"{path}: no rows; the file is empty, or its objects are")

    def read(self, names: list[str], broken: Broken | None = None) -> pl.DataFrame:
        """Read some keys, and `record`; see `Table.read`."""
        try:
            frame = self._by_polars(names)
        except (pl.exceptions.PolarsError, OSError):  # NaN in any key, or a line that is no object
            return self._by_python(names, broken)
        texts = [name for name in names if frame.schema[name] == pl.String]
        suspicious = pl.col(texts).str.contains(DOUBTFUL).fill_null(False)
        doubtful = frame.select(pl.any_horizontal(pl.lit(False), suspicious)).to_series()
        if not doubtful.any():
            return frame
        again = frame.filter(doubtful)
        objects = [one for _, one in self._objects(only=set(again["record"]))]
        return pl.concat([frame.filter(~doubtful), again.with_columns(_columns(objects, texts))]).sort("record")

    def places(self, records: Sequence[int]) -> list[str]:
        """The lines of records; empty lines are no records."""
        wanted, last = set(records), max(records, default=-1)
        numbers = (number for number, _ in islice(self._lines(), last + 1))
        lines = {record: number for record, number in enumerate(numbers) if record in wanted}
        return [f"line {lines.get(record, record + 1)}" for record in records]

    def _by_polars(self, names: list[str]) -> pl.DataFrame:
        frame = self._scan({name: _kept(self.schema.get(name)) if self.whole else pl.String() for name in names})
        lists = [name for name in names if isinstance(frame.schema[name], pl.List)]
        mixed = [name for name in lists if _leaves(frame[name]).str.contains(DOUBTFUL).any()]
        return frame.with_columns(self._scan(dict.fromkeys(mixed, pl.String())).drop("record")) if mixed else frame

    def _scan(self, schema: dict[str, pl.DataType]) -> pl.DataFrame:
        scan = pl.scan_ndjson(for_polars(self.path), schema=schema, infer_schema_length=1)
        return scan.collect(engine="streaming").with_row_index("record")

    def _by_python(self, names: list[str], broken: Broken | None) -> pl.DataFrame:
        objects, parts = self._objects(broken=broken), list[pl.DataFrame]()
        while batch := list(islice(objects, BATCH)):
            records = pl.Series("record", [record for record, _ in batch], dtype=pl.get_index_type())
            parts.append(pl.DataFrame([records, *_columns([one for _, one in batch], names)]))
        return pl.concat(parts)

    def _lines(self) -> Iterator[tuple[int, str]]:
        """The number and the text of every line that is not empty."""
        with open_text(self.path) as lines:
            yield from ((number, line) for number, line in enumerate(lines, start=1) if line.strip())

    def _objects(
        self, *, only: set[int] | None = None, last: int | None = None, broken: Broken | None = None
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """The record number and the object of each line, or of `only` some records, or of the first `last` lines."""
        for record, (number, line) in enumerate(islice(self._lines(), last)):
            if only is not None and record not in only:
                continue
            try:
                yield record, _parse(line)
            except ValueError as error:
                if broken is None:
                    raise DataError(f"{self.path}: line {number}: {error}") from error
                broken(record, line.strip(), "not a JSON object")


def _parse(line: str) -> dict[str, Any]:
    """Parse an object; a `ValueError` if the line is none."""
    try:
        parsed = None if line.lstrip().startswith("[") else json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON ({error}); write one object a line") from error
    if not isinstance(parsed, dict):
        raise ValueError("not a JSON object; write one object a line; an array is not read")
    return parsed


def _kept(dtype: Any) -> pl.DataType:
    """The type in which a key is read: lists as lists, and all else as text, so that numbers keep their digits."""
    return pl.List(_kept(dtype.inner)) if isinstance(dtype, pl.List) else pl.String()


def _leaves(lists: pl.Series) -> pl.Series:
    """The texts in lists of lists."""
    while isinstance(lists.dtype, pl.List):
        lists = lists.explode()
    return lists


def _columns(objects: list[dict[str, Any]], keys: list[str]) -> list[pl.Series]:
    """The columns of some keys, in texts."""
    return [pl.Series(key, [as_text(one.get(key)) for one in objects], dtype=pl.String) for key in keys]
