"""Share of the machine's matrix rate that training reaches."""

from typing import Any

import torch
from torch import nn

from deftrec.flops import counting
from deftrec.hardware import matrix_rate


class Throughput:
    """Counts the matrix products (of type `dtype`) of one batch, and compares them with the machine's measured rate."""

    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        self.module, self.dtype = module, dtype
        self.device = next(module.parameters()).device
        self.operations: int | None = None

    def count(self, batch: Any) -> None:
        """Count the operations of a batch, forward and backward, at the first call.

        Counting runs a pass of its own, because it uses other kernels. The pass leaves no gradient, draws nothing from
        the random state and restores all buffers.
        """
        if self.operations is not None:
            return
        buffers = [(buffer, buffer.detach().clone()) for buffer in self.module.buffers()]
        with torch.random.fork_rng(), counting() as counter:
            with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
                losses = self.module(batch)
            losses["loss"].backward()
        self.module.zero_grad()
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
        self.operations = counter.get_total_flops()

    def share(self, batches: int, seconds: float) -> float | None:
        """Share of the matrix rate when `batches` like the counted one took `seconds`; None without matrix products."""
        if not self.operations:
            return None
        return self.operations * batches / seconds / matrix_rate(self.device, self.dtype)
