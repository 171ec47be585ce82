"""JSON lines: one object a line, read by polars."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

import polars as pl

from deftrec.data.sources.opening import for_polars, open_text
from deftrec.data.sources.textfile import Broken, NoRowsError
from deftrec.errors import DataError, first_line

FIRST_LINES = 1000


class JsonLines:
    """A file with one JSON object per line; `schema` has the keys of the first object."""

    def __init__(self, path: Path) -> None:
        self.path = path
        begin = list(islice(self._lines(), FIRST_LINES))
        if not begin:
            raise NoRowsError(f"{path}: no rows; the file is empty")
        keys = self._object(*next((line for line in begin if self._is_object(line[1])), begin[0]))
        self.schema: dict[str, pl.DataType] = dict.fromkeys(keys, pl.String())
        with suppress(pl.exceptions.PolarsError, OSError):  # `read` finds the line
            types = pl.scan_ndjson(for_polars(path), infer_schema_length=FIRST_LINES).collect_schema()
            self.schema = {name: types[name] for name in keys}

    def read(self, names: list[str] | None = None, broken: Broken | None = None) -> pl.DataFrame:
        """Read the keys `names` as strings, or all keys in their own types, and `record`; see `Table.read`."""
        content = for_polars(self.path)
        if broken is None:
            with self._faults():
                return _scanned(content, names).with_row_index("record")
        try:
            return _scanned(content, names).with_row_index("record")
        except (pl.exceptions.PolarsError, OSError):
            good, lines = list[int](), list[str]()
            for record, (_, line) in enumerate(self._lines()):
                if self._is_object(line):
                    good.append(record)
                    lines.append(line.strip())
                else:
                    broken(record, line.strip(), "not a JSON object")
            frame = _scanned("\n".join(lines).encode(), names)
            return frame.select(pl.Series("record", good, dtype=pl.get_index_type()), pl.all())

    def places(self, records: Sequence[int]) -> list[str]:
        """The lines of records; empty lines are no records."""
        wanted, last = set(records), max(records, default=-1)
        lines = dict[int, int]()
        for record, (number, _) in enumerate(self._lines()):
            if record > last:
                break
            if record in wanted:
                lines[record] = number
        return [f"line {lines.get(record, record + 1)}" for record in records]

    def _lines(self) -> Iterator[tuple[int, str]]:
        """The number and the text of every line that is not empty."""
        with open_text(self.path) as lines:
            yield from ((number, line) for number, line in enumerate(lines, start=1) if line.strip())

    def _object(self, number: int, line: str) -> dict[str, object]:
        where = f"{self.path}: line {number}"
        try:
            parsed = None if line.lstrip().startswith("[") else json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where}: not JSON ({error}); write one object a line") from error
        if not isinstance(parsed, dict):
            raise DataError(f"{where}: not a JSON object; write one object a line; an array is not read")
        return parsed

    def _is_object(self, line: str) -> bool:
        with suppress(DataError):
            return bool(self._object(0, line))
        return False

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """Raise the error that names the line at which polars failed."""
        try:
            yield
        except (pl.exceptions.PolarsError, OSError) as error:
            for number, line in self._lines():
                self._object(number, line)
            raise DataError(f"{self.path}: cannot be read ({first_line(error)})") from error


def _scanned(content: Path | bytes, names: list[str] | None) -> pl.DataFrame:
    schema = None if names is None else dict.fromkeys(names, pl.String)
    scan = pl.scan_ndjson(content, schema=schema, infer_schema_length=None if schema is None else 1)
    return scan.collect(engine="streaming")
