"""Weights of the score's terms, chosen on validation by one rule."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import torch
from torch import Tensor

from deftrec.data import Cases, Sequences
from deftrec.evaluation import TargetRanks, accuracy, ranks_from_scores
from deftrec.retrieval.exact import row_chunks
from deftrec.retrieval.queries import Queries
from deftrec.retrieval.ranker import Ranker
from deftrec.retrieval.rules import Rule
from deftrec.tensors import joined

USERS = 10_000  # validation users on whom weights are chosen, at most

CACHED_BYTES = 4 << 20
"""Bytes of scores to which every candidate weight is applied before the next ones: they stay in a CPU's cache."""

W = TypeVar("W")


@dataclass(frozen=True, eq=False)
class Validation:
    """Validation cases with the latents generated for them.

    Attributes:
        cases, queries: N cases in random order, and their histories with generated latents.
        rules: rules of the protocol.
        training: training interactions.
    """

    cases: Cases
    queries: Queries
    rules: tuple[Rule, ...]
    training: Sequences

    @classmethod
    def of(cls, cases: Cases, queries: Queries, rules: tuple[Rule, ...], training: Sequences) -> "Validation":
        """The first `USERS` cases."""
        return cls(cases.head(USERS), queries.head(USERS), rules, training)

    @cached_property
    def targets(self) -> Tensor:
        """Item numbers of the targets, on the device of the queries. `[N]` int64"""
        return torch.from_numpy(self.cases.targets).to(self.queries.latents.device)


def one_standard_error_rule(values: Mapping[W, Tensor], size: Callable[[W], float]) -> W:
    """The smallest weight whose loss to the best one is at most one standard error of the paired difference.

    A term that seems to help by chance on a thousand users gets weight 0 (Breiman et al. 1984, section 3.4.3).

    Args:
        values: metric of every user, by weight. Each `[N]`
        size: size of a weight; 0 leaves the term out.
    """
    best = values[max(values, key=lambda weight: float(values[weight].mean()))]
    for weight in sorted(values, key=size):
        lost = best - values[weight]
        if lost.mean() <= lost.std(correction=0) / len(lost) ** 0.5:
            return weight
    raise AssertionError("the best weight loses nothing to itself")


def ndcg_by_variant(
    ranker: Ranker, validation: Validation, variants: Callable[[Tensor, Queries], Iterable[tuple[W, Tensor]]]
) -> dict[W, Tensor]:
    """NDCG@10 of every validation user under variants of a score.

    `variants` makes (variant, scores) pairs from the scores of `ranker` `[n, I]`, unchanged, and their queries.
    """
    ranks: dict[W, list[TargetRanks]] = {}
    for rows, scores in ranker.chunks(validation.queries, validation.rules):
        for few in row_chunks(len(scores), scores.shape[1], CACHED_BYTES if scores.device.type == "cpu" else None):
            some = slice(rows.start + few.start, rows.start + few.stop)
            for variant, varied in variants(scores[few], validation.queries.select(some)):
                ranks.setdefault(variant, []).append(ranks_from_scores(varied, validation.targets[some]))
    whole = {variant: joined(parts) for variant, parts in ranks.items()}
    return {variant: accuracy(one, cutoffs=(10,))["ndcg@10"] for variant, one in whole.items()}


def record_of(values: Mapping[W, Tensor], weight: W, none: W) -> dict[str, float]:
    """Mean of a metric `[N]` with the chosen weight (`ndcg`) and without the term (`ndcg_without`)."""
    return {"ndcg": float(values[weight].mean()), "ndcg_without": float(values[none].mean())}
