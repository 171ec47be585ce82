"""Processes that train one model together, started by `accelerate launch`, each with a copy of the model."""

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
"""Longest wait for the other processes: the main one may compute vectors or choose score terms."""


@dataclass(frozen=True)
class Team:
    """Process `index` (from 0) among the `size` processes that train together; by default a single process.

    Batches and evaluations are shared by rows. The main process does everything else and broadcasts the result.
    """

    index: int = 0
    size: int = 1

    @classmethod
    def on(cls, device: torch.device) -> "Team":
        """The processes started by `accelerate launch` (or `torchrun`), on devices of this type."""
        state = PartialState(cpu=device.type == "cpu", timeout=PATIENCE)
        return cls(state.process_index, state.num_processes)

    def shutdown(self) -> None:
        """Destroy the process group: a process that ends without this may end the others too."""
        if self.size > 1:
            PartialState().destroy_process_group()

    @property
    def is_main(self) -> bool:
        """Whether this process writes, logs and does everything that is not shared."""
        return self.index == 0

    def accelerator(self, device: torch.device) -> Accelerator:
        """The accelerator that sums the gradients of the team; a `ConfigError` where FSDP or DeepSpeed is launched."""
        partly = DistributedDataParallelKwargs(find_unused_parameters=True)  # some options leave some weights unused
        accelerator = Accelerator(cpu=device.type == "cpu", kwargs_handlers=[partly])
        kind = accelerator.distributed_type
        if self.size > 1 and kind not in {DistributedType.MULTI_CPU, DistributedType.MULTI_GPU}:
            raise ConfigError(
                f"accelerate launch asks for {kind.value}; launch with --multi_gpu, or with --cpu, and set "
                "training.sharded to true to shard the weights"
            )
        return accelerator

    def rows(self, count: int) -> np.ndarray:
        """This process's rows out of `count`: one or more; rows are repeated where there are fewer than processes."""
        return np.arange(self.index, max(count, self.size), self.size) % count

    def broadcast(self, make: Callable[[], T]) -> T:
        """Result of `make` on the main process, sent to all others."""
        if self.size == 1:
            return make()
        shared = [make() if self.is_main else None]
        broadcast_object_list(shared)
        return shared[0]  # type: ignore[return-value]

    def main_value(self, value: T) -> T:
        """The main process's value: clocks differ between processes, and decisions must not."""
        return self.broadcast(lambda: value)

    def mean(self, values: Tensor) -> Tensor:
        """Mean of each value over all processes."""
        return values if self.size == 1 else reduce(values, "mean")

    def gathered(self, values: Tensor, count: int) -> Tensor:
        """Values of all `count` rows, from every process's `rows`."""
        if self.size == 1:
            return values
        everything = torch.empty(count, dtype=values.dtype)
        for index, part in enumerate(gather_object([values.cpu()])):
            everything[Team(index, self.size).rows(count)] = part
        return everything


ALONE = Team()  # A single process
