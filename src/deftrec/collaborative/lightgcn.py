"""LightGCN: light graph convolution over the training interactions (He et al. 2020, arXiv 2002.02126)."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deftrec.data import Sequences
from deftrec.data.sparse import csr_matrix, distinct_pairs


@dataclass(frozen=True, eq=False)
class CollaborativeVectors:
    """Vectors of the users `[U, d]` and of the items `[I, d]`, float32."""

    users: Tensor
    items: Tensor


@dataclass(frozen=True, eq=False)
class Triples:
    """Users, an item of each user's history, and an item drawn at random. Each `[B]` int64"""

    users: Tensor
    positives: Tensor
    negatives: Tensor


class LightGCN(nn.Module):
    """Base vectors of users and items, smoothed over the graph.

    Args:
        sequences: training interactions, one sequence a user. No other edge is ever seen.
        n_items: size of the catalogue.
        dim: width d of the vectors.
        layers: propagation steps; the result is the mean of the base and every step (He et al., eq. 4).
        l2: weight of the squared norm of the batch's base vectors (He et al., eq. 15).
    """

    adjacency: Tensor

    def __init__(self, sequences: Sequences, n_items: int, dim: int, layers: int, l2: float) -> None:
        super().__init__()
        self.n_users, self.layers, self.l2 = len(sequences), layers, l2
        self.base = nn.Parameter(torch.randn(self.n_users + n_items, dim) * 0.1)
        self.register_buffer("adjacency", normalised_adjacency(sequences, n_items), persistent=False)

    def propagate(self) -> CollaborativeVectors:
        """Users' and items' vectors, in float32 whatever the autocast: sums over many neighbours need the digits."""
        with torch.autocast(self.base.device.type, enabled=False):
            layer = self.base.float()
            total = layer
            for _ in range(self.layers):
                layer = _SymmetricProduct.apply(self.adjacency, layer)  # type: ignore[no-untyped-call]
                total = total + layer
            vectors = total / (self.layers + 1)
        return CollaborativeVectors(vectors[: self.n_users], vectors[self.n_users :])

    def forward(self, batch: Triples) -> dict[str, Tensor]:
        """Bayesian personalised ranking loss of a batch (Rendle et al. 2009), with the penalty on base vectors."""
        vectors = self.propagate()
        user = vectors.users[batch.users]
        margin = (user * (vectors.items[batch.positives] - vectors.items[batch.negatives])).sum(-1)
        rows = torch.cat([batch.users, batch.positives + self.n_users, batch.negatives + self.n_users])
        penalty = self.base[rows].square().sum() / (2 * len(margin))
        ranking = F.softplus(-margin).mean()
        return {"loss": ranking + self.l2 * penalty, "bpr": ranking}


class _SymmetricProduct(torch.autograd.Function):
    """Sparse times dense for a symmetric matrix: its transpose, which the gradient needs, is itself."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, matrix: Tensor, dense: Tensor) -> Tensor:
        ctx.matrix = matrix  # type: ignore[attr-defined]
        return matrix @ dense

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[None, Tensor]:
        return None, ctx.matrix @ gradient  # type: ignore[attr-defined]


def normalised_adjacency(sequences: Sequences, n_items: int) -> Tensor:
    """D^-1/2 A D^-1/2 of the bipartite graph, a repeated interaction counted once. Sparse CSR `[U + I, U + I]`"""
    users, items = distinct_pairs(sequences, n_items)
    size = len(sequences) + n_items
    rows = np.concatenate([users, items + len(sequences)])
    columns = np.concatenate([items + len(sequences), users])
    scale = 1 / np.sqrt(np.maximum(np.bincount(rows, minlength=size), 1))
    return csr_matrix(rows, columns, scale[rows] * scale[columns], (size, size))


def draw_triples(sequences: Sequences, n_items: int, batch_size: int, rng: np.random.Generator) -> list[Triples]:
    """One epoch of triples in random order. A negative from the user's history is drawn again, once."""
    users, positives = sequences.owners(), sequences.items.astype(np.int64)
    positive = np.unique(users * n_items + positives)
    order = rng.permutation(len(users))
    users, positives = users[order], positives[order]
    negatives = rng.integers(0, n_items, len(users))
    clash = np.isin(users * n_items + negatives, positive)
    negatives[clash] = rng.integers(0, n_items, int(clash.sum()))
    steps = max(1, round(len(users) / batch_size))
    columns = (np.array_split(column, steps) for column in (users, positives, negatives))
    return [Triples(*(torch.from_numpy(part) for part in parts)) for parts in zip(*columns, strict=True)]
