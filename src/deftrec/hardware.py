"""Devices, number formats and the measured rate of matrix products."""

import time
import warnings
from functools import lru_cache
from typing import Literal, TypeAlias

import torch

Precision: TypeAlias = Literal["auto", "bf16", "fp32"]
Runtime: TypeAlias = Literal["torch", "openvino"]  # library that runs the language model when histories are read

CPU_SIDE, GPU_SIDE = 1024, 8192
"""Side of the matrices that a rate is measured with; smaller ones leave most of a GPU idle."""


def default_device() -> torch.device:
    """The first GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def multiplies_bf16(device: torch.device) -> bool:
    """Whether bfloat16 matrix products are faster than float32: a recent GPU, a CPU with AMX tiles or AVX-512 BF16."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return _cpu_has("amx_tile") or _cpu_has("avx512_bf16")


def training_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """The autocast dtype for `auto`, `bf16` or `fp32`: `inference_dtype`, with a warning where fp32 is a waste."""
    if precision == "fp32" and multiplies_bf16(device):
        warnings.warn(
            "training in fp32 leaves this machine's bf16 matrix units unused (2 to 6 times slower): "
            "use `training.precision=auto`",
            stacklevel=2,
        )
    return inference_dtype(precision, device)


def inference_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """The dtype of reading histories for `auto`, `bf16` or `fp32`; `auto` is bfloat16 where its products are faster."""
    fast = precision == "auto" and multiplies_bf16(device)
    return torch.bfloat16 if precision == "bf16" or fast else torch.float32


@lru_cache
def matrix_rate(device: torch.device, dtype: torch.dtype, size: int | None = None, seconds: float = 0.2) -> float:
    """Best measured rate of square matrix products, in operations a second; a product and a sum are two operations.

    Args:
        device, dtype: device and number format of the matrices.
        size: side of the matrices; None: large enough to fill the device.
        seconds: duration of the measurement.
    """
    size = size or (GPU_SIDE if device.type == "cuda" else CPU_SIDE)
    one, other = torch.ones(2, size, size, device=device, dtype=dtype)  # nothing drawn: training would go on otherwise
    best, end = float("inf"), time.monotonic() + seconds
    while time.monotonic() < end:
        started = time.perf_counter()
        one @ other
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - started)
    return float(2 * size**3 / best)


def rates_by_threads(side: int = 512, seconds: float = 0.04) -> dict[int, float]:
    """Measured rate of float32 matrix products on the CPU by number of threads: all, half of them, ..., 1.

    The rate is the mean over `seconds` for each number, in operations a second: beside other work the threads of one
    product wait for each other. The number of threads is the same afterwards.
    """
    most, rates = torch.get_num_threads(), dict[int, float]()
    one, other = torch.ones(2, side, side)
    count = most
    while count:
        torch.set_num_threads(count)
        one @ other  # starts the threads
        products, spent, started = 0, 0.0, time.perf_counter()
        while spent < seconds:
            one @ other
            products, spent = products + 1, time.perf_counter() - started
        rates[count] = 2 * side**3 * products / spent
        count //= 2
    torch.set_num_threads(most)
    return rates


def describe(device: torch.device, dtype: torch.dtype) -> str:
    """The hardware in words: device or threads, number format, measured matrix rate."""
    rate = matrix_rate(device, dtype) / 1e9
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_words()
    return f"{name}, {'bf16' if dtype == torch.bfloat16 else 'fp32'} at {rate:,.0f} GFLOP/s"


def _cpu_has(unit: str) -> bool:
    return bool(getattr(torch.cpu, f"_is_{unit}_supported", lambda: False)())


def _cpu_words() -> str:
    threads = torch.get_num_threads()
    unit = "AMX" if _cpu_has("amx_tile") else torch.backends.cpu.get_cpu_capability()
    return f"{threads} CPU {'thread' if threads == 1 else 'threads'} ({unit})"
