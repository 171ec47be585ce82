"""Exponentially averaged weights, which validation sees and a run keeps (Polyak and Juditsky 1992)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from deftrec.training.sharding import shard


class AveragedWeights:
    """A moving average of a module's trained parameters.

    `torch.optim.swa_utils.AveragedModel` would copy frozen weights too, those of a language model included; its update
    rule is used here on the trained ones.

    Args:
        module: module whose trained parameters are averaged.
        decay: share of the old average kept at a step, in [0, 1); early steps keep less. 0 turns averaging off.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay, self.steps = decay, 0
        self.parameters = {name: p for name, p in module.named_parameters() if p.requires_grad} if decay else {}
        self.values = {name: p.detach().clone() for name, p in self.parameters.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Add the current weights; call it after every step."""
        self.steps += 1
        if self.parameters:
            average = get_ema_multi_avg_fn(min(self.decay, self.steps / (self.steps + 10)))  # type: ignore[no-untyped-call]
            average(list(self.values.values()), list(self.parameters.values()), self.steps)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside the block the module holds the averaged weights, and its own again after it."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def restore(self, values: dict[str, Tensor], steps: int) -> None:
        """Continue from the `values` and `steps` of a checkpoint."""
        self.steps = steps
        for name, value in self.values.items():
            value.copy_(shard(values[name], value))

    @torch.no_grad()
    def _swap(self) -> None:
        for name, parameter in self.parameters.items():
            own = parameter.clone()
            parameter.copy_(self.values[name])
            self.values[name].copy_(own)
