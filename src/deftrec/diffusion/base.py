"""What a head is asked: losses in training, and an answer that the catalogue is scored with."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deftrec.config import DiffusionOptions
from deftrec.diffusion.objective import NextItems, Objective
from deftrec.diffusion.sampler import Sample

ItemScorer: TypeAlias = Callable[[Tensor], Tensor]
"""Answers `[N, D]` -> scores of every item `[N, I]`, `-inf` where there is none"""


@dataclass(frozen=True)
class Sampling:
    """How latents are generated; the defaults come from `DiffusionOptions`.

    Attributes:
        sampler: `ddim`, `ddpm`, `dpm` or `mean`.
        steps: times the denoiser is asked.
        start: `zero`, the mean of the noise, or `noise`, a draw.
        samples: draws that are averaged.
        guidance_scale: w of classifier-free guidance; 0 asks the denoiser once a step.
    """

    sampler: str
    steps: int
    start: str
    samples: int
    guidance_scale: float

    @classmethod
    def of(cls, options: DiffusionOptions) -> "Sampling":
        """The sampling that the configuration asks for."""
        return cls(options.sampler, options.steps, options.start, options.samples, options.guidance_scale)


class Head(nn.Module, ABC):
    """Finds the next item under the language model's condition.

    Args:
        latent: D.
        options: of the head.
        n_items: size of the catalogue.

    Attributes:
        scorer: how the catalogue is scored for what `generate` returns; None: by the similarity with its latents.
    """

    scorer: ItemScorer | None = None

    def __init__(self, latent: int, options: DiffusionOptions, n_items: int) -> None:
        super().__init__()
        self.latent, self.options, self.n_items = latent, options, n_items

    def to_space(self, latents: Tensor) -> Tensor:
        """Latents as they are looked for: of unit norm on the sphere, as they are otherwise."""
        return F.normalize(latents.float(), dim=-1) if self.options.space == "sphere" else latents.float()

    def prepare(self, features: Tensor) -> None:
        """Fit once, before training, what is not learnt by gradients. `features` of the catalogue `[I, F]`"""

    @abstractmethod
    def losses(self, asked: NextItems, objective: Objective) -> dict[str, Tensor]:
        """`loss` and its parts, scalars."""

    @abstractmethod
    def generate(
        self,
        condition: Tensor,
        sampling: Sampling,
        generator: torch.Generator | None = None,
        keep_path: bool = False,
    ) -> Sample:
        """The answer to each condition, `[N, D]`.

        Args:
            condition: `[N, D]`
            sampling: how; a head that draws nothing has one answer, whatever is said here.
            generator: the only source of randomness; on the device of `condition`.
            keep_path: keep the answer of every step.
        """
