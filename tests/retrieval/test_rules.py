"""Rules: which items a list may hold, alone and several at once."""

from itertools import permutations

import pytest
import torch

from deftrec.data import PADDING, Sequences
from deftrec.retrieval import (
    Allow,
    CollaborativePrior,
    Deny,
    ExcludeHistory,
    HistoryLast,
    LatentSimilarity,
    LinearPrior,
    Queries,
    Ranker,
    Rule,
)
from deftrec.retrieval.terms.collaborative_prior import PriorSettings

ITEMS = 12
HISTORIES = Sequences.from_lists([[0, 3, 0], [], [1], list(range(11)), list(range(12)), [5, 6]])
DENIED, ALLOWED = Deny(torch.tensor([2, 3])), Allow(torch.tensor([1, 2, 3, 4, 5]))


def ranker(*rules: Rule) -> Ranker:
    latents = torch.randn(ITEMS, 4, generator=torch.Generator().manual_seed(1))
    dense = LinearPrior(
        ITEMS,
        torch.arange(ITEMS, dtype=torch.int32),
        torch.arange(ITEMS, dtype=torch.int32).repeat(ITEMS, 1),
        torch.rand(ITEMS, ITEMS, generator=torch.Generator().manual_seed(2)),
    )
    prior = CollaborativePrior(dense, PriorSettings("ease", 1.0, 0.0), 3.0, ITEMS, repeats=False)
    return Ranker(ITEMS, (LatentSimilarity(latents, 0.07), prior), rules)


def queries() -> Queries:
    return Queries(HISTORIES, torch.randn(len(HISTORIES), 4, generator=torch.Generator().manual_seed(3)))


def lists(found: torch.Tensor) -> list[list[int]]:
    """Lists without the places that hold no item."""
    return [[item for item in row if item != PADDING] for row in found.tolist()]


@pytest.mark.parametrize(
    ("rules", "kept"),
    [
        ((), lambda item, history: True),
        ((DENIED,), lambda item, history: item not in {2, 3}),
        ((ALLOWED,), lambda item, history: 1 <= item <= 5),
        ((ExcludeHistory(),), lambda item, history: item not in history),
        ((HistoryLast(),), lambda item, history: True),
        ((DENIED, ALLOWED), lambda item, history: item in {1, 4, 5}),
        ((DENIED, ALLOWED, ExcludeHistory()), lambda item, history: item in {1, 4, 5} - set(history)),
        ((ALLOWED, Allow(torch.tensor([5, 6]))), lambda item, history: item == 5),
        ((Allow(torch.tensor([], dtype=torch.int64)),), lambda item, history: False),
    ],
)
def test_rules_leave_exactly_the_items_they_allow(rules, kept) -> None:  # type: ignore[no-untyped-def]
    everything = lists(ranker().search(queries(), ITEMS).items)
    for order in permutations(rules):
        found = lists(ranker().search(queries(), ITEMS, order).items)
        for row, (history, before) in enumerate(zip(HISTORIES, everything, strict=True)):
            expected = [item for item in before if kept(item, history.tolist())]
            if any(isinstance(rule, HistoryLast) for rule in order):
                expected = sorted(expected, key=lambda item: item in history)  # a stable sort
            assert found[row] == expected
        # Rules of the ranker and of the request are the same rules.
        assert lists(ranker(*order).search(queries(), ITEMS).items) == found
        assert lists(ranker().with_rules(*order[:1]).search(queries(), ITEMS, order[1:]).items) == found


def test_a_list_is_shorter_where_rules_leave_fewer_items_than_asked_for() -> None:
    found = ranker().search(queries(), 4, (DENIED, ALLOWED, ExcludeHistory()))
    assert found.items.shape == (len(HISTORIES), 4)
    assert [len(one) for one in lists(found.items)] == [3, 3, 2, 0, 0, 2]
    assert torch.equal(found.scores == -torch.inf, found.items == PADDING)


def test_history_items_come_last_in_their_own_order() -> None:
    others = lists(ranker().search(queries(), ITEMS, (ExcludeHistory(),)).items)
    everything = lists(ranker().search(queries(), ITEMS).items)
    last = ranker(HistoryLast())
    for row, history in enumerate(HISTORIES):
        behind = [item for item in everything[row] if item in history]
        assert lists(last.search(queries(), ITEMS).items)[row] == others[row] + behind
        assert lists(last.search(queries(), ITEMS, (ExcludeHistory(),)).items)[row] == others[row]


def test_a_denied_item_stays_out_wherever_its_rule_stands() -> None:
    """`HistoryLast` lowers scores, and must not bring an excluded item back."""
    for rules in permutations((HistoryLast(), Deny(torch.tensor([0])))):
        assert all(0 not in one for one in lists(ranker().search(queries(), ITEMS, rules).items))


def test_rules_leave_the_scores_of_other_items_alone() -> None:
    plain = ranker().scores(queries())
    [(rows, ruled)] = ranker().chunks(queries(), (DENIED, ALLOWED))
    assert (rows.start, rows.stop) == (0, len(HISTORIES))
    kept = torch.tensor([1, 4, 5])
    assert torch.equal(ruled[:, kept], plain[:, kept])
    assert (ruled.isinf().sum(1) == ITEMS - 3).all()
