"""Lists made of scores: rules change the scores, a re-ranker orders the best, list rules decide place by place."""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from deftrec.data import PADDING, Sequences
from deftrec.retrieval.exact import Found, top
from deftrec.retrieval.rerank import Reranker
from deftrec.retrieval.rules import Rule
from deftrec.tensors import joined

CANDIDATES = 100
"""Best items of the score that a re-ranker orders, and that list rules choose from first."""


class ListRule(Rule):
    """Decides over items by those already in the list, such as a quota or a fixed position."""

    def apply(self, scores: Tensor, histories: Sequences) -> None:
        """See `Rule.apply`; scores stay as they are."""

    @abstractmethod
    def admits(self, chosen: Sequence[int], item: int, k: int) -> bool:
        """Whether `item` may stand behind the items `chosen` (item numbers, best first) in a list of `k`."""

    def placed(self, chosen: Sequence[int], k: int) -> int | None:
        """Item number that must stand behind the items `chosen`; None (default): no particular one."""
        return None


def make_lists(
    scores: Tensor, histories: Sequences, k: int, rules: Sequence[Rule], reranker: Reranker | None = None
) -> Found:
    """The best `k` items of each row of `scores` `[N, I]`, which `rules` change in place. `Found` of N x k

    Lists are exact: where list rules refuse many candidates, more are considered, until `k` items are found or all
    items were. Scores of a list do not fall from place to place where a re-ranker or a list rule orders it.
    """
    for rule in rules:
        rule.apply(scores, histories)
    placing = [rule for rule in rules if isinstance(rule, ListRule)]
    if reranker is None and not placing:
        return top(scores, k)
    count = max(CANDIDATES, k)
    found = _ordered(scores, histories, count, reranker)
    if not placing:
        return Found(found.items[:, :k], found.scores[:, :k])
    rows = []
    for row in range(len(scores)):
        own, considered = Found(found.items[row : row + 1], found.scores[row : row + 1]), count
        while True:
            chosen = _arranged(own, placing, k)
            if len(chosen) == k or considered >= scores.shape[1]:
                break
            considered *= 4
            own = _ordered(scores[row : row + 1], histories.select([row]), considered, reranker)
        rows.append(_found(chosen, scores[row], k))
    return joined(rows)


def _ordered(scores: Tensor, histories: Sequences, count: int, reranker: Reranker | None) -> Found:
    """The best `count` items of each row, the first `CANDIDATES` of them ordered by the re-ranker."""
    found = top(scores, min(count, scores.shape[1]))
    if reranker is None:
        return found
    first = reranker.rerank(Found(found.items[:, :CANDIDATES], found.scores[:, :CANDIDATES]), histories)
    rest = Found(found.items[:, CANDIDATES:], found.scores[:, CANDIDATES:])
    return Found(torch.cat([first.items, rest.items], 1), torch.cat([first.scores, rest.scores], 1))


def _arranged(found: Found, placing: Sequence[ListRule], k: int) -> list[int]:
    """Item numbers of one list: place by place the item that must stand there, else the first that all rules admit."""
    left = [item for item in found.items[0].tolist() if item != PADDING]
    chosen: list[int] = []
    while len(chosen) < k:
        item = next((one for rule in placing if (one := rule.placed(chosen, k)) is not None), None)
        if item is None:
            item = next((one for one in left if all(rule.admits(chosen, one, k) for rule in placing)), None)
        if item is None:
            break
        chosen.append(item)
        if item in left:
            left.remove(item)
    return chosen


def _found(chosen: list[int], scores: Tensor, k: int) -> Found:
    """A list of chosen items with their scores. `Found` of 1 x k"""
    items = torch.full((1, k), PADDING, device=scores.device)
    values = torch.full((1, k), float("-inf"), device=scores.device)
    if chosen:
        numbers = torch.tensor(chosen, device=scores.device)
        items[0, : len(chosen)], values[0, : len(chosen)] = numbers, scores[numbers]
    return Found(items, values)
