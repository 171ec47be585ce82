"""Linear item-to-item models in closed form: EASE, SLIT and the filter of the interaction graph."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from deftrec.collaborative.spectral import normalised_interactions
from deftrec.data import Sequences
from deftrec.data.sparse import csr_matrix, distinct_pairs
from deftrec.retrieval.exact import row_chunks

SLICE_CELLS = 16 << 20
"""Weights added at a time: M of them for every item of every history would not fit into memory at once."""

SLIT_MAX_HISTORY = 50
"""Newest items of a history on which SLIT is fitted: older ones weigh little at the recency it is used with."""

SLIT_ROWS = 500_000  # (history, next item) pairs on which SLIT is fitted, at most: 25 million entries

DENSE_CELLS = 16 << 20
"""Largest matrix of all weights, P items that take part x I items, that is held as a whole for speed: 64 MB."""

ADDS_PER_PRODUCT = 300  # products of a dense matrix in the time of one addition to a scattered cell

CPU = torch.device("cpu")

NEIGHBOURS_OF_ADDED = 5  # items whose mean score an item gets that was added after the model was fitted

Method: TypeAlias = Callable[[Sequences, int, torch.device], Tensor]
"""(sequences of P items, P, device) -> weights `[P, P]`"""


@dataclass(frozen=True, eq=False)
class LinearPrior:
    """Item-to-item weights, the largest M of each item that takes part.

    Memory: 8 M + 4 bytes for each of the P items that take part, and 4 bytes for each item of the catalogue.

    Attributes:
        n_items: size of the catalogue.
        items: numbers of the items that take part, ascending. `[P]` int32
        neighbours: the items that each of them scores. `[P, M]` int32
        weights: the scores; zero where an item has fewer than M neighbours. `[P, M]` float32
        stand_ins: for each of the last N items of the catalogue, which were added after fitting, the items whose mean
            score it gets; None where there are none. `[N, L]` int64
    """

    n_items: int
    items: Tensor
    neighbours: Tensor
    weights: Tensor
    stand_ins: Tensor | None = None

    @classmethod
    def empty(cls, n_items: int) -> "LinearPrior":
        """A model in which no item takes part."""
        nothing = torch.zeros(0, 1)
        return cls(n_items, nothing[:, 0].int(), nothing.int(), nothing)

    @classmethod
    def fit(
        cls,
        method: Method,
        sequences: Sequences,
        n_items: int,
        neighbours: int,
        max_items: int,
        device: torch.device = CPU,
    ) -> "LinearPrior":
        """The largest M = `neighbours` weights of each item, by `ease`, `slit` or `graph`.

        Only the `max_items` most popular items take part: time is cubic in their number, memory quadratic. Dense
        matrices are on `device`, the result on the CPU.
        """
        popular, sequences = _popular(sequences, n_items, max_items)
        weights = method(sequences, len(popular), device)
        chosen = weights.abs().topk(min(neighbours, len(popular)), dim=1).indices
        items = torch.from_numpy(popular.astype(np.int32))
        return cls(n_items, items, items[chosen.cpu()], weights.gather(1, chosen).cpu())

    @cached_property
    def _places(self) -> Tensor:
        """Row of each item of the catalogue among those that take part; -1 for the others. `[I]` int32"""
        places = torch.full((self.n_items,), -1, dtype=torch.int32)
        places[self.items.long()] = torch.arange(len(self.items), dtype=torch.int32)
        return places

    def neighbours_of(self, items: Tensor) -> Tensor:
        """Distinct items that any of `items` `[n]` gives a score to. `[m]` int64"""
        places = self._places[items]
        distinct: Tensor = torch.unique(self.neighbours[places[places >= 0].long()])
        return distinct.long()

    def without_items(self, items: Tensor) -> "LinearPrior":
        """The same model without the weights that `items` `[n]` give to others."""
        silent = torch.isin(self.items.long(), items)
        return replace(self, weights=self.weights.masked_fill(silent[:, None], 0.0))

    def with_items(self, latents: Tensor) -> "LinearPrior":
        """The same model for a catalogue with N more items behind its own, given all `latents` `[I + N, D]`.

        An added item gives no score to others. It gets the mean score of the `NEIGHBOURS_OF_ADDED` items that take part
        and have the nearest latents by cosine: a score of zero would put it behind every item with any score.
        """
        fitted, added = self.n_items, len(latents) - self.n_items
        speaking = self.items[(self.weights != 0).any(1)].long()
        if not added or not len(speaking):
            return replace(self, n_items=len(latents))
        unit = nn.functional.normalize(latents.float().cpu(), dim=-1)
        new, old, kept = unit[fitted:], unit[speaking].T, min(NEIGHBOURS_OF_ADDED, len(speaking))
        nearest = torch.cat([(new[rows] @ old).topk(kept, dim=1).indices for rows in row_chunks(added, fitted)])
        return replace(self, n_items=len(latents), stand_ins=speaking[nearest])

    def scores(self, histories: Sequences, recency: float) -> Tensor:
        """Sum of the weights of each history; an item of age a (0 = newest) counts (1 + a)^-recency. `[N, I]`"""
        N, I = len(histories), self.n_items  # noqa: E741
        ages = np.repeat(histories.offsets[1:], histories.lengths) - 1 - np.arange(len(histories.items))
        strength = torch.from_numpy((1.0 + ages) ** -recency).float()
        rows = torch.from_numpy(histories.owners())
        places = self._places[torch.from_numpy(histories.items.astype(np.int64))]
        present = places >= 0
        rows, places, strength = rows[present], places[present].long(), strength[present]
        P, M = self.neighbours.shape
        products, additions = N * P * I, len(places) * M
        if P * I <= DENSE_CELLS and products < ADDS_PER_PRODUCT * additions:
            read = torch.zeros(N, P).index_put_((rows, places), strength, accumulate=True)
            return self._with_stand_ins(read @ self._dense)
        total = torch.zeros(N, I)
        step = max(1, SLICE_CELLS // max(1, self.neighbours.shape[1]))
        for start in range(0, len(places), step):
            part = slice(start, start + step)
            columns = self.neighbours[places[part]].long() + rows[part, None] * I
            values = self.weights[places[part]] * strength[part, None]
            total.view(-1).scatter_add_(0, columns.view(-1), values.view(-1))
        return self._with_stand_ins(total)

    @cached_property
    def _dense(self) -> Tensor:
        """All weights. `[P, I]`"""
        return torch.zeros(len(self.items), self.n_items).scatter_(1, self.neighbours.long(), self.weights)

    def _with_stand_ins(self, total: Tensor) -> Tensor:
        """`total` `[N, I]` with the scores of the items added after fitting."""
        if self.stand_ins is not None:
            added = sum(total[:, one] for one in self.stand_ins.T) / self.stand_ins.shape[1]
            total[:, -len(self.stand_ins) :] = added
        return total


def ease(sequences: Sequences, n_items: int, device: torch.device, *, regularisation: float) -> Tensor:
    """Co-occurrence in closed form (EASE; Steck 2019, arXiv 1905.03375). `[P, P]`

    B = I - P / diag(P) with P = (X^T X + lambda)^-1, diagonal zero. X is users x items, a repeated interaction counted
    once; `regularisation` is lambda.
    """
    users, items = distinct_pairs(sequences, n_items)
    matrix = _with_transpose(users, items, np.ones(len(users)), (len(sequences), n_items))
    inverse = _regularised_inverse(*matrix, regularisation, device)
    weights = inverse.div_(-inverse.diagonal()[None, :].clone())
    return weights.fill_diagonal_(0)


def slit(sequences: Sequences, n_items: int, device: torch.device, *, regularisation: float, recency: float) -> Tensor:
    """The next item by ridge regression (SLIT; Choi et al. 2021, arXiv 2103.16104). `[P, P]`

    B = (X^T X + lambda)^-1 X^T Y: a row of X is a history as `LinearPrior.scores` weights it, the row of Y its next
    item. Unlike EASE it uses the order of two items and the popularity of the next one. Past `SLIT_ROWS` pairs, a
    sample of them is used. `regularisation` is lambda, `recency` as for `LinearPrior.scores`.
    """
    rows, items, strength, targets = _histories(sequences, n_items, recency)
    I, R = n_items, len(targets)  # noqa: E741
    history, transposed = _with_transpose(rows, items, strength, (R, I))
    inverse = _regularised_inverse(history, transposed, regularisation, device)
    following = csr_matrix(targets, np.arange(R), np.ones(R), (I, R))
    return ((following @ history).to(device) @ inverse).T  # P is symmetric: P X^T Y = (Y^T X P)^T


def graph(sequences: Sequences, n_items: int, device: torch.device) -> Tensor:
    """One step over the interaction graph and back: GF-CF's linear filter (Shen et al. 2021, arXiv 2108.07567).

    B = R^T R with R = D_u^-1/2 X D_i^-1/2, X as for `ease`, D the degrees of users and items: a propagation step of
    LightGCN without learning. `[P, P]`
    """
    normalised, transposed = normalised_interactions(sequences, n_items)
    return (transposed @ normalised).to_dense().to(device)


def _popular(sequences: Sequences, n_items: int, max_items: int) -> tuple[np.ndarray, Sequences]:
    """The most popular items, ascending, and the sequences with these alone, numbered by place. `[P]` int64"""
    _, items = distinct_pairs(sequences, n_items)
    popular = np.sort(np.argsort(-np.bincount(items, minlength=n_items), kind="stable")[:max_items])
    place = np.full(n_items, -1, np.int32)
    place[popular] = np.arange(len(popular))
    placed = place[sequences.items]
    lengths = np.bincount(sequences.owners()[placed >= 0], minlength=len(sequences))
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
    return popular, Sequences(placed[placed >= 0], offsets)


def _histories(
    sequences: Sequences, n_items: int, recency: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Every prefix as weighted items: rows, items and weights of its entries, each place once; and the next items."""
    starts = np.repeat(sequences.offsets[:-1], sequences.lengths)
    places = np.flatnonzero(np.arange(len(sequences.items)) > starts)
    if len(places) > SLIT_ROWS:
        places = np.sort(np.random.default_rng(0).choice(places, SLIT_ROWS, replace=False))
    keys, weights = [], []
    for age in range(SLIT_MAX_HISTORY):
        rows = np.flatnonzero(places - 1 - age >= starts[places])
        keys.append(rows * n_items + sequences.items[places[rows] - 1 - age])
        weights.append(np.full(len(rows), (1.0 + age) ** -recency))
    pairs, inverse = np.unique(np.concatenate(keys), return_inverse=True)
    strength = np.bincount(inverse, np.concatenate(weights), len(pairs))
    return pairs // n_items, pairs % n_items, strength, sequences.items[places].astype(np.int64)


def _with_transpose(
    rows: np.ndarray, items: np.ndarray, values: np.ndarray, shape: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """A sparse matrix `[R, I]` and its transpose `[I, R]`, both compressed by rows."""
    return csr_matrix(rows, items, values, shape), csr_matrix(items, rows, values, shape[::-1])


def _regularised_inverse(matrix: Tensor, transposed: Tensor, regularisation: float, device: torch.device) -> Tensor:
    """(X^T X + lambda)^-1 of a sparse X, computed on `device`. `[I, I]` float32"""
    gram = (transposed @ matrix).to_dense().to(device)
    gram.diagonal().add_(regularisation)
    return torch.cholesky_inverse(torch.linalg.cholesky(gram))
