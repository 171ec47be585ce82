"""Explanations: what is said to have moved a recommendation did, and the parts add up."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from deftrec.data import Sequences
from deftrec.explanation import Queries, reasons
from deftrec.retrieval import LinearPrior, OverlapMatch, Retriever

ITEMS = 6
TEXTS = ["red car", "blue car", "green tree", "old house", "", "red"]


def retriever(weight: float = 0.0, text_weight: float = 0.0) -> Retriever:
    prior = LinearPrior(torch.tensor([[n] for n in (1, 0, 3, 2, 5, 4)]), torch.ones(ITEMS, 1))
    return Retriever(torch.eye(ITEMS), "cosine", 0.1, prior, weight, match=OverlapMatch(TEXTS), text_weight=text_weight)


def asker(scorer: Retriever, text: str | None = None):  # type: ignore[no-untyped-def]
    """A model whose query is the mean of the history's latents, the newest item counted twice."""

    def ask(histories: Sequences) -> Queries:
        queries = torch.stack(
            [torch.eye(ITEMS)[one].mean(0) + torch.eye(ITEMS)[one[-1]] / len(one) for one in histories]
        )
        assert scorer.match is not None
        texts = None if text is None else scorer.match.encode([text] * len(histories))
        return Queries(histories, queries, texts)

    return ask


def test_the_item_that_is_asked_for_moves_itself_most() -> None:
    scorer = retriever()
    [why] = reasons(scorer, asker(scorer), np.array([0, 2, 4]), [2])
    assert why.influences[0].item == 2
    assert why.influences[0].change > 0 > why.influences[-1].change
    assert sorted(one.place for one in why.influences) == [0, 1, 2]
    assert why.shares == {"latent": 1.0, "text": 0.0, "prior": 0.0, "trend": 0.0}


def test_a_change_is_that_of_leaving_the_item_out() -> None:
    scorer = retriever(weight=2.0)
    ask, history = asker(scorer), np.array([0, 3, 4, 1])
    whys = reasons(scorer, ask, history, [5, 0])
    for item, why in zip((5, 0), whys, strict=True):
        for one in why.influences:
            logs = []
            for taken in (history, np.delete(history, one.place)):
                asked = ask(Sequences.from_lists([taken]))
                logs.append(scorer.scores(asked.queries, asked.histories).log_softmax(-1)[0, item])
            assert one.change == pytest.approx(float(logs[0] - logs[1]), abs=1e-5)
            assert one.item == history[one.place]


def test_the_parts_of_a_score_share_what_lifts_an_item() -> None:
    scorer = retriever(weight=5.0, text_weight=0.5)
    history = np.array([4, 0])
    ask = asker(scorer, "red cars are red")
    one, other = reasons(scorer, ask, history, [1, 5])
    for why in (one, other):
        assert sum(why.shares.values()) == pytest.approx(1)
    assert one.shares["prior"] > 0  # 0 speaks for 1
    assert one.shares["text"] == 0  # no word of "blue car" is said
    assert other.shares["text"] > 0  # "red" is
    assert one.shares["trend"] == 0
    trend = torch.zeros(ITEMS)
    trend[1] = 4.0
    recent_popularity = reasons(replace(scorer, trend=trend), ask, history, [1])[0]
    assert recent_popularity.shares["trend"] > 0
    assert sum(recent_popularity.shares.values()) == pytest.approx(1)
    without_words = reasons(scorer, asker(scorer), history, [5])[0]
    assert without_words.shares["text"] == 0


def test_a_single_item_is_compared_with_knowing_nothing() -> None:
    scorer = retriever()
    [why] = reasons(scorer, asker(scorer), np.array([3]), [3])
    [influence] = why.influences
    scores = scorer.scores(*[getattr(asker(scorer)(Sequences.from_lists([[3]])), n) for n in ("queries", "histories")])
    assert influence.change == pytest.approx(float(scores.log_softmax(-1)[0, 3]) + np.log(ITEMS), abs=1e-5)
