"""Interface of the fast path of a language model: incremental reading, hidden states at last positions only."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer


class Reader(ABC):
    """Reads one history per row after the prompt, which is read once for all rows and calls."""

    @abstractmethod
    def begin(self, rows: int) -> Cache:
        """Keys and values of the prompt, for `rows` histories."""

    @abstractmethod
    def read(self, ways: Tensor, last: Tensor, past: Cache) -> Tensor:
        """Hidden state at one token of each row.

        Args:
            ways: continuous tokens in the order of the histories, any values after a row's end. `[B, T, D]`
            last: index of the wanted token of each row. `[B]` int64
            past: keys and values read before, of equal length in all rows; those of `ways` are added.

        Returns:
            `[B, D]` float32
        """

    def answer(self, ways: Tensor, last: Tensor) -> Tensor:
        """`read` of whole histories after the prompt, without a cache. `[B, T, D]`, `[B]` -> `[B, D]`"""
        return self.read(ways, last, self.begin(ways.shape[0]))


def repeated(cache: Cache, rows: int) -> DynamicCache:
    """Keys and values of one row, expanded to `rows` without a copy."""
    several = DynamicCache()
    for layer in cache.layers:
        copied = DynamicLayer()  # initialised here: a layer that starts empty cannot be exported
        copied.dtype, copied.device, copied.is_initialized = layer.keys.dtype, layer.keys.device, True
        copied.keys, copied.values = (one.expand(rows, -1, -1, -1) for one in (layer.keys, layer.values))
        several.layers.append(copied)
    return several


def causal(before: int, tokens: int, device: torch.device) -> Tensor:
    """Causal mask of `tokens` after `before` others; true where a token is read. `[tokens, before + tokens]` bool"""
    return torch.ones(tokens, before + tokens, dtype=torch.bool, device=device).tril(before)
