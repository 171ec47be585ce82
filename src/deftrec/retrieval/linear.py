"""Linear collaborative priors on the recency-weighted history, each in closed form: EASE, SLIT and the graph's own."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from deftrec.data import Sequences
from deftrec.data.sparse import csr_matrix, distinct_pairs
from deftrec.retrieval.exact import row_chunks

SLICE_CELLS = 16 << 20
"""Weights that are added at a time: M of them for every item of every history would not fit at once."""

SLIT_WINDOW = 50
"""Newest items of a history that SLIT is fitted on: older ones weigh little at the recency it is used with."""

SLIT_ROWS = 500_000
"""(history, next item) pairs that SLIT is fitted on, at most: 25 million entries."""


CPU = torch.device("cpu")

LENDERS = 5
"""Items whose mean score an item gets that came after the prior was fitted."""


@dataclass(frozen=True, eq=False)
class LinearPrior:
    """Item-to-item weights, of which each item keeps its largest.

    Attributes:
        neighbours: the items that an item speaks for. `[I, M]` int64
        weights: how much; zero where an item has fewer than M. `[I, M]` float32
        lenders: for each of the last N items, which it was not fitted on, those whose mean score it gets; None: there
            are no such items. `[N, L]` int64
    """

    neighbours: Tensor
    weights: Tensor
    lenders: Tensor | None = None

    @classmethod
    def ease(
        cls,
        sequences: Sequences,
        n_items: int,
        regularisation: float,
        neighbours: int,
        max_items: int,
        device: torch.device = CPU,
    ) -> "LinearPrior":
        """What is taken together (Steck 2019, arXiv 1905.03375), in closed form.

        B = I - P / diag(P) with P = (X^T X + lambda)^-1, diagonal zero. X is users x items, a repeated interaction
        counted once. Time is cubic in the number of items that take part, memory quadratic; items past the `max_items`
        most popular neither speak nor are spoken for.

        Args:
            device: where the matrices of items x items are computed; the prior lies on the CPU.
        """
        popular, sequences = _popular(sequences, n_items, max_items)
        users, items = distinct_pairs(sequences, len(popular))
        taken = _with_transpose(users, items, np.ones(len(users)), (len(sequences), len(popular)))
        inverse = _regularised_inverse(*taken, regularisation, device)
        weights = inverse.div_(-inverse.diagonal()[None, :].clone())
        weights.fill_diagonal_(0)
        return cls._largest(weights, popular, n_items, neighbours)

    @classmethod
    def slit(
        cls,
        sequences: Sequences,
        n_items: int,
        regularisation: float,
        recency: float,
        neighbours: int,
        max_items: int,
        device: torch.device = CPU,
    ) -> "LinearPrior":
        """What is taken next (SLIT; Choi et al. 2021, arXiv 2103.16104) with the very next item as target.

        B = (X^T X + lambda)^-1 X^T Y: a row of X is a history as `scores` weighs it, that of Y its next item. Unlike
        EASE it knows which of two items comes first, and how common the next one is. Past `SLIT_ROWS` pairs a sample
        of them is used. Cost and `device` as for `ease`.
        """
        popular, sequences = _popular(sequences, n_items, max_items)
        rows, items, strength, targets = _histories(sequences, len(popular), recency)
        I, R = len(popular), len(targets)  # noqa: E741
        history, transposed = _with_transpose(rows, items, strength, (R, I))
        inverse = _regularised_inverse(history, transposed, regularisation, device)
        following = csr_matrix(targets, np.arange(R), np.ones(R), (I, R))
        weights = ((following @ history).to(device) @ inverse).T  # P is symmetric: P X^T Y = (Y^T X P)^T
        return cls._largest(weights, popular, n_items, neighbours)

    @classmethod
    def graph(
        cls, sequences: Sequences, n_items: int, neighbours: int, max_items: int, device: torch.device = CPU
    ) -> "LinearPrior":
        """What lies one step over the graph and back: the linear filter of GF-CF (Shen et al. 2021, arXiv 2108.07567).

        B = R^T R with R = D_u^-1/2 X D_i^-1/2, X as for `ease`, D the degrees of users and items: what a layer of
        LightGCN propagates, with nothing learnt. Where nothing says more than what is popular among those who took the
        same, it beats what fits better. Memory is quadratic in the number of items that take part; `device` as for
        `ease`.
        """
        popular, sequences = _popular(sequences, n_items, max_items)
        users, items = distinct_pairs(sequences, len(popular))
        shape = (len(sequences), len(popular))
        degrees = np.bincount(users, minlength=shape[0])[users] * np.bincount(items, minlength=shape[1])[items]
        normalised, transposed = _with_transpose(users, items, degrees**-0.5, shape)
        return cls._largest((transposed @ normalised).to_dense().to(device), popular, n_items, neighbours)

    @classmethod
    def _largest(cls, weights: Tensor, popular: np.ndarray, n_items: int, neighbours: int) -> "LinearPrior":
        """Keep the largest weights of each of the `popular` items. `[P, P]` -> `LinearPrior` of all items"""
        kept = min(neighbours, len(popular))
        chosen = weights.abs().topk(kept, dim=1).indices
        all_neighbours = torch.zeros(n_items, kept, dtype=torch.int64)
        all_weights = torch.zeros(n_items, kept)
        numbers = torch.from_numpy(popular)
        all_neighbours[numbers] = numbers[chosen.cpu()]
        all_weights[numbers] = weights.gather(1, chosen).cpu()
        return cls(all_neighbours, all_weights)

    def without_items(self, items: Tensor) -> "LinearPrior":
        """The same prior, but that `items` speak for nothing and lend nothing. `[N]` int64"""
        return LinearPrior(self.neighbours, self.weights.index_fill(0, items, 0.0), self.lenders)

    def with_items(self, latents: Tensor) -> "LinearPrior":
        """The same prior for a catalogue with N items more behind its own.

        They speak for nothing. What speaks for the `LENDERS` fitted items that are nearest to one, by the cosine of
        their latents, speaks for it: a score of zero would put it behind everything that anything speaks for.

        Args:
            latents: of all items. `[I + N, D]`
        """
        fitted, more = len(self.neighbours), len(latents) - len(self.neighbours)
        speaking = (self.weights != 0).any(1).nonzero()[:, 0]
        if not more or not len(speaking):
            pad = (0, 0, 0, more)
            return LinearPrior(nn.functional.pad(self.neighbours, pad), nn.functional.pad(self.weights, pad))
        unit = nn.functional.normalize(latents.float().cpu(), dim=-1)
        kept = min(LENDERS, len(speaking))
        nearest = [
            (unit[fitted:][rows] @ unit[speaking].T).topk(kept, dim=1).indices for rows in row_chunks(more, fitted)
        ]
        neighbours, weights = (nn.functional.pad(one, (0, 0, 0, more)) for one in (self.neighbours, self.weights))
        return LinearPrior(neighbours, weights, speaking[torch.cat(nearest)])

    def scores(self, histories: Sequences, recency: float) -> Tensor:
        """Sum of the weights of each history, an item of age a (0 = newest) counted (1 + a)^-recency. `[N, I]`"""
        N, I = len(histories), len(self.neighbours)  # noqa: E741
        ages = np.repeat(histories.offsets[1:], histories.lengths) - 1 - np.arange(len(histories.items))
        strength = torch.from_numpy((1.0 + ages) ** -recency).float()
        total = torch.zeros(N, I)
        rows, items = torch.from_numpy(histories.owners()), torch.from_numpy(histories.items.astype(np.int64))
        step = max(1, SLICE_CELLS // max(1, self.neighbours.shape[1]))
        for start in range(0, len(items), step):
            part = slice(start, start + step)
            columns = self.neighbours[items[part]] + rows[part, None] * I
            values = self.weights[items[part]] * strength[part, None]
            total.view(-1).scatter_add_(0, columns.view(-1), values.view(-1))
        if self.lenders is not None:
            total[:, -len(self.lenders) :] = sum(total[:, lender] for lender in self.lenders.T) / self.lenders.shape[1]
        return total


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
    for age in range(SLIT_WINDOW):
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
