"""Fast path of a language model: cached keys and values, hidden states at last positions only.

The last block of a nano model runs for these positions alone.
"""

from abc import ABC, abstractmethod
from copy import deepcopy
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from deftrec.language import PretrainedLanguageModel
from deftrec.language.nano import Block, NanoLanguageModel, rotate, time_gaps


class Reader(ABC):
    """Reads one history per row after the prompt, which is read once for all rows and calls."""

    @abstractmethod
    def begin(self, rows: int) -> Cache:
        """Keys and values of the prompt, for `rows` histories."""

    @abstractmethod
    def read(self, ways: Tensor, last: Tensor, past: Cache, days: Tensor | None = None) -> Tensor:
        """Hidden state at one token of each row. `[B, D]` float32

        Args:
            ways: continuous tokens in the order of the histories, any values after a row's end. `[B, T, D]`
            last: index of the wanted token of each row. `[B]` int64
            past: keys and values read before, of equal length in all rows; those of `ways` are added.
            days: times of the events of all tokens read so far, in days; None: unknown. `[B, C + T]` float64
        """

    def answer(self, ways: Tensor, last: Tensor, days: Tensor | None = None) -> Tensor:
        """`read` of whole histories after the prompt, without a cache. `[B, T, D]`, `[B]` -> `[B, D]`"""
        return self.read(ways, last, self.begin(ways.shape[0]), days)


class PretrainedReader(Reader):
    """Reads with a pre-trained model, or with a copy of its weights in another `dtype`."""

    def __init__(self, language: PretrainedLanguageModel, dtype: torch.dtype) -> None:
        self.language = language
        if dtype not in (torch.float32, language.dtype):  # float32 uses the weights unchanged
            self.language = deepcopy(language)
            self.language.model.to(dtype)
            self.language.dtype = dtype
        self.prompt = DynamicCache()
        with torch.no_grad():
            words = self.language.words()
            if len(words):
                self._read(words[None], self.prompt)

    def begin(self, rows: int) -> Cache:
        """See `Reader.begin`; the prompt is expanded to all rows without a copy."""
        several = DynamicCache()
        for layer in self.prompt.layers:
            expanded = DynamicLayer()  # initialised here: a layer that starts empty cannot be exported
            expanded.dtype, expanded.device, expanded.is_initialized = layer.keys.dtype, layer.keys.device, True
            expanded.keys, expanded.values = (one.expand(rows, -1, -1, -1) for one in (layer.keys, layer.values))
            several.layers.append(expanded)
        return several

    def read(self, ways: Tensor, last: Tensor, past: Cache, days: Tensor | None = None) -> Tensor:
        """See `Reader.read`."""
        hidden = self._read(self.language.rescale(ways.float()), past)
        return hidden[torch.arange(hidden.shape[0], device=hidden.device), last]

    def _read(self, embeddings: Tensor, past: Cache) -> Tensor:
        B, T, _ = embeddings.shape
        before = past.get_seq_length()
        mask = causal(before, T, embeddings.device).expand(B, -1, -1)
        positions = torch.arange(before, before + T, device=embeddings.device).expand(B, -1)
        return self.language.read(embeddings, mask, positions, past)


class NanoReader(Reader):
    """Reads with a nano model, or with a copy of its weights in another `dtype`."""

    def __init__(self, language: NanoLanguageModel, dtype: torch.dtype) -> None:
        self.language = language if dtype == torch.float32 else deepcopy(language).to(dtype)
        self.dtype = dtype

    def begin(self, rows: int) -> Cache:
        """See `Reader.begin`; there is no prompt."""
        return DynamicCache()

    def read(self, ways: Tensor, last: Tensor, past: Cache, days: Tensor | None = None) -> Tensor:
        """See `Reader.read`."""
        before, tokens = past.get_seq_length(), ways.shape[1]
        gaps = own_gaps = None
        if days is not None and cast(Block, self.language.blocks[0]).gap_bias is not None:
            rows = torch.arange(len(ways), device=ways.device)
            gaps, own_gaps = time_gaps(days[:, before:], days), time_gaps(days[rows, before + last][:, None], days)
        positions = torch.arange(before, before + tokens, device=ways.device)[None]
        # The kernel for causal attention is faster than the one with an explicit mask.
        mask = causal(before, tokens, ways.device) if gaps is not None or (before and tokens > 1) else None
        x = ways.to(self.dtype) + self.language.places(positions)
        *blocks, final = cast(list[Block], list(self.language.blocks))
        for n, block in enumerate(blocks):
            x = _advance(block, x, x, positions, positions, _biased(block, mask, gaps), past, n)
        rows = torch.arange(len(x), device=x.device)
        own, place = x[rows, last][:, None], (before + last)[:, None]
        asked = causal(before, tokens, x.device)[last][:, None]  # [B, 1, C + T]
        asked = final.attention_bias(asked, own_gaps, x.dtype)  # [B, 1 or H, 1, C + T]
        x = _advance(final, own, x, place, positions, asked, past, len(blocks))
        return self.language.norm(x)[:, 0].float()  # type: ignore[no-any-return]


def _biased(block: Block, mask: Tensor | None, gaps: Tensor | None) -> Tensor | None:
    """The causal mask `[T, C + T]` with the block's bias of `gaps` `[B, T, C + T]`, if it has one."""
    if mask is None or gaps is None:
        return mask
    return block.attention_bias(mask.expand(len(gaps), -1, -1), gaps, block.norm_attention.weight.dtype)


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


def causal(before: int, tokens: int, device: torch.device) -> Tensor:
    """Causal mask of `tokens` after `before` others; true where a token is read. `[tokens, before + tokens]` bool"""
    return torch.ones(tokens, before + tokens, dtype=torch.bool, device=device).tril(before)
