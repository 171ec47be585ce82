"""The retrieval score of an index's candidates, exact for each of them; other items are no candidates.

Of unit vectors, those with the largest cosine are the nearest by distance too. Candidates are what the index finds,
fetched beyond what a request hides, all that the linear prior knows of the history, whose score may be large wherever
the latent lies, and every item that came after training: the index holds those of training, and never changes. Lists
that a request names itself, and categories, are scored whole.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from deftrec.data import Sequences
from deftrec.errors import ConfigError
from deftrec.retrieval import Retriever
from deftrec.retrieval.exact import Similarity
from deftrec.serving.index.base import Index, Metric

OVERFETCH = 4
"""Candidates for each item of the list."""


class Approximate:
    """Scores by an index.

    Args:
        retriever: the exact score.
        index: of its first `vectors`.
        indexed: how many they are; None: all.

    Raises:
        ConfigError: the score is of more than latents and prior.
    """

    def __init__(self, retriever: Retriever, index: Index, indexed: int | None = None) -> None:
        self.check(retriever)
        self._retriever, self._index = retriever, index
        self._indexed = len(retriever.latents) if indexed is None else indexed
        self._later = np.arange(self._indexed, len(retriever.latents))

    @staticmethod
    def suits(retriever: Retriever) -> bool:
        """Whether an item's latent and what the prior says of it are all that its score is made of."""
        shared = retriever.repeats and retriever.prior is not None and retriever.weight > 0
        return retriever.scorer is None and not shared and (retriever.match is None or not retriever.text_weight)

    @classmethod
    def check(cls, retriever: Retriever) -> None:
        """Raise a `ConfigError` if the score does not suit."""
        if not cls.suits(retriever):
            raise ConfigError("this run scores every item by more than its latent; serve it with --index exact")

    @staticmethod
    def vectors(retriever: Retriever) -> np.ndarray:
        """What an index holds. `[I, D]` float32"""
        return np.ascontiguousarray(retriever.comparison.latents.cpu().float().numpy())

    @staticmethod
    def metric(retriever: Retriever) -> Metric:
        """What is near in an index of these vectors."""
        return "inner" if retriever.similarity == "inner" else "l2"

    def candidates(self, queries: Tensor, counts: list[int]) -> list[np.ndarray]:
        """What the index finds for each query, `counts[n]` items or fewer, and L later ones.

        `[N, D]` -> N times `[counts[n] + L]`
        """
        asked = _unit_for_cosine(queries, self._retriever.similarity)
        found = self._index.nearest(asked, min(self._indexed, max(counts)))
        near = (row[:count][row[:count] >= 0] for row, count in zip(found, counts, strict=True))
        return [np.concatenate([one, self._later]) for one in near]

    def score(self, query: Tensor, history: np.ndarray, items: np.ndarray, also_prior: bool) -> tuple[Tensor, Tensor]:
        """All candidates and their scores.

        Args:
            query: `[D]`
            history: item numbers, oldest first. `[n]`
            items: candidates. `[c]`
            also_prior: what the prior knows of the history is a candidate too.

        Returns:
            item numbers and scores, both `[c]` or longer
        """
        retriever = self._retriever
        prior = retriever.prior if retriever.weight else None
        if prior is not None and also_prior:
            items = np.union1d(items, prior.neighbours[torch.from_numpy(np.unique(history))].numpy().ravel())
        chosen = torch.from_numpy(np.asarray(items, np.int64))
        histories = Sequences.from_lists([history])
        latent = Retriever(retriever.latents[chosen], retriever.similarity, retriever.temperature)
        scores = latent.scores(query[None], histories)[0].cpu()
        if prior is not None:
            scores = scores + retriever.weight * prior.scores(histories, retriever.recency)[0, chosen]
        if retriever.constant is not None:
            scores = scores + retriever.constant[chosen]
        return chosen, scores


def _unit_for_cosine(vectors: Tensor, similarity: Similarity) -> np.ndarray:
    wanted = normalize(vectors, dim=-1) if similarity == "cosine" else vectors
    return np.ascontiguousarray(wanted.cpu().float().numpy())
