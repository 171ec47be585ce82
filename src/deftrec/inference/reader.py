"""Fast path of a language model: cached keys and values, hidden states at last positions only."""

from abc import ABC, abstractmethod
from copy import deepcopy

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from deftrec.language import PretrainedLanguageModel


class Reader(ABC):
    """Reads one history per row after the prompt, which is read once for all rows and calls."""

    @abstractmethod
    def begin(self, rows: int) -> Cache:
        """Keys and values of the prompt, for `rows` histories."""

    @abstractmethod
    def read(self, ways: Tensor, last: Tensor, past: Cache) -> Tensor:
        """Hidden state at one token of each row. `[B, D]` float32

        Args:
            ways: continuous tokens in the order of the histories, any values after a row's end. `[B, T, D]`
            last: index of the wanted token of each row. `[B]` int64
            past: keys and values read before, of equal length in all rows; those of `ways` are added.
        """

    def answer(self, ways: Tensor, last: Tensor) -> Tensor:
        """`read` of whole histories after the prompt, without a cache. `[B, T, D]`, `[B]` -> `[B, D]`"""
        return self.read(ways, last, self.begin(ways.shape[0]))


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

    def read(self, ways: Tensor, last: Tensor, past: Cache) -> Tensor:
        """See `Reader.read`."""
        hidden = self._read(self.language.rescale(ways.float()), past)
        return hidden[torch.arange(hidden.shape[0], device=hidden.device), last]

    def _read(self, embeddings: Tensor, past: Cache) -> Tensor:
        B, T, _ = embeddings.shape
        before = past.get_seq_length()
        mask = causal(before, T, embeddings.device).expand(B, -1, -1)
        positions = torch.arange(before, before + T, device=embeddings.device).expand(B, -1)
        return self.language.read(embeddings, mask, positions, past)


def causal(before: int, tokens: int, device: torch.device) -> Tensor:
    """Causal mask of `tokens` after `before` others; true where a token is read. `[tokens, before + tokens]` bool"""
    return torch.ones(tokens, before + tokens, dtype=torch.bool, device=device).tril(before)
