"""Averaged weights: what validation sees and what is kept (Polyak and Juditsky 1992, with exponential forgetting)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from deftrec.training.sharding import shard_like


class AveragedWeights:
    """A moving average of a module's trained parameters.

    Args:
        module: whose parameters.
        decay: share of the old average that a step keeps; 0 is no averaging. Early steps forget faster.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay, self.steps = decay, 0
        self.parameters = {name: p for name, p in module.named_parameters() if p.requires_grad} if decay else {}
        self.values = {name: p.detach().clone() for name, p in self.parameters.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Count the current weights in; call it after every step."""
        self.steps += 1
        if self.parameters:
            weight = 1 - min(self.decay, self.steps / (self.steps + 10))
            torch._foreach_lerp_(list(self.values.values()), list(self.parameters.values()), weight)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The module holds the averaged weights inside the block, and its own again after it."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def tensors(self) -> dict[str, Tensor]:
        """The average, by parameter, for a checkpoint."""
        return self.values

    def restore(self, values: dict[str, Tensor], steps: int) -> None:
        """Go on from a checkpoint."""
        self.steps = steps
        for name, value in self.values.items():
            value.copy_(shard_like(values[name], value))

    @torch.no_grad()
    def _swap(self) -> None:
        for name, parameter in self.parameters.items():
            own = parameter.clone()
            parameter.copy_(self.values[name])
            self.values[name].copy_(own)
