"""The re-rankers of a run, made by name; what they need is computed once, when it is first used."""

import sys
from collections.abc import Callable
from functools import cached_property
from typing import Literal, TypeAlias, get_args

from torch import Tensor

from deftrec.arguments import real_number
from deftrec.collaborative import spectral_vectors
from deftrec.data import Interactions
from deftrec.data.categories import CategoryTable
from deftrec.errors import ConfigError, DataError
from deftrec.evaluation import ItemDescription
from deftrec.evaluation_cases import EvaluationCases
from deftrec.model import ItemLatents
from deftrec.retrieval import CANDIDATES, Calibrated, Dpp, Mmr, Reranker
from deftrec.retrieval.choose import USERS
from deftrec.run import Run

RerankerName: TypeAlias = Literal["none", "mmr", "dpp", "calibrated", "auto"]
ItemSimilarity: TypeAlias = Literal["co-occurrence", "latents", "words"]
"""Vectors whose cosine is the similarity of two items."""

STRENGTH = 0.5  # of a re-ranker without one
STRENGTHS = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0)  # that `auto` chooses from, beside 0
GRAPH_WIDTH, GRAPH_SEED = 64, 0  # of the vectors of the training graph


class Rerankers:
    """Makes re-rankers for one catalogue.

    Args:
        run: finished training, whose interactions say which items occur together.
        interactions, catalogue: data and encoded catalogue, with items added after training.
        validate: generates the validation cases, at most the number of users it is given; None: nobody has a target.
    """

    def __init__(
        self,
        run: Run,
        interactions: Interactions,
        catalogue: ItemLatents,
        validate: Callable[[int], EvaluationCases | None],
    ) -> None:
        self.run, self.interactions, self.catalogue, self._validate = run, interactions, catalogue, validate

    def check(
        self, name: RerankerName, strength: float | None = None, similarity: ItemSimilarity = "co-occurrence"
    ) -> None:
        """Raise a `ConfigError` or `DataError` where `make` would; nothing is computed."""
        if name not in get_args(RerankerName):
            raise ConfigError(f"no re-ranker {name!r}; there are {', '.join(get_args(RerankerName))}")
        if similarity not in get_args(ItemSimilarity):
            raise ConfigError(f"no similarity {similarity!r}; there are {', '.join(get_args(ItemSimilarity))}")
        if strength is not None:
            real_number(strength, "strength", 0, sys.float_info.max, "give 0 (the order of the score) or more")
        if strength is not None and name == "none":
            raise ConfigError("a strength needs a re-ranker: mmr, dpp or calibrated")
        if strength is not None and name == "auto":
            raise ConfigError("auto chooses its strength on validation; give mmr, dpp or calibrated with a strength")
        if similarity != "co-occurrence" and name not in {"mmr", "dpp"}:
            raise ConfigError(f"similarity {similarity} belongs to mmr and dpp, not to {name}")
        if name == "calibrated" and not len(self.categories):
            raise DataError("the items have no categories, so lists cannot be calibrated; take mmr or dpp")
        if similarity == "words" and not self.run.info.text_width:
            raise ConfigError("this run has no sentence vectors (text.model is null); take another similarity")

    def make(
        self, name: RerankerName, strength: float | None = None, similarity: ItemSimilarity = "co-occurrence"
    ) -> Reranker | None:
        """A re-ranker; None for `none`.

        Raises a `ConfigError` for an unknown name, a strength that is negative or that the re-ranker does not take, or
        a similarity that the run does not have; and a `DataError` if the items have no categories to calibrate by, or
        no interactions to occur together in.

        Args:
            name: `mmr` (maximal marginal relevance), `dpp` (determinantal point process), `calibrated` (categories as
                in the history), `auto` (MMR with `auto_strength`), or `none`.
            strength: 0 (the order of the score) or more; None: `STRENGTH`.
            similarity: similarity of items, for MMR and DPP.
        """
        self.check(name, strength, similarity)
        if name == "none":
            return None
        if name == "auto":
            return Mmr(self.auto_strength, self.graph)
        strength = STRENGTH if strength is None else strength
        if name == "calibrated":
            return Calibrated(strength, self.categories)
        vectors = {"co-occurrence": lambda: self.graph, "latents": lambda: self.catalogue.latents}
        return (Mmr if name == "mmr" else Dpp)(strength, vectors.get(similarity, lambda: self.words)())

    @cached_property
    def graph(self) -> Tensor:
        """Vectors of the training graph; zeros for items without interactions. `[I, GRAPH_WIDTH]`"""
        if not len(self.run.training.items):
            raise DataError("the run has no training interactions, so no items occur together; take another similarity")
        device, n_items = self.catalogue.latents.device, self.interactions.n_items
        return spectral_vectors(self.run.training, n_items, GRAPH_WIDTH, GRAPH_SEED, device).items.to(device)

    @property
    def words(self) -> Tensor:
        """Sentence vectors, as features; zeros for items without text. `[I, e]`"""
        info = self.run.info
        return self.catalogue.features[:, info.collaborative_width :][:, : info.text_width]

    @cached_property
    def categories(self) -> CategoryTable:
        """Categories of the items."""
        return CategoryTable.of(self.interactions)

    def description(self) -> ItemDescription:
        """Descriptions of the items, for the metrics of lists."""
        return ItemDescription(self.graph, self.words if self.run.info.text_width else None, self.categories)

    @cached_property
    def auto_strength(self) -> float:
        """The largest of `STRENGTHS` with which MMR by co-occurrence loses no hit among the first ten on validation.

        HR@10 of the same validation users is not below that of strength 0. 0 if every strength loses hits, or nobody
        has a validation target.
        """
        cases = self._validate(USERS)
        if cases is None:
            return 0.0
        _, found = cases.rank("exclude", k=CANDIDATES)

        def hits(strength: float) -> int:
            reranked = Mmr(strength, self.graph).rerank(found, cases.cases.histories)
            return int((cases.places(reranked.items[:, :10]) > 0).sum())

        least = hits(0.0)
        return max((strength for strength in STRENGTHS if hits(strength) >= least), default=0.0)
