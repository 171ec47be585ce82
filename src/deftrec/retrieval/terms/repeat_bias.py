"""A bias of items that the user has already interacted with, for data in which people come back to items."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import torch
from torch import Tensor

from deftrec.retrieval.choose import Validation, ndcg_by_variant, one_standard_error_rule, record_of
from deftrec.retrieval.exact import history_cells
from deftrec.retrieval.queries import Queries
from deftrec.retrieval.ranker import Ranker
from deftrec.retrieval.terms.base import ExtendedCatalogue, ScoreTerm

VALUES = (-4.0, -3.0, -2.0, -1.0, 1.0, 2.0)  # values tried on validation beside 0


@dataclass(frozen=True, eq=False)
class RepeatBias(ScoreTerm):
    """A constant added to the score of items of the query's own history, once for each item.

    Attributes:
        value: difference of logits.
        record: validation NDCG@10 with the bias (`ndcg`) and without (`ndcg_without`), if it was chosen.
    """

    name: ClassVar[str] = "repeat_bias"
    explained: ClassVar[bool] = False

    n_items: int
    value: float
    record: dict[str, float] = field(default_factory=dict)

    @classmethod
    def fit(cls, ranker: Ranker, validation: Validation, values: Sequence[float] = VALUES) -> Self:
        """Choose the value on validation, on top of the terms of `ranker`."""

        def variants(scores: Tensor, queries: Queries) -> Iterator[tuple[float, Tensor]]:
            cells = history_cells(scores, queries.histories)
            for value in (0.0, *values):
                yield value, scores.index_put(cells, scores[cells] + value)

        found = ndcg_by_variant(ranker, validation, variants)
        value = one_standard_error_rule(found, size=abs)
        return cls(ranker.n_items, value, record_of(found, value, 0.0))

    def scores(self, queries: Queries, total: Tensor | None = None) -> Tensor:
        """See `ScoreTerm.scores`."""
        scores = torch.zeros(len(queries), self.n_items, device=queries.latents.device)
        scores[history_cells(scores, queries.histories)] = self.value
        return scores

    def extended(self, catalogue: ExtendedCatalogue) -> "RepeatBias":
        """See `ScoreTerm.extended`."""
        return replace(self, n_items=len(catalogue.latents))
