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
from torch.nn.functional import pad

from deftrec.data import Sequences
from deftrec.errors import ConfigError
from deftrec.retrieval import CollaborativePrior, PopularityTrend, Queries, Ranker
from deftrec.serving.index.base import IndexMetric, VectorIndex

OVERFETCH = 4
"""Candidates for each item of the list."""


class Approximate:
    """Scores by an index.

    Args:
        ranker: the exact score.
        index: index of its first `vectors`.
        indexed: number of indexed items; None: all.

    Raises:
        ConfigError: the score does not suit an index (`suits`).
    """

    def __init__(self, ranker: Ranker, index: VectorIndex, indexed: int | None = None) -> None:
        self.check(ranker)
        self._ranker, self._index = ranker, index
        self._indexed = ranker.n_items if indexed is None else indexed
        self._added = np.arange(self._indexed, ranker.n_items)

    @staticmethod
    def suits(ranker: Ranker) -> bool:
        """Whether an item's score depends on no other item's score."""
        return not any(term.reads_total for term in ranker.terms)

    @classmethod
    def check(cls, ranker: Ranker) -> None:
        """Raise a `ConfigError` if the score does not suit an index."""
        if not cls.suits(ranker):
            raise ConfigError("this run scores every item by more than its latent; serve it with --index exact")

    @staticmethod
    def vectors(ranker: Ranker) -> np.ndarray:
        """Vectors of an index: latents, with the popularity trend as one more component. `[I, D or D + 1]` float32"""
        latent, trend = ranker.latent, ranker.term_of(PopularityTrend)
        vectors = latent.latents.cpu().float()
        if trend is not None:
            scaled = trend.values.cpu() * latent.temperature
            inner = Approximate.metric(ranker) == "inner"
            more = scaled if inner else (2 * (scaled.max() - scaled)).sqrt()
            vectors = torch.cat([vectors, more[:, None]], 1)
        return np.ascontiguousarray(vectors.numpy())

    @staticmethod
    def metric(ranker: Ranker) -> IndexMetric:
        """Metric of an index of these vectors."""
        return "inner" if ranker.latent.similarity == "inner" else "l2"

    def candidates(self, queries: Tensor, counts: list[int]) -> list[np.ndarray]:
        """The index's nearest items of each query, `counts[n]` or fewer, and the L items added after training.

        `[N, D]` -> N times `[counts[n] + L]`
        """
        directions = self._ranker.latent.directions(queries).cpu().float()
        if self._ranker.term_of(PopularityTrend) is not None:
            directions = pad(directions, (0, 1), value=1.0 if self.metric(self._ranker) == "inner" else 0.0)
        found = self._index.nearest(directions.numpy(), min(self._indexed, max(counts)))
        near = (row[:count][row[:count] >= 0] for row, count in zip(found, counts, strict=True))
        return [np.concatenate([one, self._added]) for one in near]

    def score(self, query: Tensor, history: np.ndarray, items: np.ndarray, also_prior: bool) -> tuple[Tensor, Tensor]:
        """All candidates and their exact scores.

        Args:
            query: generated latent. `[D]`
            history: item numbers, oldest first. `[n]`
            items: candidates. `[c]`
            also_prior: whether items that the collaborative prior scores for this history are candidates too.

        Returns:
            item numbers and scores, both `[c]` or longer
        """
        ranker, prior = self._ranker, self._ranker.term_of(CollaborativePrior)
        if prior is not None and also_prior:
            neighbours = prior.linear.neighbours_of(torch.from_numpy(np.unique(history)))
            items = np.union1d(items, neighbours.numpy())
        chosen = torch.from_numpy(np.asarray(items, np.int64))
        queries = Queries(Sequences.from_lists([history]), query[None])
        scores = ranker.latent.compared(query[None], chosen)[0].cpu()
        for term in ranker.without("latent").terms:
            values = term.scores(queries).cpu().expand(1, ranker.n_items)
            scores = scores + values[0, chosen]
        for rule in ranker.rules:  # on a full row: rules know item numbers
            row = torch.zeros(1, ranker.n_items)
            rule.apply(row, queries.histories)
            scores = scores + row[0, chosen]
        return chosen, scores
