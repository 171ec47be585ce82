"""Bad rows of a table that an import leaves out: counted by reason, and kept for a file of their own."""

from collections.abc import Callable, Sequence

import polars as pl

from deftrec.data.sources.values import FOREIGN, shown
from deftrec.errors import DataError
from deftrec.files import printable

MAX_SHARE = 0.05
SHOWN = 10  # bad rows that are shown

SCHEMA = {"file": pl.String, "place": pl.String, "column": pl.String, "value": pl.String, "reason": pl.String}


class BadRowsError(Exception):
    """Signal that rows are bad, from `Faults.add` to whoever converts the table and leaves them out.

    Attributes:
        rows: true for each bad row of the table.
    """

    def __init__(self, rows: pl.Series) -> None:
        super().__init__("bad rows")
        self.rows = rows


class Faults:
    """The bad rows of the tables of an import.

    Args:
        max_share: greatest share of the rows of a file that may be bad, between 0 and 1.
    """

    def __init__(self, max_share: float = MAX_SHARE) -> None:
        self.max_share = max_share
        self._new = list[pl.DataFrame]()
        self._settled = [pl.DataFrame(schema=SCHEMA)]

    def add(self, records: pl.Series, column: str, values: pl.Series, reason: str) -> None:
        """Note that the entries `values` of a column are bad; `records` are the numbers of their rows in the file."""
        texts = ["" if value is None else str(value) for value in values.to_list()]
        columns = {"record": records.cast(pl.Int64), "value": texts}
        self._new.append(pl.DataFrame(columns).with_columns(column=pl.lit(column), reason=pl.lit(reason)))

    def add_record(self, record: int, text: str, reason: str) -> None:
        """Note that a record of the file cannot be read as a row."""
        self.add(pl.Series([record]), "", pl.Series([text]), reason)

    def settle(self, file: str, good: int, places: Callable[[Sequence[int]], list[str]]) -> None:
        """Take the rows noted so far as those of `file`, which has `good` rows beside them.

        `places` names the places of records. Raises a `DataError` if more than `max_share` of the rows are bad, or all.
        """
        if not self._new:
            return
        found, self._new = pl.concat(self._new).sort("record", maintain_order=True), []
        names = map(printable, places(found["record"].to_list()))
        found = found.with_columns(pl.Series("place", names), file=pl.lit(printable(file)))
        self._settled.append(found.select(list(SCHEMA)))
        rows = good + found.height
        if not good or found.height > self.max_share * rows:
            most = f", more than {self.max_share:.3g} of them" if good else ""
            mend = ", or allow more with --max-errors SHARE" if good else ""
            reasons = "; ".join(f"{count:,} x {reason}" for reason, count in _counts(found).items())
            raise DataError(
                f"{file}: {found.height:,} of {rows:,} rows are bad{most} ({reasons}); the first: "
                f"{'; '.join(_lines(found.head(3)))}; correct them{mend}"
            )

    @property
    def table(self) -> pl.DataFrame:
        """All bad rows: columns `file`, `place`, `column`, `value` and `reason`."""
        return pl.concat(self._settled).with_columns(pl.col("value").str.strip_prefix(FOREIGN))

    @property
    def counts(self) -> dict[str, int]:
        """The number of bad rows of each reason, the most frequent first."""
        return _counts(self.table)

    def lines(self) -> list[str]:
        """The first bad rows in words."""
        first = pl.concat(self._settled).head(SHOWN)
        return [f"{file}: {line}" for file, line in zip(first["file"], _lines(first), strict=True)]


def _counts(rows: pl.DataFrame) -> dict[str, int]:
    reasons = rows.group_by("column", "reason", maintain_order=True).len().sort("len", descending=True)
    return {(f"column {column!r}: " if column else "") + reason: count for column, reason, count in reasons.rows()}


def _lines(rows: pl.DataFrame) -> list[str]:
    return [
        f"{place}, column {column!r}: {shown(value)} {reason}" if column else f"{place}: {shown(value)}: {reason}"
        for place, column, value, reason in rows.select("place", "column", "value", "reason").rows()
    ]
