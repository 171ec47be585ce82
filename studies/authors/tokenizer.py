"""The authors' tokenizer: trained alone to reconstruct the features, then frozen."""

import itertools
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deftrec.tokenizer import RobustTokenizer

EPOCHS, RATE, BATCH, CLIP = 200, 1e-3, 1024, 5.0
MEAN_WEIGHT, REDUNDANCY_WEIGHT = 1.0, 0.1


class ReconstructingTokenizer(RobustTokenizer):
    """A robust tokenizer with a decoder from mean tokens to features.

    Attributes:
        decoder: mean token to features.
        is_frozen: whether the tokenizer stays in evaluation mode.
    """

    decoder: nn.Linear
    is_frozen: bool = False

    def train(self, mode: bool = True) -> Self:
        """See `nn.Module.train`; a frozen tokenizer hides no features and adds no noise."""
        return super().train(mode and not self.is_frozen)

    def losses(self, x: Tensor) -> dict[str, Tensor]:
        """Losses of features `[N, F]`, scalars: `reconstruction`, `mean` and, for several tokens, `redundancy`.

        `reconstruction` is the squared error of the decoded mean token, `mean` keeps the tokens' mean square at one,
        so that noise of unit variance matters, and `redundancy` is the squared cosine between an item's tokens.
        """
        masked = self.masking(x)
        ways = torch.stack([encoder(masked) for encoder in self.encoders], dim=1)  # [N, K, D]
        losses = {
            "reconstruction": F.mse_loss(self.decoder(ways.mean(1)), x),
            "mean": (ways.square().mean((1, 2)) - 1).square().mean(),
        }
        pairs = list(itertools.combinations(F.normalize(ways, dim=-1).unbind(1), 2))
        if pairs:
            losses["redundancy"] = torch.stack([(one * other).sum(-1).square().mean() for one, other in pairs]).mean()
        return losses

    def train_alone(self, features: Tensor, epochs: int = EPOCHS) -> list[dict[str, float]]:
        """Train on the catalogue's features `[I, F]`, then freeze. The losses of each epoch's last batch."""
        optimizer = torch.optim.AdamW(self.parameters(), RATE, betas=(0.9, 0.98), weight_decay=0.0)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs, eta_min=0.1 * RATE)
        history = []
        for _ in range(epochs):
            for rows in torch.split(torch.randperm(len(features)), BATCH):
                losses = self.losses(features[rows])
                weighted = losses["reconstruction"] + MEAN_WEIGHT * losses["mean"]
                (weighted + REDUNDANCY_WEIGHT * losses.get("redundancy", 0)).backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(self.parameters(), CLIP)
                optimizer.step()
                optimizer.zero_grad()
            schedule.step()
            history.append({name: loss.item() for name, loss in losses.items()})
        self.is_frozen = True
        self.requires_grad_(False).eval()
        return history
