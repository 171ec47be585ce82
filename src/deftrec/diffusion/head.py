"""Heads: from the language model's condition to the next item's latent, by denoising diffusion."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deftrec.config import DiffusionOptions
from deftrec.diffusion.denoiser import Denoiser
from deftrec.diffusion.objective import NextItems, Objective
from deftrec.diffusion.sampler import SAMPLERS, Sample
from deftrec.diffusion.schedule import SCHEDULES

EPS_START = 0.98  # first sampling time of the eps parameterisation: at t = 1 the predicted noise does not determine x0


@dataclass(frozen=True)
class Sampling:
    """Sampling method; `DiffusionOptions` describes the attributes, and `keep_path` adds the path to a `Sample`."""

    sampler: str
    steps: int
    samples: int
    guidance_scale: float
    keep_path: bool = False

    @classmethod
    def of(cls, options: DiffusionOptions) -> "Sampling":
        """The configured sampling."""
        return cls(options.sampler, options.steps, options.samples, options.guidance_scale)


class Head(nn.Module, ABC):
    """Generates the latent of the next item under the language model's condition."""

    def item_latents(self, tokens: Tensor) -> Tensor:
        """Unit-norm latents from mean item tokens. `[N, D]` -> `[N, D]` float32"""
        return F.normalize(tokens.float(), dim=-1)

    @abstractmethod
    def losses(self, next_items: NextItems, objective: Objective) -> dict[str, Tensor]:
        """Scalars: `loss` and its parts."""

    @abstractmethod
    def generate(self, condition: Tensor, sampling: Sampling, generator: torch.Generator | None = None) -> Sample:
        """One latent per condition. `[N, D]` -> `Sample` of N

        `generator` is the source of every random draw, on the device of `condition`.
        """


class DiffusionHead(Head):
    """Noise schedule and denoiser: corrupts latents, denoises them, and generates new ones.

    Latents have unit norm. Noise has variance 1 / D per component, so that its norm is about one too. With x0
    prediction a linear map of the condition, at first the identity, is added to the denoiser's output. `latent` is the
    width D of latents and conditions.
    """

    def __init__(self, latent: int, options: DiffusionOptions) -> None:
        super().__init__()
        self.latent, self.options = latent, options
        self.noise_precision = latent  # inverse variance of one component of the noise
        self.schedule = SCHEDULES[options.schedule]()
        self.denoiser = Denoiser(latent, options.width, options.depth)
        self.skip = nn.Linear(latent, latent, bias=False) if options.prediction == "x0" else None
        if self.skip is not None:
            nn.init.eye_(self.skip.weight)
        self.empty = nn.Parameter(torch.zeros(latent)) if options.condition_dropout else None

    def denoise(self, x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        """x0_hat, of unit norm. `x` and `condition` `[N, D]`, `t` `[N]` in [0, 1] -> `[N, D]` float32"""
        predicted = self.denoiser(x, t, condition)
        if self.skip is not None:
            predicted = predicted + self.skip(condition)
        predicted = predicted.float()
        if self.options.prediction == "eps":
            t = t.clamp_max(EPS_START)
            alpha, sigma = self.schedule.alpha(t)[:, None], self.schedule.sigma(t)[:, None]
            predicted = (x.float() - sigma * predicted) / alpha
        return self.item_latents(predicted)

    def losses(self, next_items: NextItems, objective: Objective) -> dict[str, Tensor]:
        """Corrupt the targets' latents, denoise them, and apply `objective`."""
        x0_hat = self.training_pair(next_items.latents[next_items.targets], next_items.condition)
        return objective(x0_hat, next_items)

    def training_pair(self, latents: Tensor, condition: Tensor) -> Tensor:
        """Corrupt `latents` `[N, D]` at random times and denoise them under `condition` `[N, D]`. `[N, D]`

        No gradient reaches the latents from here: they are targets.
        """
        N = len(latents)
        t = torch.rand(N, device=latents.device)
        t = torch.where(torch.rand(N, device=latents.device) < self.options.pure_noise_share, 1.0, t)
        if self.options.prediction == "eps":
            t = t * EPS_START
        x = self.schedule.corrupt(latents.detach().float(), self._noise(N, latents.device), t)
        if self.empty is not None:
            dropped = torch.rand(N, 1, device=latents.device) < self.options.condition_dropout
            condition = torch.where(dropped, self.empty.to(condition.dtype), condition)
        return self.denoise(x, t, condition)

    def generate(self, condition: Tensor, sampling: Sampling, generator: torch.Generator | None = None) -> Sample:
        """See `Head.generate`. The latent is the normalised mean of all draws; the path has the x0 of every step."""
        N, S, D = len(condition), max(1, sampling.samples), self.latent
        repeated = condition.repeat_interleave(S, 0)
        start = EPS_START if self.options.prediction == "eps" else 1.0
        sampler = SAMPLERS[sampling.sampler](self.schedule, sampling.steps, start, 1 / self.noise_precision)
        x = torch.zeros(S, D, device=condition.device)
        if sampling.samples:
            x = self._noise(S, condition.device, generator)

        def denoise(x: Tensor, time: float) -> Tensor:
            x = x.reshape(N * S, D)
            t = torch.full((N * S,), time, device=x.device)
            x0 = self.denoise(x, t, repeated)
            if sampling.guidance_scale and self.empty is not None:
                unconditional = self.denoise(x, t, self.empty.expand_as(repeated))
                w = sampling.guidance_scale
                x0 = self.item_latents((1 + w) * x0 - w * unconditional)
            return x0.view(N, S, D)

        drawn = sampler.sample(denoise, x.expand(N, S, D), generator, sampling.keep_path)
        path = None if drawn.path is None else drawn.path.mean(2)
        return Sample(self.item_latents(drawn.x0.mean(1)), path)

    def _noise(self, n: int, device: torch.device, generator: torch.Generator | None = None) -> Tensor:
        return torch.randn(n, self.latent, device=device, generator=generator) / math.sqrt(self.noise_precision)
