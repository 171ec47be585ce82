"""Re-rankers against small cases by hand, brute force, and what must hold for every one."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deftrec.data import PADDING, Sequences
from deftrec.data.categories import CategoryTable
from deftrec.retrieval import Calibrated, Dpp, Found, ListRule, Mmr, Reranker, make_lists
from deftrec.retrieval.rerank import PLACES, SMOOTHING, standardised
from deftrec.retrieval.rules import LAST

ITEMS = 40
VECTORS = torch.randn(ITEMS, 8, generator=torch.Generator().manual_seed(0))
VECTORS[7] = 0  # an item that was added later
NUMBERS = np.random.default_rng(0).integers(0, 5, (ITEMS, 2))
NUMBERS[NUMBERS[:, 0] == NUMBERS[:, 1], 1] = PADDING
NUMBERS[3] = PADDING
TABLE = CategoryTable(list("abcde"), NUMBERS)
KINDS = {
    "mmr": lambda strength: Mmr(strength, VECTORS),
    "dpp": lambda strength: Dpp(strength, VECTORS),
    "calibrated": lambda strength: Calibrated(strength, TABLE),
}


def candidates(lists: int, width: int, seed: int, padding: int = 0) -> tuple[Found, Sequences]:
    """Lists of distinct items with falling scores, the last `padding` places of every second one empty."""
    generator, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    items = torch.stack([torch.randperm(ITEMS, generator=generator)[:width] for _ in range(lists)])
    scores = torch.randn(lists, width, generator=generator).sort(1, descending=True).values
    if padding:
        items[::2, -padding:], scores[::2, -padding:] = PADDING, float("-inf")
    histories = Sequences.from_lists([rng.integers(0, ITEMS, rng.integers(0, 9)) for _ in range(lists)])
    return Found(items, scores), histories


def one_list(reranker: Reranker, items: list[int], scores: list[float], history: list[int] | None = None) -> list[int]:
    found = Found(torch.tensor([items]), torch.tensor([scores]))
    return reranker.rerank(found, Sequences.from_lists([history or []])).items[0].tolist()


def test_relevance_is_the_standardised_score() -> None:
    scores = torch.tensor([[5.0, 3.0, 1.0, -math.inf], [2.0, 2.0, 2.0, 2.0], [-math.inf] * 4])
    relevance = standardised(scores)
    assert relevance[0, :3].tolist() == pytest.approx([math.sqrt(1.5), 0, -math.sqrt(1.5)])
    assert relevance[0, 3] == -math.inf
    assert relevance[1].tolist() == [0] * 4
    assert (relevance[2] == -math.inf).all()
    torch.testing.assert_close(standardised(1e4 + 10 * scores[:1]), relevance[:1], rtol=0, atol=1e-3)
    last = standardised(torch.tensor([[5.0, 3.0, 1.0, 4.0 + LAST]]))
    torch.testing.assert_close(last[:, :3], relevance[:1, :3])
    assert last[0, 3] < -1000


def test_mmr_by_hand() -> None:
    """z is 1.34, .45, -.45, -1.34; item 1 copies item 0, item 2 has cosine .28 with it, item 3 cosine 0."""
    vectors = torch.tensor([[1.0, 0], [1, 0], [0.28, 0.96], [0, 1]])
    assert one_list(Mmr(0.1, vectors), [0, 1, 2, 3], [4.0, 3, 2, 1]) == [0, 1, 2, 3]
    assert one_list(Mmr(1.3, vectors), [0, 1, 2, 3], [4.0, 3, 2, 1]) == [0, 2, 1, 3]  # .45 - 1.3 < -.45 - .36
    assert one_list(Mmr(5.0, vectors), [0, 1, 2, 3], [4.0, 3, 2, 1]) == [0, 3, 1, 2]  # -1.34 is the most now


def test_calibration_by_hand() -> None:
    """The history holds a and b alike, and the three best items are all a: b must come second."""
    table = CategoryTable(["a", "b"], np.array([[0], [0], [0], [1], [PADDING]]))
    assert one_list(Calibrated(0.2, table), [0, 1, 2, 3], [4.0, 3, 2, 1], [0, 3]) == [0, 1, 2, 3]
    assert one_list(Calibrated(2.0, table), [0, 1, 2, 3], [4.0, 3, 2, 1], [0, 3]) == [0, 3, 1, 2]
    assert one_list(Calibrated(2.0, table), [0, 1, 2, 3], [4.0, 3, 2, 1], [4]) == [0, 1, 2, 3], "no category wanted"


def brute_force(kind: str, found: Found, history: np.ndarray, strength: float) -> list[int]:
    """The greedy order of one list, every objective computed from its definition."""
    items = [item for item in found.items[0].tolist() if item != PADDING]
    relevance = dict(zip(items, standardised(found.scores)[0].tolist(), strict=False))
    unit = torch.nn.functional.normalize(VECTORS.double(), dim=1).numpy()
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, 1)

    def gain(chosen: list[int], item: int) -> float:
        if kind == "mmr":
            return -max([cosines[item, other] for other in chosen], default=0)
        if kind == "dpp":
            kernel = cosines[np.ix_([*chosen, item], [*chosen, item])]
            return float(np.log(np.linalg.det(kernel) / np.linalg.det(cosines[np.ix_(chosen, chosen)])))
        wanted = TABLE.shares(np.zeros(len(history), np.int64), history, 1)[0]
        place = len(chosen) + 1
        listed = TABLE.sums(np.zeros(place, np.int64), np.array([*chosen, item]), 1)[0] / place
        smooth = (1 - SMOOTHING) * listed + SMOOTHING * wanted
        return -float(sum(p * np.log(p / q) for p, q in zip(wanted, smooth, strict=True) if p))

    chosen: list[int] = []
    while items:
        best = max(items, key=lambda item: relevance[item] + strength * gain(chosen, item))
        chosen.append(best)
        items.remove(best)
    return chosen


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), strength=st.floats(0.05, 3), padding=st.integers(0, 3))
def test_the_greedy_order_is_that_of_brute_force(kind: str, seed: int, strength: float, padding: int) -> None:
    found, histories = candidates(1, 8, seed, padding)  # no more items than dimensions: determinants are not zero
    order = KINDS[kind](strength).rerank(found, histories).items[0].tolist()
    expected = brute_force(kind, found, histories[0].astype(np.int64), strength)
    assert order == expected + [PADDING] * padding


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25)
@given(
    seed=st.integers(0, 10_000),
    strength=st.sampled_from([0.0, 0.3, 2.0, 50.0]),
    width=st.integers(1, ITEMS),
    lists=st.integers(1, 70),
    padding=st.integers(0, 40),
)
def test_what_holds_for_every_list(kind: str, seed: int, strength: float, width: int, lists: int, padding: int) -> None:
    before, histories = candidates(lists, width, seed, min(padding, width))
    after = KINDS[kind](strength).rerank(before, histories)
    if not strength:
        assert torch.equal(after.items, before.items)
    for old, new in ((before.items, after.items), (before.scores, after.scores)):
        assert torch.equal(old.sort(1).values, new.sort(1).values), "a permutation"
    score_of = [dict(zip(*row, strict=True)) for row in zip(before.items.tolist(), before.scores.tolist(), strict=True)]
    for items, scores, known in zip(after.items.tolist(), after.scores.tolist(), score_of, strict=True):
        assert scores == [known[item] for item in items]
        assert PADDING not in items[: len([item for item in items if item != PADDING])], "padding comes last"
        rest = [score for score in scores[PLACES:] if score > -math.inf]
        assert all(one >= other for one, other in pairwise(rest)), "in the order of the score"
    alone = [
        KINDS[kind](strength).rerank(Found(before.items[n : n + 1], before.scores[n : n + 1]), histories.select([n]))
        for n in range(min(lists, 4))
    ]
    assert torch.equal(torch.cat([one.items for one in alone]), after.items[:4])


def test_copies_and_items_without_vectors_are_ordered_too() -> None:
    vectors = torch.ones(6, 4)
    vectors[5] = 0
    for reranker in (Mmr(1.0, vectors), Dpp(1.0, vectors)):
        assert one_list(reranker, [0, 1, 2, 3, 4, 5], [6.0, 5, 4, 3, 2, 1])[0] == 0
    assert one_list(Dpp(1.0, vectors), [0, 1, 2, 3, 4, 5], [6.0, 5, 4, 3, 2, 1])[1] == 5, "like no other item"


def test_a_longer_list_continues_a_shorter_one() -> None:
    scores = torch.randn(3, 400, generator=torch.Generator().manual_seed(1))
    reranker = Mmr(0.7, torch.randn(400, 8, generator=torch.Generator().manual_seed(2)))
    histories = Sequences.from_lists([[0], [1, 2], []])
    long = make_lists(scores.clone(), histories, 150, (), reranker).items
    for k in (1, 10, 100):
        assert torch.equal(make_lists(scores.clone(), histories, k, (), reranker).items, long[:, :k])
    assert torch.equal(long[:, :100].sort(1).values, scores.topk(100).indices.sort(1).values)


class EveryOtherEven(ListRule):
    """An even item stands first, then odd and even ones in turn."""

    def admits(self, chosen, ahead, items):  # type: ignore[no-untyped-def]
        return items % 2 == len(chosen) % 2


def test_list_rules_choose_from_the_new_order() -> None:
    scores = torch.randn(1, ITEMS, generator=torch.Generator().manual_seed(1))
    histories = Sequences.from_lists([[0, 4, 4, 9]])
    for kind in KINDS.values():
        order = make_lists(scores.clone(), histories, ITEMS, (), kind(2.0)).items[0].tolist()
        ruled = make_lists(scores.clone(), histories, 6, (EveryOtherEven(),), kind(2.0)).items[0].tolist()
        even, odd = ([item for item in order if item % 2 == part][:3] for part in (0, 1))
        assert ruled == [item for pair in zip(even, odd, strict=True) for item in pair]
