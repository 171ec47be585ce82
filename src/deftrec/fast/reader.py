"""Language models that read on where they stopped, and answer for the last place alone."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache


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
        return self.read(ways, last, self.begin(len(ways)))


def repeated(cache: Cache, rows: int) -> DynamicCache:
    """Keys and values of one row as those of `rows`; nothing is copied until more joins them."""
    several = DynamicCache()
    for n, layer in enumerate(cache.layers):
        keys, values = layer.keys, layer.values
        several.update(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1), n)
    return several


def causal(before: int, tokens: int, device: torch.device) -> Tensor:
    """Who reads whom: `tokens` behind `before` others. `[tokens, before + tokens]` bool"""
    return torch.ones(tokens, before + tokens, dtype=torch.bool, device=device).tril(before)
