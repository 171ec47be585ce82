"""What the tokenizer reads of an item: its collaborative vector beside its text vector, on one scale."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class ItemFeatures:
    """One row an item, made of blocks.

    Attributes:
        values: `[I, F]` float32; each block is centred and has a root mean square of one; a missing block is zero.
        collaborative: columns of the collaborative block, possibly none.
        text: columns of the text block, possibly none.
    """

    values: Tensor
    collaborative: slice
    text: slice

    @classmethod
    def build(cls, collaborative: Tensor | None, text: Tensor | None) -> "ItemFeatures":
        """Standardise and join the blocks.

        Args:
            collaborative: `[I, d]`, or None.
            text: `[I, e]`, or None. A row of zeros is an item without text.
        """
        blocks = [standardise(block) for block in (collaborative, text) if block is not None]
        d = 0 if collaborative is None else collaborative.shape[1]
        values = torch.cat(blocks, dim=1)
        return cls(values, slice(0, d), slice(d, values.shape[1]))


def standardise(block: Tensor) -> Tensor:
    """Subtract the mean row and divide by the global root mean square; rows that are all zero stay so."""
    present = block.abs().sum(1) > 0
    if not present.any():
        return block.float()
    centred = block.float() - block[present].float().mean(0)
    scaled = centred / centred[present].square().mean().sqrt().clamp_min(1e-12)
    return torch.where(present[:, None], scaled, torch.zeros_like(scaled))
