"""Robust tokenizer: masking, then K additive encoders (DeftRec, arXiv 2504.12007v1)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deftrec.config import TokenizerOptions


@dataclass(frozen=True, eq=False)
class Tokens:
    """Continuous tokens of N users or items `[N, K, D]`, K = 1 where the ways add up in one; their mean `[N, D]`."""

    ways: Tensor
    mean: Tensor


class Masking(nn.Module):
    """Hides features during training: single ones behind a learned value, a whole block behind zeros.

    Draws are independent per sample and feature. A hidden block looks like a missing one: a new item has no
    collaborative vector. Evaluation hides nothing.

    Args:
        features: width F.
        rate: share of single features hidden.
        block: columns hidden as a whole; None: no block is.
        block_rate: share of samples whose block is hidden.
        rest_rate: share of the other samples, in which all other columns but `more` are hidden.
        more: further columns hidden as a whole, in draws of their own; None: there are none.
        more_rate: share of samples in which they are hidden.
    """

    def __init__(
        self,
        features: int,
        rate: float,
        block: slice | None = None,
        block_rate: float = 0.0,
        rest_rate: float = 0.0,
        more: slice | None = None,
        more_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.more, self.more_rate = more, more_rate
        self.rate, self.block, self.block_rate, self.rest_rate = rate, block, block_rate, rest_rate
        self.value = nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor) -> Tensor:
        """`[N, F]` -> `[N, F]`"""
        if not self.training:
            return x
        if self.rate:
            hidden = torch.rand_like(x) < self.rate
            x = torch.where(hidden, self.value.to(x.dtype), x)
        if self.block is not None and (self.block_rate or self.rest_rate):
            kept = torch.rand(len(x), 1, device=x.device) >= self.block_rate
            keep = torch.ones_like(x)
            if self.rest_rate:
                alone = kept & (torch.rand(len(x), 1, device=x.device) < self.rest_rate)
                keep[:] = (~alone).to(x.dtype)
                if self.more is not None:
                    keep[:, self.more] = 1
            keep[:, self.block] = kept.to(x.dtype)
            x = x * keep
        if self.more is not None and self.more_rate:
            keep = torch.ones_like(x)
            keep[:, self.more] = (torch.rand(len(x), 1, device=x.device) >= self.more_rate).to(x.dtype)
            x = x * keep
        return x


class Way(nn.Module):
    """One of the K parallel encoders: a linear map plus a small perceptron."""

    def __init__(self, features: int, hidden: int, width: int, dropout: float) -> None:
        super().__init__()
        self.linear = nn.Linear(features, width)
        self.expand = nn.Linear(features, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.dropout = nn.Dropout(dropout)
        self.contract = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """`[N, F]` -> `[N, D]`"""
        return self.linear(x) + self.contract(self.dropout(F.gelu(self.norm(self.expand(x)))))  # type: ignore[no-any-return]


class RobustTokenizer(nn.Module):
    """K continuous tokens from a feature vector. Items and users have one instance each.

    Training adds noise as in a sigma-VAE (LatentLM, arXiv 2412.08635): each sample's noise has its own scale |N(0, C)|
    with C = `options.noise`.

    Args:
        features: width F of the feature vectors.
        width: width D of the language model.
        options: masking, encoders and noise.
        block: columns hidden from a share `options.drop_collaborative` of the samples in training, the others from a
            share `options.drop_text` of the rest; None: no columns.
        attributes: columns hidden from a share `options.drop_attributes`; None: no columns.
    """

    def __init__(
        self,
        features: int,
        width: int,
        options: TokenizerOptions,
        block: slice | None = None,
        attributes: slice | None = None,
    ) -> None:
        super().__init__()
        rates = float(options.drop_collaborative), options.drop_text
        self.masking = Masking(features, options.mask_features, block, *rates, attributes, options.drop_attributes)
        self.noise, self.in_one = options.noise, options.positions == "one"
        self.encoders = nn.ModuleList(
            Way(features, options.hidden, width, options.dropout) for _ in range(options.ways)
        )

    @property
    def tokens(self) -> int:
        """Number of tokens per sample."""
        return 1 if self.in_one else len(self.encoders)

    def forward(self, x: Tensor) -> Tokens:
        """`[N, F]` -> `Tokens` of N. Deterministic in evaluation."""
        masked = self.masking(x)
        ways = torch.stack([encoder(masked) for encoder in self.encoders], dim=1)  # [N, K, D]
        if self.in_one:
            ways = ways.mean(1, keepdim=True)  # the sum, at the scale of one
        if self.training and self.noise:
            scale = self.noise * torch.randn(len(ways), 1, 1, device=ways.device, dtype=ways.dtype).abs()
            ways = ways + scale * torch.randn_like(ways)
        return Tokens(ways, ways.mean(1))
