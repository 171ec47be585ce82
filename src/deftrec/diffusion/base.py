"""Interface of a head: the part that turns the language model's condition into the next item's latent."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deftrec.config import DiffusionOptions
from deftrec.diffusion.objective import NextItems, Objective
from deftrec.diffusion.sampler import Sample


@dataclass(frozen=True)
class Sampling:
    """Sampling method; the defaults come from `DiffusionOptions`.

    Attributes:
        sampler: `ddim` or `ddpm`.
        steps: number of denoising steps, at least 1.
        samples: number of noise draws whose latents are averaged; 0: one sample from the mean of the noise.
        guidance_scale: strength w of classifier-free guidance; 0: none, one evaluation of the denoiser per step.
    """

    sampler: str
    steps: int
    samples: int
    guidance_scale: float

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
    def generate(
        self,
        condition: Tensor,
        sampling: Sampling,
        generator: torch.Generator | None = None,
        keep_path: bool = False,
    ) -> Sample:
        """One latent per condition. `[N, D]` -> `Sample` of N

        Args:
            condition: `[N, D]`
            sampling: sampling method.
            generator: source of every random draw, on the device of `condition`.
            keep_path: whether the latents of every step are returned too.
        """
