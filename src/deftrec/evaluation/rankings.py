"""Rankings as Parquet files, the exchange format between recommenders and the evaluator.

One row per recommendation: `user`, `item` (external ids), `rank` (from 1) and `score` (higher is better). Scores decide
the order, and equal scores are ties; where the column `score` is absent or empty, `rank` decides. A target outside a
user's list is a miss. Ties are counted within the list, so a tie with items past its end is not seen.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import polars as pl
import torch
from polars.io.plugins import register_io_source
from torch import Tensor

from deftrec.data.interactions import Id, Interactions
from deftrec.data.sources.columns import Place, check_id_type, typed_ids
from deftrec.data.split import Cases, Part, Split, SplitName
from deftrec.errors import DataError, first_line
from deftrec.evaluation.metrics import CUTOFFS, MISSED, TargetRanks
from deftrec.evaluation.protocol import FitOrUnknown, Result, Seen, evaluate
from deftrec.files import atomic_path

COLUMNS = ("user", "item", "rank", "score")


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
        """Describe missing users, ignored users, removed rows, and lists that follow the wrong history."""
        counted = (
            (self.users_missing, "evaluated users have no row and count as misses"),
            (self.users_unasked, "users have no target and are ignored"),
            (self.seen_removed, "rows are items of their user's history, and are removed"),
        )
        remarks = [f"{count:,} {what}" for count, what in counted if count]
        if self.users_missing < len(self.ranks.missed()) and bool(self.ranks.missed().all()):
            last = "last item" if part == "test" else "last two items"
            before = (
                f"all but each user's {last}" if protocol == "leave-one-out" else "each user's items before the target"
            )
            remarks.append(f"warning: no target is in any list: for {part}, rank after {before}")
        return remarks


def ranking_frame(
    interactions: Interactions, users: Sequence[Id] | pl.Series, top_items: np.ndarray, scores: np.ndarray
) -> pl.DataFrame:
    """Convert one chunk of recommendations to external ids, in the columns that `write_rankings` expects.

    Args:
        interactions: data that the item numbers belong to.
        users: external ids, with the type of `interactions.users`. `n` of them
        top_items, scores: item numbers, best first, -1 where a list has ended, and their scores. `[n, K]` each
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
    """Write chunks of recommendations, in the columns of `COLUMNS` and perhaps `title`, as one Parquet file.

    One chunk is in memory at a time.

    Raises a `DataError` if there is no chunk, a column is missing, or the types of ids differ between chunks.
    """
    source = iter(frames)
    first = next(source, None)
    if first is None:
        raise DataError(f"{path}: no recommendations to write; the data have no user to recommend to")
    schema = _selected(first, path).schema
    failures: list[Exception] = []

    def stream(*_: object) -> Iterator[pl.DataFrame]:
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
    """Read and check a file of rankings with `user`, `item`, and `score` or `rank`. Memory: about 40 bytes per row.

    Under `seen="exclude"` items of a user's history are removed and later items move up; under `keep` the lists stay
    unchanged. `top_items` of the result keeps `depth` items per list. Raises a `DataError` if the file does not exist
    or is not Parquet; a column is missing; an id is unknown; a score or rank is empty, not a number or below 1; an item
    is listed twice for a user. The message names row, column, value and remedy.
    """
    table, by_score = _numbered(Path(path), interactions)
    case_of = np.full(interactions.n_users, -1, np.int64)
    case_of[cases.users] = np.arange(len(cases))
    rows = table.with_columns(pl.Series("case", case_of[table["user"].to_numpy()])).filter(pl.col("case") >= 0)
    users_missing = len(cases) - rows["case"].n_unique()
    users_unasked = table["user"].n_unique() - rows["user"].n_unique()

    before = rows.height
    if seen == "exclude":
        past = cases.histories.seen()
        history = {"case": past.owners(), "item": past.items.astype(np.int64)}
        rows = rows.join(pl.DataFrame(history).unique(), on=["case", "item"], how="anti")
    if not by_score:
        rows = rows.with_columns((-pl.col("rank")).alias("score"))
    # Among equal scores the lists follow the file's ranks; what the metrics count does not depend on it.
    rows = rows.sort("case", "score", "rank", "item", descending=[False, True, False, False])
    case, item, score = (rows[name].to_numpy() for name in ("case", "item", "score"))
    ranks, top_items = _target_ranks(case, item, score, cases), _top_items(case, item, len(cases), depth)
    return Rankings(ranks, top_items, users_missing, users_unasked, before - rows.height)


def evaluate_file(
    path: str | Path,
    interactions: Interactions,
    split: Split,
    popularity: np.ndarray,
    *,
    name: str,
    part: Part,
    seen: Seen,
    fit: FitOrUnknown,
) -> tuple[Result, Rankings]:
    """Read a file of rankings and compute its metrics; see `read_rankings` and `evaluate`.

    Raises a `DataError` if no user has a target, or the file is missing, damaged or from other data.
    """
    read = read_rankings(path, interactions, split.cases(part), seen)
    result = evaluate(
        read.ranks, read.top_items, torch.from_numpy(popularity), name=name, dataset=interactions.meta.name,
        protocol=split.name, split=part, seen=seen, fit=fit,
    )  # fmt: skip
    return result, read


def _selected(frame: pl.DataFrame, path: str | Path) -> pl.DataFrame:
    missing = [column for column in COLUMNS if column not in frame.columns]
    if missing:
        raise DataError(f"{path}: recommendations without column {missing[0]!r}; they have {', '.join(frame.columns)}")
    more = [column for column in ("title",) if column in frame.columns]
    return frame.select("user", "item", pl.col("rank").cast(pl.Int32), pl.col("score").cast(pl.Float64), *more)


def _numbered(path: Path, interactions: Interactions) -> tuple[pl.DataFrame, bool]:
    """Read and check `user`, `item` (numbers), `rank` and `score` (null where absent), and whether scores decide."""
    if not path.is_file():
        raise DataError(f"{path}: no such file; rankings are one Parquet file with columns {', '.join(COLUMNS)}")
    try:
        scan = pl.scan_parquet(path)
        columns = scan.collect_schema().names()
        missing = [f"{column!r}" for column in ("user", "item") if column not in columns]
        if not {"score", "rank"} & set(columns):
            missing.append("'score' or 'rank' to order by")
        if missing:
            raise DataError(f"{path}: no column {missing[0]}; the columns are {', '.join(columns)}")
        file = scan.select([column for column in COLUMNS if column in columns]).collect()
    except pl.exceptions.PolarsError as error:
        message = f"{path}: not a readable Parquet file ({first_line(error)}); write it again"
        raise DataError(message) from error
    place, dataset = Place(str(path)), interactions.meta.name
    numbers = [
        _to_numbers(place, file["user"], interactions.users, dataset),
        _to_numbers(place, file["item"], interactions.catalogue["item"], dataset),
    ]
    for column in ("rank", "score"):
        values = file[column] if column in columns else pl.Series(column, [None]).new_from_index(0, file.height)
        if file.height and not values.dtype.is_numeric() and values.dtype != pl.Null:
            raise place.error(0, column, f"{values[0]!r} is not a number; write the column as numbers")
        numbers.append(values.cast(pl.Float64))
    table = pl.DataFrame(numbers)

    by_score = table["score"].null_count() < table.height
    column = "score" if by_score else "rank"
    bad = ~table[column].is_finite().fill_null(value=False)
    if not by_score:
        bad |= table["rank"] < 1
    if (row := _first(bad)) is not None:
        mend = "give every row a finite score, or no row any" if by_score else "ranks are numbers from 1"
        raise place.error(row, column, f"{table[column][row]} cannot be ordered; {mend}")
    if (row := _first(~(table["user"] * interactions.n_items + table["item"]).is_first_distinct())) is not None:
        raise place.error(row, "item", f"{file['item'][row]!r} is listed twice for the same user; keep its best row")
    return table, by_score


def _to_numbers(place: Place, column: pl.Series, ids: pl.Series, dataset: str) -> pl.Series:
    """Convert external ids to numbers; `17` and `"17"` are the same id."""
    check_id_type(column, place)
    if column.dtype.is_float():  # integers, as a merge in pandas leaves them
        column = typed_ids(column, place)
    if column.dtype != ids.dtype:
        column, ids = column.cast(pl.String), ids.cast(pl.String)
    known = pl.DataFrame({"id": ids, "number": np.arange(len(ids))})
    numbers = pl.DataFrame({"id": column}).join(known, on="id", how="left", maintain_order="left")["number"]
    if (row := _first(numbers.is_null())) is not None:
        what = f"{column[row]!r} is not among the {column.name}s of {dataset}; write the ids of the data directory"
        raise place.error(row, column.name, what)
    return numbers.alias(column.name)


def _first(marked: pl.Series) -> int | None:
    """Find the first marked row, counted from 0; None where there is none."""
    return int(marked.arg_max() or 0) if marked.any() else None


def _target_ranks(case: np.ndarray, item: np.ndarray, score: np.ndarray, cases: Cases) -> TargetRanks:
    hit = item == cases.targets[case]
    own = np.full(len(cases), np.nan)
    own[case[hit]] = score[hit]
    listed = ~np.isnan(own)
    # Comparisons with the NaN of an unlisted target are false: both counts stay 0 there.
    greater = np.bincount(case[score > own[case]], minlength=len(cases))
    ties = np.bincount(case[score == own[case]], minlength=len(cases)) - listed
    return TargetRanks(torch.from_numpy(np.where(listed, greater, MISSED)), torch.from_numpy(ties))


def _top_items(case: np.ndarray, item: np.ndarray, n_cases: int, depth: int) -> Tensor:
    """Fill the lists from rows in order of case and rank. `[n_cases, depth]`"""
    position = np.arange(len(case)) - np.searchsorted(case, case)
    top = np.full((n_cases, depth), -1, np.int64)
    kept = position < depth
    top[case[kept], position[kept]] = item[kept]
    return torch.from_numpy(top)
