"""Kinds, values and times of events, and attributes of items, over HTTP."""

from pathlib import Path
from typing import Any

import pytest
from answering import Opened
from fastapi.testclient import TestClient

from deftrec import Recommender
from deftrec.serving.engine import InferenceEngine
from shop import ITEMS, START, shop
from toy import tiny_config

DAY = 86_400


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop") / "run"
    plain: dict[str, Any] = {"retrieval": {"prior": "none", "trend": False}}
    read = {"tokenizer": {"gaps": True, "request_time": True, "drop_collaborative": 0.5}}
    Recommender.fit(shop(users=300), tiny_config(**plain, **read, training={"epochs": 20}), out=folder)
    return folder


@pytest.fixture(scope="module")
def engine(run: Path) -> InferenceEngine:
    return InferenceEngine.load(run)


@pytest.fixture
def client(opened: Opened, engine: InferenceEngine) -> TestClient:
    return opened()


def event(number: int, item: str, kind: str | None, time: float, **more: Any) -> dict[str, Any]:
    return {"event_id": f"e{number}", "user_id": "zoe", "item_id": item, "kind": kind, "time": time, **more}


def send(client: TestClient, *events: dict[str, Any]) -> Any:
    return client.post("/v1/events", json={"events": list(events)})


def listed(client: TestClient, **asked: Any) -> list[str]:
    answer = client.post("/v1/recommendations", json={"k": ITEMS, **asked})
    assert answer.status_code == 200, answer.text
    return [one["item_id"] for one in answer.json()["items"]]


def test_events_have_kinds_and_the_next_list_knows_them(client: TestClient) -> None:
    now = START + 400 * DAY
    assert send(client, event(1, "i7", "purchase", now), event(2, "i2", "view", now + 60)).status_code == 200
    first = listed(client, user_id="zoe", at=now + 3600)
    assert first[0] == "i8"
    assert "i2" in first
    assert send(client, event(3, "i8", "skip", now + 90)).status_code == 200
    assert "i8" not in listed(client, user_id="zoe", at=now + 3600)
    history = client.get("/v1/users/zoe/history").json()["items"]
    assert [(one["item_id"], one["kind"], one["time"]) for one in history] == [
        ("i7", "purchase", now),
        ("i2", "view", now + 60),
        ("i8", "skip", now + 90),
    ]
    assert history[0]["event"].startswith("purchase, ")
    assert history[2]["event"].startswith("disliked, ")


def test_the_service_answers_as_the_library(client: TestClient, engine: InferenceEngine) -> None:
    """For a user of the data, at a time; and for a history that says what happened."""
    at = START + 100_000 * 7 + 5 * DAY
    expected = [str(one.item) for one in engine.recommender.recommend("u7", ITEMS, at=at)]
    assert listed(client, user_id="u7", at=at) == expected
    past = client.get("/v1/users/u7/history").json()["items"]
    given = [{name: one[name] for name in ("item_id", "kind", "time")} for one in past]
    assert listed(client, history=given, at=at) == expected
    assert listed(client, history=[one["item_id"] for one in past], at=at) != expected


def test_an_explanation_says_what_happened(client: TestClient) -> None:
    now = START + 500 * DAY
    history = [{"item_id": "i7", "kind": "purchase", "time": now - DAY}, {"item_id": "i3", "kind": "view", "time": now}]
    asked = {"history": history, "at": now + 60, "k": 1, "explain": True}
    [one] = client.post("/v1/recommendations", json=asked).json()["items"]
    said = {by["item_id"]: by["event"] for by in one["explanation"]["influences"]}
    assert said == {"i7": "purchase, yesterday", "i3": "view, today"}


def test_an_event_needs_a_kind_that_the_run_knows(client: TestClient) -> None:
    answer = send(client, event(10, "i1", "purchase", START), event(11, "i1", "veiw", START))
    assert answer.status_code == 422
    assert answer.json()["code"] == "unknown_kind"
    assert answer.json()["index"] == 1
    assert "purchase, skip, view" in answer.json()["message"]
    assert send(client, event(12, "i1", None, START)).json()["message"].startswith("this event has no kind")
    assert client.get("/v1/users/zoe/history").json()["items"] == []
    asked = {"history": ["i1", {"item_id": "i2", "kind": "odd"}]}
    assert client.post("/v1/recommendations", json=asked).json()["index"] == 1
    for bad in ({"value": "x"}, {"kind": ""}, {"kind": "k" * 65}, {"time": -1}):
        assert send(client, {**event(13, "i1", "view", START), **bad}).status_code == 422


def test_an_event_id_has_one_kind(client: TestClient) -> None:
    assert send(client, event(20, "i1", "view", START, value=2.5)).json() == {"stored": 1, "duplicates": 0}
    assert send(client, event(20, "i1", "view", START, value=2.5)).json() == {"stored": 0, "duplicates": 1}
    assert send(client, event(20, "i1", "skip", START, value=2.5)).status_code == 409


def test_an_erasure_covers_kinds(client: TestClient) -> None:
    send(client, event(30, "i1", "purchase", START, value=9.0))
    assert client.delete("/v1/users/zoe").json()["events"] == 1
    assert client.get("/v1/users/zoe/history").json()["items"] == []


def test_the_model_says_what_it_reads(client: TestClient) -> None:
    about = client.get("/v1/model").json()
    assert about["events"] == {
        "kinds": {"purchase": "target", "skip": "negative", "view": "context"},
        "values": False,
        "liked": {"kind": "purchase"},
        "disliked": {"kind": "skip"},
    }
    assert about["attributes"] == ["brand", "price", "stock"]


def test_rules_and_items_have_attributes(opened: Opened, run: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    client = opened(run=folder)
    cheap = [{"allow": {"column": "price", "at_most": 50}}]
    assert set(listed(client, history=[], rules=cheap)) == {"i0", "i1", "i2", "i3", "i4"}
    assert client.put("/v1/items/i9", json={"attributes": {"price": 5}}).status_code == 200
    assert "i9" in listed(client, history=[], rules=cheap)
    assert client.put("/v1/items/i99", json={"attributes": {"brand": "brand 1", "price": 20}}).status_code == 201
    assert "i99" in listed(client, history=["i1"], rules=cheap)
    wrong = client.put("/v1/items/i9", json={"attributes": {"prise": 5}})
    assert wrong.json()["message"] == "no attribute of this run has the name 'prise'; it has brand, price, stock"
    assert client.put("/v1/items/i9", json={"attributes": {"price": "dear"}}).status_code == 422
