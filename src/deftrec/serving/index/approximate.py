"""The retrieval score of an index's candidates, exact for each of them; other items are no candidates.

Of unit vectors, those with the largest cosine are the nearest by distance too, and what an item gets whatever is asked
(its trend t, at temperature tau) is one component more, so that the index ranks by both:

    inner   q . z + tau t            of [q, 1] and [z, tau t]
    l2      -|q - z|^2 / 2 + tau t   of [q, 0] and [z, sqrt(2 tau (max t - t))], but for tau max t, the same for all

Candidates are what the index finds, fetched beyond what a request hides, all that the linear prior knows of the
history, whose score may be large wherever the latent lies, and every item that came after training: the index holds
those of training, and never changes. Lists that a request names itself, and categories, are scored whole.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize, pad

from deftrec.data import Sequences
from deftrec.errors import ConfigError
from deftrec.retrieval import Retriever
from deftrec.serving.index.base import IndexMetric, VectorIndex

OVERFETCH = 4
"""Candidates for each item of the list."""


class Approximate:
    """Scores by an index.

    Args:
        retriever: the exact score.
        index: of its first `vectors`.
        indexed: how many they are; None: all.

    Raises:
        ConfigError: the score does not suit (`suits`).
    """

    def __init__(self, retriever: Retriever, index: VectorIndex, indexed: int | None = None) -> None:
        self.check(retriever)
        self._retriever, self._index = retriever, index
        self._indexed = len(retriever.latents) if indexed is None else indexed
        self._later = np.arange(self._indexed, len(retriever.latents))

    @staticmethod
    def suits(retriever: Retriever) -> bool:
        """Whether an item's score is made of its latent, the prior and the trend, each for itself.

        It is not where the head scores items, where words count, or where a prior is shared out among all items that
        are not in the history (`retrieval.fused`).
        """
        shared = retriever.repeats and retriever.prior is not None and retriever.weight > 0
        return retriever.scorer is None and not shared and (retriever.match is None or not retriever.text_weight)

    @classmethod
    def check(cls, retriever: Retriever) -> None:
        """Raise a `ConfigError` if the score does not suit."""
        if not cls.suits(retriever):
            raise ConfigError("this run scores items by more than their latents; serve it with --index exact")

    @staticmethod
    def vectors(retriever: Retriever) -> np.ndarray:
        """What an index holds: latents, with a trend one component more. `[I, D or D + 1]` float32"""
        latents = retriever.comparison.latents.cpu().float()
        if retriever.trend is not None:
            trend = torch.zeros(len(latents))  # of later items, which no index holds
            trend[: len(retriever.trend)] = retriever.trend.cpu() * retriever.temperature
            inner = Approximate.metric(retriever) == "inner"
            more = trend if inner else (2 * (trend.max() - trend)).sqrt()
            latents = torch.cat([latents, more[:, None]], 1)
        return np.ascontiguousarray(latents.numpy())

    @staticmethod
    def metric(retriever: Retriever) -> IndexMetric:
        """What is near in an index of these vectors."""
        return "inner" if retriever.similarity == "inner" else "l2"

    def candidates(self, queries: Tensor, counts: list[int]) -> list[np.ndarray]:
        """What the index finds for each query, `counts[n]` items or fewer, and L later ones.

        `[N, D]` -> N times `[counts[n] + L]`
        """
        retriever = self._retriever
        asked = (normalize(queries, dim=-1) if retriever.similarity == "cosine" else queries).cpu().float()
        if retriever.trend is not None:
            asked = pad(asked, (0, 1), value=1.0 if self.metric(retriever) == "inner" else 0.0)
        found = self._index.nearest(asked.numpy(), min(self._indexed, max(counts)))
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
        scores[torch.isin(chosen, torch.from_numpy(history))] += retriever.again
        return chosen, scores
