"""Metrics against an independent implementation, every order of ties, and what must hold by definition."""

import math
from itertools import pairwise, permutations

import ir_measures
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import RR, R, Success, nDCG

from deftrec.errors import DeftRecError
from deftrec.evaluation.metrics import (
    CUTOFFS,
    MISSED,
    TargetRanks,
    accuracy,
    coverage,
    novelty,
    ranks_from_scores,
)
from deftrec.tensors import joined


def oracle(rows: list[list[float]], targets: list[int]) -> dict[str, list[float]]:
    """ir-measures (trec_eval inside) on rows of distinct scores; `-inf` is left out of the run."""
    measures = {f"hr@{k}": Success @ k for k in CUTOFFS} | {f"ndcg@{k}": nDCG @ k for k in CUTOFFS}
    measures |= {f"recall@{k}": R @ k for k in CUTOFFS} | {"mrr@100": RR @ 100}
    qrels = {str(user): {str(target): 1} for user, target in enumerate(targets)}
    run = {
        str(user): {str(item): score for item, score in enumerate(row) if score > -math.inf}
        for user, row in enumerate(rows)
    }
    values = {key: [0.0] * len(rows) for key in measures}
    names = {str(measure): key for key, measure in measures.items()}
    for metric in ir_measures.iter_calc(list(measures.values()), qrels, run):
        values[names[str(metric.measure)]][int(metric.query_id)] = metric.value
    return values


@st.composite
def distinct_scores(draw: st.DrawFn) -> tuple[list[list[float]], list[int]]:
    items = draw(st.integers(2, 130))
    users = draw(st.integers(1, 4))
    rows = [[float(place) for place in draw(st.permutations(range(items)))] for _ in range(users)]
    targets = [draw(st.integers(0, items - 1)) for _ in range(users)]
    for row, target in zip(rows, targets, strict=True):
        for item in draw(st.sets(st.integers(0, items - 1), max_size=items - 1)):
            if item != target or draw(st.booleans()):
                row[item] = -math.inf
        if all(score == -math.inf for score in row):  # a run without any document is no run
            row[target] = 1.0
    return rows, targets


@given(distinct_scores())
@settings(max_examples=80, deadline=None)
def test_distinct_scores_agree_with_ir_measures(case: tuple[list[list[float]], list[int]]) -> None:
    rows, targets = case
    ours = accuracy(ranks_from_scores(torch.tensor(rows), torch.tensor(targets)))
    for key, expected in oracle(rows, targets).items():
        assert ours[key].tolist() == pytest.approx(expected, abs=1e-9), key


@given(st.lists(st.integers(0, 2), min_size=2, max_size=6), st.data())
@settings(max_examples=40, deadline=None)
def test_ties_are_the_mean_over_every_order_of_tied_items(scores: list[int], data: st.DataObject) -> None:
    target = data.draw(st.integers(0, len(scores) - 1))
    ranks = ranks_from_scores(torch.tensor([scores], dtype=torch.float32), torch.tensor([target]))
    ours = accuracy(ranks, cutoffs=(1, 2, 3))
    # Every order of all items that respects the scores, equally often.
    orders = [
        order for order in permutations(range(len(scores))) if all(scores[a] >= scores[b] for a, b in pairwise(order))
    ]
    places = [order.index(target) + 1 for order in orders]
    assert float(ours["mrr@100"]) == pytest.approx(sum(1 / place for place in places) / len(places))
    for k in (1, 2, 3):
        hits = [place for place in places if place <= k]
        assert float(ours[f"hr@{k}"]) == pytest.approx(len(hits) / len(places))
        gain = sum(1 / math.log2(1 + place) for place in hits) / len(places)
        assert float(ours[f"ndcg@{k}"]) == pytest.approx(gain)


@pytest.mark.parametrize("items", [50, 64, 1682, 100_000])
def test_a_constant_scorer_gets_exactly_the_chance_level(items: int) -> None:
    ranks = ranks_from_scores(torch.zeros(3, items), torch.tensor([0, items // 2, items - 1]))
    values = accuracy(ranks)
    for k in CUTOFFS:
        assert values[f"hr@{k}"].tolist() == [k / items] * 3
        chance = sum(1 / math.log2(1 + rank) for rank in range(1, k + 1)) / items
        assert values[f"ndcg@{k}"].tolist() == pytest.approx([chance] * 3, rel=1e-12)
    chance = sum(1 / rank for rank in range(1, min(items, 100) + 1)) / items
    assert values["mrr@100"].tolist() == pytest.approx([chance] * 3)


def test_chance_is_over_the_candidates_only() -> None:
    scores = torch.zeros(1, 100)
    scores[0, :60] = -torch.inf
    assert float(accuracy(ranks_from_scores(scores, torch.tensor([70])))["hr@10"]) == 10 / 40


@given(st.integers(0, 2**31), st.integers(2, 40))
@settings(max_examples=30, deadline=None)
def test_the_numbering_of_items_does_not_matter(seed: int, items: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(0, 5, (6, items), generator=generator).float()  # many ties
    targets = torch.randint(0, items, (6,), generator=generator)
    order = torch.randperm(items, generator=generator)
    before = accuracy(ranks_from_scores(scores, targets))
    after = accuracy(ranks_from_scores(scores[:, order], order.argsort()[targets]))
    for key, values in before.items():
        assert torch.equal(values, after[key]), key


def test_an_excluded_target_is_a_miss_even_if_all_is_excluded() -> None:
    scores = torch.tensor([[1.0, -torch.inf, 0.0], [-torch.inf, -torch.inf, -torch.inf]])
    ranks = ranks_from_scores(scores, torch.tensor([1, 0]))
    assert ranks.missed().tolist() == [True, True]
    assert ranks.ties.tolist() == [0, 0]
    for key, values in accuracy(ranks).items():
        assert values.tolist() == [0.0, 0.0], key


def test_known_values() -> None:
    ranks = TargetRanks(torch.tensor([0, 4, 9, 10, MISSED]), torch.zeros(5, dtype=torch.int64))
    values = accuracy(ranks)
    assert values["hr@5"].tolist() == [1, 1, 0, 0, 0]
    assert values["hr@10"].tolist() == [1, 1, 1, 0, 0]
    assert values["ndcg@10"].tolist() == [1, 1 / math.log2(6), 1 / math.log2(11), 0, 0]
    assert values["mrr@100"].tolist() == [1, 1 / 5, 1 / 10, 1 / 11, 0]
    assert values["recall@20"] is values["hr@20"]


def test_precision_holds_at_ten_million_items() -> None:
    ranks = TargetRanks(torch.tensor([9_999_998, 99, 98]), torch.tensor([0, 0, 9_999_900]))
    expected = [0, 1 / 100, (1 / 99 + 1 / 100) / 9_999_901]
    assert accuracy(ranks)["mrr@100"].tolist() == pytest.approx(expected, rel=1e-12)


def test_full_ranks_and_a_list_cut_at_100_give_every_metric_the_same_value() -> None:
    """A system that ranks the whole catalogue and a peer that hands over 100 items are compared by one number."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(400, 1000, generator=generator, dtype=torch.float64)
    targets = torch.randint(0, 1000, (400,), generator=generator)
    scores[torch.arange(400), targets] += 0.4 * torch.rand(400, generator=generator)
    full = ranks_from_scores(scores, targets)
    assert 0 < int((full.greater >= 100).sum()) < 400
    kept = scores.topk(100, dim=1)
    listed = torch.full_like(scores, -torch.inf).scatter(1, kept.indices, kept.values)
    short = accuracy(ranks_from_scores(listed, targets))
    for key, values in accuracy(full).items():
        assert torch.equal(values, short[key]), key


def test_a_score_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(DeftRecError, match="user 2 of the chunk is not a number"):
        ranks_from_scores(torch.tensor([[0.0, 1.0], [0.0, torch.nan]]), torch.tensor([0, 0]))


def test_chunks_of_users_give_the_same_as_all_at_once() -> None:
    scores = torch.randint(0, 9, (20, 30)).float()
    targets = torch.randint(0, 30, (20,))
    whole = ranks_from_scores(scores, targets)
    parts = [ranks_from_scores(scores[n : n + 7], targets[n : n + 7]) for n in range(0, 20, 7)]
    found = joined(parts)
    assert torch.equal(found.greater, whole.greater)
    assert torch.equal(found.ties, whole.ties)
    assert len(found) == 20


def test_coverage_counts_items_within_the_first_places() -> None:
    top = torch.tensor([[0, 1, 2], [0, 3, -1], [-1, -1, -1]])
    assert coverage(top, 5, 1) == 1 / 5
    assert coverage(top, 5, 2) == 3 / 5
    assert coverage(top, 5, 3) == 4 / 5
    assert coverage(torch.full((2, 3), -1), 5, 3) == 0


def test_novelty_is_smoothed_self_information_in_bits() -> None:
    popularity = torch.tensor([7, 3, 0, 2])  # with one added: 8, 4, 1, 3 of 16
    bits = novelty(torch.tensor([[0, 1], [2, -1], [-1, -1]]), popularity, 2)
    assert bits[:2].tolist() == pytest.approx([(1 + 2) / 2, 4])
    assert bits[2].isnan()


def test_lists_in_chunks_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    top = torch.randint(-1, 40, (50, 10))
    popularity = torch.randint(0, 9, (40,))
    whole = coverage(top, 40, 5), novelty(top, popularity, 5)
    monkeypatch.setattr("deftrec.evaluation.metrics._CHUNK", 35)
    assert coverage(top, 40, 5) == whole[0]
    assert torch.equal(novelty(top, popularity, 5).nan_to_num(), whole[1].nan_to_num())


def test_short_lists_say_nothing_about_longer_ones() -> None:
    with pytest.raises(ValueError, match="lists of 3 items say nothing about the first 5"):
        coverage(torch.zeros(2, 3, dtype=torch.int64), 10, 5)
