"""Approximate search: an index finds candidates, and every candidate gets its exact retrieval score.

The nearest unit vectors by distance are those with the largest cosine. The popularity trend t of an item does not
depend on the query, so it becomes one more component of the vectors (tau: temperature):

    inner   q . z + tau t            of [q, 1] and [z, tau t]
    l2      -|q - z|^2 / 2 + tau t   of [q, 0] and [z, sqrt(2 tau (max t - t))], up to the constant tau max t

The candidates are the nearest items, more than requested because a request hides some; all items that the prior scores
for the history, wherever their latents lie; and all items that were added after training, as the index never changes.
For a request with an allow list or a category, the candidates are its items.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from deftrec.data import Sequences
from deftrec.errors import ConfigError
from deftrec.retrieval import CollaborativePrior, HistoryLast, PopularityTrend, Queries, Ranker, RepeatBias
from deftrec.serving.index.base import IndexMetric, VectorIndex

OVERFETCH = 4  # candidates per requested item


class Approximate:
    """Candidates of an index of the first `indexed` items (None: all), with their exact scores by `ranker`."""

    def __init__(self, ranker: Ranker, index: VectorIndex, indexed: int | None = None) -> None:
        self._ranker, self._index = ranker, index
        self._indexed = ranker.n_items if indexed is None else indexed
        self._added = np.arange(self._indexed, ranker.n_items)

    @staticmethod
    def suits(ranker: Ranker) -> bool:
        """Whether an item's score depends on no other item's score."""
        return not any(term.reads_total for term in ranker.terms)

    @staticmethod
    def vectors(ranker: Ranker) -> np.ndarray:
        """Latents with the popularity trend `[I, D or D + 1]` float32; a `ConfigError` if the score does not suit."""
        if not Approximate.suits(ranker):
            raise ConfigError("this run scores every item by more than its latent; serve it with `index=exact`")
        latent, trend = ranker.latent, ranker.term_of(PopularityTrend)
        vectors = latent.latents.cpu().float()
        if trend is not None:
            more = trend.values.cpu() * latent.temperature
            if Approximate.metric(ranker) == "l2":
                more = (2 * (more.max() - more)).sqrt()
            vectors = torch.cat([vectors, more[:, None]], 1)
        return np.ascontiguousarray(vectors.numpy())

    @staticmethod
    def metric(ranker: Ranker) -> IndexMetric:
        """Metric of an index of `vectors`."""
        return "inner" if ranker.latent.similarity == "inner" else "l2"

    @property
    def lowers_history(self) -> bool:
        """Whether items of the history are ranked below the place that their latents give them."""
        bias = self._ranker.term_of(RepeatBias)
        last = any(isinstance(rule, HistoryLast) for rule in self._ranker.rules)
        return last or (bias is not None and bias.value < 0)

    def candidates(self, queries: Tensor, counts: list[int]) -> list[np.ndarray]:
        """The nearest items of each query `[N, D]`, `counts[n]` or fewer, and those added after training. N arrays"""
        directions = self._ranker.latent.directions(queries).cpu().float()
        if self._ranker.term_of(PopularityTrend) is not None:
            directions = pad(directions, (0, 1), value=1.0 if self.metric(self._ranker) == "inner" else 0.0)
        found = self._index.nearest(directions.numpy(), min(self._indexed, max(counts)))
        near = (row[:count][row[:count] >= 0] for row, count in zip(found, counts, strict=True))
        return [np.concatenate([one, self._added]) for one in near]

    def score(self, query: Tensor, history: Sequences, items: np.ndarray, also_prior: bool) -> tuple[Tensor, Tensor]:
        """Item numbers of all candidates and their exact scores, for a generated latent `[D]` and one history.

        The candidates are `items` `[c]` and, if `also_prior`, items that the prior or the repeat bias raises.
        """
        ranker, prior = self._ranker, self._ranker.term_of(CollaborativePrior)
        if prior is not None and also_prior:
            liked = np.unique(history.liked().items).astype(np.int64)
            neighbours = prior.linear.neighbours_of(torch.from_numpy(liked))
            items = np.union1d(items, neighbours.numpy())
        bias = ranker.term_of(RepeatBias)
        if bias is not None and bias.value > 0 and also_prior:  # their latents may be far away
            items = np.union1d(items, history.items)
        chosen = torch.from_numpy(np.asarray(items, np.int64))
        queries = Queries(history, query[None])
        rest = torch.zeros(1, ranker.n_items)  # of all items, as rules refer to item numbers
        for term in ranker.without("latent").terms:
            rest += term.scores(queries).cpu()
        for rule in ranker.rules:
            rule.apply(rest, queries.histories)
        return chosen, ranker.latent.compared(query[None], chosen)[0].cpu() + rest[0, chosen]
