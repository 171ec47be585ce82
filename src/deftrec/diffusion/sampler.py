"""Samplers: steps from noise to a latent. They hold no network, only the step from one time to an earlier one."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from deftrec.diffusion.schedule import NoiseSchedule

Denoise: TypeAlias = Callable[[Tensor, float], Tensor]  # (x_t `[N, S, D]`, t) -> denoised x0 `[N, S, D]`


@dataclass(frozen=True, eq=False)
class Sample:
    """Generated latents `[N, ...]` and, if requested, the denoised x0 of every step `[steps, N, ...]`."""

    x0: Tensor
    path: Tensor | None


class Sampler(ABC):
    """Denoises at decreasing times; the denoised x0 of the last step is the result.

    All N rows share the S noise draws, so that a row's result does not depend on the other rows of its batch.

    Args:
        schedule: noise schedule of the training.
        steps: number of evaluations of the denoiser.
        start: first time, 1 or slightly less for denoisers that predict the noise.
        noise_variance: variance of one component of the noise.
    """

    def __init__(self, schedule: NoiseSchedule, steps: int, start: float = 1.0, noise_variance: float = 1.0) -> None:
        self.schedule, self.steps, self.start, self.noise_variance = schedule, steps, start, noise_variance

    def times(self) -> list[float]:
        """Times of the evaluations, `steps` of them, evenly spaced from `start` towards 0."""
        return [self.start * (1 - n / self.steps) for n in range(self.steps)]

    def sample(
        self, denoise: Denoise, noise: Tensor, generator: torch.Generator | None = None, keep_path: bool = False
    ) -> Sample:
        """Denoise `noise` `[N, S, D]`. `generator` is the source of every random draw."""
        times, x = self.times(), noise
        path = []
        for time, earlier in zip(times, [*times[1:], None], strict=True):
            x0 = denoise(x, time)
            if keep_path:
                path.append(x0)
            if earlier is not None:
                x = self.step(x, x0, time, earlier, generator)
        return Sample(x0, torch.stack(path) if keep_path else None)

    @abstractmethod
    def step(self, x: Tensor, x0: Tensor, t: float, s: float, generator: torch.Generator | None) -> Tensor:
        """x at the earlier time `s`, from x at `t` and the denoised x0. `[N, S, D]`"""

    def _levels(self, x: Tensor, t: float, s: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        times = torch.tensor([t, s], dtype=torch.float64)
        (alpha_t, alpha_s), (sigma_t, sigma_s) = self.schedule.alpha(times), self.schedule.sigma(times)
        return alpha_t.to(x), sigma_t.to(x), alpha_s.to(x), sigma_s.to(x)


class DDIMSampler(Sampler):
    """Deterministic sampling (Song et al. 2021, eq. 12, eta 0): the noise in x is rescaled to the earlier time."""

    def step(self, x: Tensor, x0: Tensor, t: float, s: float, generator: torch.Generator | None) -> Tensor:
        """See `Sampler.step`."""
        alpha_t, sigma_t, alpha_s, sigma_s = self._levels(x, t, s)
        noise = (x - alpha_t * x0) / sigma_t
        return alpha_s * x0 + sigma_s * noise


class DDPMSampler(Sampler):
    """Ancestral sampling: draws from q(x_s | x_t, x0) (Ho et al. 2020, eq. 7, for any two times)."""

    def step(self, x: Tensor, x0: Tensor, t: float, s: float, generator: torch.Generator | None) -> Tensor:
        """See `Sampler.step`."""
        alpha_t, sigma_t, alpha_s, sigma_s = self._levels(x, t, s)
        ratio = alpha_t / alpha_s  # alpha of t given s
        between = 1 - ratio.square()  # variance of t given s
        mean = (ratio * sigma_s.square() * x + alpha_s * between * x0) / sigma_t.square()
        deviation = sigma_s * (between * self.noise_variance).sqrt() / sigma_t
        draw = torch.randn(x.shape[1:], generator=generator, device=x.device, dtype=x.dtype)
        return mean + deviation * draw


SAMPLERS: dict[str, type[Sampler]] = {"ddim": DDIMSampler, "ddpm": DDPMSampler}
