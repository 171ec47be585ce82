"""Popularity, item-KNN and EASE, tuned on validation: what simple models reach. The contract is in ../README.md.

    python run.py --inputs DIR --outputs DIR --model ease-recency

"Recency" weights a history item of age a (0 = newest) by (1 + a)^-power; the models without it have power 0.
Memory: users are scored in chunks; EASE holds two matrices of items x items.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import polars as pl
from polars.io.plugins import register_io_source
from scipy.linalg import lapack
from scipy.sparse import csr_matrix

POWERS = (0.0, 0.25, 0.5, 1.0)
CHUNK = 1 << 23  # scores held at once: 32 MB of float32
RANKINGS = pl.Schema({"user": pl.Int64, "item": pl.Int64, "rank": pl.Int32, "score": pl.Float64})
MAX_DENSE_ITEMS = 30_000  # 7 GB for a matrix of float64


class Model(Protocol):
    """Something that is fitted on counts of who took what and scores weighted histories."""

    def fit(self, taken: csr_matrix) -> None:
        """Learn from `taken`: how often each user took each item. `[users, items]` float32"""

    def score(self, weights: csr_matrix) -> np.ndarray:
        """Score every item for each history. `[n, items]` -> `[n, items]` float32"""


class Popularity:
    """How often the item was taken."""

    def fit(self, taken: csr_matrix) -> None:
        self.counts = np.asarray(taken.sum(0), np.float32)

    def score(self, weights: csr_matrix) -> np.ndarray:
        return np.repeat(self.counts, weights.shape[0], axis=0)


@dataclass
class ItemKNN:
    """Cosine between items' users, shrunk where few users support it, from the `k` nearest of each candidate.

    Sarwar et al. 2001, with the shrinkage of Bell and Koren 2007: overlap / (norm * norm + shrink). Keeping the nearest
    of each candidate, not of each history item, stops popular items from being everybody's neighbour.
    """

    k: int
    shrink: float

    def fit(self, taken: csr_matrix) -> None:
        taken = taken.sign()
        by_item = taken.T.tocsr()
        norms = np.sqrt(np.asarray(taken.sum(0), np.float32)).ravel()
        n, k = len(norms), min(self.k, len(norms))
        nearest, similarity = np.empty((n, k), np.int32), np.empty((n, k), np.float32)
        step = max(1, CHUNK // n)
        for start in range(0, n, step):
            block = (by_item[start : start + step] @ taken).toarray()  # how many took both
            rows = np.arange(len(block))
            block[rows, start + rows] = 0  # no item is its own neighbour
            block /= norms[start : start + step, None] * norms + (self.shrink + 1e-9)
            best = np.argpartition(-block, k - 1, axis=1)[:, :k]
            nearest[start : start + step] = best
            similarity[start : start + step] = np.take_along_axis(block, best, 1)
        rows = np.arange(n + 1) * k
        self.similar = csr_matrix((similarity.ravel(), nearest.ravel(), rows), shape=(n, n)).T.tocsr()
        self.similar.eliminate_zeros()

    def score(self, weights: csr_matrix) -> np.ndarray:
        return (weights @ self.similar).toarray()


@dataclass
class EASE:
    """The linear autoencoder with zero diagonal, in closed form (Steck 2019, "Embarrassingly shallow autoencoders")."""

    penalty: float

    def fit(self, taken: csr_matrix) -> None:
        n = taken.shape[1]
        taken = taken.sign()
        if n > MAX_DENSE_ITEMS:
            raise SystemExit(
                f"EASE inverts a matrix of items x items: {n} items are too many (at most {MAX_DENSE_ITEMS})"
            )
        gram = (taken.T @ taken).astype(np.float64).toarray().T  # symmetric: the transpose is it in column order
        gram[np.diag_indices(n)] += self.penalty
        # Cholesky, then the inverse from it, both in place; only the lower triangle is filled.
        factor, failed = lapack.dpotrf(gram, lower=True, overwrite_a=True)
        inverse, failed_too = lapack.dpotri(factor, lower=True, overwrite_c=True)
        if failed or failed_too:
            raise SystemExit(f"EASE: the Gram matrix with penalty {self.penalty} cannot be inverted")
        diagonal = inverse.diagonal().copy()
        weights = np.tril(inverse.astype(np.float32), -1)
        del gram, factor, inverse
        weights += weights.T
        weights /= -diagonal[None, :]  # B = I - P diag(1 / P), eq. (8)
        self.weights = weights

    def score(self, weights: csr_matrix) -> np.ndarray:
        return weights @ self.weights


def grid(name: str) -> Iterator[tuple[dict[str, Any], Model, tuple[float, ...]]]:
    """The settings to try: those of the fit, the model, and the recency powers that one fit serves."""
    powers = POWERS if name.endswith("-recency") else (0.0,)
    match name.removesuffix("-recency"):
        case "item-knn":
            for k, shrink in product((20, 50, 200), (0.0, 10.0, 50.0)):
                yield {"k": k, "shrink": shrink}, ItemKNN(k, shrink), powers
        case "ease":
            for penalty in (50.0, 300.0, 1000.0):
                yield {"penalty": penalty}, EASE(penalty), powers
        case _:
            yield {}, Popularity(), (0.0,)


MODELS = ("popularity", "item-knn", "item-knn-recency", "ease", "ease-recency")


@dataclass
class Cases:
    """Asked users and what they took before.

    Attributes:
        users: `[n]`
        rows, items, ages: one entry a distinct history item: whose (place in `users`), which, and the age at which it
            was last taken (0 = newest). `[h]`
        n_items: size of the catalogue.
    """

    users: np.ndarray
    rows: np.ndarray
    items: np.ndarray
    ages: np.ndarray
    n_items: int

    @classmethod
    def read(cls, path: Path, n_items: int) -> "Cases":
        events = pl.read_parquet(path)
        age = pl.col("position").max().over("user") - pl.col("position")
        events = (
            events.with_columns(age.alias("age")).group_by("user", "item").agg(pl.col("age").min()).sort("user", "item")
        )
        users, rows = np.unique(events["user"].to_numpy(), return_inverse=True)
        return cls(users, rows, events["item"].to_numpy(), events["age"].to_numpy().astype(np.float32), n_items)

    def chunks(self, power: float) -> Iterator[tuple[slice, csr_matrix]]:
        """Weighted histories, some users at a time. `[n, items]`"""
        weights = (1 + self.ages) ** np.float32(-power)
        matrix = csr_matrix((weights, (self.rows, self.items)), shape=(len(self.users), self.n_items))
        step = max(1, CHUNK // self.n_items)
        for start in range(0, len(self.users), step):
            yield slice(start, start + step), matrix[start : start + step]


def scored(
    model: Model, cases: Cases, power: float, seen: Literal["exclude", "keep"]
) -> Iterator[tuple[slice, np.ndarray]]:
    """Scores of every item, some users at a time; `-inf` where an item may not be recommended. `[n, items]`"""
    for chunk, weights in cases.chunks(power):
        scores = model.score(weights)
        if seen == "exclude":
            scores[weights.nonzero()] = -np.inf
        yield chunk, scores


def ndcg(model: Model, cases: Cases, targets: np.ndarray, power: float, seen: Literal["exclude", "keep"]) -> float:
    """Mean NDCG@10 over the full ranking, the expectation over orders of tied items."""
    gains = np.concatenate([[0], np.cumsum(1 / np.log2(np.arange(2, 12)))])
    total = 0.0
    for chunk, scores in scored(model, cases, power, seen):
        own = scores[np.arange(len(scores)), targets[chunk]][:, None]
        greater, same = (scores > own).sum(1), (scores == own).sum(1)
        gain = (gains[np.minimum(greater + same, 10)] - gains[np.minimum(greater, 10)]) / same
        total += float(gain[own[:, 0] > -np.inf].sum())
    return total / len(targets)


def rankings(
    model: Model, cases: Cases, power: float, seen: Literal["exclude", "keep"], depth: int
) -> Iterator[pl.DataFrame]:
    """The best `depth` items of each user, some users at a time."""
    for chunk, scores in scored(model, cases, power, seen):
        depth = min(depth, scores.shape[1])
        best = np.argpartition(-scores, depth - 1, axis=1)[:, :depth]
        best = np.take_along_axis(best, np.argsort(-np.take_along_axis(scores, best, 1), axis=1, kind="stable"), 1)
        values = np.take_along_axis(scores, best, 1)
        there = values > -np.inf
        rows, places = there.nonzero()
        yield pl.DataFrame(
            {
                "user": cases.users[chunk][rows],
                "item": best[there],
                "rank": (places + 1).astype(np.int32),
                "score": values[there].astype(np.float64),
            }
        )


def interactions(path: Path, users: int, items: int) -> csr_matrix:
    """How often each user took each item. `[users, items]` float32"""
    events = pl.read_parquet(path, columns=["user", "item"])
    ones = np.ones(events.height, np.float32)
    return csr_matrix((ones, (events["user"].to_numpy(), events["item"].to_numpy())), shape=(users, items))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=Path, required=True)
    parser.add_argument("--outputs", type=Path, required=True)
    parser.add_argument("--model", choices=MODELS, required=True)
    options = parser.parse_args()
    meta = json.loads((options.inputs / "meta.json").read_text())
    users, items, seen = meta["users"], meta["items"], meta["seen"]

    start = time.perf_counter()
    taken = interactions(options.inputs / "train.parquet", users, items)
    asked = Cases.read(options.inputs / "validation-histories.parquet", items)
    targets = pl.read_parquet(options.inputs / "validation-targets.parquet").sort("user")["target"].to_numpy()
    tried: list[dict[str, Any]] = []
    for settings, model, powers in grid(options.model):
        model.fit(taken)
        for power in powers:
            value = ndcg(model, asked, targets, power, seen)
            tried.append({**settings, "power": power, "ndcg@10": value})
            print(json.dumps(tried[-1]), flush=True)
    chosen = dict(max(tried, key=lambda one: one["ndcg@10"]))
    del chosen["ndcg@10"]
    tuned = time.perf_counter()

    power = chosen["power"]
    model = next(model for settings, model, _ in grid(options.model) if settings.items() <= chosen.items())
    refit = meta["fit"] == "train+validation"
    model.fit(interactions(options.inputs / "refit.parquet", users, items) if refit else taken)
    fitted = time.perf_counter()

    options.outputs.mkdir(parents=True, exist_ok=True)
    for part in meta["parts"]:
        cases = Cases.read(options.inputs / f"{part}-histories.parquet", items)
        chunks = partial(rankings, model, cases, power, seen, meta["depth"])
        source = register_io_source(lambda *_, chunks=chunks: chunks(), schema=RANKINGS)
        source.sink_parquet(options.outputs / f"rankings-{part}.parquet")
    report = {
        "model": options.model,
        "settings": chosen,
        "validation": tried,
        "tune_seconds": tuned - start,
        "fit_seconds": fitted - tuned,
        "rank_seconds": time.perf_counter() - fitted,
    }
    (options.outputs / "settings.json").write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
