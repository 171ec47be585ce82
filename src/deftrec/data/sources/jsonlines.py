"""JSON lines: one object a line, read by polars, and by Python where polars fails or cannot be trusted."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from deftrec.data.sources.textfile import open_text
from deftrec.data.sources.values import as_text
from deftrec.errors import DataError

DOUBTFUL = r"^(?:\[|\{|true$|false$)|\x00"
"""Texts that polars may have made: of a list, a record or a truth value, or NUL of half a surrogate pair."""

FIRST_LINES = 1000  # number of lines whose keys are the columns of a table of interactions
BATCH = 50_000  # number of lines that Python parses at a time


class JsonLines:
    """A file with one JSON object per line, in any of its keys; a key that an object lacks is null.

    Values are strings, or lists of strings where every object has a list. A value that is neither text nor a number
    becomes what `as_text` makes of it, so that only its use is an error. Raises a `DataError` if the file is missing,
    empty or not UTF-8, or a line is no object.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.schema: dict[str, pl.DataType] = {}
        for one in islice(self._objects(), FIRST_LINES):
            self.schema |= dict.fromkeys(one, pl.String())
        if not self.schema:
            raise DataError(f"{path}: no rows; the file is empty, or its objects are")

    def read(self, names: list[str] | None) -> pl.DataFrame:
        """Read the keys `names`, default all, and `record`, the number of each object in the file, from 0."""
        try:
            frame = self._by_polars(names)
        except (pl.exceptions.PolarsError, OSError):  # a BOM, NaN in any key, half a surrogate pair, or a fault
            return self._by_python(names)
        texts = [name for name, dtype in frame.schema.items() if dtype == pl.String]
        doubtful = frame.select(pl.any_horizontal(pl.lit(False), pl.col(texts).str.contains(DOUBTFUL))).to_series()
        if not doubtful.any():
            return frame
        again = frame.filter(doubtful)
        records = set(again["record"])
        objects = [one for record, one in enumerate(self._objects(only=records)) if record in records]
        return pl.concat([frame.filter(~doubtful), again.with_columns(_columns(objects, texts))]).sort("record")

    def describe(self, record: int) -> str:
        """The line of a record; empty lines are no records."""
        numbers = (number for number, _ in self._lines())
        return f"line {next((number for place, number in enumerate(numbers) if place == record), record + 1)}"

    def _by_polars(self, names: list[str] | None) -> pl.DataFrame:
        schema: dict[str, Any] = dict.fromkeys(names or (), pl.String)
        if names is None:
            with self.path.open("rb") as file:
                found = pl.scan_ndjson(file, infer_schema_length=None).collect_schema()
            # In one type, since a mixture of integers and floats would lose digits; `record` is the row's number.
            schema = {name: _kept(dtype) for name, dtype in found.items() if name != "record"}
        frame = self._scan(schema)
        lists = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.List)]
        mixed = [name for name in lists if _leaves(frame[name]).str.contains(DOUBTFUL).any()]
        return frame.with_columns(self._scan(dict.fromkeys(mixed, pl.String)).drop("record")) if mixed else frame

    def _scan(self, schema: dict[str, Any]) -> pl.DataFrame:
        with self.path.open("rb") as file:  # not by its name, which may hold `[1]` or bytes that are not UTF-8
            scan = pl.scan_ndjson(file, schema=schema, infer_schema_length=1)
            return scan.collect(engine="streaming").with_row_index("record")

    def _by_python(self, names: list[str] | None) -> pl.DataFrame:
        objects, parts = self._objects(), list[pl.DataFrame]()
        while batch := list(islice(objects, BATCH)):
            keys = names or list(dict.fromkeys(key for one in batch for key in one if key != "record"))
            parts.append(pl.DataFrame(_columns(batch, keys)))
        return pl.concat(parts, how="diagonal").with_row_index("record")

    def _lines(self) -> Iterator[tuple[int, str]]:
        """The number and the text of every line that is not empty."""
        with open_text(self.path) as lines:
            yield from ((number, line) for number, line in enumerate(lines, start=1) if line.strip())

    def _objects(self, only: set[int] | None = None) -> Iterator[dict[str, Any]]:
        """The object of every line; an empty one for lines that are not among `only`."""
        for record, (number, line) in enumerate(self._lines()):
            yield self._object(number, line) if only is None or record in only else {}

    def _object(self, number: int, line: str) -> dict[str, Any]:
        where = f"{self.path}: line {number}"
        try:
            parsed = None if line.lstrip().startswith("[") else json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where}: not JSON ({error}); write one object a line") from error
        if not isinstance(parsed, dict):
            raise DataError(f"{where}: not a JSON object; write one object a line; an array is not read")
        return parsed


def _kept(dtype: pl.DataType) -> pl.DataType:
    """The type to read a key in: nested types and Booleans as they are, lists of texts or numbers as lists of texts."""
    if isinstance(dtype, pl.List) and not dtype.inner.is_nested():
        return pl.List(pl.String)
    return dtype if dtype.is_nested() or dtype == pl.Boolean else pl.String()


def _leaves(lists: pl.Series) -> pl.Series:
    """The texts in lists of lists; none if they hold records."""
    while isinstance(lists.dtype, pl.List):
        lists = lists.explode()
    return lists if lists.dtype == pl.String else pl.Series(dtype=pl.String)


def _columns(objects: list[dict[str, Any]], keys: list[str]) -> list[pl.Series]:
    """The columns of some keys, in texts."""
    return [pl.Series(key, [as_text(one.get(key)) for one in objects], dtype=pl.String) for key in keys]
