"""A training batch: packed histories and the items that followed."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from deftrec.language import Layout, RationaleBatch


@dataclass(frozen=True, eq=False)
class Batch:
    """Packed histories and the item that follows each position.

    Attributes:
        candidates: item numbers used by this step, as inputs, targets or negatives. `[C]` int64
        items: history items as indices into `candidates`; `PADDING` at empty positions. `[B, L]` int64
        targets: following items as indices into `candidates`; `PADDING` for no target. `[B, L]` int64
        layout: segments and positions.
        log_q: log probability of each candidate to be sampled; None if all items are candidates. `[C]`
        rationale: some of the histories with their correct rationales; None if rationales are not trained.
        context: positions whose items stay candidates, as they were only looked at; None: there are none. `[B, L]` bool
        weights: weight of each target in the objective; None: all weigh the same. `[B, L]` float32
        disliked: some items that the user of each position dislikes, as indices into `candidates`, `PADDING` where
            there are fewer; None: none is known. `[B, L, M]` int64
    """

    candidates: Tensor
    items: Tensor
    targets: Tensor
    layout: Layout
    log_q: Tensor | None = None
    rationale: RationaleBatch | None = None
    context: Tensor | None = None
    weights: Tensor | None = None
    disliked: Tensor | None = None

    def numbers(self, places: Tensor) -> Tensor:
        """Item numbers of indices into `candidates`; any number at `PADDING`."""
        return self.candidates[places.clamp_min(0)]

    def seen_pairs(self, has_target: Tensor) -> Tensor:
        """(row of the target, candidate) of each item in a target's history, without the target. `[M, 2]` int64"""
        row = torch.cumsum(has_target.flatten(), 0).view_as(has_target) - 1
        before = self.layout.attention_mask() & has_target[:, :, None]
        if self.context is not None:
            before = before & ~self.context[:, None, :]
        b, at, earlier = before.nonzero(as_tuple=True)
        item = self.items[b, earlier]
        other = item != self.targets[b, at]
        return torch.stack([row[b, at][other], item[other]], 1)

    def target_weights(self, has_target: Tensor) -> Tensor | None:
        """Weights of the targets, 1 on average; None: all weigh the same. `[N]` float32"""
        if self.weights is None:
            return None
        own = self.weights[has_target]
        return own / own.mean().clamp_min(1e-6)

    def rows(self, rows: Tensor) -> "Batch":
        """Some rows, `[n]` int64, with all candidates and without rationales."""
        names = ("items", "targets", "context", "weights", "disliked")
        own: dict[str, Any] = {name: None if (one := getattr(self, name)) is None else one[rows] for name in names}
        return replace(self, **own, layout=self.layout.select(rows), rationale=None)
