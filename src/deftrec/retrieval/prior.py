"""A linear collaborative prior: EASE on the recency-weighted history (Steck 2019, arXiv 1905.03375)."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deftrec.data import Sequences
from deftrec.sparse import csr_matrix, distinct_pairs

SLICE_CELLS = 16 << 20
"""Weights that are added at a time: M of them for every item of every history would not fit at once."""


@dataclass(frozen=True, eq=False)
class EasePrior:
    """Item-to-item weights, of which each item keeps its largest.

    Attributes:
        neighbours: the items that an item speaks for. `[I, M]` int64
        weights: how much; zero where an item has fewer than M. `[I, M]` float32
    """

    neighbours: Tensor
    weights: Tensor

    @classmethod
    def fit(
        cls, sequences: Sequences, n_items: int, regularisation: float, neighbours: int, max_items: int
    ) -> "EasePrior":
        """Closed form: B = I - P / diag(P) with P = (X^T X + lambda)^-1, diagonal zero.

        X is users x items, a repeated interaction counted once. Time is cubic in the number of items that take
        part, memory quadratic; items past the `max_items` most popular neither speak nor are spoken for.
        """
        users, items = distinct_pairs(sequences, n_items)
        popular = np.sort(np.argsort(-np.bincount(items, minlength=n_items), kind="stable")[:max_items])
        place = np.full(n_items, -1)
        place[popular] = np.arange(len(popular))
        part = place[items] >= 0
        users, items = users[part], place[items[part]]
        ones = np.ones(len(users))
        matrix = csr_matrix(users, items, ones, (len(sequences), len(popular)))
        transposed = csr_matrix(items, users, ones, (len(popular), len(sequences)))
        gram = (transposed @ matrix).to_dense()
        gram.diagonal().add_(regularisation)
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram))
        weights = inverse.div_(-inverse.diagonal()[None, :].clone())
        weights.fill_diagonal_(0)
        kept = min(neighbours, len(popular))
        chosen = weights.abs().topk(kept, dim=1).indices
        all_neighbours = torch.zeros(n_items, kept, dtype=torch.int64)
        all_weights = torch.zeros(n_items, kept)
        numbers = torch.from_numpy(popular)
        all_neighbours[numbers] = numbers[chosen]
        all_weights[numbers] = weights.gather(1, chosen)
        return cls(all_neighbours, all_weights)

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
        return total
