"""Files of separated values, read as text by polars; a file that polars refuses is read again line by line."""

import csv
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import polars as pl

from deftrec.data.sources.columns import Place
from deftrec.data.sources.faults import Faults
from deftrec.data.sources.opening import for_polars, open_text, text_in_memory
from deftrec.errors import DataError

if TYPE_CHECKING:
    import _csv

SEPARATORS = (",", "\t", ";", "|", "::")
UNIT = "\x1f"  # ASCII's own separator stands for one of several characters while a file is read
QUOTED = '; quote a text that begins with one as a whole, its quotes doubled: """Good"" he said"'
CHUNK = 100_000  # records of a table that is read line by line
csv.field_size_limit(2**31 - 1)  # the text of an item may be long

Broken: TypeAlias = Callable[[int, str, str], None]
"""Callback with a record that is no row: its number, its text and the reason."""


class NoRowsError(DataError):
    """A file holds no rows."""


class Record(NamedTuple):
    """A record of a file: its number from 0, the line it ends at, its text, its fields, its fault, and the mend."""

    number: int
    line: int
    text: str
    fields: list[str]
    fault: str = ""
    mend: str = ""


class TextFile:
    """A file of separated values; every value is a string.

    Raises a `DataError` if the file is missing, empty or not in Unicode.

    Args:
        path: file, packed or not; see `open_text`.
        separator: one or more characters; `None` finds it in the first line.
        quote: quoting character, or `None` for a file without quoting, as one with a longer separator always is.
        header: column names of a file without a header line.
    """

    def __init__(
        self, path: Path, separator: str | None = None, quote: str | None = '"', header: Sequence[str] | None = None
    ) -> None:
        self.path = path
        self.has_header = header is None
        if separator == "\\t":  # as it is typed
            separator = "\t"
        if separator is not None and (not separator or any(character in separator for character in '\r\n"')):
            raise DataError(f"{path}: the separator {separator!r} cannot separate fields; give one such as ';'")
        with open_text(path) as lines:
            first = lines.readline()
        if not first.strip():
            raise NoRowsError(f"{path}: no rows; the file is empty, or its first line is: remove empty lines before it")
        self.separator = separator or max(SEPARATORS, key=first.count)
        self.quote = quote if len(self.separator.encode()) == 1 else None
        begin = next(self._records(0))
        if begin.fault:
            raise DataError(f"{path}: line 1: {begin.fault}{begin.mend}")
        self.columns = _named(begin.fields) if header is None else list(header)
        if len(self.columns) != len(begin.fields):
            fault = f"line 1 has {len(begin.fields)} fields, and {len(self.columns)} columns are named"
            raise DataError(f"{path}: {fault}; name all of them, '-' for one to ignore")
        twice = {name for name in self.columns if self.columns.count(name) > 1}
        if twice:
            raise DataError(f"{path}: line 1: column {min(twice)!r} occurs twice; rename one")

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """The type of each column: strings."""
        return dict.fromkeys(self.columns, pl.String())

    def place(self, frame: pl.DataFrame, faults: Faults | None = None) -> Place:
        """The names of the rows of `frame` by their lines; only an error reads the file again."""
        return Place(str(self.path), self.describe, frame["record"], faults)

    def describe(self, record: int) -> str:
        """The line at which a record ends."""
        return self.places([record])[0]

    def places(self, records: Sequence[int]) -> list[str]:
        """The lines at which records end. A quoted text may hold line breaks, so records are no lines."""
        wanted, last = set(records), max(records, default=-1)
        lines = dict[int, int]()
        for record in self._records(len(self.columns)):
            if record.number in wanted:
                lines[record.number] = record.line
            if record.number >= last:
                break
        return [f"line {lines.get(record, record + 1 + self.has_header)}" for record in records]

    def read(self, columns: list[str] | None = None, broken: Broken | None = None) -> pl.DataFrame:
        """Read columns as strings, default all, and `record`, the number of each record in the file, from 0.

        Lines without any value are left out. Missing values are null. A record with more fields than the header or
        with a stray quote goes to `broken`; without it, it is a `DataError`. Raises a `NoRowsError` if there is none.
        """
        columns = self.columns if columns is None else columns
        try:
            content = for_polars(self.path)
            if self._separator != self.separator:
                content = text_in_memory(self.path).replace(self.separator.encode(), UNIT.encode())
            scan = pl.scan_csv(
                content,
                separator=self._separator,
                quote_char=self.quote,
                has_header=self.has_header,
                schema=self.schema,
                row_index_name="record",
                encoding="utf8",
            )
            filled = scan.filter(~pl.all_horizontal(pl.exclude("record").is_null()))
            frame = filled.select("record", *columns).collect(engine="streaming")
        except pl.exceptions.NoDataError as error:
            raise NoRowsError(f"{self.path}: no rows; the file is empty") from error
        except (pl.exceptions.PolarsError, OSError):
            frame = self._slowly(columns, broken)
        if frame.height == 0:
            raise NoRowsError(f"{self.path}: nothing below the header")
        return frame

    @property
    def _separator(self) -> str:
        return self.separator if len(self.separator.encode()) == 1 else UNIT

    def _slowly(self, columns: list[str], broken: Broken | None) -> pl.DataFrame:
        """Read a file that polars refuses: a record is broken, or a quote within an unquoted text is a character."""
        picked = [self.columns.index(name) for name in columns]
        schema = {"record": pl.get_index_type(), **dict.fromkeys(columns, pl.String)}
        chunks, rows = [pl.DataFrame(schema=schema)], list[list[int | str | None]]()
        for record in self._records(len(self.columns)):
            fields = record.fields
            if record.fault:
                if broken is None or record.number < 0:
                    raise DataError(f"{self.path}: line {record.line}: {record.fault}{record.mend}")
                broken(record.number, record.text.rstrip("\r\n"), record.fault)
            elif any(fields) and record.number >= 0:
                rows.append([record.number, *(fields[one] or None if one < len(fields) else None for one in picked)])
            if len(rows) == CHUNK:
                chunks.append(pl.DataFrame(rows, schema=schema, orient="row"))
                rows = []
        return pl.concat([*chunks, pl.DataFrame(rows, schema=schema, orient="row")])

    def _records(self, most: int) -> Iterator[Record]:
        """All records, from the header's, which has number -1; at most `most` fields are right, 0 stands for any.

        Behind a stray quote the records go on with the next line: the quote may have swallowed many.
        """
        with open_text(self.path) as lines:
            taken, again, line = list[str](), deque[str](), 0

            def feed() -> Iterator[str]:
                while (text := again.popleft() if again else next(lines, None)) is not None:
                    taken.append(text)
                    yield text if self._separator != UNIT else text.replace(self.separator, UNIT)

            reader = self._reader(feed())
            for number in count(-int(self.has_header)):
                taken.clear()
                fault = mend = ""
                try:
                    fields = next(reader, None)
                except csv.Error as error:
                    reason = str(error).replace("\t", "\\t")
                    fields, fault, mend = [], f"a stray quote, it seems ({reason})", QUOTED
                    again.extendleft(reversed(taken[1:]))
                    del taken[1:]
                    reader = self._reader(feed())
                if fields is None:
                    return
                line += len(taken)
                if 0 < most < len(fields):
                    if not any(fields[most:]):  # separators at the end of a line
                        yield Record(number, line, "".join(taken), fields[:most])
                        continue
                    fault = f"{len(fields)} fields where there are {most} columns"
                    mend = f"; quote a text that holds {self.separator!r}" if self.quote else "; correct the line"
                yield Record(number, line, "".join(taken), fields, fault, mend)

    def _reader(self, lines: Iterator[str]) -> "_csv.Reader":
        if self.quote is None:
            return csv.reader(lines, delimiter=self._separator, quoting=csv.QUOTE_NONE)
        return csv.reader(lines, delimiter=self._separator, quotechar=self.quote, strict=True)


def _named(header: Sequence[str]) -> list[str]:
    """The names of a header; several columns without a name are numbered."""
    several = header.count("") > 1
    return [name or f"column {place}" if several else name for place, name in enumerate(header, 1)]
