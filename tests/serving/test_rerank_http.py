"""Re-ranked lists over HTTP: those of the library, and errors that say why."""

from typing import Any

import pytest
from answering import Opened

from deftrec.serving.engine import InferenceEngine


def listed(client: Any, **query: Any) -> list[str]:
    answer = client.post("/v1/recommendations", json=query)
    assert answer.status_code == 200, answer.text
    return [one["item_id"] for one in answer.json()["items"]]


@pytest.mark.parametrize(
    ("name", "how"),
    [
        *(("mmr", how) for how in ({}, {"strength": 3}, {"similarity": "latents", "strength": 2})),
        *(("dpp", how) for how in ({}, {"strength": 3}, {"similarity": "latents", "strength": 2})),
        *(("calibrated", how) for how in ({}, {"strength": 3})),
        ("auto", {}),
    ],
)
def test_the_list_is_that_of_the_library(opened: Opened, engine: InferenceEngine, name: Any, how: Any) -> None:
    history = engine.own_history("u 1000")[:4]
    expected = engine.recommender.recommend(history=history, k=12, rerank=engine.recommender.reranker(name, **how))
    found = listed(opened(), history=history, k=12, rerank=name, **how)
    assert found == [str(one.item) for one in expected]
    assert listed(opened(), history=history, k=5, rerank=name, **how) == found[:5]


def test_someone_without_a_history_gets_the_popular_items(opened: Opened) -> None:
    client = opened()
    assert listed(client, history=[], rerank="mmr", strength=5) == listed(client, history=[])


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"rerank": "best"}, "rerank: Input should be"),
        ({"rerank": "mmr", "strength": -1}, "strength: Input should be greater"),
        ({"strength": 1}, "a strength needs a re-ranker"),
        ({"rerank": "auto", "strength": 1}, "auto chooses its strength"),
        ({"rerank": "mmr", "similarity": "words"}, "no sentence vectors"),
        ({"rerank": "calibrated", "similarity": "latents"}, "belongs to mmr and dpp"),
    ],
)
def test_wrong_use_is_refused(opened: Opened, engine: InferenceEngine, how: dict[str, Any], said: str) -> None:
    answer = opened().post("/v1/recommendations", json={"history": engine.items[:1], **how})
    assert answer.status_code == 422
    assert said in answer.json()["message"]
