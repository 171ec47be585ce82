"""What rules did to one list: to the items in it, and to those that would have stood in it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from deftrec.data import PADDING, Sequences
from deftrec.retrieval.lists import ListRule, make_lists
from deftrec.retrieval.rerank import Reranker
from deftrec.retrieval.rules.base import Rule
from deftrec.retrieval.rules.places import AtLeast
from deftrec.retrieval.rules.scores import Boost


@dataclass(frozen=True)
class Effects:
    """What rules did to one list.

    Attributes:
        done: descriptions by item number, for the items of the list in their order.
        held_back: description of the rule by item number, for items that would have stood in the list, best first.
    """

    done: dict[int, tuple[str, ...]]
    held_back: dict[int, str]


def rule_effects(
    scores: Tensor,
    histories: Sequences,
    page: slice,
    rules: Sequence[Rule],
    reranker: Reranker | None = None,
) -> Effects:
    """What the described rules (those with a `text`, and list rules) did to the places `page` of one list.

    The list is compared with the one that the other rules alone make. `scores` `[1, I]` stay as they are.
    """
    described = [rule for rule in rules if rule.text or isinstance(rule, ListRule)]
    others = [rule for rule in rules if rule not in described]
    lists = (make_lists(scores.clone(), histories, page.stop, some, reranker).items[0] for some in (others, rules))
    without, chosen = ([item for item in one.tolist() if item != PADDING] for one in lists)
    own = [rule for rule in described if not isinstance(rule, AtLeast)]
    done: dict[int, tuple[str, ...]] = {}
    for place, item in enumerate(chosen):
        able = own if item in without else described  # an item of the list needs no minimum
        done[item] = tuple(text for rule in able if (text := rule.effect(item, place)) is not None)
    raised = dict.fromkeys(text for item in chosen if item not in without for text in done[item])
    missing = [item for item in without[page] if item not in chosen]
    reasons = dict.fromkeys(missing, f"others that are {', '.join(raised)}" if raised else "the order of the others")
    changed = scores.clone()
    for rule in rules:
        left = [item for item in missing if changed[0, item] > float("-inf")]
        rule.apply(changed, histories)
        for item in left:
            if changed[0, item] == float("-inf") or (isinstance(rule, Boost) and rule.added[item] < 0):
                reasons[item] = rule.text
    placing = [rule for rule in described if isinstance(rule, ListRule)]
    by_score = [item for place, item in enumerate(chosen) if not any(rule.effect(item, place) for rule in placing)]
    last = changed[0, by_score].min() if by_score and len(chosen) == page.stop else -torch.inf
    for item in missing:
        if changed[0, item] > last:  # it would stand in the list by its score
            refusals = (rule.refusal(chosen, item) for rule in placing)
            reasons[item] = next((text for text in refusals if text is not None), reasons[item])
    return Effects({item: done[item] for item in chosen[page]}, reasons)
