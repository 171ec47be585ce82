"""Exact top-k of scores over a whole catalogue: the reference of every faster index."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from deftrec.data import PADDING, Sequences

SCORE_BYTES = 128 << 20
"""Memory of the scores held at a time, in bytes. Users come in chunks, so it does not grow with users x items."""


@dataclass(frozen=True, eq=False)
class Found:
    """The best items of `N` queries.

    Attributes:
        items: item numbers, best first; `PADDING` where fewer than K items may be recommended. `[N, K]` int64
        scores: scores of `items`; `-inf` where there is no item. `[N, K]` float32
    """

    items: Tensor
    scores: Tensor

    def among(self, some: Tensor) -> "Found":
        """Translate places in `some` into item numbers. `some` `[c]` int64"""
        return Found(torch.where(self.items == PADDING, PADDING, some[self.items]), self.scores)

    def padded(self, k: int) -> "Found":
        """The same lists with `k` places or more; the new ones hold no item."""
        missing = (0, max(0, k - self.items.shape[1]))
        return Found(pad(self.items, missing, value=PADDING), pad(self.scores, missing, value=float("-inf")))


def row_chunks(rows: int, items: int, most: int | None = None) -> Iterator[slice]:
    """Slices of rows whose float32 scores against `items` items fit into `most` bytes (default `SCORE_BYTES`)."""
    step = max(1, (most or SCORE_BYTES) // (4 * max(1, items)))
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def history_cells(scores: Tensor, histories: Sequences) -> tuple[Tensor, Tensor]:
    """Rows and columns of the cells of `scores` `[N, I]` that belong to items of the rows' own histories.

    Items that a user only looked at are not among them (see `Sequences.seen`).
    """
    seen = histories.seen()
    rows, columns = seen.owners(), seen.items.astype(np.int64)
    return torch.from_numpy(rows).to(scores.device), torch.from_numpy(columns).to(scores.device)


def top(scores: Tensor, k: int) -> Found:
    """The `k` best items of each row; `PADDING` for items with score `-inf`. `[N, I]` -> `Found` of N x min(k, I)

    Equal scores stand in the order of item numbers, so that a shorter list is the beginning of a longer one. No list
    is longer than the catalogue, so that memory does not grow with `k`.
    """
    best = scores.topk(min(k + 1, scores.shape[1]), dim=1)  # one more shows ties at the end
    values, items = best.values[:, :k], best.indices[:, :k]
    if best.values.shape[1] > k > 0:
        tied = (best.values[:, k] == values[:, -1]) & (values[:, -1] > float("-inf"))
        for row in tied.nonzero()[:, 0].tolist():
            above = int((values[row] > values[row, -1]).sum())
            equal = (scores[row] == values[row, -1]).nonzero()[:, 0]
            items[row, above:] = equal[: k - above]
    order = items.argsort(dim=1, stable=True)
    values, items = values.gather(1, order), items.gather(1, order)
    order = values.argsort(dim=1, descending=True, stable=True)
    values, items = values.gather(1, order), items.gather(1, order)
    return Found(items.masked_fill(values == float("-inf"), PADDING), values)
