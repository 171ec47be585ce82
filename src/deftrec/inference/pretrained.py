"""Fast path of a pre-trained model: cached keys and values, optionally bf16 weights."""

from copy import deepcopy

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache

from deftrec.inference.reader import Reader, causal, repeated
from deftrec.language import PretrainedLanguageModel


class PretrainedReader(Reader):
    """Reads with `language`, or with a copy of its weights in another `dtype`."""

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
        """See `Reader.begin`."""
        return repeated(self.prompt, rows)

    def read(self, ways: Tensor, last: Tensor, past: Cache) -> Tensor:
        """See `Reader.read`."""
        hidden = self._read(self.language.rescale(ways.float()), past)
        return hidden[torch.arange(hidden.shape[0], device=hidden.device), last]

    def _read(self, embeddings: Tensor, past: Cache) -> Tensor:
        B, T, _ = embeddings.shape
        before = past.get_seq_length()
        mask = causal(before, T, embeddings.device).expand(B, -1, -1)
        positions = torch.arange(before, before + T, device=embeddings.device).expand(B, -1)
        return self.language.read_on(embeddings, mask, positions, past)
