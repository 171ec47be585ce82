"""Token positions as inputs of a pre-trained model: positions within the history, not within the row."""

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Positions:
    """Converts embeddings, mask and positions to the arguments of a model's `forward`.

    This base serves models without a position input or a known table; the check of `deftrec.language.backbone` tests
    whether they work nevertheless.

    Args:
        eager: whether the model adds the mask to attention logits (eager) or passes it to a kernel.
    """

    def __init__(self, eager: bool) -> None:
        self.eager = eager

    def inputs(self, embeddings: Tensor, mask: Tensor, positions: Tensor) -> dict[str, Tensor]:
        """Arguments of `forward`, by name, from those of `LanguageModel.read`."""
        mask = mask[:, None]  # [B, 1, T, T]
        return {"inputs_embeds": embeddings, "attention_mask": additive(mask, embeddings.dtype) if self.eager else mask}


class PositionIds(Positions):
    """For models that read `position_ids`. RoBERTa's first id (`offset`) stands after its padding index."""

    def __init__(self, eager: bool, offset: int) -> None:
        super().__init__(eager)
        self.offset = offset

    def inputs(self, embeddings: Tensor, mask: Tensor, positions: Tensor) -> dict[str, Tensor]:
        """See `Positions.inputs`."""
        return {**super().inputs(embeddings, mask, positions), "position_ids": positions + self.offset}


class LearnedTable(Positions):
    """For models that add table row n to the n-th token of a row (BART): add the right row and subtract that one.

    The table row of the first position is `offset`.
    """

    def __init__(self, eager: bool, table: nn.Embedding, offset: int) -> None:
        super().__init__(eager)
        self.table, self.offset = table, offset

    def inputs(self, embeddings: Tensor, mask: Tensor, positions: Tensor) -> dict[str, Tensor]:
        """See `Positions.inputs`."""
        counted = torch.arange(positions.shape[1], device=positions.device).expand_as(positions)
        weight = self.table.weight
        moved = F.embedding(positions + self.offset, weight) - F.embedding(counted + self.offset, weight)
        return super().inputs(embeddings + moved, mask, positions)


class RelativeBias(Positions):
    """For models that add a bias by distance in the row to their logits (T5): the mask corrects the distances.

    The module `attention` holds the bias, shared by all layers.
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
        distance = positions[:, None, :] - positions[:, :, None]  # from the reading token to the token read
        bucket = self.attention._relative_position_bucket(
            distance,
            bidirectional=not self.attention.is_decoder,
            num_buckets=self.attention.relative_attention_num_buckets,
            max_distance=self.attention.relative_attention_max_distance,
        )
        bias: Tensor = self.attention.relative_attention_bias(bucket)
        return bias.permute(0, 3, 1, 2)


def positions_of(model: nn.Module, eager: bool) -> Positions:
    """The position inputs of a `transformers` model."""
    if "position_ids" in inspect.signature(model.forward).parameters:
        return PositionIds(eager, first_position(model))
    owners = [module for module in model.modules() if hasattr(module, "relative_attention_bias")]
    if len(owners) == 1:
        return RelativeBias(eager, owners[0])
    table = getattr(model, "embed_positions", None)
    if isinstance(table, nn.Embedding):
        return LearnedTable(eager, table, getattr(table, "offset", 0))
    return Positions(eager)


def first_position(model: nn.Module) -> int:
    """Id of the first position: one after the padding index of the position table, else 0."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            return int(module.padding_idx) + 1
    return 0


def additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Zero where the mask is true, the most negative number elsewhere."""
    return torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, torch.finfo(dtype).min)
