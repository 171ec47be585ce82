"""Noise schedules: x_t = alpha(t) x_0 + sigma(t) eps, from t = 0 (clean) to t = 1 (noise)."""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor


class NoiseSchedule(ABC):
    """Variance preserving (alpha^2 + sigma^2 = 1) with zero terminal signal-to-noise ratio: alpha(1) = 0.

    With signal left at t = 1, training and sampling would start from different inputs (Lin et al. 2023, arXiv
    2305.08891).
    """

    @abstractmethod
    def alpha(self, t: Tensor) -> Tensor:
        """Factor of the signal at times `t` in [0, 1], of the shape of `t`."""

    def sigma(self, t: Tensor) -> Tensor:
        """Factor of the noise at times `t` in [0, 1], of the shape of `t`."""
        return (1 - self.alpha(t).square()).clamp_min(0).sqrt()

    def corrupt(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x_t. `x0` and `noise` are `[N, D]`, `t` is `[N]`."""
        return self.alpha(t)[:, None] * x0 + self.sigma(t)[:, None] * noise


class CosineSchedule(NoiseSchedule):
    """alpha = cos(pi t / 2): constant speed on the circle from signal to noise (Nichol and Dhariwal 2021, s = 0)."""

    def alpha(self, t: Tensor) -> Tensor:
        """See `NoiseSchedule.alpha`."""
        return torch.where(t >= 1, 0.0, torch.cos(t * (math.pi / 2)))


class LinearSchedule(NoiseSchedule):
    """beta linear in t from 0.1 to 20 (Ho et al. 2020, in continuous time), rescaled to alpha(1) = 0.

    The rescaling is algorithm 1 of Lin et al. 2023: alpha is shifted by its value at 1 and stretched to keep alpha(0).
    """

    low, high = 0.1, 20.0

    def alpha(self, t: Tensor) -> Tensor:
        """See `NoiseSchedule.alpha`."""
        last = math.exp(-(self.low + self.high) / 4)
        raw = torch.exp(-(self.low * t + (self.high - self.low) * t.square() / 2) / 2)
        return torch.where(t >= 1, 0.0, (raw - last) / (1 - last))


SCHEDULES: dict[str, type[NoiseSchedule]] = {"cosine": CosineSchedule, "linear": LinearSchedule}
