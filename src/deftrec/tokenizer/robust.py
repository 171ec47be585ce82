"""The robust tokenizer: a masking operation, then an additive K-way architecture (DeftRec, arXiv 2504.12007v1)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, eq=False)
class Tokens:
    """Continuous tokens of `N` users or items.

    Attributes:
        ways: what the language model reads. `[N, K, D]`
        mean: the additive code, the ways' mean. `[N, D]`
        losses: auxiliary losses by name, each a scalar; empty in evaluation.
    """

    ways: Tensor
    mean: Tensor
    losses: dict[str, Tensor]


class Masking(nn.Module):
    """In training, hide features: single ones behind a learned value, whole blocks behind zero.

    Each sample and each feature is drawn on its own. A block that is hidden as a whole looks like a block that is
    missing, which is what a new item or an item without text will look like. Never changes its input in place, and
    does nothing in evaluation.

    Args:
        features: width F.
        rate: share of single features hidden.
        blocks: (columns, rate) of the blocks that are hidden as a whole, at most one of them per sample.
    """

    def __init__(self, features: int, rate: float, blocks: list[tuple[slice, float]]) -> None:
        super().__init__()
        self.rate, self.blocks = rate, blocks
        self.value = nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor) -> Tensor:
        """`[N, F]` -> `[N, F]`"""
        if not self.training:
            return x
        if self.rate:
            hidden = torch.rand_like(x) < self.rate
            x = torch.where(hidden, self.value.to(x.dtype), x)
        if any(rate for _, rate in self.blocks):
            draw = torch.rand(len(x), 1, device=x.device)
            keep = torch.ones_like(x)
            low = 0.0
            for columns, rate in self.blocks:
                keep[:, columns] = ((draw < low) | (draw >= low + rate)).to(x.dtype)
                low += rate
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
    """Vectors in, K continuous tokens out. One instance serves items, another users.

    Args:
        features: width F of the input vectors.
        width: width D of the language model.
        ways: K.
        hidden: width of each way's perceptron.
        dropout: inside the perceptron.
        masking: what is hidden in training.
        noise: C of the sigma-VAE (LatentLM, arXiv 2412.08635): each sample's noise has its own scale |N(0, C)|.
        losses: which auxiliary losses are computed, a subset of `reconstruction`, `mean`, `redundancy`.
    """

    def __init__(
        self,
        features: int,
        width: int,
        *,
        ways: int,
        hidden: int,
        dropout: float,
        masking: Masking,
        noise: float,
        losses: frozenset[str],
    ) -> None:
        super().__init__()
        self.masking, self.noise, self.wanted = masking, noise, losses
        self.encoders = nn.ModuleList(Way(features, hidden, width, dropout) for _ in range(ways))
        self.decoder = nn.Linear(width, features) if "reconstruction" in losses else None

    def forward(self, x: Tensor) -> Tokens:
        """`[N, F]` -> `Tokens` of N. Deterministic in evaluation."""
        masked = self.masking(x)
        ways = torch.stack([encoder(masked) for encoder in self.encoders], dim=1)  # [N, K, D]
        losses = self._losses(x, ways) if self.training else {}
        if self.training and self.noise:
            scale = self.noise * torch.randn(len(ways), 1, 1, device=ways.device, dtype=ways.dtype).abs()
            ways = ways + scale * torch.randn_like(ways)
        return Tokens(ways, ways.mean(1), losses)

    def _losses(self, x: Tensor, ways: Tensor) -> dict[str, Tensor]:
        losses = {}
        mean = ways.mean(1)
        if self.decoder is not None:  # additive: the mean of the ways alone must give the vector back
            losses["reconstruction"] = F.mse_loss(self.decoder(mean), x.detach())
        if "mean" in self.wanted:
            losses["mean"] = (ways.square().mean((1, 2)) - 1).square().mean()
        if "redundancy" in self.wanted and len(self.encoders) > 1:
            unit = F.normalize(ways, dim=-1)
            cosine = unit @ unit.transpose(1, 2)  # [N, K, K]
            K = len(self.encoders)
            off_diagonal = cosine.square().sum((1, 2)) - cosine.diagonal(dim1=1, dim2=2).square().sum(1)
            losses["redundancy"] = off_diagonal.mean() / (K * (K - 1))
        return losses
