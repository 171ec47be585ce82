"""Metrics of full rankings with one target a user, per user and exact under ties.

Accuracy needs two numbers a user: how many candidates score higher than the target, and how many score the same.
Items with equal scores have no order of their own, so every metric here is its expectation over all orders of the
tied items, each equally likely: the target's rank is uniform on `greater + 1 .. greater + ties + 1`. A scorer that
gives every candidate the same score thus gets exactly the chance level (HR@K = K / candidates), whatever order its
items are stored in; counting ties in the target's favour would call it perfect.

Beyond accuracy, coverage and novelty describe the lists themselves.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from deftrec.errors import DeftRecError

CUTOFFS = (5, 10, 20, 50)
"""The list lengths K that are reported."""

MISSED = 1 << 40
"""`greater` of a target that cannot be recommended: larger than any catalogue, so every metric is exactly 0."""

_CHUNK = 1 << 22  # places of lists handled at once: 32 MB of float64, whatever the number of users


@dataclass(frozen=True, eq=False)
class TargetRanks:
    """Where each asked user's target stands among the candidates.

    Attributes:
        greater: how many candidates score strictly higher than the target; `MISSED` where the target is no candidate
            (seen before and excluded, or not in a list of limited length). `[N]` int64
        ties: how many other candidates have exactly the target's score; 0 where missed. `[N]` int64
    """

    greater: Tensor
    ties: Tensor

    def __len__(self) -> int:
        return len(self.greater)

    @classmethod
    def concatenate(cls, parts: Sequence["TargetRanks"]) -> "TargetRanks":
        """The ranks of chunks of users, in order."""
        return cls(torch.cat([part.greater for part in parts]), torch.cat([part.ties for part in parts]))

    def cpu(self) -> "TargetRanks":
        """The same on the CPU, as int64."""
        return TargetRanks(self.greater.cpu().long(), self.ties.cpu().long())

    def missed(self) -> Tensor:
        """Whose target cannot be recommended. `[N]` bool"""
        return self.greater >= MISSED


def ranks_from_scores(scores: Tensor, targets: Tensor) -> TargetRanks:
    """Rank targets in full rows of scores; the reference, for one chunk of users at a time.

    Args:
        scores: `-inf` marks an item that is no candidate (seen before and excluded). `[N, I]` floating point
        targets: item numbers. `[N]`

    Raises:
        DeftRecError: a score is NaN. Every comparison with NaN is false, so it would pass for a perfect rank.
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
    """Every accuracy metric of every user.

    With r the target's rank: HR@K = [r <= K]; NDCG@K = [r <= K] / log2(1 + r), whose ideal is 1 with one target;
    MRR = 1 / r, not cut off, so it needs the rank in the full ranking (from a list of limited length it is the MRR
    at that length). With one target a user recall@K is HR@K, and is the same tensor here. Each value is the
    expectation over the orders of tied items (see the top of this file).

    Returns:
        `hr@K`, `ndcg@K`, `recall@K` for each K, and `mrr`. Each `[N]` float64 on the CPU, in 0..1
    """
    ranks = ranks.cpu()
    first, last = ranks.greater, ranks.greater + ranks.ties + 1  # the target's rank is uniform on first + 1 .. last
    width = (ranks.ties + 1).double()
    values: dict[str, Tensor] = {}
    for k in cutoffs:
        discounts = 1 / torch.log2(torch.arange(2, k + 2, dtype=torch.float64))
        gains = torch.cat([torch.zeros(1, dtype=torch.float64), discounts.cumsum(0)])  # [K + 1], gains[n]: ranks 1..n
        low, high = first.clamp(max=k), last.clamp(max=k)
        values[f"hr@{k}"] = values[f"recall@{k}"] = (high - low) / width
        # One rank: its discount itself, because a difference of sums loses the last digits.
        single = torch.where(high > low, discounts[low.clamp(max=k - 1)], 0.0)
        values[f"ndcg@{k}"] = torch.where(ranks.ties == 0, single, (gains[high] - gains[low]) / width)
    # The sum of 1 / r over a range is a difference of harmonic numbers, digamma(n + 1) up to a constant.
    harmonic = (torch.digamma((last + 1).double()) - torch.digamma((first + 1).double())) / width
    reciprocal = torch.where(ranks.ties == 0, 1 / last.double(), harmonic)
    values["mrr"] = reciprocal.masked_fill(ranks.missed(), 0.0)
    return values


def mean_accuracy(ranks: TargetRanks) -> dict[str, float]:
    """HR@10 and NDCG@10, means over all cases."""
    values = accuracy(ranks, cutoffs=(10,))
    return {name: float(values[name].mean()) for name in ("hr@10", "ndcg@10")}


def coverage(top_items: Tensor, n_items: int, k: int) -> float:
    """The share of the catalogue that is recommended to somebody within the first `k` places, in 0..1.

    Args:
        top_items: item numbers, best first, -1 where a list has ended. `[N, K]`, K at least `k`
        n_items: size of the catalogue.
    """
    recommended = torch.zeros(n_items + 1, dtype=torch.bool)
    for chunk in _rows(top_items, k):
        recommended[chunk.reshape(-1)] = True  # -1 writes to the extra last place
    return int(recommended[:n_items].sum()) / n_items


def novelty(top_items: Tensor, popularity: Tensor, k: int) -> Tensor:
    """How unexpected each user's first `k` recommendations are, in bits: the mean of -log2(share of the item).

    The share is that of the training interactions, with one added to every item so that an item nobody took is rare
    and not infinitely so: share(i) = (count(i) + 1) / (sum of counts + number of items). After Zhou et al. 2010,
    "Solving the apparent diversity-accuracy dilemma of recommender systems" (self-information).

    Args:
        top_items: item numbers, best first, -1 where a list has ended. `[N, K]`, K at least `k`
        popularity: training interactions of each item. `[I]`

    Returns:
        NaN for a user with an empty list. `[N]` float64
    """
    counts = popularity.cpu().double() + 1
    bits = torch.cat([-torch.log2(counts / counts.sum()), torch.zeros(1, dtype=torch.float64)])  # place -1: nothing
    means = [bits[chunk].sum(1) / (chunk >= 0).sum(1) for chunk in _rows(top_items, k)]
    return torch.cat(means) if means else torch.zeros(0, dtype=torch.float64)


def _rows(top_items: Tensor, k: int) -> Iterator[Tensor]:
    """The first `k` places, one chunk of users after the other. Each `[n, k]` int64 on the CPU"""
    if top_items.shape[1] < k:
        raise ValueError(f"lists of {top_items.shape[1]} items say nothing about the first {k}")
    step = max(1, _CHUNK // k)
    for start in range(0, len(top_items), step):
        yield top_items[start : start + step, :k].cpu().long()
