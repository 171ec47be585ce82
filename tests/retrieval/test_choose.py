"""What the score is made of is chosen on validation, and only where it helps."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from deftrec.config import PriorOptions
from deftrec.data import Cases, Sequences
from deftrec.evaluation import accuracy
from deftrec.progress import Silent
from deftrec.retrieval import LinearPrior, Retriever, exact, trend_scores
from deftrec.retrieval.choose import PriorChoice, choose_again, choose_prior, choose_trend
from deftrec.retrieval.ranks import target_ranks
from deftrec.training import fusion

ITEMS, D = 20, 6
OPTIONS = PriorOptions(kind="ease", regularisation=(1.0, 50.0), recency=(0.0, 1.0), weights=(3.0, 50.0), neighbours=9)


def blocks(users: int = 60) -> tuple[Sequences, Cases]:
    """Users stay in one half of the items; their last one is the target."""
    rng = np.random.default_rng(0)
    lists = [rng.permutation(10)[:6] + 10 * (user % 2) for user in range(users)]
    training = Sequences.from_lists([one[:-1] for one in lists])
    return training, Cases(np.arange(users), training, np.array([one[-1] for one in lists]))


def retriever() -> Retriever:
    return Retriever(torch.randn(ITEMS, D), "cosine", 0.07)


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
def test_the_best_setting_is_found(
    size: int, cached: int, exclude_seen: bool, repeats: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    training, cases = blocks()
    latent, queries = replace(retriever(), repeats=repeats), torch.randn(len(cases), D)
    values = {}
    for regularisation in OPTIONS.regularisation:
        prior = LinearPrior.ease(training, ITEMS, regularisation, OPTIONS.neighbours, OPTIONS.max_items)
        for recency in OPTIONS.recency:
            for weight in (0.0, *OPTIONS.weights):
                hybrid = replace(latent, prior=prior, weight=weight, recency=recency)
                ranks = target_ranks(hybrid, queries, cases, exclude_seen)
                values[regularisation, recency, weight] = accuracy(ranks, (10,))["ndcg@10"]
    monkeypatch.setattr(exact, "SCORE_BYTES", size)
    monkeypatch.setattr(fusion, "CACHED_BYTES", cached)
    choice = choose_prior(OPTIONS, training, latent, queries, cases, exclude_seen, Silent())

    best = max(values, key=lambda setting: float(values[setting].mean()))
    assert (choice.regularisation, choice.recency) == best[:2]
    chosen = values[choice.regularisation, choice.recency, choice.weight]
    assert choice.ndcg == pytest.approx(float(chosen.mean()))
    assert choice.ndcg_without == pytest.approx(float(values[*best[:2], 0.0].mean()))
    assert choice.weight > 0
    assert choice.ndcg > choice.ndcg_without + 0.1
    for weight in (0.0, *OPTIONS.weights):  # the smallest weight within a standard error of the best
        lost = values[best] - values[*best[:2], weight]
        error = float(lost.std(correction=0)) / len(cases) ** 0.5
        assert (float(lost.mean()) > error) == (weight < choice.weight) or weight > choice.weight


def test_seen_items_are_moved_where_that_clearly_helps() -> None:
    """Latents of a ring of items look back: at what one has just had."""
    latents = torch.eye(ITEMS)
    latent = Retriever(latents, "cosine", 1.0, repeats=True)
    histories = Sequences.from_lists([[n, (n + 1) % ITEMS] for n in range(ITEMS)])
    new = Cases(np.arange(ITEMS), histories, (np.arange(ITEMS) + 2) % ITEMS)
    old = Cases(np.arange(ITEMS), histories, np.arange(ITEMS))
    queries = 2 * latents + 1.5 * latents.roll(-2, 0)  # the first of the history is nearest, then what comes next
    values = (-4.0, -1.0, 1.0)
    lowered = choose_again(values, latent, queries, new)
    assert (lowered.value, lowered.ndcg) == (-1.0, 1)
    assert lowered.ndcg_without == pytest.approx(1 / math.log2(3))
    assert choose_again(values, latent, queries, old).value == 0
    assert choose_again((), latent, queries, new).value == 0


def test_any_is_the_best_of_the_kinds() -> None:
    training, cases = blocks()
    latent, queries = retriever(), torch.randn(len(cases), D)

    def chosen(kind: str) -> PriorChoice:
        options = OPTIONS.model_copy(update={"kind": kind, "weights": (50.0,)})
        return choose_prior(options, training, latent, queries, cases, True, Silent())

    alone = [chosen(kind) for kind in ("ease", "slit", "graph")]
    assert len({choice.ndcg for choice in alone}) > 1
    best = max(alone, key=lambda choice: choice.ndcg)
    assert chosen("any") == best


def test_a_prior_that_adds_nothing_is_left_out() -> None:
    training, cases = blocks()
    latent = retriever()
    knows = latent.latents[torch.from_numpy(cases.targets)]  # the queries are the targets' own latents
    choice = choose_prior(OPTIONS, training, latent, knows, cases, True, Silent())
    assert choice.ndcg == choice.ndcg_without == 1.0
    assert choice.weight == 0


NO_PRIOR = PriorChoice("ease", 1.0, 0.0, weight=0.0, ndcg=0.1, ndcg_without=0.1)


def test_what_is_taken_lately_is_raised_where_people_move_on() -> None:
    """Everybody took the first items once and the last ones of late; the next one is of the latter."""
    rng = np.random.default_rng(0)
    old, new = np.arange(10), np.arange(10, ITEMS)
    lists = [np.r_[rng.choice(old, 5, replace=False), rng.choice(new, 2, replace=False)] for _ in range(300)]
    training = Sequences.from_lists([one[:-1] for one in lists])
    cases = Cases(np.arange(300), training, np.array([one[-1] for one in lists]))
    queries, plain = torch.randn(300, D), retriever()
    chosen = choose_trend(PriorOptions(), NO_PRIOR, training, plain, queries, cases, True)
    assert chosen.recent_popularity > 0 >= chosen.popularity
    trend = trend_scores(training, ITEMS, chosen.popularity, chosen.recent_popularity)
    values = accuracy(target_ranks(replace(plain, trend=trend), queries, cases, True), (10,))["ndcg@10"]
    without = accuracy(target_ranks(plain, queries, cases, True), (10,))["ndcg@10"]
    assert chosen.ndcg == pytest.approx(float(values.mean()))
    assert values.mean() > without.mean() + 0.05
    assert (chosen.kind, chosen.weight, chosen.ndcg_without) == (NO_PRIOR.kind, NO_PRIOR.weight, NO_PRIOR.ndcg_without)


def test_a_trend_that_says_nothing_is_left_out() -> None:
    rng = np.random.default_rng(0)
    training = Sequences.from_lists([rng.permutation(ITEMS)[:5] for _ in range(300)])
    cases = Cases(np.arange(300), training, rng.integers(0, ITEMS, 300))
    chosen = choose_trend(PriorOptions(), NO_PRIOR, training, retriever(), torch.randn(300, D), cases, True)
    assert (chosen.popularity, chosen.recent_popularity) == (0, 0)


def test_the_trend_in_figures() -> None:
    training = Sequences.from_lists([[0, 1], [0, 1], [0, 2], []])
    found = trend_scores(training, 4, -1.0, 1.0)
    raw = np.log([1 / 4, 3 / 3, 2 / 2])
    assert found[:3].tolist() == pytest.approx(list(raw - raw.mean()))
    assert found[3] == 0, "nobody took it: it is as good as any"
