"""Files of separated values, read as text by polars; a fault is searched again line by line for its message."""

import csv
import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import IO, TYPE_CHECKING

import polars as pl

from deftrec.data.sources.columns import Place
from deftrec.errors import DataError

if TYPE_CHECKING:
    import _csv

GZIP_MAGIC = b"\x1f\x8b"
SEPARATORS = (",", "\t", ";", "|")
csv.field_size_limit(2**31 - 1)  # the text of an item may be long


@contextmanager
def open_text(path: Path) -> Iterator[IO[str]]:
    """Open a text file in UTF-8, plain or gzipped, independent of its name.

    Raises a `DataError` if the file is missing, cannot be read or is not UTF-8, here or while the block reads it.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == GZIP_MAGIC
            raw.seek(0)
            yield TextIOWrapper(gzip.GzipFile(fileobj=raw) if packed else raw, encoding="utf-8-sig", newline="")
    except UnicodeDecodeError as error:
        message = f"{path}: not UTF-8 ({error.reason}); if it is Latin-1, convert it with 'iconv -f latin1 -t utf-8'"
        raise DataError(message) from error
    except (OSError, EOFError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error


class TextFile:
    """A file of separated values; every value is a string.

    Raises a `DataError` if the file is missing, empty or not UTF-8.

    Args:
        path: plain or gzipped file in UTF-8.
        separator: one character; `None` finds it in the first line.
        quote: quoting character, or `None` for a file without quoting.
        header: column names of a file without a header line.
    """

    def __init__(
        self, path: Path, separator: str | None = None, quote: str | None = '"', header: list[str] | None = None
    ) -> None:
        self.path = path
        self.quote = quote
        self.has_header = header is None
        if separator == "\\t":  # as it is typed
            separator = "\t"
        if separator is not None and len(separator.encode()) != 1:
            raise DataError(f"{path}: the separator {separator!r} is no single character; give one, such as ';'")
        with open_text(path) as lines:
            first = lines.readline()
        if not first.strip():
            raise DataError(f"{path}: no rows; the file is empty, or its first line is")
        self.separator = separator or max(SEPARATORS, key=first.count)
        self.columns = header or next(self._rows(), [])
        twice = {name for name in self.columns if self.columns.count(name) > 1}
        if twice:
            raise DataError(f"{path}: line 1: column {min(twice)!r} occurs twice; rename one")

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """The type of each column: strings."""
        return dict.fromkeys(self.columns, pl.String())

    def place(self, frame: pl.DataFrame) -> Place:
        """The names of the rows of `frame` by their lines; only an error reads the file again."""
        return Place(str(self.path), self.describe, frame["record"])

    def describe(self, record: int) -> str:
        """The line at which a record ends. A quoted text may hold line breaks, so records are no lines."""
        with open_text(self.path) as lines:
            reader = self._reader(lines)
            for number, _ in enumerate(reader):
                if number == record + self.has_header:
                    return f"line {reader.line_num}"
        return f"line {record + 1 + self.has_header}"

    def read(self, columns: list[str] | None = None) -> pl.DataFrame:
        """Read columns as strings, default all, and `record`, the number of each record in the file, from 0.

        Lines without any value are left out. Missing values are null. Raises a `DataError` if a line has more fields
        than the header or a stray quote, or there is no record at all.
        """
        columns = self.columns if columns is None else columns
        try:
            with self.path.open("rb") as file:  # not by its name, which may hold `[1]` or bytes that are not UTF-8
                scan = pl.scan_csv(
                    file,
                    separator=self.separator,
                    quote_char=self.quote,
                    has_header=self.has_header,
                    schema=self.schema,
                    row_index_name="record",
                    encoding="utf8",
                )
                filled = scan.filter(~pl.all_horizontal(pl.exclude("record").is_null()))
                frame = filled.select("record", *columns).collect(engine="streaming")
        except pl.exceptions.NoDataError as error:
            raise DataError(f"{self.path}: no rows; the file is empty") from error
        except (pl.exceptions.PolarsError, OSError) as error:
            self._check()
            if isinstance(error, OSError):
                raise DataError(f"{self.path}: cannot be read ({error})") from error
            frame = self._slowly(columns)
        if frame.height == 0:
            raise DataError(f"{self.path}: nothing below the header")
        return frame

    def _rows(self) -> Iterator[list[str]]:
        with open_text(self.path) as lines:
            yield from self._reader(lines)

    def _reader(self, lines: IO[str], strict: bool = False) -> "_csv.Reader":
        if self.quote is None:
            return csv.reader(lines, delimiter=self.separator, quoting=csv.QUOTE_NONE)
        return csv.reader(lines, delimiter=self.separator, quotechar=self.quote, strict=strict)

    def _slowly(self, columns: list[str]) -> pl.DataFrame:
        """Read a file that polars refuses although it is valid: a quote within an unquoted text is a character."""
        rows = [row + [""] * len(self.columns) for row in self._rows()][int(self.has_header) :]
        filled = {number: row for number, row in enumerate(rows) if any(row)}
        values = {name: [row[self.columns.index(name)] or None for row in filled.values()] for name in columns}
        schema = {"record": pl.get_index_type(), **dict.fromkeys(columns, pl.String)}
        return pl.DataFrame({"record": list(filled), **values}, schema=schema)

    def _check(self) -> None:
        """Raise the error that names the line at which polars failed, unless the file is valid."""
        begins = 1
        with open_text(self.path) as lines:
            reader = self._reader(lines, strict=True)
            try:
                for row in reader:
                    if len(row) > len(self.columns):
                        fault = f"{len(row)} fields where there are {len(self.columns)} columns"
                        where = f"{self.path}: line {reader.line_num}"
                        raise DataError(f"{where}: {fault}; quote a text that holds {self.separator!r}")
                    begins = reader.line_num + 1
            except csv.Error as broken:
                reason = str(broken).replace("\t", "\\t")
                raise DataError(
                    f"{self.path}: line {begins}: a stray quote, it seems ({reason}); quote a text that begins with "
                    'one as a whole, its quotes doubled: """Good"" he said"'
                ) from broken
