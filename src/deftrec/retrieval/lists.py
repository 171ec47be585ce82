"""Lists made of scores: rules change the scores, a re-ranker orders the best, list rules decide place by place."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np
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
    """Decides over items by those already in the list, such as a quota or a fixed position.

    It never knows how long the list is to be: a list of 10 is the beginning of the list of 20, so that pages fit.
    """

    @property
    def strict(self) -> bool:
        """Whether the list ends where no item is admitted (default); else places are filled without this rule then."""
        return True

    def apply(self, scores: Tensor, histories: Sequences) -> None:
        """See `Rule.apply`; scores stay as they are."""

    def fixed(self) -> Mapping[int, int]:
        """Item number by place, from 0, of items that stand there unless they are excluded (default: none)."""
        return {}

    @abstractmethod
    def admits(self, chosen: Sequence[int], ahead: Mapping[int, int], items: np.ndarray) -> np.ndarray:
        """Whether each of `items` (item numbers, `[c]`) may stand behind the items `chosen`, best first. `[c]` bool

        `ahead` holds the fixed items of later places.
        """

    def refusal(self, chosen: Sequence[int], item: int) -> str | None:
        """Description of the reason why `item` is not in the list `chosen`; None (default): this rule is not."""
        return None

    def notes(self, chosen: Sequence[int]) -> list[str]:
        """What the rule could not do in the list `chosen` (default: nothing)."""
        return []


def make_lists(
    scores: Tensor, histories: Sequences, k: int, rules: Sequence[Rule], reranker: Reranker | None = None
) -> Found:
    """The best `k` items of each row of `scores` `[N, I]`, which `rules` change in place. `Found` of N x min(k, I)

    Lists are exact: where list rules refuse many candidates, more are considered, until `k` items are found or all
    items were. Scores of a list do not fall from place to place where a re-ranker or a list rule orders it.
    """
    k = min(k, scores.shape[1])
    for rule in rules:
        rule.apply(scores, histories)
    placing = [rule for rule in rules if isinstance(rule, ListRule)]
    if reranker is None and not placing:
        return top(scores, k)
    count = max(CANDIDATES, k)
    pins = {place: item for rule in placing for place, item in rule.fixed().items()}
    found = _ordered(scores, histories, count, reranker)
    if not placing:
        return Found(found.items[:, :k], found.scores[:, :k])
    rows = []
    for row in range(len(scores)):
        own, considered = Found(found.items[row : row + 1], found.scores[row : row + 1]), count
        while True:
            ahead = {place: item for place, item in pins.items() if scores[row, item] > float("-inf")}
            everything = considered >= scores.shape[1]
            chosen = _arranged(own, placing, ahead, k, everything)
            if len(chosen) == k or everything:
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


def _arranged(found: Found, placing: Sequence[ListRule], ahead: dict[int, int], k: int, everything: bool) -> list[int]:
    """Item numbers of one list: place by place the item that is fixed there, else the first that all rules admit.

    Where `found` is `everything` and no item is admitted, rules that are not strict are left out; after the last item,
    fixed items of later places follow. `ahead` is used up.
    """
    items = found.items[0].cpu().numpy()
    items = items[items != PADDING]
    left = ~np.isin(items, list(ahead.values()))
    strict, others = [rule for rule in placing if rule.strict], [rule for rule in placing if not rule.strict]
    chosen: list[int] = []
    while len(chosen) < k:
        if len(chosen) in ahead:
            chosen.append(ahead.pop(len(chosen)))
            continue
        admitted = np.logical_and.reduce([left, *(rule.admits(chosen, ahead, items) for rule in strict)])
        wanted = np.logical_and.reduce([admitted, *(rule.admits(chosen, ahead, items) for rule in others)])
        if everything and not wanted.any():
            wanted = admitted
        if wanted.any():
            place = int(wanted.argmax())
            left[place] = False
            chosen.append(int(items[place]))
        elif everything and ahead:
            chosen.append(ahead.pop(min(ahead)))
        else:
            break
    return chosen


def _found(chosen: list[int], scores: Tensor, k: int) -> Found:
    """A list of chosen items with their scores. `Found` of 1 x k"""
    items = torch.full((1, k), PADDING, device=scores.device)
    values = scores.new_full((1, k), float("-inf"))
    if chosen:
        numbers = torch.tensor(chosen, device=scores.device)
        items[0, : len(chosen)], values[0, : len(chosen)] = numbers, scores[numbers]
    return Found(items, values)


def list_notes(chosen: Sequence[int], k: int, rules: Sequence[Rule]) -> tuple[str, ...]:
    """Why the list `chosen` (item numbers, best first) has fewer than `k` items, and what list rules could not do."""
    notes = [note for rule in rules if isinstance(rule, ListRule) for note in rule.notes(chosen)]
    if len(chosen) < k:
        texts = [rule.text for rule in rules if rule.text and (rule.only_excludes or isinstance(rule, ListRule))]
        under = f" under {'; '.join(texts)}" if texts else ""
        notes.append(f"the list ends after {len(chosen)} of {k} items: no other items are left{under}")
    return tuple(notes)
