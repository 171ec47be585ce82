"""The control without diffusion: the network of the diffusion head, evaluated once, with nothing to denoise.

    python -m studies.controls train --data DIR --out RUN [options of deftrec train]

With a softmax over the catalogue and no squared error the control is a classifier of next items (SASRec, Kang and
McAuley 2018); with the squared error alone it is a regression of the next item's latent (CoLLM, Zhang et al. 2023).
"""

import sys
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from deftrec.config import DiffusionOptions
from deftrec.diffusion import DiffusionHead, Head, Sample, Sampling
from deftrec.model import DeftRec
from deftrec.tokenizer import ItemFeatures
from studies.replaced_parts import replaced


class NoDiffusionHead(DiffusionHead):
    """A diffusion head that always reads x = 0 at t = 1, in training and in retrieval."""

    def training_pair(self, latents: Tensor, condition: Tensor) -> Tensor:
        """See `DiffusionHead.training_pair`; nothing is drawn."""
        t = torch.ones(len(latents), device=latents.device)
        return self.denoise(torch.zeros_like(latents), t, condition)

    def generate(self, condition: Tensor, sampling: Sampling, generator: torch.Generator | None = None) -> Sample:
        """See `Head.generate`; every step of a path is the result."""
        x0 = self.training_pair(condition.float(), condition)
        return Sample(x0, x0.expand(sampling.steps, *x0.shape) if sampling.keep_path else None)


class NoDiffusionDeftRec(DeftRec):
    """DeftRec with a `NoDiffusionHead`."""

    @staticmethod
    def build_head(features: ItemFeatures, width: int, options: DiffusionOptions) -> Head:
        """See `DeftRec.build_head`."""
        return NoDiffusionHead(width, options)


def without_diffusion() -> AbstractContextManager[None]:
    """A block in which `build_member` makes models with a `NoDiffusionHead`."""
    return replaced(NoDiffusionDeftRec)


def main() -> int:
    """Run a command of deftrec without diffusion."""
    from deftrec.cli import main as deftrec

    with without_diffusion():
        return deftrec(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
