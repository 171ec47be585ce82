"""Targets with the latents generated for them, ranked and measured by every part of the score."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from deftrec.data import Cases
from deftrec.errors import ConfigError
from deftrec.evaluation import EvaluatedPart, ItemDescription, Protocol, Result, Seen, TargetRanks, evaluate
from deftrec.evaluation.metrics import CUTOFFS
from deftrec.retrieval import Found, Queries, Ranker, ScorePart, rank_targets, seen_rules
from deftrec.run import Run

DEPTH = 50  # length of the lists that metrics are computed on


@dataclass(frozen=True, eq=False)
class EvaluationCases:
    """One part of a split, or other targets, with generated latents; the rest is scoring.

    Attributes:
        protocol, split: where the targets come from; see `Result`.
        cases: targets and the histories before them.
        queries: histories with generated latents.
        ranker: the whole score.
        popularity: training interactions of each item. `[I]`
        items: makes the descriptions of the items, for the metrics of lists.
    """

    run: Run
    protocol: Protocol
    split: EvaluatedPart
    cases: Cases
    queries: Queries
    ranker: Ranker
    popularity: Tensor
    items: Callable[[], ItemDescription]

    def rank(self, seen: Seen, part: ScorePart = "hybrid", k: int = DEPTH) -> tuple[TargetRanks, Found]:
        """Rank of each target among all items, and the best `k` items of each case, by one `part` of the score.

        Raises a `ConfigError` if the run has no prior.
        """
        return rank_targets(self.ranker.part(part), self.queries, self.cases, seen_rules(seen == "exclude"), k=k)

    def measure(
        self,
        ranked: tuple[TargetRanks, Found],
        seen: Seen,
        part: ScorePart = "hybrid",
        cutoffs: Sequence[int] = CUTOFFS,
    ) -> Result:
        """Metrics of the result of `rank` with the same arguments."""
        ranks, found = ranked
        return evaluate(
            ranks,
            found.items.cpu(),
            self.popularity,
            cutoffs=cutoffs,
            name="deftrec" if part == "hybrid" else f"deftrec/{part}",
            dataset=self.run.interactions.meta.name,
            protocol=self.protocol,
            split=self.split,
            seen=seen,
            fit=self.run.info.fit,
            histories=self.cases.histories,
            items=self.items(),
            disliked=self.cases.disliked,
        )

    def result(self, seen: Seen, part: ScorePart = "hybrid", cutoffs: Sequence[int] | None = None) -> Result:
        """Metrics of one part of the score at the `cutoffs`; None: `CUTOFFS`."""
        cutoffs = CUTOFFS if cutoffs is None else cutoffs
        if not cutoffs or min(cutoffs) < 1:
            raise ConfigError(f"the cutoffs are {tuple(cutoffs)}; give one or more, each 1 or more")
        depth = max(DEPTH, min(max(cutoffs), self.ranker.n_items))
        return self.measure(self.rank(seen, part, depth), seen, part, cutoffs)

    def results(self, seen: Seen) -> dict[ScorePart, Result]:
        """Metrics of the whole score and, if it has more than one part, of each part."""
        parts: list[ScorePart] = ["hybrid"]
        if {"collaborative_prior", "popularity_trend"} & {term.name for term in self.ranker.terms}:
            parts.append("latent")
        if self.ranker.term("collaborative_prior") is not None:
            parts.append("collaborative_prior")
        return {part: self.result(seen, part) for part in parts}

    def places(self, items: Tensor) -> Tensor:
        """Place of each target in its list of items `[N, C]`, from 1; 0: not in the list. `[N]` int64"""
        hit = items == torch.from_numpy(self.cases.targets).to(items.device)[:, None]
        return torch.where(hit.any(1), hit.int().argmax(1) + 1, 0)
