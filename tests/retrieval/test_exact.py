"""Exact search against a naive loop."""

from dataclasses import replace
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from deftrec.data import PADDING, Sequences
from deftrec.retrieval import LAST, LinearPrior, Retriever, exact, hide, row_chunks, top
from deftrec.retrieval.exact import Comparison, Similarity

SIMILARITIES = get_args(Similarity)
HISTORIES = Sequences.from_lists([[0, 3, 0], [], [1], list(range(11)), list(range(12)), [5, 6]])
ITEMS, D = 12, 4
PRIOR = LinearPrior.ease(Sequences.from_lists([[0, 1, 2], [1, 2, 3], [5, 6], [0, 3]]), ITEMS, 1.0, ITEMS, ITEMS)


def one_score(query: Tensor, latent: Tensor, similarity: str) -> float:
    if similarity == "cosine":
        return float(query @ latent / (query.norm() * latent.norm()))
    if similarity == "inner":
        return float(query @ latent)
    return float(-(query - latent).square().sum() / 2 + query.square().sum() / 2)


def naive(queries: Tensor, latents: Tensor, similarity: str, k: int, seen: list[list[int]]) -> list[list[int]]:
    lists = []
    for query, history in zip(queries, seen, strict=True):
        scores = [(one_score(query, latent, similarity), n) for n, latent in enumerate(latents) if n not in history]
        best = [n for _, n in sorted(scores, reverse=True)[:k]]
        lists.append(best + [PADDING] * (k - len(best)))
    return lists


def retriever(similarity: Similarity = "inner", temperature: float = 0.5) -> Retriever:
    return Retriever(torch.randn(ITEMS, D, generator=torch.Generator().manual_seed(1)), similarity, temperature)


@settings(deadline=None, max_examples=40)
@given(similarity=st.sampled_from(SIMILARITIES), k=st.integers(1, 20), exclude=st.booleans(), seed=st.integers(0, 50))
def test_search_is_the_naive_loop(similarity: Similarity, k: int, exclude: bool, seed: int) -> None:
    queries = torch.randn(len(HISTORIES), D, generator=torch.Generator().manual_seed(seed))
    found = retriever(similarity).search(queries, HISTORIES, k, exclude)
    seen = [history.tolist() if exclude else [] for history in HISTORIES]
    assert found.items.tolist() == naive(queries, retriever().latents, similarity, k, seen)
    assert found.items.shape == found.scores.shape == (len(HISTORIES), k)
    assert torch.equal(found.scores == -torch.inf, found.items == PADDING)
    for query, items, scores in zip(queries, found.items.tolist(), found.scores.tolist(), strict=True):
        for item, score in zip(items, scores, strict=True):
            if item != PADDING:
                expected = one_score(query, retriever().latents[item], similarity) / 0.5
                assert score == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_l2_ranks_by_distance_and_none_changes_its_inputs(similarity: Similarity) -> None:
    queries, latents = torch.randn(5, D), torch.randn(ITEMS, D)
    copies = queries.clone(), latents.clone()
    scores = Comparison(latents, similarity)(queries)
    assert torch.equal(queries, copies[0])
    assert torch.equal(latents, copies[1])
    if similarity == "l2":
        assert torch.equal(scores.argsort(1, descending=True), torch.cdist(queries, latents).argsort(1))


@pytest.mark.parametrize("size", [1, 4 * ITEMS, 9 * ITEMS, 1 << 30])
def test_chunks_change_nothing(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    queries = torch.randn(len(HISTORIES), D)
    expected = retriever().search(queries, HISTORIES, 5, True)
    monkeypatch.setattr(exact, "SCORE_BYTES", size)
    rows = [n for part in row_chunks(len(HISTORIES), ITEMS) for n in range(part.start, part.stop)]
    assert rows == list(range(len(HISTORIES)))
    widest = max(part.stop - part.start for part in row_chunks(len(HISTORIES), ITEMS))
    assert widest == 1 or 4 * ITEMS * widest <= size
    found = retriever().search(queries, HISTORIES, 5, True)
    assert torch.equal(found.items, expected.items)
    torch.testing.assert_close(found.scores, expected.scores)


def test_hide_and_top() -> None:
    scores = torch.arange(24, dtype=torch.float32).view(2, ITEMS)
    found = top(hide(scores, Sequences.from_lists([[11, 10], list(range(1, 12))])), 3)
    assert found.items.tolist() == [[9, 8, 7], [0, PADDING, PADDING]]
    assert found.scores.tolist() == [[9, 8, 7], [12, -torch.inf, -torch.inf]]


def test_seen_items_get_something_on_top() -> None:
    queries = torch.randn(len(HISTORIES), D)
    latent = retriever("cosine", 0.07)
    before, after = latent.scores(queries, HISTORIES), replace(latent, again=-2.5).scores(queries, HISTORIES)
    for row, history in enumerate(HISTORIES):
        for item in range(ITEMS):  # what stands in a history twice is moved once
            assert float(after[row, item] - before[row, item]) == pytest.approx(-2.5 * (item in history), abs=1e-5)
    both = replace(latent, prior=PRIOR, weight=3.0, again=-2.5, repeats=True)
    assert torch.equal(both.part("prior").scores(queries, HISTORIES), PRIOR.scores(HISTORIES, 0.0))


@pytest.mark.parametrize("alone", [False, True])
def test_seen_items_come_last_in_their_own_order(alone: bool) -> None:
    queries = torch.randn(len(HISTORIES), D)
    dense = LinearPrior(torch.arange(ITEMS).repeat(ITEMS, 1), torch.rand(ITEMS, ITEMS))  # no ties
    both = replace(retriever("cosine", 0.07), prior=dense, weight=3.0, prior_alone=alone)
    asked = replace(both, again=LAST)
    others, everything = both.search(queries, HISTORIES, ITEMS, True), both.search(queries, HISTORIES, ITEMS, False)
    for row, history in enumerate(HISTORIES):
        behind = [item for item in everything.items[row].tolist() if item in history]
        expected = [item for item in others.items[row].tolist() if item != PADDING] + behind
        assert asked.search(queries, HISTORIES, ITEMS, False).items[row].tolist() == expected
        assert asked.search(queries, HISTORIES, ITEMS, True).items[row].tolist() == others.items[row].tolist()


def test_the_hybrid_is_the_sum_of_its_parts() -> None:
    queries = torch.randn(len(HISTORIES), D)
    latent = retriever("cosine", 0.07)
    hybrid = replace(latent, prior=PRIOR, weight=3.0, recency=0.5)
    linear = PRIOR.scores(HISTORIES, 0.5)
    expected = Comparison(latent.latents, "cosine")(queries) / 0.07 + 3 * linear
    torch.testing.assert_close(hybrid.scores(queries, HISTORIES), expected)
    torch.testing.assert_close(replace(hybrid, prior_alone=True).scores(queries, HISTORIES), linear)
    torch.testing.assert_close(
        replace(hybrid, weight=0.0).scores(queries, HISTORIES), latent.scores(queries, HISTORIES)
    )
    assert not linear[0].eq(0).all()
    assert torch.equal(PRIOR.scores(HISTORIES, 0.5), linear)  # scoring changes nothing that is kept
