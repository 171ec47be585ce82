"""How well a preference in words fits each item's text: by sentence vectors, or by the words they share."""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from deftrec.data.sparse import csr_matrix
from deftrec.text.sentences import SentenceModel

WORD = re.compile(r"\w+")


class TextMatch(ABC):
    """Compares texts of users with those of all items."""

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> Tensor:
        """Users' texts as rows to compare with. N texts -> `[N, E]` float32"""

    @abstractmethod
    def scores(self, encoded: Tensor) -> Tensor:
        """How well each item fits, from 0 (not at all) to 1. `[N, E]` -> `[N, I]`"""


class SentenceMatch(TextMatch):
    """Cosine of sentence vectors, 0 where it is negative or where a text is empty.

    Args:
        items: sentence vectors of the catalogue, zeros for items without text. `[I, E]`
        folder: the sentence model's files.
        max_tokens: longer texts are cut.
    """

    def __init__(self, items: Tensor, folder: Path, max_tokens: int) -> None:
        self.items, self.folder, self.max_tokens = items, folder, max_tokens

    def with_items(self, more: Tensor) -> "SentenceMatch":
        """The same match with more items behind the others; the model is shared. `[J, E]`"""
        wider = SentenceMatch(torch.cat([self.items, more]), self.folder, self.max_tokens)
        if "model" in vars(self):
            wider.model = self.model
        return wider

    @cached_property
    def model(self) -> SentenceModel:
        """Read once, when it is first asked."""
        return SentenceModel(self.folder, torch.device("cpu"))

    def encode(self, texts: Sequence[str]) -> Tensor:
        """See `TextMatch.encode`; equal texts are read once."""
        distinct = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        vectors = self.model.vectors(list(distinct), max_tokens=self.max_tokens, dtype=torch.float32)
        return vectors[[distinct[text] for text in texts]]

    def scores(self, encoded: Tensor) -> Tensor:
        """See `TextMatch.scores`."""
        return (encoded @ self.items.T).clamp_min(0)


class OverlapMatch(TextMatch):
    """The share of a text's different words that an item's text has, case aside.

    Args:
        texts: of every item.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        words = [sorted(_words(text)) for text in texts]
        self.places = {word: n for n, word in enumerate(sorted({word for one in words for word in one}))}
        self.items = self._matrix([[self.places[word] for word in one] for one in words])

    def encode(self, texts: Sequence[str]) -> Tensor:
        """See `TextMatch.encode`: `[N, words of the catalogue]`, a row's sum is at most 1."""
        rows = torch.zeros(len(texts), max(1, len(self.places)))
        for row, text in zip(rows, texts, strict=True):
            words = _words(text)
            for word in words & self.places.keys():
                row[self.places[word]] = 1 / len(words)
        return rows

    def scores(self, encoded: Tensor) -> Tensor:
        """See `TextMatch.scores`."""
        return (self.items @ encoded.T).T

    def _matrix(self, places: list[list[int]]) -> Tensor:
        rows = np.repeat(np.arange(len(places)), [len(one) for one in places])
        columns = np.array([place for one in places for place in one], np.int64)
        return csr_matrix(rows, columns, np.ones(len(columns)), (len(places), max(1, len(self.places))))


def _words(text: str) -> set[str]:
    return set(WORD.findall(text.lower()))
