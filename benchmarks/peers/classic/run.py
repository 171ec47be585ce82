"""Popularity, repeated histories, item-KNN and EASE: what simple models reach. The contract is in ../README.md.

    python run.py --inputs DIR --outputs DIR --model ease-recency

"Recency" weights a history item of age a (0 = newest) by (1 + a)^-power; the models without it have power 0.
Memory: users are scored in chunks; EASE holds the best matrix of items x items so far and two more while it is fitted.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl
import scipy
from scipy.linalg import lapack
from scipy.sparse import csr_matrix

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from exchange import CHUNK, Cases, Inputs
from tuning import Fitted, Settings, Stopping, Train, run

MODELS = ("popularity", "repeat-history", "item-knn", "item-knn-recency", "ease", "ease-recency")
POWERS = (0.0, 0.25, 0.5, 1.0)
MAX_DENSE_ITEMS = 30_000  # 7 GB for a matrix of float64


class Model(Protocol):
    """Something that is fitted on interaction counts and scores weighted histories."""

    parameters: int

    def fit(self, interactions: csr_matrix) -> None:
        """Learn from `interactions`: number of interactions of each user with each item. `[users, items]` float32"""

    def score(self, weights: csr_matrix) -> np.ndarray:
        """Score every item for each history. `[n, items]` -> `[n, items]` float32"""


class Popularity:
    """Number of interactions of the item."""

    def fit(self, interactions: csr_matrix) -> None:
        self.counts = np.asarray(interactions.sum(0), np.float32)
        self.parameters = self.counts.size

    def score(self, weights: csr_matrix) -> np.ndarray:
        return np.repeat(self.counts, weights.shape[0], axis=0)


class RepeatHistory(Popularity):
    """Items of the history first, by the sum of their recencies; then all other items by popularity.

    Where items of the history are no candidates only the popularity is left.
    """

    def score(self, weights: csr_matrix) -> np.ndarray:
        popularity = super().score(weights) / (1 + self.counts.max())  # below 1
        before = weights.toarray()
        return np.where(before > 0, 1 + before, popularity)


@dataclass
class ItemKNN:
    """Cosine between items' users, shrunk where few users support it, from the `k` nearest of each candidate.

    Sarwar et al. 2001, with the shrinkage of Bell and Koren 2007: overlap / (norm * norm + shrink). Keeping the nearest
    of each candidate, not of each history item, stops popular items from being everybody's neighbour.
    """

    k: int
    shrink: float

    def fit(self, interactions: csr_matrix) -> None:
        interactions = interactions.sign()
        by_item = interactions.T.tocsr()
        norms = np.sqrt(np.asarray(interactions.sum(0), np.float32)).ravel()
        n, k = len(norms), min(self.k, len(norms))
        nearest, similarity = np.empty((n, k), np.int32), np.empty((n, k), np.float32)
        step = max(1, CHUNK // n)
        for start in range(0, n, step):
            block = (by_item[start : start + step] @ interactions).toarray()  # numbers of users with both
            rows = np.arange(len(block))
            block[rows, start + rows] = 0  # no item is its own neighbour
            block /= norms[start : start + step, None] * norms + (self.shrink + 1e-9)
            best = np.argpartition(-block, k - 1, axis=1)[:, :k]
            nearest[start : start + step] = best
            similarity[start : start + step] = np.take_along_axis(block, best, 1)
        rows = np.arange(n + 1) * k
        self.similar = csr_matrix((similarity.ravel(), nearest.ravel(), rows), shape=(n, n)).T.tocsr()
        self.similar.eliminate_zeros()
        self.parameters = self.similar.nnz

    def score(self, weights: csr_matrix) -> np.ndarray:
        return (weights @ self.similar).toarray()


@dataclass
class EASE:
    """The linear autoencoder with zero diagonal, in closed form (Steck 2019, "Embarrassingly shallow autoencoders")."""

    penalty: float

    def fit(self, interactions: csr_matrix) -> None:
        n = interactions.shape[1]
        interactions = interactions.sign()
        if n > MAX_DENSE_ITEMS:
            raise SystemExit(
                f"EASE inverts a matrix of items x items: {n} items are too many (at most {MAX_DENSE_ITEMS})"
            )
        gram = (interactions.T @ interactions).astype(np.float64).toarray().T  # symmetric: T gives column order
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
        self.parameters = weights.size

    def score(self, weights: csr_matrix) -> np.ndarray:
        return weights @ self.weights


def weighted(cases: Cases, power: float, n_items: int, *, repeats: bool) -> csr_matrix:
    """Weighted histories; of a repeated item the newest counts, or with `repeats` the sum. `[n, items]`"""
    owners, items = cases.owners(), cases.items
    weights = (1 + cases.ages().astype(np.float32)) ** np.float32(-power)
    if not repeats:
        newest_first = np.arange(len(items))[::-1]
        _, first = np.unique((owners * n_items + items)[newest_first], return_index=True)
        kept = newest_first[first]
        owners, items, weights = owners[kept], items[kept], weights[kept]
    return csr_matrix((weights, (owners, items)), shape=(len(cases), n_items))  # sums what comes twice


def settings(name: str, inputs: Inputs) -> Iterator[Settings]:
    """Those to try; the recency powers of one fit follow each other."""
    powers = POWERS if name.endswith("-recency") else (0.0,)
    match name.removesuffix("-recency"):
        case "item-knn":
            grid = product((20, 50, 200), (0.0, 10.0, 50.0), powers)
            yield from ({"k": k, "shrink": shrink, "power": power} for k, shrink, power in grid)
        case "ease":
            grid = product((50.0, 300.0, 1000.0), powers)
            yield from ({"penalty": penalty, "power": power} for penalty, power in grid)
        case "repeat-history":
            yield from ({"power": power} for power in (1.0, 0.5, 0.25, 0.0, 2.0))
        case _:
            yield {"power": 0.0}


def make_model(name: str, settings: Settings) -> Model:
    """The model that has `settings`, not fitted yet."""
    match name.removesuffix("-recency"):
        case "item-knn":
            return ItemKNN(settings["k"], settings["shrink"])
        case "ease":
            return EASE(settings["penalty"])
        case "repeat-history":
            return RepeatHistory()
        case _:
            return Popularity()


def trainer(name: str, inputs: Inputs) -> Train:
    """Fits `name`; one fit serves all recency powers that follow each other."""
    kept: tuple[Settings, pl.DataFrame, Model] | None = None

    def train(settings: Settings, events: pl.DataFrame, stopping: Stopping) -> Fitted:
        nonlocal kept
        fitting = {key: value for key, value in settings.items() if key != "power"}
        if kept is None or kept[0] != fitting or kept[1] is not events:
            ones = np.ones(events.height, np.float32)
            places = (events["user"].to_numpy(), events["item"].to_numpy())
            model = make_model(name, settings)
            model.fit(csr_matrix((ones, places), shape=(inputs.users, inputs.items)))
            kept = fitting, events, model
        model, repeats = kept[2], name == "repeat-history"

        def score(cases: Cases) -> np.ndarray:
            return model.score(weighted(cases, settings["power"], inputs.items, repeats=repeats))

        return Fitted(score, model.parameters)

    return train


if __name__ == "__main__":
    run(__doc__, MODELS, settings, trainer, f"numpy {np.__version__}, scipy {scipy.__version__}")
