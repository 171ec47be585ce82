"""The control without diffusion: the same network, asked once, with nothing to denoise."""

import torch
from torch import Tensor

from deftrec.diffusion.base import Sampling
from deftrec.diffusion.head import DiffusionHead
from deftrec.diffusion.sampler import Sample


class DirectHead(DiffusionHead):
    """x = 0 and t = 1, always: what the diffusion itself is worth is the difference to this.

    With the softmax over the catalogue and no squared error it is a classifier of next items (SASRec, Kang and McAuley
    2018); with the squared error alone a regression of the next item's latent.
    """

    def training_pair(self, latents: Tensor, condition: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `DiffusionHead.training_pair`; draws nothing."""
        t = torch.ones(len(latents), device=latents.device)
        return self.denoise(torch.zeros_like(latents).detach(), t, condition), t, condition

    def generate(
        self,
        condition: Tensor,
        sampling: Sampling,
        generator: torch.Generator | None = None,
        keep_path: bool = False,
    ) -> Sample:
        """See `Head.generate`. Every step of a path is the answer."""
        x0, _, _ = self.training_pair(condition.float(), condition)
        return Sample(x0, x0.expand(sampling.steps, *x0.shape) if keep_path else None)
