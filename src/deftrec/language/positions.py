"""How a pre-trained model is told which place of its history a token has, wherever in a row it lies."""

import inspect
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Positions(ABC):
    """Turns embeddings, mask and positions into what a model's `forward` takes.

    Args:
        eager: whether the model adds its mask to the logits of attention, or passes it to a kernel as it is.
    """

    def __init__(self, eager: bool) -> None:
        self.eager = eager

    @abstractmethod
    def inputs(self, embeddings: Tensor, mask: Tensor, positions: Tensor) -> dict[str, Tensor]:
        """Arguments of `forward`, by name.

        Args:
            embeddings: `[B, T, D]`
            mask: true where a token (second axis) may read another (third). `[B, T, T]` bool
            positions: `[B, T]` int64
        """

    def mask(self, mask: Tensor, dtype: torch.dtype) -> Tensor:
        """The mask as attention takes it. `[B, T, T]` bool -> `[B, 1, T, T]`"""
        mask = mask[:, None]
        return additive(mask, dtype) if self.eager else mask


class PositionIds(Positions):
    """The model takes `position_ids`.

    Args:
        offset: number of the first place; RoBERTa counts from behind its padding index.
    """

    def __init__(self, eager: bool, offset: int) -> None:
        super().__init__(eager)
        self.offset = offset

    def inputs(self, embeddings: Tensor, mask: Tensor, positions: Tensor) -> dict[str, Tensor]:
        """See `Positions.inputs`."""
        attention = self.mask(mask, embeddings.dtype)
        return {"inputs_embeds": embeddings, "attention_mask": attention, "position_ids": positions + self.offset}


class LearnedTable(Positions):
    """The model adds row n of a table to the n-th token of a row (BART): the right row is added, that one taken off.

    Args:
        table: of positions, the first of them in row `offset`.
    """

    def __init__(self, eager: bool, table: nn.Embedding, offset: int) -> None:
        super().__init__(eager)
        self.table, self.offset = table, offset

    def inputs(self, embeddings: Tensor, mask: Tensor, positions: Tensor) -> dict[str, Tensor]:
        """See `Positions.inputs`."""
        counted = torch.arange(positions.shape[1], device=positions.device).expand_as(positions)
        weight = self.table.weight
        moved = F.embedding(positions + self.offset, weight) - F.embedding(counted + self.offset, weight)
        return {"inputs_embeds": embeddings + moved, "attention_mask": self.mask(mask, embeddings.dtype)}


class RelativeBias(Positions):
    """The model adds a bias by distance in the row to its logits (T5): the mask makes it that by distance of positions.

    Args:
        attention: the module that owns the bias, which all layers share.
    """

    def __init__(self, eager: bool, attention: Any) -> None:
        super().__init__(eager)
        self.attention = attention

    def inputs(self, embeddings: Tensor, mask: Tensor, positions: Tensor) -> dict[str, Tensor]:
        """See `Positions.inputs`; the mask is `[B, H, T, T]`."""
        counted = torch.arange(positions.shape[1], device=positions.device)[None]
        moved = (self.bias(positions) - self.bias(counted)).to(embeddings.dtype)
        return {"inputs_embeds": embeddings, "attention_mask": moved + additive(mask[:, None], embeddings.dtype)}

    def bias(self, positions: Tensor) -> Tensor:
        """Bias between all pairs of positions. `[B, T]` -> `[B, H, T, T]`"""
        distance = positions[:, None, :] - positions[:, :, None]  # of what is read from who reads
        bucket = self.attention._relative_position_bucket(
            distance,
            bidirectional=not self.attention.is_decoder,
            num_buckets=self.attention.relative_attention_num_buckets,
            max_distance=self.attention.relative_attention_max_distance,
        )
        bias: Tensor = self.attention.relative_attention_bias(bucket)
        return bias.permute(0, 3, 1, 2)


class Uncounted(Positions):
    """The model takes no positions and shows no table of them; `check_mask` says whether that does."""

    def inputs(self, embeddings: Tensor, mask: Tensor, positions: Tensor) -> dict[str, Tensor]:
        """See `Positions.inputs`."""
        return {"inputs_embeds": embeddings, "attention_mask": self.mask(mask, embeddings.dtype)}


def positions_of(model: nn.Module, eager: bool) -> Positions:
    """The way in which `model`, of the `transformers` library, learns positions."""
    if "position_ids" in inspect.signature(model.forward).parameters:
        return PositionIds(eager, first_position(model))
    owners = [module for module in model.modules() if hasattr(module, "relative_attention_bias")]
    if len(owners) == 1:
        return RelativeBias(eager, owners[0])
    table = getattr(model, "embed_positions", None)
    if isinstance(table, nn.Embedding):
        return LearnedTable(eager, table, getattr(table, "offset", 0))
    return Uncounted(eager)


def first_position(model: nn.Module) -> int:
    """Number of the first place in the model's own count: one past the padding index of a table that has one."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            return int(module.padding_idx) + 1
    return 0


def additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Zero where the mask is true, the least number where it is not."""
    return torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, torch.finfo(dtype).min)
