"""Collaborative vectors of items that LightGCN has not seen, from the other items of the same users."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deftrec.data import Sequences
from deftrec.data.sparse import csr_matrix, distinct_pairs

DOUBT = 4.0
"""Number of users at which a new item's vector has half the length of a trained one; n users give n / (n + DOUBT)."""


@dataclass(frozen=True, eq=False)
class FoldIn:
    """Vectors of new items in two sparse steps: mean over the old items of a user, then over the users of a new item.

    With U_i the users who interacted with new item i and at least one old one, H_u the distinct old items of u, g_j the
    vector of old item j, and r the root mean square norm of the old vectors:

        h_i = 1/|U_i| sum_(u in U_i) 1/|H_u| sum_(j in H_u) g_j
        g_i = |U_i| / (|U_i| + DOUBT) x r x h_i / |h_i|

    A mean of vectors is shorter than they are, so only its direction is used. An item without users has the zero
    vector, which the tokenizer also reads where collaborative features are masked.

    Attributes:
        item_users: 1/|U_i| where user u interacted with new item i. `[N, U]` sparse
        user_items: 1/|H_u| where user u interacted with old item j. `[U, I]` sparse
        users: |U_i|. `[N]` float32
    """

    item_users: Tensor
    user_items: Tensor
    users: Tensor

    @classmethod
    def of(cls, sequences: Sequences, old: np.ndarray, new: np.ndarray, n_items: int) -> "FoldIn":
        """The users between two groups of items.

        Args:
            sequences: interactions, one sequence per user.
            old, new: numbers of the items with vectors `[I]` and of those that get one `[N]`, int64.
            n_items: number of items in the catalogue.
        """
        users, items = distinct_pairs(sequences, n_items)
        place = np.full((2, n_items), -1, np.int64)
        place[0, old], place[1, new] = np.arange(len(old)), np.arange(len(new))
        from_old, to_new = place[0, items] >= 0, place[1, items] >= 0
        # Only users of both groups count; they are numbered anew.
        both = np.intersect1d(users[from_old], users[to_new])
        from_old, to_new = from_old & np.isin(users, both), to_new & np.isin(users, both)
        new_users, new_items = np.searchsorted(both, users[to_new]), place[1, items[to_new]]
        old_users, old_items = np.searchsorted(both, users[from_old]), place[0, items[from_old]]
        count, length = np.bincount(new_items, minlength=len(new)), np.bincount(old_users, minlength=len(both))
        return cls(
            csr_matrix(new_items, new_users, 1 / count[new_items], (len(new), len(both))),
            csr_matrix(old_users, old_items, 1 / length[old_users], (len(both), len(old))),
            torch.from_numpy(count).float(),
        )

    @property
    def confidence(self) -> Tensor:
        """Length of each new item's vector as a share of r, from 0 without users towards 1. `[N]`"""
        return self.users / (self.users + DOUBT)

    def vectors(self, trained: Tensor) -> Tensor:
        """Vectors of the new items, given those of the old ones. `[I, d]` -> `[N, d]`"""
        trained = trained.detach().float().cpu()
        if not len(trained) or not self.user_items.shape[0]:
            return trained.new_zeros(len(self.users), trained.shape[1])
        mean = self.item_users @ (self.user_items @ trained)
        length = trained.square().sum(1).mean().sqrt()
        return torch.nn.functional.normalize(mean, dim=-1) * length * self.confidence[:, None]
