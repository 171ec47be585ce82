"""Files of separated values, read as text by polars; a fault is searched again line by line for its message."""

import csv
import gzip
from collections.abc import Iterator
from contextlib import contextmanager
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
def open_text(path: Path, encoding: str = "utf-8-sig") -> Iterator[IO[str]]:
    """Open a text file, plain or gzipped, independent of its name."""
    with path.open("rb") as raw:
        packed = raw.read(2) == GZIP_MAGIC
    if packed:
        with gzip.open(path, "rt", encoding=encoding, newline="") as unpacked:
            yield unpacked
    else:
        with path.open(encoding=encoding, newline="") as plain:
            yield plain


class TextFile:
    """A file of separated values; every value is a string.

    Args:
        path: plain or gzipped file in UTF-8.
        separator: one character; `None` finds it in the first line.
        quote: quoting character, or `None` for a file without quoting.
        header: column names of a file without a header line.

    Raises:
        DataError: the file is missing, empty or not UTF-8.
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
        first = self._first_line()
        self.separator = separator or max(SEPARATORS, key=first.count)
        self.columns = header or next(self._rows(), [])
        twice = {name for name in self.columns if self.columns.count(name) > 1}
        if twice:
            raise DataError(f"{path}: line 1: column {min(twice)!r} occurs twice; rename one")

    @property
    def place(self) -> Place:
        """The names of the records by their lines; only an error reads the file again."""
        return Place(str(self.path), lambda record: f"line {self._line(record)}")

    def read(self, columns: list[str]) -> pl.DataFrame:
        """Read columns as strings, and `record`, the number of each record in the file, from 0.

        Lines without any value are left out. Missing values are null.

        Raises:
            DataError: a line has more fields than the header or a stray quote, or there is no record at all.
        """
        try:
            scan = pl.scan_csv(
                self.path,
                separator=self.separator,
                quote_char=self.quote,
                has_header=self.has_header,
                schema=dict.fromkeys(self.columns, pl.String),
                row_index_name="record",
                encoding="utf8",
            )
            frame = (
                scan.filter(~pl.all_horizontal(pl.exclude("record").is_null()))
                .select("record", *columns)
                .collect(engine="streaming")
            )
        except pl.exceptions.NoDataError as error:
            raise DataError(f"{self.path}: no rows; the file is empty") from error
        except (pl.exceptions.PolarsError, OSError) as error:
            fault = self._fault()
            if fault is not None or isinstance(error, OSError):
                raise fault or DataError(f"{self.path}: cannot be read ({error})") from error
            frame = self._slowly(columns)
        if frame.height == 0:
            raise DataError(f"{self.path}: nothing below the header")
        return frame

    def _first_line(self) -> str:
        if not self.path.is_file():
            raise DataError(f"{self.path}: no such file")
        try:
            with open_text(self.path) as lines:
                first = lines.readline()
        except (OSError, EOFError) as error:
            raise DataError(f"{self.path}: cannot be read ({error})") from error
        except UnicodeDecodeError as error:
            raise not_utf8(self.path, error) from error
        if not first.strip():
            raise DataError(f"{self.path}: no rows; the file is empty, or its first line is")
        return first

    def _rows(self) -> Iterator[list[str]]:
        with open_text(self.path) as lines:
            yield from self._reader(lines)

    def _reader(self, lines: IO[str], strict: bool = False) -> "_csv.Reader":
        if self.quote is None:
            return csv.reader(lines, delimiter=self.separator, quoting=csv.QUOTE_NONE)
        return csv.reader(lines, delimiter=self.separator, quotechar=self.quote, strict=strict)

    def _line(self, record: int) -> int:
        """The line at which a record ends. A quoted text may hold line breaks, so records are no lines."""
        with open_text(self.path) as lines:
            reader = self._reader(lines)
            for number, _ in enumerate(reader):
                if number == record + self.has_header:
                    return reader.line_num
        return record + 1 + self.has_header

    def _slowly(self, columns: list[str]) -> pl.DataFrame:
        """Read a file that polars refuses although it is valid: a quote within an unquoted text is a character."""
        rows = list(self._rows())[int(self.has_header) :]
        places = [self.columns.index(column) for column in columns]
        filled = {number: row for number, row in enumerate(rows) if any(row)}
        values = {
            column: [row[place] or None if place < len(row) else None for row in filled.values()]
            for column, place in zip(columns, places, strict=True)
        }
        schema = {"record": pl.get_index_type(), **dict.fromkeys(columns, pl.String)}
        return pl.DataFrame({"record": list(filled), **values}, schema=schema)

    def _fault(self) -> DataError | None:
        """The error that names the line at which polars failed, or None for a valid file."""
        begins = 1
        try:
            with open_text(self.path) as lines:
                reader = self._reader(lines, strict=True)
                for row in reader:
                    if len(row) > len(self.columns):
                        return DataError(
                            f"{self.path}: line {reader.line_num}: {len(row)} fields where there are "
                            f"{len(self.columns)} columns; quote a text that holds {self.separator!r}"
                        )
                    begins = reader.line_num + 1
        except UnicodeDecodeError as undecodable:
            return not_utf8(self.path, undecodable)
        except csv.Error as broken:
            reason = str(broken).replace("\t", "\\t")
            return DataError(
                f"{self.path}: line {begins}: a stray quote, it seems ({reason}); quote a text that begins with one as "
                'a whole, its quotes doubled: """Good"" he said"'
            )
        except (OSError, EOFError) as broken:
            return DataError(f"{self.path}: cannot be read ({broken})")
        return None


def not_utf8(path: Path, error: UnicodeDecodeError) -> DataError:
    """Make the error about a file in another encoding."""
    return DataError(
        f"{path}: not UTF-8 ({error.reason}); if it is Latin-1, convert it with 'iconv -f latin1 -t utf-8'"
    )
