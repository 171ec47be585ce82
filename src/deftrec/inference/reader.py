"""Language models that read on where they stopped, and answer for the last place alone."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer


class Reader(ABC):
    """Reads one history a row, behind the prompt's words, which are read once for all rows and calls."""

    @abstractmethod
    def begin(self, rows: int) -> Cache:
        """Keys and values of the words, for `rows` histories."""

    @abstractmethod
    def read(self, ways: Tensor, last: Tensor, past: Cache) -> Tensor:
        """The hidden state at one token of each row.

        Args:
            ways: continuous tokens in the order of the histories; anything behind a row's end. `[B, T, D]`
            last: which token of each row is asked for. `[B]` int64
            past: what was read before, of equal length in all rows; what is read now joins it.

        Returns:
            `[B, D]` float32
        """

    def answer(self, ways: Tensor, last: Tensor) -> Tensor:
        """`read` of whole histories behind the words, of which nothing is kept. `[B, T, D]`, `[B]` -> `[B, D]`"""
        return self.read(ways, last, self.begin(ways.shape[0]))


def repeated(cache: Cache, rows: int) -> DynamicCache:
    """Keys and values of one row as those of `rows`; nothing is copied until more joins them."""
    several = DynamicCache()
    for layer in cache.layers:
        copied = DynamicLayer()  # filled from the start: one that keys join begins empty, which no graph can hold
        copied.dtype, copied.device, copied.is_initialized = layer.keys.dtype, layer.keys.device, True
        copied.keys, copied.values = (one.expand(rows, -1, -1, -1) for one in (layer.keys, layer.values))
        several.layers.append(copied)
    return several


def causal(before: int, tokens: int, device: torch.device) -> Tensor:
    """Who reads whom: `tokens` behind `before` others. `[tokens, before + tokens]` bool"""
    return torch.ones(tokens, before + tokens, dtype=torch.bool, device=device).tril(before)
