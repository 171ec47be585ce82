"""Item features: collaborative vector, text vector and attributes of each item side by side, standardised."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from deftrec.tensors import joined

SMALLEST_SPREAD = 1e-6  # smallest spread of rows about their mean, relative to their size; less is rounding


@dataclass(frozen=True, eq=False)
class Scaling:
    """Standardisation of raw vectors: (raw - mean) / scale, with the training items' statistics.

    Attributes:
        mean: mean row. `[F]`
        scale: root mean square of each column's block. `[F]`
    """

    mean: Tensor
    scale: Tensor

    @classmethod
    def of(cls, block: Tensor) -> "Scaling":
        """Statistics that centre a block and bring its root mean square to one; rows of zeros do not count.

        Equal rows have no spread; they are only divided by their size.
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
    def none(cls, width: int) -> "Scaling":
        """Statistics that change nothing."""
        return cls(torch.zeros(width), torch.ones(width))

    def columns(self, columns: slice) -> "Scaling":
        """Statistics of some columns."""
        return Scaling(self.mean[columns], self.scale[columns])

    def apply(self, block: Tensor) -> Tensor:
        """Raw vectors as features; rows of zeros stay zero. `[N, F]` -> `[N, F]` float32"""
        scaled = (block.float() - self.mean) / self.scale
        return torch.where(block.abs().sum(1, keepdim=True) > 0, scaled, torch.zeros_like(scaled))


@dataclass(frozen=True, eq=False)
class ItemFeatures:
    """One row per item, made of blocks of columns.

    Attributes:
        values: features, each block centred with a root mean square of one; zeros are missing. `[I, F]` float32
        collaborative: columns of the collaborative block, possibly none.
        text: columns of the text block, possibly none.
        attributes: columns of the block of attributes, possibly none.
        scaling: statistics of the raw vectors; None if the features were not computed from raw vectors.
    """

    values: Tensor
    collaborative: slice
    text: slice
    scaling: Scaling | None = None
    attributes: slice = field(default_factory=lambda: slice(0, 0))

    @classmethod
    def build(
        cls, collaborative: Tensor | None, text: Tensor | None, attributes: Tensor | None = None
    ) -> "ItemFeatures":
        """Standardise the blocks and join them.

        Args:
            collaborative: collaborative vectors, or None. `[I, d]`
            text: text vectors, or None; a row of zeros is an item without text. `[I, e]`
            attributes: attributes in their scale (`deftrec.attributes`), or None. `[I, a]`
        """
        blocks = [block for block in (collaborative, text, attributes) if block is not None]
        scalings = [Scaling.of(block) for block in (collaborative, text) if block is not None]
        scalings += [] if attributes is None else [Scaling.none(attributes.shape[1])]
        d, e, a = (0 if block is None else block.shape[1] for block in (collaborative, text, attributes))
        values = torch.cat([scaling.apply(block) for scaling, block in zip(scalings, blocks, strict=True)], dim=1)
        return cls.of_widths(values, d, e, a, joined(scalings))

    @classmethod
    def of_widths(
        cls, values: Tensor, collaborative: int, text: int, attributes: int = 0, scaling: Scaling | None = None
    ) -> "ItemFeatures":
        """Features whose blocks have these widths, in this order."""
        ends = (collaborative, collaborative + text, collaborative + text + attributes)
        return cls(values, slice(0, ends[0]), slice(*ends[:2]), scaling, slice(*ends[1:]))

    @property
    def droppable(self) -> tuple[slice | None, slice | None]:
        """Columns that training may hide as a whole: the collaborative block, if there is another one; attributes."""
        there = [block.stop > block.start for block in (self.collaborative, self.text, self.attributes)]
        return self.collaborative if there[0] and any(there[1:]) else None, self.attributes if there[2] else None


class FeatureTable(nn.Module):
    """Features of every item of the catalogue, looked up by item number.

    Args:
        values: initial features. `[I, F]`
        trainable: whether training updates them.
    """

    def __init__(self, values: Tensor, trainable: bool) -> None:
        super().__init__()
        self.values = nn.Parameter(values.clone(), requires_grad=trainable)

    def __len__(self) -> int:
        return len(self.values)

    def forward(self, items: Tensor) -> Tensor:
        """Features of item numbers. `[...]` int64 -> `[..., F]`"""
        return self.values[items]

    @property
    def device(self) -> torch.device:
        """Device of the features."""
        return self.values.device

    def extended(self, rows: Tensor) -> "FeatureTable":
        """A table with N more items behind these; this one does not change. `[N, F]`"""
        values = self.values.detach()
        return FeatureTable(torch.cat([values, rows.to(values)]), self.values.requires_grad)
