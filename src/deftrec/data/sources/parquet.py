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
    """A Parquet file, packed or not; a `DataError` if it is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        content = for_polars(path, text=False)
        try:
            self.scan = pl.scan_parquet(BytesIO(content) if isinstance(content, bytes) else content)
            self.schema: dict[str, pl.DataType] = dict(self.scan.collect_schema())
        except (pl.exceptions.PolarsError, OSError) as error:
            raise DataError(f"{path}: not a Parquet file ({first_line(error)}); check the file and --format") from error

    def places(self, records: Sequence[int]) -> list[str]:
        """See `Table.places`."""
        return list(map(as_row, records))

    def read(self, names: list[str] | None = None, broken: Broken | None = None) -> pl.DataFrame:
        """Read the columns `names`, default all, and `record`; every record is a row, so `broken` hears of none."""
        try:
            frame = self.scan.select(names or pl.all()).with_row_index("record").collect(engine="streaming")
        except pl.exceptions.PolarsError as error:
            raise DataError(f"{self.path}: cannot be read ({first_line(error)})") from error
        if frame.height == 0 and names:
            raise NoRowsError(f"{self.path}: the file has no rows; give a file with interactions")
        return frame
