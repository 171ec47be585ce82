"""`nano`: a small causal transformer trained from scratch."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deftrec.data.sequences import DAY, GAPS, NO_GAP
from deftrec.language.base import LanguageModel, Prompt

HEADS = 2  # number of attention heads


class NanoLanguageModel(LanguageModel):
    """Pre-norm transformer with learned and rotary positions.

    Args:
        width: width D of tokens and hidden states.
        layers: number of blocks.
        dropout: dropout rate of the input and of both branches of every block.
        max_history, ways: largest number of items in one history, and number of tokens K per item.
        relative_time: whether attention has a learned bias on the logarithm of the time between two events, as HSTU has
            it (Zhai et al. 2024).
    """

    def __init__(
        self, width: int, layers: int, dropout: float, max_history: int, ways: int, relative_time: bool = False
    ) -> None:
        super().__init__()
        self.width, self.max_history = width, max_history
        self.places = nn.Embedding(max_history * ways, width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(width, HEADS, dropout, relative_time) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.places.weight, std=0.02)

    def read(self, embeddings: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
        """See `LanguageModel.read`."""
        return self._read(embeddings, mask, positions, None)

    def read_prompt(self, prompt: Prompt) -> Tensor:
        """See `LanguageModel.read_prompt`; the times of events bias the attention."""
        gaps = None if prompt.days is None else time_gaps(prompt.days, prompt.days)
        return self._read(prompt.embeddings, prompt.mask, prompt.positions, gaps)

    def _read(self, embeddings: Tensor, mask: Tensor, positions: Tensor, gaps: Tensor | None) -> Tensor:
        x = self.dropout(embeddings + self.places(positions))
        for block in self.blocks:
            x = block(x, mask, positions, gaps)
        return self.norm(x)  # type: ignore[no-any-return]


class Block(nn.Module):
    """Attention, then a perceptron of four times the width, each with a residual connection."""

    def __init__(self, width: int, heads: int, dropout: float, relative_time: bool = False) -> None:
        super().__init__()
        self.heads, self.drop = heads, dropout
        self.gap_bias = nn.Parameter(torch.zeros(GAPS, heads)) if relative_time else None
        self.norm_attention, self.norm_perceptron = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.expand, self.contract = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def attention_bias(self, mask: Tensor, gaps: Tensor | None, dtype: torch.dtype) -> Tensor:
        """The mask `[B, T, T']` of the attention with the bias of `gaps` `[B, T, T']`. Broadcasts to `[B, H, T, T']`"""
        if self.gap_bias is None or gaps is None:
            return mask[:, None]
        bias = self.gap_bias.to(dtype)[gaps].permute(0, 3, 1, 2)  # [B, H, T, T']
        return bias.masked_fill(~mask[:, None], float("-inf"))

    def forward(self, x: Tensor, mask: Tensor, positions: Tensor, gaps: Tensor | None = None) -> Tensor:
        """`[B, T, D]` -> `[B, T, D]`; `gaps` as for `attention_bias`."""
        B, T, D = x.shape
        joint = self.query_key_value(self.norm_attention(x)).view(B, T, 3, self.heads, D // self.heads)
        query, key, value = joint.permute(2, 0, 3, 1, 4)  # [B, H, T, D / H] each
        read = F.scaled_dot_product_attention(
            rotate(query, positions),
            rotate(key, positions),
            value,
            attn_mask=self.attention_bias(mask, gaps, query.dtype),
            dropout_p=self.drop if self.training else 0.0,
        )
        x = x + self.dropout(self.out(read.transpose(1, 2).reshape(B, T, D)))
        return x + self.dropout(self.contract(F.gelu(self.expand(self.norm_perceptron(x)))))  # type: ignore[no-any-return]


def time_gaps(days: Tensor, before: Tensor) -> Tensor:
    """Logarithmic buckets of the times between events at `days` `[B, T]` and others `[B, T']`; NaN is unknown.

    `[B, T, T']` int64
    """
    seconds = ((days[:, :, None] - before[:, None, :]) * DAY).clamp_min(0.0)
    buckets = 1 + (1 + seconds.nan_to_num()).log2().long().clamp_max(GAPS - 2)
    return buckets.masked_fill(seconds.isnan(), NO_GAP)


def rotate(x: Tensor, positions: Tensor, base: float = 10_000.0) -> Tensor:
    """Rotary position encoding (Su et al. 2021). `[B, H, T, D]` with positions `[B, T]`"""
    half = x.shape[-1] // 2
    frequencies = base ** (-torch.arange(half, device=x.device, dtype=torch.float32) / half)
    angles = positions[:, None, :, None].float() * frequencies
    cosine, sine = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], -1)
