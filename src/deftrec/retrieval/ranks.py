"""Where the targets stand when every item is scored."""

import torch
from torch import Tensor

from deftrec.data import Cases
from deftrec.evaluation.metrics import TargetRanks, ranks_from_scores
from deftrec.retrieval import Found, Retriever, top


def rank_targets(
    retriever: Retriever,
    queries: Tensor,
    cases: Cases,
    exclude_seen: bool,
    texts: Tensor | None = None,
    *,
    k: int = 0,
) -> tuple[TargetRanks, Found]:
    """Where each target stands among all items, and the best `k` of each case, in chunks of users.

    Args:
        retriever, queries, exclude_seen, texts: see `Retriever.chunks`.
        cases: N of them.
        k: 0: nothing but the ranks is wanted.
    """
    targets = torch.from_numpy(cases.targets).to(queries.device)
    ranks, found = [], []
    for rows, scores in retriever.chunks(queries, cases.histories, exclude_seen, texts):
        ranks.append(ranks_from_scores(scores, targets[rows]))
        found.append(top(scores, k))
    return TargetRanks.concatenate(ranks), Found.concatenate(found)


def target_ranks(
    retriever: Retriever, queries: Tensor, cases: Cases, exclude_seen: bool, texts: Tensor | None = None
) -> TargetRanks:
    """The ranks alone of `rank_targets`."""
    return rank_targets(retriever, queries, cases, exclude_seen, texts)[0]
