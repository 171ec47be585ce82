"""A bonus for items added after training, so that people meet them; its size is chosen on validation."""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from deftrec.data import Cases, Sequences
from deftrec.ensemble import Model
from deftrec.evaluation import TargetRanks, accuracy, ranks_from_scores
from deftrec.retrieval.choose import Validation
from deftrec.retrieval.exact import history_cells
from deftrec.retrieval.queries import Queries
from deftrec.retrieval.ranker import Ranker
from deftrec.retrieval.rules import Deny, ExcludeHistory
from deftrec.retrieval.terms.base import ExtendedCatalogue, ScoreTerm
from deftrec.retrieval.terms.collaborative_prior import CollaborativePrior
from deftrec.tensors import joined
from deftrec.tokenizer import ItemFeatures

SHARE = 0.05  # share of the catalogue that the simulation treats as added after training

BONUSES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
"""Bonuses tried on validation: differences of logits, 1 multiplies the odds by e."""


@dataclass(frozen=True, eq=False)
class ColdStartBonus(ScoreTerm):
    """bonus x (1 - confidence_i) for items added after training, 0 for items of training.

    A model that ranks training items well still hides added items: their text places them among items with more
    evidence, which rank before them.

    Attributes:
        bonus: difference of logits.
        record: validation NDCG@10 of other targets with the bonus (`ndcg`) and without (`ndcg_without`), and HR@50 of
            targets treated as added (`hits`, `hits_without`).
        values: the term for every item; None before items were added. `[I]`
    """

    name: ClassVar[str] = "cold_start_bonus"
    explained: ClassVar[bool] = False

    bonus: float
    record: dict[str, float] = field(default_factory=dict)
    values: Tensor | None = None

    @classmethod
    def fit(
        cls,
        ranker: Ranker,
        validation: Validation,
        model: Model,
        features: ItemFeatures,
        titles: list[str],
        cost: float,
        seed: int,
    ) -> Self | None:
        """Choose the bonus by a simulation on validation, on top of `ranker`; None where nothing can be learnt.

        The bonus may `cost` this share of the other targets' NDCG@10. The tokenizer of `model` started from `features`.
        """
        simulation = ColdStartSimulation.draw(model, features, titles, ranker, validation.cases, seed)
        return None if simulation is None else cls(**simulation.choose(validation, cost))

    def scores(self, queries: Queries, total: Tensor | None = None) -> Tensor:
        """See `ScoreTerm.scores`; `[I]`, or `[1]` before items were added."""
        values = torch.zeros(1) if self.values is None else self.values
        return values.to(queries.latents.device)

    def extended(self, catalogue: ExtendedCatalogue) -> "ColdStartBonus":
        """See `ScoreTerm.extended`."""
        first = len(catalogue.latents) - len(catalogue.confidence)
        return replace(self, values=pad(self.bonus * (1 - catalogue.confidence), (first, 0)))


@dataclass(frozen=True, eq=False)
class ColdStartSimulation:
    """A catalogue with copies of some items as added ones; the originals are not recommended.

    Attributes:
        ranker: ranks both.
        cases: validation cases; the target is the added copy where there is one.
        twins: number of the added copy of each item; -1 where there is none. `[I]` int64
    """

    ranker: Ranker
    cases: Cases
    twins: np.ndarray

    @classmethod
    def draw(
        cls, model: Model, features: ItemFeatures, titles: list[str], ranker: Ranker, cases: Cases, seed: int
    ) -> "ColdStartSimulation | None":
        """Draw the items; None where no item has text or attributes, or all targets or none are among them."""
        described = features.values[:, features.collaborative.stop :].abs().sum(1).nonzero()[:, 0].numpy()
        if not len(described):
            return None
        n_items = len(features.values)
        size = max(1, round(SHARE * len(described)))
        drawn = np.random.default_rng([seed, 7]).choice(described, size, replace=False)
        twins = np.full(n_items, -1)
        twins[drawn] = n_items + np.arange(len(drawn))
        added = twins[cases.targets] >= 0
        if not added.any() or added.all():
            return None
        rows = features.values[torch.from_numpy(drawn)].clone()
        rows[:, features.collaborative] = 0
        latents = model.with_items(lambda _: rows, [titles[item] for item in drawn]).encode_catalogue().latents
        numbers = torch.from_numpy(drawn)
        terms = (one.without_items(numbers) if isinstance(one, CollaborativePrior) else one for one in ranker.terms)
        silenced = replace(ranker, terms=tuple(terms))
        whole = silenced.extended(ExtendedCatalogue(latents, torch.zeros(len(drawn)))).with_rules(Deny(numbers))
        return cls(whole, replace(cases, targets=np.where(added, twins[cases.targets], cases.targets)), twins)

    @property
    def added(self) -> Tensor:
        """Whether each case's target is an added copy. `[N]` bool"""
        return torch.from_numpy(self.cases.targets >= len(self.twins))

    def choose(self, validation: Validation, cost: float) -> dict[str, Any]:
        """The largest bonus that costs at most the share `cost` of the other targets' NDCG@10, with its record.

        Cases with the same history and target count once: they would hide the cost of a bonus for other users.
        """
        first, twins = len(self.twins), (self.twins[history] for history in self.cases.histories)
        copies = Sequences.from_lists([numbers[numbers >= 0] for numbers in twins])
        targets = torch.from_numpy(self.cases.targets).to(validation.queries.latents.device)
        ranks: dict[float, list[TargetRanks]] = {bonus: [] for bonus in BONUSES}
        for rows, scores in self.ranker.chunks(validation.queries, validation.rules):
            if ExcludeHistory() in validation.rules:
                scores[history_cells(scores, copies.select(range(rows.start, rows.stop)))] = float("-inf")
            before = 0.0
            for bonus in BONUSES:
                scores[:, first:] += bonus - before
                ranks[bonus].append(ranks_from_scores(scores, targets[rows]))
                before = bonus
        found = {bonus: self._metrics(joined(parts)) for bonus, parts in ranks.items()}
        ndcg_without, hits_without = found[0.0]
        floor = (1 - cost) * ndcg_without
        bonus = max((bonus for bonus in BONUSES if floor and found[bonus][0] >= floor), default=0.0)
        ndcg, hits = found[bonus]
        record = {"ndcg": ndcg, "ndcg_without": ndcg_without, "hits": hits, "hits_without": hits_without}
        return {"bonus": bonus, "record": record}

    def _metrics(self, ranks: TargetRanks) -> tuple[float, float]:
        """NDCG@10 of the other targets, HR@50 of the added copies."""
        values, weights = accuracy(ranks, cutoffs=(10, 50)), torch.from_numpy(self.cases.weights)
        other, added = weights * ~self.added, weights * self.added
        return float(values["ndcg@10"] @ other / other.sum()), float(values["hr@50"] @ added / added.sum())
