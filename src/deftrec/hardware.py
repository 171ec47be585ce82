"""What this machine multiplies fast."""

import warnings
from typing import Literal, TypeAlias

import torch

Precision: TypeAlias = Literal["auto", "bf16", "fp32"]


def default_device() -> torch.device:
    """The first GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def multiplies_bf16(device: torch.device) -> bool:
    """Whether bfloat16 matrix products run on units of their own: a recent GPU, or a CPU with AMX tiles."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)())


def training_dtype(precision: str, device: torch.device) -> torch.dtype:
    """The autocast dtype for `auto`, `bf16` or `fp32`."""
    if precision == "auto":
        return torch.bfloat16 if multiplies_bf16(device) else torch.float32
    if precision == "fp32" and multiplies_bf16(device):
        warnings.warn(
            "training in fp32 leaves this machine's bf16 matrix units unused (about 6 times slower): "
            "use --set training.precision=auto",
            stacklevel=2,
        )
    return torch.bfloat16 if precision == "bf16" else torch.float32


def inference_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """What histories are read in for `auto`, `bf16` or `fp32`; `auto` is bfloat16 where its products are faster.

    That is more often than in training: AVX-512 multiplies it at twice the rate of float32 without tiles of its own.
    """
    fast = multiplies_bf16(device) or (device.type == "cpu" and _has_avx512_bf16())
    return torch.bfloat16 if precision == "bf16" or (precision == "auto" and fast) else torch.float32


def _has_avx512_bf16() -> bool:
    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())
