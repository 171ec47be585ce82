"""Ranks of the targets when every item is scored."""

from collections.abc import Sequence

import torch

from deftrec.data import Cases
from deftrec.evaluation import TargetRanks, ranks_from_scores
from deftrec.retrieval.exact import Found, top
from deftrec.retrieval.queries import Queries
from deftrec.retrieval.ranker import Ranker
from deftrec.retrieval.rules import Rule


def rank_targets(
    ranker: Ranker, queries: Queries, cases: Cases, rules: Sequence[Rule] = (), *, k: int = 0
) -> tuple[TargetRanks, Found]:
    """Rank of each target among all items and the best `k` items of each case, in chunks of users.

    Args:
        ranker: the score.
        queries: histories and generated latents of `cases`. N of them
        cases: N cases.
        rules: rules of the protocol, `ExcludeHistory` for instance.
        k: length of the lists; 0 (default) computes the ranks alone.
    """
    targets = torch.from_numpy(cases.targets).to(queries.latents.device)
    ranks, found = [], []
    for rows, scores in ranker.chunks(queries, rules):
        ranks.append(ranks_from_scores(scores, targets[rows]))
        found.append(top(scores, k))
    return TargetRanks.concatenate(ranks), Found.concatenate(found)


def target_ranks(ranker: Ranker, queries: Queries, cases: Cases, rules: Sequence[Rule] = ()) -> TargetRanks:
    """The ranks of `rank_targets` alone."""
    return rank_targets(ranker, queries, cases, rules)[0]
