"""Rankings as Parquet files, the exchange format between recommenders and the evaluator.

One row per recommendation: `user`, `item` (external ids), `rank` (from 1) and `score` (higher is better). Scores decide
the order, and equal scores are ties; where the column `score` is absent or empty, `rank` decides. A target outside a
user's list is a miss. Ties are counted within the list, so a tie with items past its end is not seen.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
import torch
from polars.io.plugins import register_io_source
from torch import Tensor

from deftrec.data.interactions import Id, Interactions
from deftrec.data.sources.columns import Place, typed_ids
from deftrec.data.split import Cases, Fit, Part, Split, SplitName
from deftrec.errors import DataError
from deftrec.evaluation.metrics import CUTOFFS, MISSED, TargetRanks
from deftrec.evaluation.protocol import Result, Seen, evaluate
from deftrec.files import atomic_path

COLUMNS = ("user", "item", "rank", "score")

BEFORE: dict[Part, str] = {
    "validation": "all but each user's last two items",
    "test": "all but each user's last item",
}
"""History of each target under the leave-one-out split."""


@dataclass(frozen=True, eq=False)
class Rankings:
    """Rankings from a file, ready for `evaluate`.

    Attributes:
        ranks: position of each evaluated user's target. `N` users, in the order of the cases
        top_items: item numbers, best first, -1 where a list has ended. `[N, K]` int64
        users_missing: number of evaluated users without a row in the file; each counts as a miss.
        users_unasked: number of users in the file without a target; ignored.
        seen_removed: number of rows with an item of the user's history, removed under `seen="exclude"`.
    """

    ranks: TargetRanks
    top_items: Tensor
    users_missing: int
    users_unasked: int
    seen_removed: int

    def remarks(self, part: Part, protocol: SplitName) -> list[str]:
        """Describe missing users, ignored users, removed rows, and lists that follow the wrong history.

        Args:
            part: evaluated part, `validation` or `test`.
            protocol: kind of split.
        """
        counted = (
            (self.users_missing, "evaluated users have no row and count as misses"),
            (self.users_unasked, "users have no target and are ignored"),
            (self.seen_removed, "rows are items of their user's history, and are removed"),
        )
        remarks = [f"{count:,} {what}" for count, what in counted if count]
        if self.users_missing < len(self.ranks.missed()) and bool(self.ranks.missed().all()):
            before = BEFORE[part] if protocol == "leave-one-out" else "each user's items before the target"
            remarks.append(f"warning: no target is in any list: for {part}, rank after {before}")
        return remarks


def ranking_frame(
    interactions: Interactions, users: Sequence[Id] | pl.Series, top_items: np.ndarray, scores: np.ndarray
) -> pl.DataFrame:
    """Convert one chunk of recommendations to external ids, in the columns that `write_rankings` expects.

    Args:
        interactions: data that the item numbers belong to.
        users: external ids, with the type of `interactions.users`. `n` of them
        top_items: item numbers, best first, -1 where a list has ended. `[n, K]`
        scores: scores of these items. `[n, K]`
    """
    there = top_items >= 0
    rows, places = np.nonzero(there)
    return pl.DataFrame(
        {
            "user": pl.Series(users, dtype=interactions.users.dtype).gather(rows),
            "item": interactions.catalogue["item"].gather(top_items[there]),
            "rank": (places + 1).astype(np.int32),
            "score": scores[there].astype(np.float64),
        }
    )


def write_rankings(path: str | Path, frames: Iterable[pl.DataFrame]) -> None:
    """Write chunks of recommendations as one Parquet file, atomically and one chunk at a time.

    Args:
        path: file to write.
        frames: chunks with columns `user`, `item`, `rank`, `score`, all with the same types of ids.

    Raises:
        DataError: there is no chunk, a column is missing, or the types of ids differ between chunks.
    """
    source = iter(frames)
    first = next(source, None)
    if first is None:
        raise DataError(f"{path}: no recommendations to write; the data have no user to recommend to")
    schema = _selected(first, path).schema
    failures: list[Exception] = []

    def stream(
        columns: list[str] | None, predicate: pl.Expr | None, rows: int | None, batch: int | None
    ) -> Iterator[pl.DataFrame]:
        try:
            for frame in chain([first], source):
                chunk = _selected(frame, path)
                if chunk.schema != schema:  # polars would panic
                    found, wanted = (", ".join(map(str, one.dtypes()[:2])) for one in (chunk.schema, schema))
                    raise DataError(f"{path}: ids of types {found} after {wanted}; give every chunk the same")
                yield chunk
        except Exception as error:  # polars would wrap it in an error of its own
            failures.append(error)
            raise

    with atomic_path(path) as temporary:
        try:
            register_io_source(stream, schema=schema).sink_parquet(temporary)
        except pl.exceptions.PolarsError:
            if failures:
                raise failures[0] from None
            raise


def read_rankings(
    path: str | Path, interactions: Interactions, cases: Cases, seen: Seen, *, depth: int = max(CUTOFFS)
) -> Rankings:
    """Read and check a file of rankings. Memory: about 40 bytes per row.

    Under `seen="exclude"` items of a user's history are removed and later items move up; under `keep` the lists stay
    unchanged.

    Args:
        path: Parquet file with `user`, `item`, and `score` or `rank`.
        interactions: data whose ids the file uses.
        cases: evaluated users with their histories and targets.
        seen: rule for items of the history.
        depth: number of items per list to keep in `top_items`.

    Raises:
        DataError: the file does not exist or is not Parquet; a column is missing; an id is unknown; a score or rank is
            empty, not a number or below 1; an item is listed twice for a user. The message names row, column, value
            and remedy.
    """
    path = Path(path)
    table = _numbered(path, interactions)
    _check_order(path, table)
    _check_duplicates(path, table, interactions.n_items)

    case_of = np.full(interactions.n_users, -1, np.int64)
    case_of[cases.users] = np.arange(len(cases))
    rows = table.with_columns(pl.Series("case", case_of[table["user"].to_numpy()])).filter(pl.col("case") >= 0)
    users_missing = len(cases) - rows["case"].n_unique()
    users_unasked = table["user"].n_unique() - rows["user"].n_unique()

    before = rows.height
    if seen == "exclude":
        history = pl.DataFrame(
            {"case": cases.histories.owners(), "item": cases.histories.items},
            schema_overrides={"case": pl.Int64, "item": pl.Int64},
        )
        rows = rows.join(history.unique(), on=["case", "item"], how="anti")
    by_score = rows["score"].null_count() == 0
    rows = rows.with_columns(pl.col("score") if by_score else -pl.col("rank").cast(pl.Float64).alias("score"))
    # Among equal scores the lists follow the file's ranks; what the metrics count does not depend on it.
    rows = rows.sort("case", "score", "rank", "item", descending=[False, True, False, False])
    return Rankings(
        _target_ranks(rows, cases), _top_items(rows, len(cases), depth), users_missing, users_unasked,
        before - rows.height,
    )  # fmt: skip


def evaluate_file(
    path: str | Path,
    interactions: Interactions,
    split: Split,
    popularity: np.ndarray,
    *,
    name: str,
    part: Part,
    seen: Seen,
    fit: Fit | Literal["unknown"],
    seed: int = 0,
) -> tuple[Result, Rankings]:
    """Read a file of rankings and compute its metrics.

    Args:
        path: see `read_rankings`.
        interactions, split: data and their split.
        popularity: training interactions of each item. `[I]`
        name, part, seen, fit: see `Result`; `part` is its `split`.
        seed: seed of the bootstrap.

    Raises:
        DataError: no user has a target, or the file is missing, damaged or from other data.
    """
    read = read_rankings(path, interactions, split.cases(part), seen)
    result = evaluate(
        read.ranks, read.top_items, torch.from_numpy(popularity), name=name, dataset=interactions.meta.name,
        protocol=split.name, split=part, seen=seen, fit=fit, seed=seed,
    )  # fmt: skip
    return result, read


def _selected(frame: pl.DataFrame, path: str | Path) -> pl.DataFrame:
    missing = [column for column in COLUMNS if column not in frame.columns]
    if missing:
        raise DataError(f"{path}: recommendations without column {missing[0]!r}; they have {', '.join(frame.columns)}")
    return frame.select("user", "item", pl.col("rank").cast(pl.Int32), pl.col("score").cast(pl.Float64))


def _numbered(path: Path, interactions: Interactions) -> pl.DataFrame:
    """Read `row` (from 1), `user`, `item` (numbers), `rank` and `score` (null where the file has none)."""
    if not path.is_file():
        raise DataError(f"{path}: no such file; rankings are one Parquet file with columns {', '.join(COLUMNS)}")
    try:
        scan = pl.scan_parquet(path)
        columns = scan.collect_schema().names()
        for column in ("user", "item"):
            if column not in columns:
                raise DataError(f"{path}: no column {column!r}; the columns are {', '.join(columns)}")
        if "score" not in columns and "rank" not in columns:
            raise DataError(f"{path}: no column 'score' or 'rank' to order by; the columns are {', '.join(columns)}")
        table = scan.select([column for column in COLUMNS if column in columns]).collect()
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"{path}: not a readable Parquet file ({str(error).splitlines()[0]}); write it again"
        ) from error
    for column, dtype in (("rank", pl.Float64), ("score", pl.Float64)):
        if column not in columns:
            table = table.with_columns(pl.lit(None, dtype).alias(column))
        elif table.height and not table[column].dtype.is_numeric() and table[column].dtype != pl.Null:
            raise DataError(
                f"{path}: row 1, column {column!r}: {table[column][0]!r} is not a number; write the column as numbers"
            )
    numbers = {
        "user": _to_numbers(path, table["user"], interactions.users, interactions.meta.name),
        "item": _to_numbers(path, table["item"], interactions.catalogue["item"], interactions.meta.name),
    }
    return table.select(
        pl.int_range(1, pl.len() + 1).alias("row"),
        numbers["user"].alias("user"),
        numbers["item"].alias("item"),
        pl.col("rank").cast(pl.Float64),
        pl.col("score").cast(pl.Float64),
    )


def _to_numbers(path: Path, column: pl.Series, ids: pl.Series, dataset: str) -> pl.Series:
    """Convert external ids to numbers; `17` and `"17"` are the same id."""
    if column.dtype.is_float():  # integers, as a merge in pandas leaves them
        column = typed_ids(column, Place(str(path)))
    if column.dtype != ids.dtype:
        column, ids = column.cast(pl.String), ids.cast(pl.String)
    known = pl.DataFrame({"id": ids, "number": np.arange(len(ids))})
    numbers = pl.DataFrame({"id": column}).join(known, on="id", how="left", maintain_order="left")["number"]
    if numbers.null_count():
        row = int(numbers.is_null().arg_max() or 0)
        raise DataError(
            f"{path}: row {row + 1}, column {column.name!r}: {column[row]!r} is not among the {column.name}s of "
            f"{dataset}; write the ids of the data directory"
        )
    return numbers


def _check_order(path: Path, table: pl.DataFrame) -> None:
    """Check that every row has a finite score, or that no row has one and every row has a rank from 1."""
    by_rank = table["score"].null_count() == table.height
    column = "rank" if by_rank else "score"
    values = table[column]
    bad = values.is_null() | values.is_nan() | values.is_infinite()
    if by_rank:
        bad = bad | (values < 1)
    if bad.any():
        row = int(bad.arg_max() or 0)
        mend = "ranks are numbers from 1" if by_rank else "give every row a finite score, or no row any"
        raise DataError(f"{path}: row {row + 1}, column {column!r}: {values[row]} cannot be ordered; {mend}")


def _check_duplicates(path: Path, table: pl.DataFrame, n_items: int) -> None:
    repeated = ~(table["user"] * n_items + table["item"]).is_first_distinct()
    if repeated.any():
        row = int(repeated.arg_max() or 0)
        item = pl.read_parquet(path, columns=["item"])["item"][row]
        raise DataError(
            f"{path}: row {row + 1}, column 'item': {item!r} is listed twice for the same user; keep its best row"
        )


def _target_ranks(rows: pl.DataFrame, cases: Cases) -> TargetRanks:
    case, item, score = (rows[name].to_numpy() for name in ("case", "item", "score"))
    hit = item == cases.targets[case]
    own = np.full(len(cases), np.nan)
    own[case[hit]] = score[hit]
    listed = ~np.isnan(own)
    # Comparisons with the NaN of an unlisted target are false: both counts stay 0 there.
    greater = np.bincount(case[score > own[case]], minlength=len(cases))
    ties = np.bincount(case[score == own[case]], minlength=len(cases)) - listed
    return TargetRanks(torch.from_numpy(np.where(listed, greater, MISSED)), torch.from_numpy(ties))


def _top_items(rows: pl.DataFrame, n_cases: int, depth: int) -> Tensor:
    case, item = rows["case"].to_numpy(), rows["item"].to_numpy()
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(case, minlength=n_cases))])
    position = np.arange(len(case)) - starts[case]
    top = np.full((n_cases, depth), -1, np.int64)
    kept = position < depth
    top[case[kept], position[kept]] = item[kept]
    return torch.from_numpy(top)
