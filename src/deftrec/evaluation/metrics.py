"""Metrics of rankings with one target per user, exact under ties.

Accuracy needs two numbers per user: the number of candidates that score higher than the target, and the number that
score the same. Items with equal scores have no order of their own, so every metric is its expectation over all orders
of the tied items: the target's rank is uniform on `greater + 1 .. greater + ties + 1`. A scorer that gives every
candidate the same score thus gets exactly the chance level (HR@K = K / candidates), whatever order its items are
stored in; counting ties in the target's favour would call it perfect.

Every accuracy metric has a cutoff, so a full ranking and a list of its first 100 items give the same value.
Beyond accuracy, coverage and novelty describe the lists themselves.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deftrec.data import Sequences
from deftrec.errors import DeftRecError

CUTOFFS = (5, 10, 20, 50)  # list lengths K of the reported metrics

MRR_CUTOFF = 100  # last rank that counts for the reciprocal rank; `mrr@100` is reported

MISSED = 1 << 40
"""Value of `greater` for a target that cannot be recommended: larger than any catalogue, so every metric is 0."""

_CHUNK = 1 << 22  # entries of lists handled at once: 32 MB of float64, whatever the number of users


@dataclass(frozen=True, eq=False)
class TargetRanks:
    """Position of each evaluated user's target among the candidates.

    Attributes:
        greater: number of candidates with a strictly higher score than the target; `MISSED` where the target is no
            candidate (in the history and excluded, or outside a list of limited length). `[N]` int64
        ties: number of other candidates with exactly the target's score; 0 where missed. `[N]` int64
    """

    greater: Tensor
    ties: Tensor

    def __len__(self) -> int:
        return len(self.greater)

    def missed(self) -> Tensor:
        """Mark the users whose target cannot be recommended. `[N]` bool"""
        return self.greater >= MISSED


def ranks_from_scores(scores: Tensor, targets: Tensor) -> TargetRanks:
    """Rank targets, item numbers `[N]`, in rows of `scores` `[N, I]`; `-inf` marks an item that is no candidate.

    Raises a `DeftRecError` if a score is NaN. Every comparison with NaN is false, so it would pass for a perfect rank.
    """
    if scores.isnan().any():
        user = int(scores.isnan().any(1).nonzero()[0])
        raise DeftRecError(
            f"a score of user {user + 1} of the chunk is not a number: the model has diverged; lower its learning rate"
        )
    own = scores.gather(1, targets[:, None].long())  # [N, 1]
    greater = (scores > own).sum(1)
    ties = (scores == own).sum(1) - 1
    missed = own[:, 0] == -torch.inf
    return TargetRanks(greater.masked_fill(missed, MISSED), ties.masked_fill(missed, 0))


def accuracy(ranks: TargetRanks, cutoffs: Sequence[int] = CUTOFFS) -> dict[str, Tensor]:
    """Compute every accuracy metric of every user.

    With r the target's rank: HR@K = [r <= K]; NDCG@K = [r <= K] / log2(1 + r), whose ideal is 1 with one target;
    MRR@100 = [r <= 100] / r. With one target per user recall@K is HR@K, and is the same tensor here. Each value is the
    expectation over the orders of tied items (see the top of this file). Returns `hr@K`, `ndcg@K`, `recall@K` for each
    K, and `mrr@100`. Each `[N]` float64 on the CPU, in 0..1.
    """
    ranks = TargetRanks(ranks.greater.cpu().long(), ranks.ties.cpu().long())
    last = (ranks.greater + ranks.ties + 1)[~ranks.missed()].max().item() if not ranks.missed().all() else 1
    depth = max(MRR_CUTOFF, min(max(cutoffs), int(last)))  # no target is behind it, so memory does not follow a cutoff
    places = torch.arange(1, depth + 1, dtype=torch.float64)
    values: dict[str, Tensor] = {}
    for k in cutoffs:
        values[f"hr@{k}"] = values[f"recall@{k}"] = _expected_gain(ranks, torch.ones_like(places[:k]))
        values[f"ndcg@{k}"] = _expected_gain(ranks, 1 / torch.log2(places[:k] + 1))
    values[f"mrr@{MRR_CUTOFF}"] = _expected_gain(ranks, 1 / places[:MRR_CUTOFF])
    return values


def _expected_gain(ranks: TargetRanks, gains: Tensor) -> Tensor:
    """Mean gain of each target over its possible ranks; `gains` holds ranks 1 to K, later ranks gain 0. `[N]`"""
    k = len(gains)
    first, last = ranks.greater, ranks.greater + ranks.ties + 1  # the rank is uniform on first + 1 .. last
    low, high = first.clamp(max=k), last.clamp(max=k)
    sums = torch.cat([gains.new_zeros(1), gains.cumsum(0)])  # [K + 1], sums[n]: ranks 1 to n
    # One possible rank: its gain itself, because a difference of sums loses the last digits.
    single = torch.where(high > low, gains[low.clamp(max=k - 1)], 0.0)
    return torch.where(ranks.ties == 0, single, (sums[high] - sums[low]) / (ranks.ties + 1))


def mean_accuracy(ranks: TargetRanks) -> dict[str, float]:
    """Compute the means of HR@10 and NDCG@10 over all users."""
    values = accuracy(ranks, cutoffs=(10,))
    return {name: float(values[name].mean()) for name in ("hr@10", "ndcg@10")}


def coverage(top_items: Tensor, n_items: int, k: int) -> float:
    """Compute the share of the catalogue that appears in at least one user's first `k` items, in 0..1.

    `top_items` `[N, K]` holds item numbers, best first, -1 where a list has ended; K is at least `k`.
    """
    recommended = torch.zeros(n_items + 1, dtype=torch.bool)
    for chunk in _rows(top_items, k):
        recommended[chunk.reshape(-1)] = True  # -1 writes to the extra last entry
    return int(recommended[:n_items].sum()) / n_items


def novelty(top_items: Tensor, popularity: Tensor, k: int) -> Tensor:
    """Compute the novelty of each user's first `k` items in bits: the mean of -log2(share of the item).

    The share is that of the training interactions `popularity` `[I]`, with one added to every item so that an item
    without interactions has a finite value: share(i) = (count(i) + 1) / (sum of counts + number of items). After Zhou
    et al. 2010, "Solving the apparent diversity-accuracy dilemma of recommender systems" (self-information). Returns
    the novelty of each user, NaN for an empty list. `[N]` float64
    """
    counts = popularity.cpu().double() + 1
    bits = torch.cat([-torch.log2(counts / counts.sum()), torch.zeros(1, dtype=torch.float64)])  # index -1: no item
    means = [bits[chunk].sum(1) / (chunk >= 0).sum(1) for chunk in _rows(top_items, k)]
    return torch.cat(means) if means else torch.zeros(0, dtype=torch.float64)


def disliked_share(top_items: Tensor, disliked: Sequences, k: int) -> Tensor:
    """Compute the share of the first `k` items that each user is known to dislike, in 0..1.

    Users who are not known to dislike anything are left out. `top_items` `[N, K]` as for `coverage`; `disliked`: `N`
    sequences. `[n]` float64
    """
    lists = top_items[:, :k].cpu().numpy()
    pairs = zip(lists, disliked, strict=True)
    return torch.tensor([np.isin(items, wrong).sum() / k for items, wrong in pairs if len(wrong)], dtype=torch.float64)


def _rows(top_items: Tensor, k: int) -> Iterator[Tensor]:
    """Yield the first `k` items of each list, one chunk of users after the other. Each `[n, k]` int64 on the CPU"""
    if top_items.shape[1] < k:
        raise ValueError(f"lists of {top_items.shape[1]} items say nothing about the first {k}")
    step = max(1, _CHUNK // k)
    for start in range(0, len(top_items), step):
        yield top_items[start : start + step, :k].cpu().long()
