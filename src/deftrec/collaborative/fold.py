"""Collaborative vectors of items that LightGCN has never seen, from those of what the same users took."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deftrec.data import Sequences
from deftrec.data.sparse import csr_matrix, distinct_pairs

DOUBT = 4.0
"""Users whose word weighs as much as knowing nothing: an item that n of them took gets n / (n + DOUBT) of a vector."""


@dataclass(frozen=True, eq=False)
class FoldIn:
    """New items as sums over old ones, in two sparse steps: the users of an item, and the old items of a user.

    With U_i the users who took new item i and at least one old one, H_u the old items of u, each counted once, g_j the
    vector of old item j, and r the root mean square norm of those:

        h_i = 1/|U_i| sum_(u in U_i) 1/|H_u| sum_(j in H_u) g_j
        g_i = |U_i| / (|U_i| + DOUBT) x r x h_i / |h_i|

    An item that nobody took has the zero vector, which is what the tokenizer reads where the collaborative half is
    masked; every user who takes it moves it on towards a vector as long as a trained one. Means of vectors are
    shorter than the vectors, so their direction alone is used.

    Attributes:
        taken_by: 1/|U_i| where user u took new item i. `[N, U]` sparse
        took: 1/|H_u| where user u took old item j. `[U, I]` sparse
        users: |U_i|. `[N]` float32
    """

    taken_by: Tensor
    took: Tensor
    users: Tensor

    @classmethod
    def of(cls, sequences: Sequences, old: np.ndarray, new: np.ndarray, n_items: int) -> "FoldIn":
        """The users between two groups of items.

        Args:
            sequences: who took what, one sequence a user.
            old, new: numbers of the items that have vectors and of those that get one. `[I]`, `[N]` int64
            n_items: of the catalogue.
        """
        users, items = distinct_pairs(sequences, n_items)
        place = np.full((2, n_items), -1, np.int64)
        place[0, old], place[1, new] = np.arange(len(old)), np.arange(len(new))
        from_old, to_new = place[0, items] >= 0, place[1, items] >= 0
        # Users of both kinds alone take part, under numbers of their own.
        both = np.intersect1d(users[from_old], users[to_new])
        from_old, to_new = from_old & np.isin(users, both), to_new & np.isin(users, both)
        taking, taken = np.searchsorted(both, users[to_new]), place[1, items[to_new]]
        having, had = np.searchsorted(both, users[from_old]), place[0, items[from_old]]
        count, length = np.bincount(taken, minlength=len(new)), np.bincount(having, minlength=len(both))
        return cls(
            csr_matrix(taken, taking, 1 / count[taken], (len(new), len(both))),
            csr_matrix(having, had, 1 / length[having], (len(both), len(old))),
            torch.from_numpy(count).float(),
        )

    @property
    def confidence(self) -> Tensor:
        """How much of a whole vector the users of each new item make, from 0, nobody, towards 1. `[N]`"""
        return self.users / (self.users + DOUBT)

    def vectors(self, trained: Tensor) -> Tensor:
        """Vectors of the new items, given those of the old ones. `[I, d]` -> `[N, d]`"""
        trained = trained.detach().float().cpu()
        if not len(trained) or not self.took.shape[0]:
            return trained.new_zeros(len(self.users), trained.shape[1])
        mean = self.taken_by @ (self.took @ trained)
        length = trained.square().sum(1).mean().sqrt()
        return torch.nn.functional.normalize(mean, dim=-1) * length * self.confidence[:, None]
