"""What this machine multiplies fast."""

import time
import warnings
from functools import lru_cache
from typing import Literal, TypeAlias

import torch

Precision: TypeAlias = Literal["auto", "bf16", "fp32"]
Runtime: TypeAlias = Literal["torch", "openvino"]
"""What runs a language model that reads histories."""

CPU_SIDE, GPU_SIDE = 1024, 8192
"""Of the matrices that a rate is measured with: smaller ones leave most of a GPU idle."""


def default_device() -> torch.device:
    """The first GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def multiplies_bf16(device: torch.device) -> bool:
    """Whether bfloat16 matrix products are faster than float32: a recent GPU, a CPU with AMX tiles or AVX-512 BF16."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return any(getattr(torch.cpu, f"_is_{unit}_supported", lambda: False)() for unit in ("amx_tile", "avx512_bf16"))


def training_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """The autocast dtype for `auto`, `bf16` or `fp32`; as `inference_dtype`, with a warning where fp32 is a waste."""
    if precision == "fp32" and multiplies_bf16(device):
        warnings.warn(
            "training in fp32 leaves this machine's bf16 matrix units unused (2 to 6 times slower): "
            "use --set training.precision=auto",
            stacklevel=2,
        )
    return inference_dtype(precision, device)


def inference_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """What histories are read in for `auto`, `bf16` or `fp32`; `auto` is bfloat16 where its products are faster."""
    fast = precision == "auto" and multiplies_bf16(device)
    return torch.bfloat16 if precision == "bf16" or fast else torch.float32


@lru_cache
def matrix_rate(device: torch.device, dtype: torch.dtype, size: int | None = None, seconds: float = 0.2) -> float:
    """Operations a second (a product and a sum are two) of square matrix products: the best of those in `seconds`.

    Args:
        size: of a side; None: what fills the device.
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
