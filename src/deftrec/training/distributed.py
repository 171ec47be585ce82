"""The processes that train one model together: `accelerate launch` starts them, each with a copy of the model."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import numpy as np
import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import (
    DistributedDataParallelKwargs,
    DistributedType,
    broadcast_object_list,
    gather_object,
    reduce,
)
from torch import Tensor

from deftrec.errors import ConfigError

T = TypeVar("T")

PATIENCE = timedelta(days=1)
"""How long a process waits for the others: the first one may have vectors to make or a prior to choose."""


@dataclass(frozen=True)
class Team:
    """A process and how many work with it; alone unless said otherwise.

    Batches and questions are shared by rows. What is not, the first process does, and tells the others.

    Attributes:
        index: of this process, from 0.
        size: how many there are.
    """

    index: int = 0
    size: int = 1

    @classmethod
    def on(cls, device: torch.device) -> "Team":
        """The processes that `accelerate launch` (or `torchrun`) started, on devices of this type."""
        state = PartialState(cpu=device.type == "cpu", timeout=PATIENCE)
        return cls(state.process_index, state.num_processes)

    def shutdown(self) -> None:
        """Go separate ways for good: a process that just ends may take the others with it."""
        if self.size > 1:
            PartialState().destroy_process_group()

    @property
    def is_main(self) -> bool:
        """Whether this process writes, logs and does what is not shared."""
        return self.index == 0

    def accelerator(self, device: torch.device) -> Accelerator:
        """What sums the gradients of the team.

        Raises:
            ConfigError: the launch asks for FSDP or DeepSpeed; `training.sharded` is how weights are taken apart here.
        """
        partly = DistributedDataParallelKwargs(find_unused_parameters=True)  # some options leave some weights out
        accelerator = Accelerator(cpu=device.type == "cpu", kwargs_handlers=[partly])
        kind = accelerator.distributed_type
        if self.size > 1 and kind not in {DistributedType.MULTI_CPU, DistributedType.MULTI_GPU}:
            raise ConfigError(
                f"accelerate launch asks for {kind.value}; launch with --multi_gpu, or with --cpu, and set "
                "training.sharded to true where the weights are to be taken apart"
            )
        return accelerator

    def rows(self, count: int) -> np.ndarray:
        """Which of `count` rows are this process's: one or more, the same as another's where there are too few."""
        return np.arange(self.index, max(count, self.size), self.size) % count

    def broadcast(self, make: Callable[[], T]) -> T:
        """What the first process makes; the others wait to be told."""
        if self.size == 1:
            return make()
        said = [make() if self.is_main else None]
        broadcast_object_list(said)
        return said[0]  # type: ignore[return-value]

    def main_value(self, value: T) -> T:
        """What the first process has for it: clocks differ, and decisions must not."""
        return self.broadcast(lambda: value)

    def mean(self, values: Tensor) -> Tensor:
        """The mean over all processes of each of some values."""
        return values if self.size == 1 else reduce(values, "mean")

    def gathered(self, values: Tensor, count: int) -> Tensor:
        """The values of all `count` rows, each once, from those of every process's `rows`."""
        if self.size == 1:
            return values
        everything = torch.empty(count, dtype=values.dtype)
        for index, part in enumerate(gather_object([values.cpu()])):
            everything[Team(index, self.size).rows(count)] = part
        return everything


ALONE = Team()
"""A process that trains by itself."""
