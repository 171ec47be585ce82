"""Floating-point operations, counted product by product."""

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode


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
