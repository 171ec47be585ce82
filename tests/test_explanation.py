"""Explanations: the named history items moved the score, and the shares of the terms add up."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from deftrec.data import Sequences
from deftrec.explanation import reasons
from deftrec.retrieval import (
    CollaborativePrior,
    ExcludeHistory,
    LatentSimilarity,
    LinearPrior,
    PopularityTrend,
    Queries,
    Ranker,
    RepeatBias,
)
from deftrec.retrieval.terms.collaborative_prior import PriorSettings

ITEMS = 6


def ranker(weight: float = 0.0) -> Ranker:
    """Latent similarity, and with a `weight` a prior that knows pairs of items: 0 and 1, 2 and 3, 4 and 5."""
    latent = Ranker(ITEMS, (LatentSimilarity(torch.eye(ITEMS), 0.1),))
    if not weight:
        return latent
    pairs = torch.tensor([[n] for n in (1, 0, 3, 2, 5, 4)], dtype=torch.int32)
    linear = LinearPrior(ITEMS, torch.arange(ITEMS, dtype=torch.int32), pairs, torch.ones(ITEMS, 1))
    return latent.with_term(CollaborativePrior(linear, PriorSettings("ease", 50.0, 0.0), weight, ITEMS, False))


def generate(histories: Sequences) -> Queries:
    """A model whose generated latent is the mean of the history's latents, the newest item counted twice."""
    latents = [torch.eye(ITEMS)[one].mean(0) + torch.eye(ITEMS)[one[-1]] / len(one) for one in histories]
    return Queries(histories, torch.stack(latents))


def test_a_recommended_history_item_moves_itself_most() -> None:
    [why] = reasons(ranker(), generate, np.array([0, 2, 4]), [2])
    changes = list(why.changes.values())
    assert next(iter(why.changes)) == 1
    assert changes == sorted(changes, reverse=True)
    assert changes[0] > 0 > changes[-1]
    assert sorted(why.changes) == [0, 1, 2]
    assert why.shares == {"latent": 1.0}


def test_a_change_is_that_of_leaving_the_item_out() -> None:
    scored, history = ranker(weight=2.0), np.array([0, 3, 4, 1])
    whys = reasons(scored, generate, history, [5, 0])
    for item, why in zip((5, 0), whys, strict=True):
        for position, change in why.changes.items():
            with_and_without = Sequences.from_lists([history, np.delete(history, position)])
            logs = torch.cat(
                [scored.scores(generate(with_and_without.select([n]))).log_softmax(-1)[:, item] for n in (0, 1)]
            )
            assert change == pytest.approx(float(logs[0] - logs[1]), abs=1e-5)


def test_the_terms_share_what_lifts_an_item() -> None:
    history = np.array([4, 0])
    both = ranker(weight=5.0)
    one, other = reasons(both, generate, history, [1, 2])
    for why in (one, other):
        assert set(why.shares) == {"latent", "collaborative_prior"}
        assert all(0 <= share <= 1 for share in why.shares.values())
    assert one.shares == {"latent": 0.0, "collaborative_prior": pytest.approx(1)}, "only item 0 scores item 1"
    assert set(other.shares.values()) == {0.0}, "no term lifts item 2 above the average"
    values = torch.zeros(ITEMS)
    values[1] = 4.0
    popular = reasons(both.with_term(PopularityTrend(values, 0.0, 0.3)), generate, history, [1])[0]
    assert popular.shares["popularity_trend"] > 0
    assert sum(popular.shares.values()) == pytest.approx(1)
    newest = reasons(both, generate, history, [0])[0]
    assert newest.shares["latent"] > 0


def test_shares_are_those_of_the_score_whatever_the_rules_exclude() -> None:
    history = np.array([4, 0])
    biased = ranker(weight=5.0).with_term(RepeatBias(ITEMS, -1.0))
    plain = reasons(biased, generate, history, [1])[0]
    assert "repeat_bias" not in plain.shares
    assert reasons(biased.with_rules(ExcludeHistory()), generate, history, [1])[0].shares == plain.shares


@pytest.mark.parametrize("scored", [ranker, lambda: ranker(weight=5.0)])
def test_a_single_item_is_compared_with_the_same_score_for_all(scored: Callable[[], Ranker]) -> None:
    [why] = reasons(scored(), generate, np.array([3]), [3])
    scores = scored().scores(generate(Sequences.from_lists([[3]])))
    assert why.changes[0] == pytest.approx(float(scores.log_softmax(-1)[0, 3]) + np.log(ITEMS), abs=1e-5)
