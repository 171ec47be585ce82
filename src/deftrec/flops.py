"""Floating-point operations, counted product by product, and the share of the machine's rate that they reach."""

from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from deftrec.hardware import matrix_rate


def counting() -> FlopCounterMode:
    """Counts the products inside the block, those of attention too; of causal attention the half that is needed."""
    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    return FlopCounterMode(display=False, custom_mapping={attention: _attention_work})


def _attention_work(
    query: Any, key: Any, value: Any, dropout: float = 0.0, is_causal: bool = False, *_: Any, **__: Any
) -> int:
    """Work of the fused kernel on a CPU, which torch does not count; from shapes `[B, H, T, D]`."""
    B, H, T, D = query
    work: int = 2 * B * H * T * key[2] * (D + value[3])
    return work // 2 if is_causal else work


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
