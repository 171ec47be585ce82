"""Fast path of the nano model: cached keys and values; the last block runs for the last positions only."""

from copy import deepcopy
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers.cache_utils import Cache, DynamicCache

from deftrec.inference.reader import Reader, causal
from deftrec.language.nano import Block, NanoLanguageModel, rotate


class NanoReader(Reader):
    """Reads with `language`, or with a copy of its weights in another `dtype`."""

    def __init__(self, language: NanoLanguageModel, dtype: torch.dtype) -> None:
        self.language = language if dtype == torch.float32 else deepcopy(language).to(dtype)
        self.dtype = dtype

    def begin(self, rows: int) -> Cache:
        """See `Reader.begin`; there is no prompt."""
        return DynamicCache()

    def read(self, ways: Tensor, last: Tensor, past: Cache) -> Tensor:
        """See `Reader.read`."""
        before, tokens = past.get_seq_length(), ways.shape[1]
        positions = torch.arange(before, before + tokens, device=ways.device)[None]
        # The kernel for causal attention is faster than the one with an explicit mask.
        mask = causal(before, tokens, ways.device) if before and tokens > 1 else None
        x = ways.to(self.dtype) + self.language.places(positions)
        *blocks, final = cast(list[Block], list(self.language.blocks))
        for n, block in enumerate(blocks):
            x = _advance(block, x, x, positions, positions, mask, past, n)
        rows = torch.arange(len(x), device=x.device)
        own, place = x[rows, last][:, None], (before + last)[:, None]
        asked = causal(before, tokens, x.device)[last][:, None, None]  # [B, 1, 1, C + T]
        x = _advance(final, own, x, place, positions, asked, past, len(blocks))
        return self.language.norm(x)[:, 0].float()  # type: ignore[no-any-return]


def _advance(
    block: Block, x: Tensor, read: Tensor, own: Tensor, positions: Tensor, mask: Tensor | None, past: Cache, layer: int
) -> Tensor:
    """`Block.forward` of `x` `[B, T, D]` at positions `own`, which attends to `past` and to `read` at `positions`."""
    B, T, D = x.shape
    H = block.heads
    weight, bias = block.query_key_value.weight, block.query_key_value.bias
    query = F.linear(block.norm_attention(x), weight[:D], bias[:D]).view(B, T, H, D // H).transpose(1, 2)
    joint = F.linear(block.norm_attention(read), weight[D:], bias[D:]).view(B, -1, 2, H, D // H)
    key, value = joint.permute(2, 0, 3, 1, 4)  # [B, H, T, D / H] each
    keys, values = past.update(rotate(key, positions), value, layer)
    square = mask is None and keys.shape[2] == T
    found = F.scaled_dot_product_attention(rotate(query, own), keys, values, attn_mask=mask, is_causal=square)
    x = x + block.out(found.transpose(1, 2).reshape(B, T, D))
    return x + block.contract(F.gelu(block.expand(block.norm_perceptron(x))))  # type: ignore[no-any-return]
