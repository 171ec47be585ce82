"""What the tokenizer reads of an item: its collaborative vector beside its text vector, on one scale."""

from dataclasses import dataclass

import torch
from torch import Tensor

SMALLEST_SPREAD = 1e-6
"""Of rows about their mean, as a share of their size; what is less is rounding."""


@dataclass(frozen=True, eq=False)
class Scaling:
    """How raw vectors become features: (raw - mean) / scale, by what training saw.

    Attributes:
        mean: the mean row. `[F]`
        scale: the global root mean square of the block that a column belongs to. `[F]`
    """

    mean: Tensor
    scale: Tensor

    @classmethod
    def of(cls, block: Tensor) -> "Scaling":
        """What centres a block and gives it a root mean square of one; rows that are all zero do not count.

        Rows that are all alike have no spread but rounding's: they are brought to the size of features as they are.
        """
        present = block.abs().sum(1) > 0
        if not present.any():
            return cls(torch.zeros(block.shape[1]), torch.ones(block.shape[1]))
        rows = block[present].float()
        mean, size = rows.mean(0), rows.square().mean().sqrt()
        spread = (rows - mean).square().mean().sqrt()
        scale = spread if spread > SMALLEST_SPREAD * size else size
        return cls(mean, scale.expand(block.shape[1]).clone())

    @classmethod
    def join(cls, parts: list["Scaling"]) -> "Scaling":
        """Blocks side by side."""
        return cls(torch.cat([part.mean for part in parts]), torch.cat([part.scale for part in parts]))

    def columns(self, columns: slice) -> "Scaling":
        """That of some columns."""
        return Scaling(self.mean[columns], self.scale[columns])

    def apply(self, block: Tensor) -> Tensor:
        """Raw vectors as features; rows that are all zero stay so. `[N, F]` -> `[N, F]` float32"""
        scaled = (block.float() - self.mean) / self.scale
        return torch.where(block.abs().sum(1, keepdim=True) > 0, scaled, torch.zeros_like(scaled))


@dataclass(frozen=True, eq=False)
class ItemFeatures:
    """One row an item, made of blocks.

    Attributes:
        values: `[I, F]` float32; each block is centred and has a root mean square of one; a missing block is zero.
        collaborative: columns of the collaborative block, possibly none.
        text: columns of the text block, possibly none.
        scaling: of the raw vectors they were made from; None where they were not.
    """

    values: Tensor
    collaborative: slice
    text: slice
    scaling: Scaling | None = None

    @classmethod
    def build(cls, collaborative: Tensor | None, text: Tensor | None) -> "ItemFeatures":
        """Standardise and join the blocks.

        Args:
            collaborative: `[I, d]`, or None.
            text: `[I, e]`, or None. A row of zeros is an item without text.
        """
        blocks = [block for block in (collaborative, text) if block is not None]
        scalings = [Scaling.of(block) for block in blocks]
        d = 0 if collaborative is None else collaborative.shape[1]
        values = torch.cat([scaling.apply(block) for scaling, block in zip(scalings, blocks, strict=True)], dim=1)
        return cls(values, slice(0, d), slice(d, values.shape[1]), Scaling.join(scalings))
