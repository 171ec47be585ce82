"""A training batch: packed histories and the items that followed."""

from dataclasses import dataclass

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
    """

    candidates: Tensor
    items: Tensor
    targets: Tensor
    layout: Layout
    log_q: Tensor | None = None
    rationale: RationaleBatch | None = None

    def numbers(self, places: Tensor) -> Tensor:
        """Item numbers of indices into `candidates`; any number at `PADDING`."""
        return self.candidates[places.clamp_min(0)]

    def seen_pairs(self, has_target: Tensor) -> Tensor:
        """(row of the target, candidate) of each item in a target's history, without the target. `[M, 2]` int64"""
        row = torch.cumsum(has_target.flatten(), 0).view_as(has_target) - 1
        before = self.layout.attention_mask() & has_target[:, :, None]
        b, at, earlier = before.nonzero(as_tuple=True)
        item = self.items[b, earlier]
        other = item != self.targets[b, at]
        return torch.stack([row[b, at][other], item[other]], 1)
