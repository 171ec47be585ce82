"""A bias of items that the user has already interacted with, for data in which people come back to items."""

from collections.abc import Sequence
from typing import Any, Self

from torch import Tensor

from deftrec.retrieval.choose import Validation, choose_weight
from deftrec.retrieval.exact import history_cells
from deftrec.retrieval.queries import Queries
from deftrec.retrieval.ranker import Ranker
from deftrec.retrieval.terms.base import ExtendedCatalogue, ScoreTerm, zeros_like_scores

VALUES = (-4.0, -3.0, -2.0, -1.0, 1.0, 2.0)
"""Values tried on validation beside 0."""


class RepeatBias(ScoreTerm):
    """A constant added to the score of items of the query's own history, once for each item.

    Args:
        n_items: size of the catalogue.
        value: difference of logits.
        record: validation NDCG@10 with the bias (`ndcg`) and without (`ndcg_without`), if it was chosen.
    """

    name = "repeat_bias"
    explained = False

    def __init__(self, n_items: int, value: float, record: dict[str, float] | None = None) -> None:
        self.n_items, self.value, self.record = n_items, value, record or {}

    @classmethod
    def fit(cls, ranker: Ranker, validation: Validation, values: Sequence[float] = VALUES) -> Self:
        """Choose the value on validation, on top of the terms of `ranker`."""

        def shifted(value: float, scores: Tensor, queries: Queries) -> Tensor:
            cells = history_cells(scores, queries.histories)
            scores[cells] = scores[cells] + value
            return scores

        chosen = choose_weight(ranker, validation, [0.0, *values], shifted, size=abs, none=0.0)
        return cls(validation.n_items, chosen.weight, chosen.record)

    def scores(self, queries: Queries, total: Tensor | None = None) -> Tensor:
        """See `ScoreTerm.scores`."""
        scores = zeros_like_scores(queries, self.n_items)
        scores[history_cells(scores, queries.histories)] = self.value
        return scores

    def extended(self, catalogue: ExtendedCatalogue) -> "RepeatBias":
        """See `ScoreTerm.extended`."""
        return RepeatBias(len(catalogue.latents), self.value, self.record)

    def settings(self) -> dict[str, Any]:
        """See `ScoreTerm.settings`."""
        return {"value": self.value, "n_items": self.n_items, **self.record}

    @classmethod
    def from_state(cls, settings: dict[str, Any], tensors: dict[str, Tensor]) -> Self:
        """See `ScoreTerm.from_state`."""
        record = {key: value for key, value in settings.items() if key.startswith("ndcg")}
        return cls(settings["n_items"], settings["value"], record)
