"""Rates of this machine: matrix products and copies."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from deftrec.hardware import matrix_rate

ROUNDS = 7
LARGE_SIDE = 2048
"""Side of the matrices multiplied on a CPU."""
COPIED = 64 << 20
"""Number of float32 values that are copied: far more than caches hold."""


@dataclass(frozen=True)
class Rates:
    """Best rates of some rounds.

    Attributes:
        fp32, bf16: floating-point operations per second of square matrix products.
        copy: bytes read and written per second.
    """

    fp32: float
    bf16: float
    copy: float

    def of(self, dtype: torch.dtype) -> float:
        """Matrix rate of `dtype`, floating-point operations per second."""
        return self.bf16 if dtype == torch.bfloat16 else self.fp32


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of `work`: processor time on a CPU, so that other processes do not count; elapsed time on a GPU."""
    if device.type == "cpu":
        began = time.process_time()
        work()
        return time.process_time() - began
    torch.cuda.synchronize(device)
    began = time.perf_counter()
    work()
    torch.cuda.synchronize(device)
    return time.perf_counter() - began


def measure_rates(device: torch.device, size: int | None = None) -> Rates:
    """Measure matrix products in both precisions, and a copy that no cache holds.

    Args:
        device: device to measure.
        size: side of the matrices; None: a size that suits the device.
    """
    if size is None and device.type == "cpu":
        size = LARGE_SIDE
    source = torch.zeros(COPIED, device=device)
    target = torch.zeros_like(source)
    copy = 2 * 4 * COPIED / min(seconds(lambda: target.copy_(source), device) for _ in range(ROUNDS))
    fp32, bf16 = (matrix_rate(device, dtype, size) for dtype in (torch.float32, torch.bfloat16))
    return Rates(fp32, bf16, copy)
