"""The terms of the score and their weights are chosen on validation, and only where they help."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from deftrec.data import Cases, Sequences
from deftrec.evaluation import accuracy
from deftrec.progress import Silent
from deftrec.retrieval import (
    CollaborativePrior,
    LatentSimilarity,
    LinearPrior,
    PopularityTrend,
    Queries,
    Ranker,
    RepeatBias,
    Validation,
    choose,
    exact,
    one_standard_error_rule,
    target_ranks,
)
from deftrec.retrieval.linear import ease, slit
from deftrec.retrieval.rules import seen_rules
from deftrec.retrieval.terms import collaborative_prior as module
from deftrec.retrieval.terms.collaborative_prior import PriorSettings
from deftrec.retrieval.terms.popularity_trend import trend_scores

ITEMS, D = 20, 6
CPU = torch.device("cpu")
REGULARISATION, RECENCY, WEIGHTS = (1.0, 50.0), (0.0, 1.0), (0.0, 3.0, 50.0)


@pytest.fixture(autouse=True)
def _few_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EASE_REGULARISATION", REGULARISATION)
    monkeypatch.setattr(module, "RECENCY", RECENCY)
    monkeypatch.setattr(module, "WEIGHTS", WEIGHTS)
    monkeypatch.setattr(module, "NEIGHBOURS", 9)


def blocks(users: int = 60) -> tuple[Sequences, Cases]:
    """Users stay in one half of the items; their last one is the target."""
    rng = np.random.default_rng(0)
    lists = [rng.permutation(10)[:6] + 10 * (user % 2) for user in range(users)]
    training = Sequences.from_lists([one[:-1] for one in lists])
    return training, Cases(np.arange(users), training, np.array([one[-1] for one in lists]))


def ranker() -> Ranker:
    return Ranker(ITEMS, (LatentSimilarity(torch.randn(ITEMS, D), 0.07),))


def validation(training: Sequences, cases: Cases, latents: Tensor, exclude_seen: bool = True) -> Validation:
    return Validation.of(cases, Queries(cases.histories, latents), seen_rules(exclude_seen), training)


def values(scored: Ranker, asked: Validation) -> Tensor:
    """NDCG@10 of every validation user."""
    return accuracy(target_ranks(scored, asked.queries, asked.cases, asked.rules), (10,))["ndcg@10"]


def prior(ranker: Ranker, asked: Validation, kind: str = "ease", repeats: bool = False) -> CollaborativePrior:
    return CollaborativePrior.fit(ranker, asked, kind, ITEMS, repeats, Silent())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("size", "cached", "exclude_seen", "repeats"),
    [
        (1, 1, True, False),
        (1 << 20, 1 << 20, True, False),
        (1 << 20, 1, True, False),
        (1, 1, False, False),
        (1 << 20, 1 << 10, False, True),
    ],
)
def test_the_best_settings_of_the_prior_are_found(
    size: int, cached: int, exclude_seen: bool, repeats: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    training, cases = blocks()
    plain, asked = ranker(), validation(training, cases, torch.randn(len(cases), D), exclude_seen)
    found = {}
    for regularisation in REGULARISATION:
        linear = LinearPrior.fit(partial(ease, regularisation=regularisation), training, ITEMS, 9, ITEMS)
        for recency in RECENCY:
            settings = PriorSettings("ease", regularisation, recency)
            for weight in WEIGHTS:
                term = CollaborativePrior(linear, settings, weight, ITEMS, repeats)
                found[settings, weight] = values(plain.with_term(term), asked)
    monkeypatch.setattr(exact, "SCORE_BYTES", size)
    monkeypatch.setattr(choose, "CACHED_BYTES", cached)
    chosen = prior(plain, asked, repeats=repeats)

    best = max(found, key=lambda variant: float(found[variant].mean()))
    assert chosen.chosen == best[0]
    assert chosen.weight > 0
    assert chosen.record["ndcg"] == pytest.approx(float(found[chosen.chosen, chosen.weight].mean()))
    assert chosen.record["ndcg_without"] == pytest.approx(float(found[chosen.chosen, 0.0].mean()))
    assert chosen.record["ndcg"] > chosen.record["ndcg_without"] + 0.1
    for weight in WEIGHTS:  # the smallest weight within a standard error of the best
        lost = found[best] - found[chosen.chosen, weight]
        error = float(lost.std(correction=0)) / len(cases) ** 0.5
        assert (float(lost.mean()) > error) == (weight < chosen.weight) or weight > chosen.weight
    torch.testing.assert_close(values(plain.with_term(chosen), asked), found[chosen.chosen, chosen.weight])


def test_the_smallest_weight_within_one_standard_error_is_chosen() -> None:
    clear, little, noise = torch.tensor([1.0, 0, 1, 0]), torch.tensor([0.1, 0.1, 0.1, 0.1]), torch.zeros(4)
    # 2 is better than 1 for everybody; 3 is better still for two users of four, by as much as one of them by chance.
    values = {0.0: noise, 1.0: little, 2.0: little + 0.5, 3.0: clear + 0.11}
    assert one_standard_error_rule(values, size=abs) == 2.0
    assert one_standard_error_rule({**values, 3.0: torch.full((4,), 0.7)}, size=abs) == 3.0
    assert one_standard_error_rule({0.0: noise, -1.0: noise, 1.0: noise}, size=abs) == 0.0
    assert one_standard_error_rule({-1.0: little, 2.0: little}, size=abs) == -1.0


def test_validation_takes_the_first_cases_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    training, cases = blocks()
    monkeypatch.setattr(choose, "USERS", 7)
    asked = validation(training, cases, torch.randn(len(cases), D))
    assert len(asked.cases) == len(asked.queries) == len(asked.targets) == 7
    assert asked.targets.tolist() == cases.targets[:7].tolist()


def test_history_items_are_moved_where_that_clearly_helps() -> None:
    """The latents look back: at what the user has just had."""
    latents = torch.eye(ITEMS)
    plain = Ranker(ITEMS, (LatentSimilarity(latents),))
    histories = Sequences.from_lists([[n, (n + 1) % ITEMS] for n in range(ITEMS)])
    new = Cases(np.arange(ITEMS), histories, (np.arange(ITEMS) + 2) % ITEMS)
    old = Cases(np.arange(ITEMS), histories, np.arange(ITEMS))
    queries = 2 * latents + 1.5 * latents.roll(-2, 0)  # the first of the history is nearest, then the next item
    tried = (-4.0, -1.0, 1.0)
    lowered = RepeatBias.fit(plain, validation(histories, new, queries, False), tried)
    assert (lowered.value, lowered.record["ndcg"]) == (-1.0, 1)
    assert lowered.record["ndcg_without"] == pytest.approx(1 / math.log2(3))
    assert RepeatBias.fit(plain, validation(histories, old, queries, False), tried).value == 0
    assert RepeatBias.fit(plain, validation(histories, new, queries, False), ()).value == 0


def test_any_is_the_best_of_the_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WEIGHTS", (0.0, 50.0))
    training, cases = blocks()
    plain, asked = ranker(), validation(training, cases, torch.randn(len(cases), D))
    alone = [prior(plain, asked, kind) for kind in ("ease", "slit", "graph")]
    assert [one.chosen.kind for one in alone] == ["ease", "slit", "graph"]
    assert len({one.record["ndcg"] for one in alone}) > 1
    best = max(alone, key=lambda one: one.record["ndcg"])
    assert prior(plain, asked, "any").settings() == best.settings()


def test_a_prior_that_adds_nothing_has_no_weight() -> None:
    training, cases = blocks()
    plain = ranker()
    knows = plain.latent.latents[torch.from_numpy(cases.targets)]  # the queries are the targets' own latents
    chosen = prior(plain, validation(training, cases, knows))
    assert chosen.record == {"ndcg": 1.0, "ndcg_without": 1.0}
    assert chosen.weight == 0
    assert not len(chosen.linear.items), "a term without weight is not fitted again"


def test_recent_popularity_is_raised_where_people_move_on() -> None:
    """Everybody had the first items once and the last ones lately; the next one is one of the latter."""
    rng = np.random.default_rng(0)
    old, new = np.arange(10), np.arange(10, ITEMS)
    lists = [np.r_[rng.choice(old, 5, replace=False), rng.choice(new, 2, replace=False)] for _ in range(300)]
    training = Sequences.from_lists([one[:-1] for one in lists])
    cases = Cases(np.arange(300), training, np.array([one[-1] for one in lists]))
    plain, asked = ranker(), validation(training, cases, torch.randn(300, D))
    chosen = PopularityTrend.fit(plain, asked)
    assert chosen.recent_popularity > 0 >= chosen.popularity
    assert torch.equal(chosen.values, trend_scores(training, ITEMS, chosen.popularity, chosen.recent_popularity))
    found, without = values(plain.with_term(chosen), asked), values(plain, asked)
    assert chosen.record["ndcg"] == pytest.approx(float(found.mean()))
    assert chosen.record["ndcg_without"] == pytest.approx(float(without.mean()))
    assert found.mean() > without.mean() + 0.05


def test_a_trend_that_says_nothing_has_no_weight() -> None:
    rng = np.random.default_rng(0)
    training = Sequences.from_lists([rng.permutation(ITEMS)[:5] for _ in range(300)])
    cases = Cases(np.arange(300), training, rng.integers(0, ITEMS, 300))
    chosen = PopularityTrend.fit(ranker(), validation(training, cases, torch.randn(300, D)))
    assert (chosen.popularity, chosen.recent_popularity) == (0, 0)


def test_values_of_the_trend() -> None:
    training = Sequences.from_lists([[0, 1], [0, 1], [0, 2], []])
    found = trend_scores(training, 4, -1.0, 1.0)
    raw = np.log([1 / 4, 3 / 3, 2 / 2])
    assert found[:3].tolist() == pytest.approx(list(raw - raw.mean()))
    assert found[3] == 0, "an item without interactions gets the mean"


def test_terms_are_refitted_with_the_chosen_settings() -> None:
    """A refit fits on more interactions, with the weights that validation chose."""
    training, cases = blocks()
    more = Sequences.from_lists([[*history, target] for history, target in zip(training, cases.targets, strict=True)])
    settings = PriorSettings("slit", 100.0, 0.5)
    linear = LinearPrior.fit(partial(slit, regularisation=100.0, recency=0.5), training, ITEMS, 9, ITEMS)
    before = CollaborativePrior(linear, settings, 5.0, ITEMS, repeats=False)
    after = before.refitted(more, CPU)
    assert after.settings() == before.settings()
    assert torch.equal(
        after.linear.weights,
        LinearPrior.fit(partial(slit, regularisation=100.0, recency=0.5), more, ITEMS, 9, ITEMS).weights,
    )
    assert not torch.equal(after.linear.weights, before.linear.weights)
    trend = PopularityTrend(trend_scores(training, ITEMS, -0.3, 0.6), -0.3, 0.6)
    assert torch.equal(trend.refitted(more, CPU).values, trend_scores(more, ITEMS, -0.3, 0.6))
    bias = RepeatBias(ITEMS, -1.0)
    assert bias.refitted(more, CPU) is bias
