"""Popularity and recent popularity: a term of the score that is the same for every history."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from deftrec.data import Sequences
from deftrec.retrieval.choose import Validation, ndcg_by_variant, one_standard_error_rule, record_of
from deftrec.retrieval.queries import Queries
from deftrec.retrieval.ranker import Ranker
from deftrec.retrieval.terms.base import ExtendedCatalogue, ScoreTerm

POPULARITY = (0.0, -1.2, -0.9, -0.6, -0.3)  # weights of the log popularity tried on validation
RECENT_POPULARITY = (0.0, 0.3, 0.6, 0.9, 1.2)  # weights of the log recent popularity tried on validation


@dataclass(frozen=True, eq=False)
class PopularityTrend(ScoreTerm):
    """t_i = popularity x log(1 + n_i) + recent_popularity x log(1 + l_i), less its mean over items with interactions.

    n_i counts the training interactions with item i, l_i the training histories that end with it. A model that learns
    from whole histories ranks what was popular once beside what is popular now; with weights -1 and 1, t_i is the log
    of the share of the item's interactions that are their user's newest. Items without interactions get 0.

    Attributes:
        values: t. `[I]` float32
        record: validation NDCG@10 with the term (`ndcg`) and without (`ndcg_without`), if it was chosen.
    """

    name: ClassVar[str] = "popularity_trend"

    values: Tensor
    popularity: float
    recent_popularity: float
    record: dict[str, float] = field(default_factory=dict)

    @classmethod
    def fit(cls, ranker: Ranker, validation: Validation) -> Self:
        """Choose both weights on validation, on top of the terms of `ranker`."""
        pairs = itertools.product(sorted(POPULARITY), sorted(RECENT_POPULARITY))
        device, training = validation.queries.latents.device, validation.training
        trends = {pair: trend_scores(training, ranker.n_items, *pair).to(device) for pair in pairs}

        def variants(scores: Tensor, queries: Queries) -> Iterator[tuple[tuple[float, float], Tensor]]:
            return ((pair, scores + trend) for pair, trend in trends.items())

        values = ndcg_by_variant(ranker, validation, variants)
        pair = one_standard_error_rule(values, size=lambda pair: abs(pair[0]) + abs(pair[1]))
        return cls(trends[pair].cpu(), *pair, record_of(values, pair, (0.0, 0.0)))

    def scores(self, queries: Queries, total: Tensor | None = None) -> Tensor:
        """See `ScoreTerm.scores`; `[I]`."""
        return self.values.to(queries.latents.device)

    def refitted(self, training: Sequences, device: torch.device) -> "PopularityTrend":
        """See `ScoreTerm.refitted`."""
        return replace(self, values=trend_scores(training, len(self.values), self.popularity, self.recent_popularity))

    def extended(self, catalogue: ExtendedCatalogue) -> "PopularityTrend":
        """See `ScoreTerm.extended`; added items get 0, the mean."""
        return replace(self, values=pad(self.values, (0, len(catalogue.latents) - len(self.values))))


def trend_scores(sequences: Sequences, n_items: int, popularity: float, recent_popularity: float) -> Tensor:
    """t of `PopularityTrend` from the interactions of training. `[I]` float32"""
    sequences = sequences.targets()
    counts = sequences.counts(n_items)
    newest = sequences.items[sequences.offsets[1:][sequences.lengths > 0] - 1]
    scores = popularity * np.log1p(counts) + recent_popularity * np.log1p(np.bincount(newest, minlength=n_items))
    present = counts > 0
    return torch.from_numpy(np.where(present, scores - scores[present].mean(), 0.0)).float()
