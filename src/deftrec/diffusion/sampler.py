"""From noise to a latent: samplers hold no network, only the step from one time to an earlier one."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from deftrec.diffusion.schedule import NoiseSchedule

Denoise: TypeAlias = Callable[[Tensor, float], Tensor]
"""(x_t `[N, S, D]`, t) -> denoised x0 `[N, S, D]`"""


@dataclass(frozen=True, eq=False)
class Sample:
    """The end of a denoising path and, if asked for, the way there.

    Attributes:
        x0: the denoised latents. `[N, ...]`
        path: the denoised x0 after every step. `[steps, N, ...]`, or None
    """

    x0: Tensor
    path: Tensor | None


class Sampler(ABC):
    """Steps through falling times; after the last one the denoised x0 itself is the result.

    All N rows share the draws of the S samples, so that a row's result does not depend on who shares its batch.

    Args:
        schedule: the one the denoiser was trained with.
        steps: number of times the denoiser is asked.
        start: the first time; below 1 only where the denoiser predicts the noise, which at 1 says nothing of x0.
        noise_variance: of one component of the noise.
    """

    def __init__(self, schedule: NoiseSchedule, steps: int, start: float = 1.0, noise_variance: float = 1.0) -> None:
        self.schedule, self.steps, self.start, self.noise_variance = schedule, steps, start, noise_variance

    def times(self) -> list[float]:
        """The times at which the denoiser is asked, `steps` of them, evenly spaced from `start` towards 0."""
        return [self.start * (1 - n / self.steps) for n in range(self.steps)]

    def sample(
        self, denoise: Denoise, noise: Tensor, generator: torch.Generator | None = None, keep_path: bool = False
    ) -> Sample:
        """Denoise `noise` `[N, S, D]` to latents. Draws come from `generator` alone."""
        times = self.times()
        x = noise
        path = []
        before: tuple[Tensor, float] | None = None
        for time, earlier in zip(times, [*times[1:], None], strict=True):
            x0 = denoise(x, time)
            if keep_path:
                path.append(x0)
            if earlier is not None:
                x = self.step(x, self.ahead(x0, time, earlier, before), time, earlier, generator)
            before = x0, time
        return Sample(x0, torch.stack(path) if keep_path else None)

    def ahead(self, x0: Tensor, t: float, s: float, before: tuple[Tensor, float] | None) -> Tensor:
        """The x0 to walk from `t` to `s` with, from that at `t` and the one `before` it with its time."""
        return x0

    @abstractmethod
    def step(self, x: Tensor, x0: Tensor, t: float, s: float, generator: torch.Generator | None) -> Tensor:
        """x at the earlier time `s`, from x at `t` and the denoised x0. `[N, S, D]`"""

    def _levels(self, x: Tensor, t: float, s: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        times = torch.tensor([t, s], dtype=torch.float64)
        (alpha_t, alpha_s), (sigma_t, sigma_s) = self.schedule.alpha(times), self.schedule.sigma(times)
        return alpha_t.to(x), sigma_t.to(x), alpha_s.to(x), sigma_s.to(x)


class DDIMSampler(Sampler):
    """Deterministic: keep the noise that x holds, at the earlier time's level (Song et al. 2021, eq. 12, eta 0)."""

    def step(self, x: Tensor, x0: Tensor, t: float, s: float, generator: torch.Generator | None) -> Tensor:
        """See `Sampler.step`."""
        alpha_t, sigma_t, alpha_s, sigma_s = self._levels(x, t, s)
        noise = (x - alpha_t * x0) / sigma_t
        return alpha_s * x0 + sigma_s * noise


class DPMSampler(DDIMSampler):
    """DPM-Solver++(2M) (Lu et al. 2022, arXiv 2211.01095, algorithm 2): DDIM's step towards an x0 half a step ahead.

    With lambda = log(alpha / sigma) and h its growth over a step, x0 goes on as it went over the last step, for h / 2.
    Nothing is known of the first step's slope, nor of the second's where the first began in pure noise, at lambda
    minus infinity: both are DDIM's.
    """

    def ahead(self, x0: Tensor, t: float, s: float, before: tuple[Tensor, float] | None) -> Tensor:
        """See `Sampler.ahead`."""
        if before is None:
            return x0
        earlier, u = before
        times = torch.tensor([u, t, s], dtype=torch.float64)
        level = (self.schedule.alpha(times) / self.schedule.sigma(times)).log()
        last, following = (float(step) for step in level.diff())
        return x0 + following / (2 * last) * (x0 - earlier)


class DDPMSampler(Sampler):
    """Ancestral: a draw from q(x_s | x_t, x0) (Ho et al. 2020, eq. 7, for any two times)."""

    def step(self, x: Tensor, x0: Tensor, t: float, s: float, generator: torch.Generator | None) -> Tensor:
        """See `Sampler.step`."""
        alpha_t, sigma_t, alpha_s, sigma_s = self._levels(x, t, s)
        ratio = alpha_t / alpha_s  # alpha of t given s
        between = 1 - ratio.square()  # variance of t given s
        mean = (ratio * sigma_s.square() * x + alpha_s * between * x0) / sigma_t.square()
        deviation = sigma_s * (between * self.noise_variance).sqrt() / sigma_t
        draw = torch.randn(x.shape[1:], generator=generator, device=x.device, dtype=x.dtype)
        return mean + deviation * draw


class MeanSampler(Sampler):
    """Keeps no noise: x_s = alpha_s x0, the mean of q(x_s | x0). What the unrolled passes of training walk.

    DDIM from the mean of the noise does the same in its first step only: later ones carry on the difference between
    two estimates as if it were noise.
    """

    def step(self, x: Tensor, x0: Tensor, t: float, s: float, generator: torch.Generator | None) -> Tensor:
        """See `Sampler.step`."""
        _, _, alpha_s, _ = self._levels(x, t, s)
        return alpha_s * x0


SAMPLERS: dict[str, type[Sampler]] = {
    "ddim": DDIMSampler,
    "ddpm": DDPMSampler,
    "dpm": DPMSampler,
    "mean": MeanSampler,
}
