"""How near training comes to what the machine multiplies."""

from typing import Any

import torch
from torch import nn

from deftrec.flops import counting
from deftrec.hardware import matrix_rate


class Throughput:
    """Operations of the matrix products of one batch, beside the machine's measured rate.

    Args:
        module: what is trained.
        dtype: of the products.
    """

    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        self.module, self.dtype = module, dtype
        self.device = next(module.parameters()).device
        self.operations: int | None = None

    def count(self, batch: Any) -> None:
        """Count what a batch multiplies, forward and backward, the first time that this is called.

        A pass of its own, because counting takes other kernels. It leaves no trace: no gradient, nothing drawn, and
        codebooks that move as they are used are put back.
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
        """Of the rate, when so many batches like the one counted took so long; None where nothing is multiplied."""
        if not self.operations:
            return None
        return self.operations * batches / seconds / matrix_rate(self.device, self.dtype)
