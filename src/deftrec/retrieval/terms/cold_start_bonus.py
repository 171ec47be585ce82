"""How far items that come after training are raised, so that people meet them: chosen on validation."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from deftrec.data import Cases, Sequences
from deftrec.ensemble import Model
from deftrec.evaluation.metrics import TargetRanks, accuracy, ranks_from_scores
from deftrec.retrieval import Retriever, hide
from deftrec.tokenizer import ItemFeatures

SHARE = 0.05
"""Of the catalogue that is looked at as if it came later."""

BONUSES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
"""To try, differences of logits: 1 multiplies the odds by e."""


@dataclass(frozen=True)
class Exposure:
    """What items that come after training get on top of their score.

    A model that was right about everything it saw still hides what it never saw: a new item's words place it among
    items that are known to be liked, which stand before it. The bonus buys it places, and the price is known.

    Attributes:
        bonus: a difference of logits.
        ndcg, ndcg_without: validation NDCG@10 of questions about other items, with the bonus and without.
        hits, hits_without: validation HR@50 of questions about items that were looked at as if they came later, which
            training knew: for items it never saw expect less.
    """

    bonus: float
    ndcg: float
    ndcg_without: float
    hits: float
    hits_without: float


@dataclass(frozen=True, eq=False)
class ColdStartSimulation:
    """A catalogue of which some items stand a second time behind the others, as new ones, and may not be found as old.

    Attributes:
        retriever: the whole score of both.
        cases: whose targets are the new ones where there is one.
        twins: the new number of each item that stands twice, -1 for the others. `[I]` int64
    """

    retriever: Retriever
    cases: Cases
    twins: np.ndarray

    @classmethod
    def of(
        cls, model: Model, features: ItemFeatures, titles: list[str], retriever: Retriever, cases: Cases, seed: int
    ) -> "ColdStartSimulation | None":
        """Draw the items; None where nothing could be learnt: no words, or nobody asks for an item of the draw.

        Args:
            model: the trained one.
            features: what its tokenizer started from.
            titles: of the items.
            retriever: the whole score, of its catalogue.
            cases: validation cases.
            seed: of the draw.
        """
        worded = features.values[:, features.text].abs().sum(1).nonzero()[:, 0].numpy()
        if not len(worded):
            return None
        n_items = len(features.values)
        drawn = np.random.default_rng([seed, 7]).choice(worded, max(1, round(SHARE * len(worded))), replace=False)
        twins = np.full(n_items, -1)
        twins[drawn] = n_items + np.arange(len(drawn))
        new = twins[cases.targets] >= 0
        if not new.any() or new.all():
            return None
        rows = features.values[torch.from_numpy(drawn)].clone()
        rows[:, features.collaborative] = 0
        latents = model.with_items(lambda _: rows, [titles[item] for item in drawn]).encode_catalogue().latents
        numbers, prior = torch.from_numpy(drawn), retriever.prior
        return cls(
            replace(
                retriever,
                latents=latents,
                prior=None if prior is None else prior.without_items(numbers).with_items(latents),
                removed=numbers,
            ),
            replace(cases, targets=np.where(new, twins[cases.targets], cases.targets)),
            twins,
        )

    @property
    def new(self) -> Tensor:
        """Which cases ask for a new item. `[N]` bool"""
        return torch.from_numpy(self.cases.targets >= len(self.twins))

    def choose(self, queries: Tensor, exclude_seen: bool, allowed: float) -> Exposure:
        """The largest bonus that takes no more than the share `allowed` of the other items' NDCG@10, if they have any.

        Clones, who all ask the same, are asked once: a bonus that costs them nothing costs others more than it seems.

        Args:
            queries: generated latents of the cases. `[N, D]`
            exclude_seen: whether items of the history are no candidates.
        """
        first, had = len(self.twins), self._had()
        targets = torch.from_numpy(self.cases.targets).to(queries.device)
        ranks: dict[float, list[TargetRanks]] = {bonus: [] for bonus in BONUSES}
        for rows, scores in self.retriever.chunks(queries, self.cases.histories, exclude_seen):
            if exclude_seen:
                hide(scores, had.select(range(rows.start, rows.stop)))
            before = 0.0
            for bonus in BONUSES:
                scores[:, first:] += bonus - before
                ranks[bonus].append(ranks_from_scores(scores, targets[rows]))
                before = bonus
        weights = torch.from_numpy(self.cases.weights)
        found = {bonus: self._found(TargetRanks.concatenate(parts), weights) for bonus, parts in ranks.items()}
        without = found[0.0]
        floor = (1 - allowed) * without[0]
        chosen = max((bonus for bonus in BONUSES if floor and found[bonus][0] >= floor), default=0.0)
        return Exposure(chosen, found[chosen][0], without[0], found[chosen][1], without[1])

    def _had(self) -> Sequences:
        """The twins of the items of each history."""
        twins = (self.twins[history] for history in self.cases.histories)
        return Sequences.from_lists([numbers[numbers >= 0] for numbers in twins])

    def _found(self, ranks: TargetRanks, weights: Tensor) -> tuple[float, float]:
        """NDCG@10 of the other items, HR@50 of the new ones."""
        values = accuracy(ranks, cutoffs=(10, 50))
        other, new = weights * ~self.new, weights * self.new
        return float(values["ndcg@10"] @ other / other.sum()), float(values["hr@50"] @ new / new.sum())
