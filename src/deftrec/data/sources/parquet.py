"""Parquet files as tables; the types are those of the file."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import polars as pl

from deftrec.data.sources.columns import as_row
from deftrec.data.sources.opening import for_polars
from deftrec.data.sources.textfile import Broken, NoRowsError
from deftrec.errors import DataError, first_line


class Parquet:
    """A Parquet file, packed or not; a `DataError` that ends with `mend` if it is none."""

    def __init__(self, path: Path, mend: str = "check the file and --format") -> None:
        self.path = path
        content = for_polars(path, text=False)
        try:
            self.scan = pl.scan_parquet(BytesIO(content) if isinstance(content, bytes) else content)
            self.schema: dict[str, pl.DataType] = dict(self.scan.collect_schema())
        except (pl.exceptions.PolarsError, OSError) as error:
            raise DataError(f"{path}: not a Parquet file ({first_line(error)}); {mend}") from error

    def places(self, records: Sequence[int]) -> list[str]:
        """See `Table.places`."""
        return list(map(as_row, records))

    def read(self, names: list[str], broken: Broken | None = None) -> pl.DataFrame:
        """Read some columns, and `record`; every record is a row, so `broken` hears of none.

        Raises a `DataError` if a column is damaged, or a text is not UTF-8; the message names the column and the row.
        """
        try:
            frame = self._rows(names).with_row_index("record")
        except pl.exceptions.PolarsError as error:
            for name in names:
                self._check_text(name)
            raise DataError(f"{self.path}: cannot be read ({first_line(error)})") from error
        if not frame.height:
            raise NoRowsError(f"{self.path}: no rows; the file is empty")
        return frame

    def _rows(self, names: list[str], first: int | None = None) -> pl.DataFrame:
        rows = self.scan.select(names)
        return (rows if first is None else rows.head(first)).collect(engine="streaming")

    def _check_text(self, name: str) -> None:
        """Raise the error about a column that cannot be read as UTF-8; rows before the named one can be read."""
        if self._readable(name, None):
            return
        good, bad = 0, int(self.scan.select(pl.len()).collect().item())
        while bad - good > 1:  # the first `good` rows can be read, the first `bad` cannot: a page is read as a whole
            middle = (good + bad) // 2
            good, bad = (middle, bad) if self._readable(name, middle) else (good, middle)
        where = f"{self.path}: {as_row(good)} or later, column {name!r}"
        raise DataError(f"{where}: not UTF-8; write the column again in UTF-8")

    def _readable(self, name: str, first: int | None) -> bool:
        try:
            self._rows([name], first)
        except pl.exceptions.ComputeError:
            return False
        return True
