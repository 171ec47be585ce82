"""Collaborative vectors of items without trained ones, from the vectors of their users' other items."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deftrec.data import Sequences
from deftrec.data.sparse import csr_matrix, distinct_pairs

DOUBT = 4.0  # number of users at which an item gets half of a vector: with n users it gets n / (n + DOUBT)


@dataclass(frozen=True, eq=False)
class FoldIn:
    """Vectors of new items as sums over old ones, in two sparse steps: the users of an item, and a user's old items.

    With U_i the users of new item i who also have an old one, H_u the distinct old items of u, g_j the vector of old
    item j, and r the root mean square norm of those:

        h_i = 1/|U_i| sum_(u in U_i) 1/|H_u| sum_(j in H_u) g_j
        g_i = |U_i| / (|U_i| + DOUBT) x r x h_i / |h_i|

    An item without users has the zero vector, which the tokenizer also reads where the collaborative half is masked;
    with more users its norm approaches that of a trained vector. Means are shorter than vectors, so only their
    direction is used.

    Attributes:
        users_of_new: 1/|U_i| where user u has new item i. `[N, U]` sparse
        old_of_users: 1/|H_u| where user u has old item j. `[U, I]` sparse
        users: |U_i|. `[N]` float32
    """

    users_of_new: Tensor
    old_of_users: Tensor
    users: Tensor

    @classmethod
    def of(cls, sequences: Sequences, old: np.ndarray, new: np.ndarray, n_items: int) -> "FoldIn":
        """The users between two groups of items, by number: `old` `[I]`, which have vectors, and `new` `[N]`."""
        users, items = distinct_pairs(sequences, n_items)
        place = np.full((2, n_items), -1, np.int64)
        place[0, old], place[1, new] = np.arange(len(old)), np.arange(len(new))
        from_old, to_new = place[0, items] >= 0, place[1, items] >= 0
        # Only users with items of both kinds count; they are numbered anew.
        both = np.intersect1d(users[from_old], users[to_new])
        from_old, to_new = from_old & np.isin(users, both), to_new & np.isin(users, both)
        new_user, new_item = np.searchsorted(both, users[to_new]), place[1, items[to_new]]
        old_user, old_item = np.searchsorted(both, users[from_old]), place[0, items[from_old]]
        count, length = np.bincount(new_item, minlength=len(new)), np.bincount(old_user, minlength=len(both))
        return cls(
            csr_matrix(new_item, new_user, 1 / count[new_item], (len(new), len(both))),
            csr_matrix(old_user, old_item, 1 / length[old_user], (len(both), len(old))),
            torch.from_numpy(count).float(),
        )

    @property
    def confidence(self) -> Tensor:
        """Confidence in the vector of each new item, from 0 without users towards 1. `[N]`"""
        return self.users / (self.users + DOUBT)

    def vectors(self, trained: Tensor) -> Tensor:
        """Vectors of the new items, given those of the old ones. `[I, d]` -> `[N, d]`"""
        trained = trained.detach().float().cpu()
        if not len(trained) or not self.old_of_users.shape[0]:
            return trained.new_zeros(len(self.users), trained.shape[1])
        mean = self.users_of_new @ (self.old_of_users @ trained)
        length = trained.square().sum(1).mean().sqrt()
        return torch.nn.functional.normalize(mean, dim=-1) * length * self.confidence[:, None]
