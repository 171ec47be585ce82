"""User vectors of LightGCN for histories that go on after its training."""

import numpy as np
import torch
from torch import Tensor

from deftrec.collaborative import CollaborativeVectors
from deftrec.data import Sequences
from deftrec.data.sparse import csr_matrix, distinct_pairs


def users_after(vectors: CollaborativeVectors, training: Sequences, users: np.ndarray, histories: Sequences) -> Tensor:
    """Fold the items that users interacted with after training into their trained vectors.

    LightGCN gives user u the sum over items i of e_i / sqrt(|N_u| |N_i|) in every propagation step (He et al. 2020,
    eq. 3). One such step with the trained item vectors g adds the items of the full history H_u that training did not
    contain, N_u being the items of u and d_i the number of users of i in training:

        e'_u = e_u + sum_(i in H_u - N_u) g_i / sqrt(|H_u| d_i)

    A user without newer items keeps the trained vector. An item without training interactions has the zero vector.
    Returns one vector per user. `[N, d]`

    Args:
        vectors: vectors trained on `training`, which has one sequence per user.
        training: interactions before the newer items.
        users, histories: numbers `[N]` and full histories, oldest first, of the users to rank for.
    """
    n_items = len(vectors.items)
    degrees = np.bincount(distinct_pairs(training, n_items)[1], minlength=n_items)
    rows, items = distinct_pairs(histories, n_items)
    lengths = np.bincount(rows, minlength=len(histories))
    known_rows, known_items = distinct_pairs(training.select(users), n_items)
    newer = ~np.isin(rows * n_items + items, known_rows * n_items + known_items)
    rows, items = rows[newer], items[newer]
    weights = 1 / np.sqrt(lengths[rows] * np.maximum(degrees[items], 1))
    added = csr_matrix(rows, items, weights, (len(histories), n_items)) @ vectors.items
    return vectors.users[torch.from_numpy(users)] + added
