"""Re-rankers: the best items of the score in an order that also weighs what stands beside them in the list.

Each picks greedily, place by place, the candidate i with the largest z(i) - strength * penalty(i | items picked). The
relevance z is the score, standardised over the list's candidates, so that a strength means the same on every dataset:
z(i) = (score(i) - mean) / standard deviation. Strength 0 is the order of the score.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import normalize

from deftrec.data import PADDING, Sequences
from deftrec.data.categories import CategoryTable
from deftrec.retrieval.exact import Found
from deftrec.retrieval.rules import LAST
from deftrec.tensors import joined

PLACES = 30
"""Places that are picked greedily; the other candidates follow in the order of the score. Whatever the length of the
list, so that a longer list continues a shorter one."""

ROWS = 64  # lists ordered at once: their candidates' similarities stay in a CPU's cache

SMALLEST_VARIANCE = 1e-6  # of a candidate given those picked; 0 for a copy of one of them

SMOOTHING = 0.01  # share of the history's categories in those of the list (Steck 2018, equation 7)


class Reranker(ABC):
    """Orders the candidates of N lists."""

    @abstractmethod
    def rerank(self, found: Found, histories: Sequences) -> Found:
        """The same items and scores in another order; `PADDING` stays last. `Found` of N x C -> `Found` of N x C"""


class Penalty(Protocol):
    """Penalty of the candidates of n lists, given those picked so far."""

    def values(self) -> Tensor:
        """Penalty of each candidate, up to a constant of the list. `[n, C]`"""

    def pick(self, chosen: Tensor) -> None:
        """Put the candidates `chosen` (indices, `[n]` int64) on the next place of each list."""


@dataclass(frozen=True, eq=False)
class GreedyReranker(Reranker):
    """Picks the candidate with the largest relevance less `strength` (0 or more) times the penalty, place by place."""

    strength: float

    @abstractmethod
    def penalty(self, items: Tensor, histories: Sequences) -> Penalty:
        """Penalty of the candidates `items` `[n, C]`, `PADDING` behind them, before the first place."""

    def rerank(self, found: Found, histories: Sequences) -> Found:
        """See `Reranker.rerank`."""
        if not self.strength or not len(found.items):
            return found
        starts = range(0, len(found.items), ROWS)
        return joined([self._ordered(found, histories, slice(start, start + ROWS)) for start in starts])

    def _ordered(self, found: Found, histories: Sequences, some: slice) -> Found:
        items, scores = found.items[some], found.scores[some]
        relevance, picked = standardised(scores), min(PLACES, items.shape[1])
        penalty = self.penalty(items, histories.select(range(len(histories))[some]))
        steps = []
        for _ in range(picked):
            best = torch.sub(relevance, penalty.values(), alpha=self.strength).max(1)
            relevance.scatter_(1, best.indices[:, None], float("-inf"))
            penalty.pick(best.indices)
            steps.append(best)
        chosen, values = (torch.stack([step[part] for step in steps], 1) for part in (1, 0))
        places = torch.arange(items.shape[1], device=items.device).repeat(len(items), 1) + picked
        # A list whose items all have their places goes on with `-inf`, which moves nothing.
        own = torch.arange(picked, device=items.device).where(values > float("-inf"), 2 * items.shape[1])
        order = places.scatter_reduce_(1, chosen, own, "amin").argsort(1)
        return Found(items.gather(1, order), scores.gather(1, order))


def standardised(scores: Tensor) -> Tensor:
    """(score - mean) / standard deviation of each row; `-inf` stays.

    Items that `HistoryLast` has put last do not count for either. `[N, C]` -> `[N, C]`
    """
    best = scores.amax(1, keepdim=True)
    gaps = scores - best.where(best.isfinite(), 0)  # of size 1: no digits are lost to a large mean
    counted = gaps > LAST / 2
    number = counted.sum(1, keepdim=True).clamp_min(1)
    mean = gaps.where(counted, 0).sum(1, keepdim=True) / number
    spread = ((gaps - mean).where(counted, 0).square().sum(1, keepdim=True) / number).sqrt()
    return (gaps - mean) / torch.where(spread > 0, spread, 1)


@dataclass(frozen=True, eq=False)
class VectorReranker(GreedyReranker):
    """Penalty by the cosines of the vectors `[I, d]`; zeros are like no other item."""

    vectors: Tensor

    def cosines(self, items: Tensor) -> Tensor:
        """Cosines of all pairs of candidates. `[n, C]` -> `[n, C, C]`"""
        known = items.clamp_min(0).to(self.vectors.device)
        unit = normalize(self.vectors[known].float(), dim=-1).to(items.device)
        return unit @ unit.transpose(1, 2)


@dataclass(frozen=True, eq=False)
class Mmr(VectorReranker):
    """Maximal marginal relevance: the penalty is the largest cosine with an item picked.

    Carbonell and Goldstein 1998, with the sum of relevance and strength * diversity in place of their weighted mean.
    """

    def penalty(self, items: Tensor, histories: Sequences) -> Penalty:
        """See `GreedyReranker.penalty`."""
        return _LargestCosine(self.cosines(items))


class _LargestCosine:
    def __init__(self, cosines: Tensor) -> None:
        self.cosines, self.rows = cosines, torch.arange(len(cosines), device=cosines.device)
        self.largest = torch.full_like(cosines[:, 0], -1)

    def values(self) -> Tensor:
        return self.largest

    def pick(self, chosen: Tensor) -> None:
        torch.maximum(self.largest, self.cosines[self.rows, chosen], out=self.largest)


@dataclass(frozen=True, eq=False)
class Dpp(VectorReranker):
    """Greedy mode of a determinantal point process: the sum of z + strength * log det(cosines of the list) is largest.

    That is the kernel L(i, j) = q(i) cosine(i, j) q(j) with q = exp(z / (2 strength)). The penalty is -log of the
    variance of a candidate given those picked, by the incremental Cholesky factor of Chen et al. 2018 (arXiv
    1709.05135, algorithm 1).
    """

    def penalty(self, items: Tensor, histories: Sequences) -> Penalty:
        """See `GreedyReranker.penalty`."""
        return _LogVariance(self.cosines(items))


class _LogVariance:
    def __init__(self, cosines: Tensor) -> None:
        self.cosines, self.rows = cosines, torch.arange(len(cosines), device=cosines.device)
        self.variance = torch.ones_like(cosines[:, 0])  # d^2 of Chen et al.
        self.factor = cosines.new_empty(len(cosines), PLACES, cosines.shape[1])  # columns c_i of Chen et al.
        self.place = 0

    def values(self) -> Tensor:
        return -self.variance.log()

    def pick(self, chosen: Tensor) -> None:
        known = self.factor[:, : self.place]
        explained = (known[self.rows, :, chosen][:, None] @ known)[:, 0]
        column = self.cosines[self.rows, chosen].sub_(explained)
        column /= self.variance.gather(1, chosen[:, None]).sqrt_()
        self.factor[:, self.place] = column
        self.variance.addcmul_(column, column, value=-1).clamp_min_(SMALLEST_VARIANCE)
        self.place += 1


@dataclass(frozen=True, eq=False)
class Calibrated(GreedyReranker):
    """Category shares of the list as those of the history: the penalty is their divergence KL(p || q), in nats.

    p holds the shares in the history, q those in the list with the candidate, smoothed by `SMOOTHING` of p (Steck
    2018, equations 5 to 8). Items without a category are neither drawn nor held back.
    """

    categories: CategoryTable

    def penalty(self, items: Tensor, histories: Sequences) -> Penalty:
        """See `GreedyReranker.penalty`."""
        shares = self.categories.shares(histories.owners(), histories.items.astype("int64"), len(histories))
        members = torch.from_numpy(self.categories.members).to(items.device)[items.clamp_min(0)]  # [n, C, M]
        return _Divergence(torch.from_numpy(shares).float().to(items.device), members)


class _Divergence:
    def __init__(self, wanted: Tensor, members: Tensor) -> None:
        members = members.transpose(1, 2)  # [n, M, C]
        given = members != PADDING
        self.members, self.rows = members.clamp_min(0), torch.arange(len(members), device=members.device)
        self.weights = (1 - SMOOTHING) * given / given.sum(1, keepdim=True).clamp_min(1)
        self.wanted = wanted.gather(1, self.members.flatten(1)).view_as(members)  # p of each candidate's categories
        self.smoothing = (SMOOTHING * self.wanted).clamp_min(1e-12)
        self.sums, self.place = torch.zeros_like(wanted), 1  # weights of the items picked, by category

    def values(self) -> Tensor:
        # Only the candidate's categories change: by log(q with it / q without it), where both have the same divisor.
        held = self.sums.gather(1, self.members.flatten(1)).view_as(self.members)
        without = held.add_(self.smoothing, alpha=self.place)
        return -(self.weights / without).log1p_().mul_(self.wanted).sum(1)

    def pick(self, chosen: Tensor) -> None:
        some = self.rows, slice(None), chosen
        self.sums.scatter_add_(1, self.members[some], self.weights[some])
        self.place += 1
