"""Denoising diffusion of the next item's latent under the language model's condition."""

import math

import torch
from torch import Tensor, nn

from deftrec.config import DiffusionOptions
from deftrec.diffusion.base import Head, Sampling
from deftrec.diffusion.denoiser import Denoiser
from deftrec.diffusion.objective import NextItems, Objective
from deftrec.diffusion.sampler import SAMPLERS, Sample
from deftrec.diffusion.schedule import SCHEDULES

EPS_START = 0.98
"""First sampling time of the eps-parameterisation: at t = 1 the predicted noise says nothing of x0."""

SMALLEST_SIGMA = 1e-3
"""Where next to no noise was added, its error cannot be told from rounding."""


class DiffusionHead(Head):
    """Noise schedule and denoiser as one: corrupts latents, denoises them, and generates new ones.

    On the sphere, noise has variance 1 / D in each of the D components, so that its norm is that of a latent; elsewhere
    variance 1, for latents whose components have about that (`tokenizer.mean_weight`).

    Args:
        latent: D.
        options: schedule, prediction, sizes.
        n_items: of the catalogue, which is no matter to it.
    """

    def __init__(self, latent: int, options: DiffusionOptions, n_items: int = 0) -> None:
        super().__init__(latent, options, n_items)
        self.noise_precision = latent if options.space == "sphere" else 1
        self.schedule = SCHEDULES[options.schedule]()
        self.denoiser = Denoiser(latent, options.width, options.depth)
        self.skip = nn.Linear(latent, latent, bias=False) if options.skip else None
        if self.skip is not None:
            nn.init.eye_(self.skip.weight)
        self.empty = nn.Parameter(torch.zeros(latent)) if options.condition_dropout else None

    def denoise(self, x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        """x0_hat. `x` and `condition` `[N, D]`, `t` `[N]` -> `[N, D]` float32"""
        predicted = self.denoiser(x, t, condition)
        if self.skip is not None:
            predicted = predicted + self.skip(condition)
        predicted = predicted.float()
        if self.options.prediction == "eps":
            t = t.clamp_max(EPS_START)
            alpha, sigma = self.schedule.alpha(t)[:, None], self.schedule.sigma(t)[:, None]
            predicted = (x.float() - sigma * predicted) / alpha
        return self.to_space(predicted)

    def losses(self, asked: NextItems, objective: Objective) -> dict[str, Tensor]:
        """Corrupt the targets' latents, denoise them, and let `objective` judge: `loss` and its parts, scalars.

        With `unrolled`, the rows at t = 1 go on from their own estimate, as sampling does; `unrolled` among the parts
        is the sum of the negatives' terms over the further passes. Other rows have seen their noised target.
        """
        x0_hat, t, condition = self.training_pair(asked.latents[asked.targets], asked.condition)
        snr = None
        if self.options.error == "noise":
            snr = (self.schedule.alpha(t) / self.schedule.sigma(t).clamp_min(SMALLEST_SIGMA)).square()
        losses = objective(asked.denoised(x0_hat, snr))
        blind = t >= 1
        if self.options.unrolled and blind.any():
            asked = asked.select(blind)
            passes = self.unroll(x0_hat[blind], condition[blind])
            losses["unrolled"] = torch.stack([objective.contrast(asked.denoised(x0)) for x0 in passes]).sum()
            losses["loss"] = losses["loss"] + losses["unrolled"]
        return losses

    def unroll(self, x0_hat: Tensor, condition: Tensor) -> list[Tensor]:
        """Further passes from an estimate made at t = 1, at the times of sampling. x0_hat `[N, D]` of each.

        x_t = alpha(t) sg(x0_hat) + sigma(t) b eps, with b drawn from {0, 1} for each row: the estimate may be off, and
        the pass is asked to say more than it was told. No gradient reaches an estimate from the pass after it.
        """
        N, passes = len(x0_hat), self.options.unrolled
        estimates = []
        for n in range(1, passes + 1):
            t = torch.full((N,), 1 - n / (passes + 1), device=x0_hat.device)
            noise = torch.zeros_like(x0_hat)
            if self.options.unrolled_noise:
                noisy = torch.rand(N, 1, device=x0_hat.device) < 0.5
                noise = self._draw(N, x0_hat.device) * noisy
            x0_hat = self.denoise(self.schedule.corrupt(x0_hat.detach(), noise, t), t, condition)
            estimates.append(x0_hat)
        return estimates

    def training_pair(self, latents: Tensor, condition: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Corrupt `latents` `[N, D]` and denoise them under `condition` `[N, D]`.

        The latents are what is to be found, not what is to be learnt: no gradient reaches them from here.

        Returns:
            x0_hat `[N, D]`, the times `[N]`, and the conditions, some of them dropped `[N, D]`.
        """
        N = len(latents)
        t = torch.rand(N, device=latents.device)
        t = torch.where(torch.rand(N, device=latents.device) < self.options.pure_noise_share, 1.0, t)
        if self.options.prediction == "eps":
            t = t * EPS_START
        x = self.schedule.corrupt(latents.detach().float(), self._draw(N, latents.device), t)
        if self.empty is not None:
            dropped = torch.rand(N, 1, device=latents.device) < self.options.condition_dropout
            condition = torch.where(dropped, self.empty.to(condition.dtype), condition)
        return self.denoise(x, t, condition), t, condition

    def generate(
        self,
        condition: Tensor,
        sampling: Sampling,
        generator: torch.Generator | None = None,
        keep_path: bool = False,
    ) -> Sample:
        """The latent of the next item under each condition, the mean of `sampling.samples` draws.

        Args:
            condition: `[N, D]`
            generator: the only source of randomness; on the device of `condition`.
            keep_path: keep the denoised x0 of every step.
        """
        N, S, D = len(condition), sampling.samples, self.latent
        repeated = condition.repeat_interleave(S, 0)
        start = EPS_START if self.options.prediction == "eps" else 1.0
        sampler = SAMPLERS[sampling.sampler](self.schedule, sampling.steps, start, 1 / self.noise_precision)
        x = torch.zeros(S, D, device=condition.device)
        if sampling.start == "noise":
            x = self._draw(S, condition.device, generator)

        def ask(x: Tensor, time: float) -> Tensor:
            x = x.reshape(N * S, D)
            t = torch.full((N * S,), time, device=x.device)
            x0 = self.denoise(x, t, repeated)
            if sampling.guidance_scale and self.empty is not None:
                blind = self.denoise(x, t, self.empty.expand_as(repeated))
                x0 = self.to_space((1 + sampling.guidance_scale) * x0 - sampling.guidance_scale * blind)
            return x0.view(N, S, D)

        drawn = sampler.sample(ask, x.expand(N, S, D), generator, keep_path)
        path = None if drawn.path is None else drawn.path.mean(2)
        return Sample(self.to_space(drawn.x0.mean(1)), path)

    def _draw(self, n: int, device: torch.device, generator: torch.Generator | None = None) -> Tensor:
        noise = torch.randn(n, self.latent, device=device, generator=generator)
        return noise / math.sqrt(self.noise_precision)
