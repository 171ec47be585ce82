"""Exact search against a naive loop, and the score as the sum of its terms."""

from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from deftrec.data import PADDING, Sequences
from deftrec.retrieval import (
    CollaborativePrior,
    ExcludeHistory,
    LatentSimilarity,
    LinearPrior,
    PopularityTrend,
    Queries,
    Ranker,
    RepeatBias,
    ScorePart,
    exact,
    row_chunks,
    top,
)
from deftrec.retrieval.linear import ease
from deftrec.retrieval.terms.collaborative_prior import PriorSettings
from deftrec.retrieval.terms.latent import Similarity
from deftrec.tensors import joined

SIMILARITIES: list[Similarity] = ["cosine", "inner"]
HISTORIES = Sequences.from_lists([[0, 3, 0], [], [1], list(range(11)), list(range(12)), [5, 6]])
ITEMS, D = 12, 4
LINEAR = LinearPrior.fit(
    partial(ease, regularisation=1.0), Sequences.from_lists([[0, 1, 2], [1, 2, 3], [5, 6], [0, 3]]), ITEMS, ITEMS, ITEMS
)
EXCLUDED = (ExcludeHistory(),)


def one_score(query: Tensor, latent: Tensor, similarity: str) -> float:
    if similarity == "cosine":
        return float(query @ latent / (query.norm() * latent.norm()))
    return float(query @ latent)


def naive(queries: Tensor, latents: Tensor, similarity: str, k: int, seen: list[list[int]]) -> list[list[int]]:
    lists = []
    for query, history in zip(queries, seen, strict=True):
        scores = [(one_score(query, latent, similarity), n) for n, latent in enumerate(latents) if n not in history]
        best = [n for _, n in sorted(scores, reverse=True)[:k]]
        lists.append(best + [PADDING] * (k - len(best)))
    return lists


def latent(similarity: Similarity = "inner", temperature: float = 0.5) -> LatentSimilarity:
    vectors = torch.randn(ITEMS, D, generator=torch.Generator().manual_seed(1))
    return LatentSimilarity(vectors, temperature, similarity)


def ranker(similarity: Similarity = "inner", temperature: float = 0.5) -> Ranker:
    return Ranker(ITEMS, (latent(similarity, temperature),))


def prior(weight: float, repeats: bool = False) -> CollaborativePrior:
    return CollaborativePrior(LINEAR, PriorSettings("ease", 1.0, 0.5), weight, ITEMS, repeats)


def queries(seed: int = 0) -> Queries:
    return Queries(HISTORIES, torch.randn(len(HISTORIES), D, generator=torch.Generator().manual_seed(seed)))


@given(similarity=st.sampled_from(SIMILARITIES), k=st.integers(1, 20), exclude=st.booleans(), seed=st.integers(0, 50))
def test_search_equals_the_naive_loop(similarity: Similarity, k: int, exclude: bool, seed: int) -> None:
    asked = queries(seed)
    found = ranker(similarity).search(asked, k, EXCLUDED if exclude else ())
    seen = [history.tolist() if exclude else [] for history in HISTORIES]
    vectors = latent("inner").latents
    width = min(k, ITEMS)  # no list is longer than the catalogue
    assert found.items.tolist() == naive(asked.latents, vectors, similarity, width, seen)
    assert found.items.shape == found.scores.shape == (len(HISTORIES), width)
    assert torch.equal(found.scores == -torch.inf, found.items == PADDING)
    for query, items, scores in zip(asked.latents, found.items.tolist(), found.scores.tolist(), strict=True):
        for item, score in zip(items, scores, strict=True):
            if item != PADDING:
                assert score == pytest.approx(one_score(query, vectors[item], similarity) / 0.5, abs=1e-4)


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_similarity_changes_none_of_its_inputs(similarity: Similarity) -> None:
    asked, vectors = torch.randn(5, D), torch.randn(ITEMS, D)
    copies = asked.clone(), vectors.clone()
    term = LatentSimilarity(vectors, 0.3, similarity)
    scores = term.compared(asked)
    assert torch.equal(asked, copies[0])
    assert torch.equal(vectors, copies[1])
    some = torch.tensor([7, 2])
    torch.testing.assert_close(term.compared(asked, some), scores[:, some])


@pytest.mark.parametrize("size", [1, 4 * ITEMS, 9 * ITEMS, 1 << 30])
def test_chunks_change_nothing(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = queries()
    expected = ranker().search(asked, 5, EXCLUDED)
    monkeypatch.setattr(exact, "SCORE_BYTES", size)
    rows = [n for part in row_chunks(len(HISTORIES), ITEMS) for n in range(part.start, part.stop)]
    assert rows == list(range(len(HISTORIES)))
    widest = max(part.stop - part.start for part in row_chunks(len(HISTORIES), ITEMS))
    assert widest == 1 or 4 * ITEMS * widest <= size
    found = ranker().search(asked, 5, EXCLUDED)
    assert torch.equal(found.items, expected.items)
    torch.testing.assert_close(found.scores, expected.scores)


def test_top_pads_where_too_few_items_are_left() -> None:
    scores = torch.arange(24, dtype=torch.float32).view(2, ITEMS)
    ExcludeHistory().apply(scores, Sequences.from_lists([[11, 10], list(range(1, 12))]))
    found = top(scores, 3)
    assert found.items.tolist() == [[9, 8, 7], [0, PADDING, PADDING]]
    assert found.scores.tolist() == [[9, 8, 7], [12, -torch.inf, -torch.inf]]
    assert joined([found, found]).items.tolist() == found.items.tolist() * 2
    some = torch.tensor([3, 1, 4, 1, 5, 9, 2, 6, 5, 35, 8, 97])
    assert found.among(some).items.tolist() == [[35, 5, 6], [3, PADDING, PADDING]]


def test_repeat_bias_moves_each_history_item_once() -> None:
    asked, latents = queries(), ranker("cosine", 0.07)
    before = latents.scores(asked)
    after = latents.with_term(RepeatBias(ITEMS, -2.5)).scores(asked)
    for row, history in enumerate(HISTORIES):
        for item in range(ITEMS):  # items 0 stands in the first history twice
            assert float(after[row, item] - before[row, item]) == pytest.approx(-2.5 * (item in history), abs=1e-5)


def test_the_score_is_the_sum_of_its_terms() -> None:
    asked, latents = queries(), ranker("cosine", 0.07)
    linear = LINEAR.scores(HISTORIES, 0.5)
    assert not linear[0].eq(0).all()
    trend = PopularityTrend(torch.randn(ITEMS), -0.3, 0.6)
    whole = latents.with_term(prior(3.0)).with_term(trend)
    torch.testing.assert_close(whole.scores(asked), latents.scores(asked) + 3 * linear + trend.values)
    torch.testing.assert_close(latents.with_term(prior(0.0)).scores(asked), latents.scores(asked))
    assert torch.equal(LINEAR.scores(HISTORIES, 0.5), linear), "scoring changes nothing that is kept"
    assert torch.equal(Ranker(ITEMS, ()).scores(asked), torch.zeros(len(asked), ITEMS))
    # A term that is the same for every query may stand first, and is not written to.
    kept = trend.values.clone()
    torch.testing.assert_close(
        Ranker(ITEMS, (trend, latent("cosine", 0.07))).scores(asked), latents.scores(asked) + kept
    )
    assert torch.equal(trend.values, kept)


@pytest.mark.parametrize(
    ("part", "names"),
    [
        ("hybrid", ["latent", "collaborative_prior", "popularity_trend", "repeat_bias"]),
        ("latent", ["latent", "repeat_bias"]),
        ("collaborative_prior", ["collaborative_prior"]),
    ],
)
def test_parts_of_the_score(part: ScorePart, names: list[str]) -> None:
    trend, bias = PopularityTrend(torch.randn(ITEMS), -0.3, 0.6), RepeatBias(ITEMS, -2.5)
    whole = ranker("cosine", 0.07).with_term(prior(3.0, repeats=True)).with_term(trend).with_term(bias)
    assert [term.name for term in whole.part(part).terms] == names
    if part == "collaborative_prior":
        torch.testing.assert_close(whole.part(part).scores(queries()), 3 * LINEAR.scores(HISTORIES, 0.5))
    assert [term.name for term in whole.without("latent").only(["repeat_bias", "latent"]).terms] == ["repeat_bias"]
