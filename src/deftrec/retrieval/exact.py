"""Every item scored, nothing approximated: the reference of every faster index."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from deftrec.data import PADDING, Sequences

Similarity: TypeAlias = Literal["cosine", "inner", "l2"]

SCORE_BYTES = 128 << 20
"""Memory of the scores that are held at a time: users come in chunks, so it does not grow with users x items."""

LAST = -10_000.0
"""What comes after all others gets this on top: more than the scores of two items differ by."""


@dataclass(frozen=True, eq=False)
class Found:
    """The best items of `N` queries.

    Attributes:
        items: item numbers, best first, `PADDING` where fewer than K could be recommended. `[N, K]` int64
        scores: `-inf` where there is no item. `[N, K]` float32
    """

    items: Tensor
    scores: Tensor

    def among(self, some: Tensor) -> "Found":
        """The same, found among `some` items: places in them become item numbers. `[c]` int64"""
        return Found(torch.where(self.items == PADDING, PADDING, some[self.items]), self.scores)

    @classmethod
    def concatenate(cls, parts: list["Found"]) -> "Found":
        """What was found for chunks of queries, in order."""
        return cls(torch.cat([part.items for part in parts]), torch.cat([part.scores for part in parts]))


class Comparison:
    """Similarities of queries to latents; what depends on the latents alone is computed once.

    Args:
        latents: `[I, D]`
        similarity: `l2` is minus half the squared distance, without the query's own norm.
    """

    def __init__(self, latents: Tensor, similarity: Similarity) -> None:
        self.unit = similarity == "cosine"
        self.latents = normalize(latents, dim=-1) if self.unit else latents
        self.half_norms = latents.square().sum(-1) / 2 if similarity == "l2" else None

    def __call__(self, queries: Tensor) -> Tensor:
        """`[N, D]` -> `[N, I]`"""
        scores = (normalize(queries, dim=-1) if self.unit else queries) @ self.latents.T
        return scores if self.half_norms is None else scores.sub_(self.half_norms)


def row_chunks(rows: int, items: int, most: int | None = None) -> Iterator[slice]:
    """Slices of rows whose scores against `items` items fit into `most` bytes; None: `SCORE_BYTES`."""
    step = max(1, (most or SCORE_BYTES) // (4 * max(1, items)))
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def hide(scores: Tensor, histories: Sequences) -> Tensor:
    """Items of a row's own history are no candidates: their scores become `-inf`, in `scores` itself. `[N, I]`"""
    scores[_own(scores, histories)] = float("-inf")
    return scores


def raised(scores: Tensor, histories: Sequences, by: float) -> Tensor:
    """Items of a row's own history get `by` on top, once each, in `scores` itself. `[N, I]`"""
    own = _own(scores, histories)
    scores[own] = scores[own] + by
    return scores


def _own(scores: Tensor, histories: Sequences) -> tuple[Tensor, Tensor]:
    """Rows and columns of `scores` that stand for items of the rows' own histories."""
    rows, columns = histories.owners(), histories.items.astype(np.int64)
    return torch.from_numpy(rows).to(scores.device), torch.from_numpy(columns).to(scores.device)


def top(scores: Tensor, k: int) -> Found:
    """The `k` best of each row, `PADDING` in place of items that are no candidates. `[N, I]` -> `Found` of N x k"""
    best = scores.topk(min(k, scores.shape[1]), dim=1)
    items = best.indices.masked_fill(best.values == float("-inf"), PADDING)
    missing = k - items.shape[1]
    if missing > 0:
        items = torch.nn.functional.pad(items, (0, missing), value=PADDING)
    values = torch.nn.functional.pad(best.values, (0, max(0, missing)), value=float("-inf"))
    return Found(items, values)
