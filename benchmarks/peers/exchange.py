"""What every peer shares: reading inputs, hiding seen items, NDCG@10, writing rankings. README.md has the contract.

A model comes in as a scorer: cases in, a score for every item of the catalogue out, `-inf` for an item that it does
not recommend. Memory: users are scored in chunks, and lists go to disk a chunk at a time.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, TypeAlias

import numpy as np
import polars as pl

Fit: TypeAlias = Literal["train", "train+validation"]
Seen: TypeAlias = Literal["exclude", "keep"]
Part: TypeAlias = Literal["validation", "test"]

CHUNK = 1 << 23  # scores held at once: 32 MB of float32
CUTOFF = 10
STEMS: dict[Fit, str] = {"train": "train", "train+validation": "refit"}
"""How the files of a fit are called."""


@dataclass(frozen=True, eq=False)
class Cases:
    """Users to rank for, with their histories.

    Attributes:
        users: `[N]` int64
        items: all histories one after the other, oldest first. `[H]` int64
        offsets: the history of the n-th user is `items[offsets[n]:offsets[n + 1]]`. `[N + 1]` int64
    """

    users: np.ndarray
    items: np.ndarray
    offsets: np.ndarray

    @classmethod
    def read(cls, path: Path) -> "Cases":
        events = pl.read_parquet(path).sort("user", "position")
        users, starts = np.unique(events["user"].to_numpy(), return_index=True)
        return cls(users, events["item"].to_numpy().astype(np.int64), np.append(starts, events.height))

    def __len__(self) -> int:
        return len(self.users)

    def __getitem__(self, n: int) -> np.ndarray:
        return self.items[self.offsets[n] : self.offsets[n + 1]]

    def owners(self) -> np.ndarray:
        """The case each entry of `items` belongs to. `[H]`"""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def ages(self) -> np.ndarray:
        """Number of later items in the same history, for each entry of `items`: 0 = newest. `[H]`"""
        return self.offsets[1:][self.owners()] - 1 - np.arange(len(self.items))

    def chunk(self, start: int, stop: int) -> "Cases":
        """The cases from `start` to before `stop`."""
        stop = min(stop, len(self))
        first, last = self.offsets[start], self.offsets[stop]
        return Cases(self.users[start:stop], self.items[first:last], self.offsets[start : stop + 1] - first)

    def select(self, which: np.ndarray) -> "Cases":
        """Select the cases `which`, in that order."""
        histories = [self[n] for n in which]
        offsets = np.concatenate([[0], np.cumsum([len(one) for one in histories])])
        return Cases(self.users[which], np.concatenate(histories), offsets)


Scorer: TypeAlias = Callable[[Cases], np.ndarray]
"""Scores every item for each case. `N` cases -> `[N, items]` float32"""


@dataclass(frozen=True)
class Inputs:
    """A folder of inputs. Tables are read on access.

    Attributes:
        folder: path of the folder.
        users, items: numbers of users and items.
        fits: parts of the data to fit on; settings are always chosen on `train`.
        seen: rules for items of the history, one table each.
        parts: parts whose users are ranked for.
        depth: number of items per list.
        seed: seed of everything random.
        budget_seconds: longest search for settings; None for no limit.
        threads: number of threads.
    """

    folder: Path
    users: int
    items: int
    fits: tuple[Fit, ...]
    seen: tuple[Seen, ...]
    parts: tuple[Part, ...]
    depth: int
    seed: int
    budget_seconds: float | None
    threads: int

    @classmethod
    def read(cls, folder: Path) -> "Inputs":
        meta = json.loads((folder / "meta.json").read_text())
        return cls(folder, **{key: tuple(value) if isinstance(value, list) else value for key, value in meta.items()})

    @property
    def tuned_on(self) -> Seen:
        """Rule for items of the history while settings are chosen."""
        return "exclude" if "exclude" in self.seen else "keep"

    def events(self, fit: Fit = "train") -> pl.DataFrame:
        """Read the interactions to fit: `user`, `item`, `position`, each user's oldest first."""
        return pl.read_parquet(self.folder / f"{STEMS[fit]}.parquet").sort("user", "position")

    def cases(self, part: Part) -> Cases:
        return Cases.read(self.folder / f"{part}-histories.parquet")

    def validation_targets(self) -> np.ndarray:
        """Read the targets of the validation cases, in their order. `[N]`"""
        return pl.read_parquet(self.folder / "validation-targets.parquet").sort("user")["target"].to_numpy()

    def item_text(self) -> list[str]:
        """Read the text of each item: title, category and description, where present."""
        rows = pl.read_parquet(self.folder / "item-text.parquet").sort("item")
        return [". ".join(part for part in row if part) for row in rows.select("title", "category", "text").iter_rows()]


def scored(score: Scorer, cases: Cases, n_items: int) -> Iterator[tuple[slice, Cases, np.ndarray]]:
    """Score chunks of cases; an item with the score NaN is not recommended."""
    step = max(1, CHUNK // n_items)
    for start in range(0, len(cases), step):
        chunk = cases.chunk(start, start + step)
        scores = score(chunk)
        scores[np.isnan(scores)] = -np.inf
        yield slice(start, start + step), chunk, scores


def hide_seen(scores: np.ndarray, cases: Cases) -> None:
    """Exclude items of the history, in place."""
    scores[cases.owners(), cases.items] = -np.inf


def mean_ndcg(score: Scorer, cases: Cases, targets: np.ndarray, n_items: int, seen: Seen) -> float:
    """Compute the mean NDCG@10 of full rankings, as expectation over the orders of tied items."""
    gains = np.concatenate([[0], np.cumsum(1 / np.log2(np.arange(2, CUTOFF + 2)))])
    total = 0.0
    for where, chunk, scores in scored(score, cases, n_items):
        if seen == "exclude":
            hide_seen(scores, chunk)
        own = scores[np.arange(len(scores)), targets[where]][:, None]
        greater, same = (scores > own).sum(1), (scores == own).sum(1)
        gain = (gains[np.minimum(greater + same, CUTOFF)] - gains[np.minimum(greater, CUTOFF)]) / same
        total += float(gain[own[:, 0] > -np.inf].sum())
    return total / len(targets)


def best_items(scores: np.ndarray, users: np.ndarray, depth: int) -> pl.DataFrame:
    """Select the `depth` best items of each user, best first; an item scored `-inf` is in no list."""
    depth = min(depth, scores.shape[1])
    best = np.argpartition(-scores, depth - 1, axis=1)[:, :depth]
    best = np.take_along_axis(best, np.argsort(-np.take_along_axis(scores, best, 1), axis=1, kind="stable"), 1)
    values = np.take_along_axis(scores, best, 1)
    there = values > -np.inf
    rows, places = there.nonzero()
    return pl.DataFrame(
        {
            "user": users[rows],
            "item": best[there],
            "rank": (places + 1).astype(np.int32),
            "score": values[there].astype(np.float64),
        }
    )


def write_rankings(score: Scorer, inputs: Inputs, outputs: Path, fit: Fit) -> tuple[int, float]:
    """Write one file for every part and every rule for seen items, with one pass of scoring.

    Returns:
        Number of ranked users, and the seconds to score and rank them for one table, without writing files.
    """
    users, seconds = 0, 0.0
    for part in inputs.parts:
        cases = inputs.cases(part)
        users += len(cases)
        with TemporaryDirectory(dir=outputs) as shards:
            begun = time.perf_counter()
            for where, chunk, scores in scored(score, cases, inputs.items):
                for number, seen in enumerate(sorted(inputs.seen, reverse=True)):  # `keep` first: hiding changes scores
                    if seen == "exclude":
                        hide_seen(scores, chunk)
                    lists = best_items(scores, chunk.users, inputs.depth)
                    if number == 0:
                        seconds += time.perf_counter() - begun
                    lists.write_parquet(Path(shards) / f"{seen}-{where.start:012}.parquet")
                begun = time.perf_counter()
            for seen in inputs.seen:
                whole = pl.scan_parquet(Path(shards) / f"{seen}-*.parquet")
                whole.sink_parquet(outputs / f"rankings-{part}-{STEMS[fit]}-{seen}.parquet")
    return users, seconds
