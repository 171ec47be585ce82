"""The authors' head: latents without normalisation, noise of unit variance, the error of the predicted noise."""

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from deftrec.config import DiffusionOptions
from deftrec.diffusion import DiffusionHead, NextItems, Objective, Sample, Sampling
from deftrec.diffusion.head import EPS_START

SMALLEST_SIGMA = 1e-3
"""Least noise level: below it, the error of the noise is rounding."""


@dataclass(frozen=True, eq=False)
class NoiseErrors(NextItems):
    """Next items whose errors are those of the predicted noise.

    As x_t = alpha x_0 + sigma eps, the squared error of eps is that of x0_hat times alpha^2 / sigma^2.

    Attributes:
        snr: alpha(t)^2 / sigma(t)^2 of each row. `[N]`
    """

    snr: Tensor = field(kw_only=True)

    def errors(self, x0_hat: Tensor, latents: Tensor) -> Tensor:
        """See `NextItems.errors`."""
        return super().errors(x0_hat, latents) * self.snr[:, None]


class AuthorsHead(DiffusionHead):
    """Predicts the noise of unnormalised latents; `generate` returns queries for `nearest_first`."""

    def __init__(self, latent: int, options: DiffusionOptions) -> None:
        super().__init__(latent, options)
        self.noise_precision = 1

    def item_latents(self, tokens: Tensor) -> Tensor:
        """Mean tokens as they are. `[N, D]` -> `[N, D]` float32"""
        return tokens.float()

    def losses(self, next_items: NextItems, objective: Objective) -> dict[str, Tensor]:
        """See `Head.losses`; times are uniform."""
        latents = next_items.latents[next_items.targets].detach()
        t = torch.rand(len(latents), device=latents.device) * EPS_START
        x = self.schedule.corrupt(latents, self._noise(len(latents), latents.device), t)
        x0_hat = self.denoise(x, t, next_items.condition)
        snr = (self.schedule.alpha(t) / self.schedule.sigma(t).clamp_min(SMALLEST_SIGMA)).square()
        return objective(x0_hat, NoiseErrors(**vars(next_items), snr=snr))

    def generate(self, condition: Tensor, sampling: Sampling, generator: torch.Generator | None = None) -> Sample:
        """See `Head.generate`. `[N, D]` -> `Sample` of `[N, D + 2]`"""
        sample = super().generate(condition, sampling, generator)
        return Sample(as_queries(sample.x0), None if sample.path is None else as_queries(sample.path))


def as_queries(latents: Tensor) -> Tensor:
    """Vectors whose cosine with `nearest_first` ranks items by Euclidean distance. `[..., D]` -> `[..., D + 2]`"""
    return torch.cat([2 * latents, F.pad(-torch.ones_like(latents[..., :1]), (0, 1))], -1)


def nearest_first(latents: Tensor) -> Tensor:
    """Unit vectors of item latents: the inner product with a query is 2 q.z - |z|^2, scaled. `[I, D]` -> `[I, D + 2]`

    A last component gives all rows one norm, so that the cosine ranks as the inner product does.
    """
    square = latents.square().sum(-1, keepdim=True)
    rows = torch.cat([latents, square], -1)
    norm = rows.square().sum(-1, keepdim=True)
    return F.normalize(torch.cat([rows, (norm.max() - norm).sqrt()], -1), dim=-1)
