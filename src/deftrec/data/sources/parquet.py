"""Parquet files as tables; the types are those of the file."""

from pathlib import Path

import polars as pl

from deftrec.data.sources.columns import as_row
from deftrec.errors import DataError, first_line


class Parquet:
    """A Parquet file; a `DataError` that ends with `mend` if it is none."""

    describe = staticmethod(as_row)

    def __init__(self, path: Path, mend: str = "check the file and its format") -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self.schema: dict[str, pl.DataType] = dict(pl.scan_parquet(file).collect_schema())
        except (pl.exceptions.PolarsError, OSError) as error:
            raise DataError(f"{path}: not a Parquet file ({first_line(error)}); {mend}") from error

    def read(self, names: list[str]) -> pl.DataFrame:
        """Read some columns, and `record`, the number of each row in the file, from 0.

        Raises a `DataError` if a column is damaged, or a text is not UTF-8; the message names the column and the row.
        """
        try:
            return self._rows(names).with_row_index("record")
        except pl.exceptions.PolarsError as error:
            for name in names:
                self._check_text(name)
            raise DataError(f"{self.path}: cannot be read ({first_line(error)})") from error

    def _rows(self, names: list[str], first: int | None = None) -> pl.DataFrame:
        with self.path.open("rb") as file:  # not by its name, which may hold `[1]` or bytes that are not UTF-8
            rows = pl.scan_parquet(file).select(names)
            return (rows if first is None else rows.head(first)).collect(engine="streaming")

    def _check_text(self, name: str) -> None:
        """Raise the error about a column that cannot be read as UTF-8; rows before the named one can be read."""
        if self._readable(name, None):
            return
        with self.path.open("rb") as file:
            good, bad = 0, int(pl.scan_parquet(file).select(pl.len()).collect().item())
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
