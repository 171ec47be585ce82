"""Every legal id can be asked for over HTTP, by the path or by a parameter; others are refused by the rule for ids."""

import json
from pathlib import Path
from urllib.parse import quote

import pytest
from answering import Opened
from fastapi.testclient import TestClient

from deftrec.serving.engine import InferenceEngine
from toy import ring
from worded import fitted

IDS = [
    *("a", "a/similar", "a/b", "/abs", "b/", "similar", "a/similar/similar", "history", "a%2Fb", "a%252Fb", "what?"),
    *("k=1&item_id=a", "#1", "1 + 1", " spaced ", "semi;colon", "back\\slash", "日本/similar", "x" * 256),
]
DOTS = [".", "..", "../a", "a/.."]
"""Ids that clients drop from a path before they send it."""
NO_IDS = ["a\tb", "a\nb", "a\0b", "\x7f", "x" * 257]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ids")
    fitted(folder, ring(users=60, strings=True))
    return folder / "run"


@pytest.fixture(scope="module")
def _added(run: Path) -> None:
    import polars as pl

    from deftrec.incremental.changes import add_events, add_items

    add_items(run, pl.DataFrame({"item": [*IDS, *DOTS], "title": [f"number {n}" for n in range(len(IDS + DOTS))]}))
    rows = [(user, item, 1000 + n) for n, (user, item) in enumerate((one, one) for one in [*IDS, *DOTS])]
    add_events(run, pl.DataFrame(rows, schema=["user", "item", "time"], orient="row"))


@pytest.fixture
def client(opened: Opened, run: Path, _added: None) -> TestClient:
    return opened(run=run)


def test_every_id_is_read_by_its_path_and_by_a_parameter(client: TestClient) -> None:
    engine: InferenceEngine = client.app.state.service.engine  # type: ignore[attr-defined]
    for item in [*IDS, *DOTS]:
        likes = [one.item for one in engine.recommender.similar(item, 2)]
        answers = [client.get("/v1/item", params={"item_id": item})]
        lists = [client.get("/v1/item/similar", params={"item_id": item, "k": 2})]
        histories = [client.get("/v1/user/history", params={"user_id": item})]
        if item not in DOTS:
            path = quote(item, safe="")
            answers.append(client.get(f"/v1/items/{path}"))
            lists.append(client.get(f"/v1/items/{path}/similar?k=2"))
            histories.append(client.get(f"/v1/users/{path}/history"))
        assert [one.json()["item_id"] for one in answers] == [item] * len(answers)
        assert [[near["item_id"] for near in one.json()["items"]] for one in lists] == [likes] * len(lists)
        assert [one.json()["items"][0]["item_id"] for one in histories] == [item] * len(histories)


def test_every_item_is_removed_and_restored(client: TestClient) -> None:
    for item in ("a/similar", "..", "what?"):
        params = {"item_id": item}
        assert client.delete("/v1/item", params=params).json()["removed"] is True
        assert client.put("/v1/item", params=params, json={}).json()["removed"] is False
    path = quote("a/similar", safe="")
    assert client.delete(f"/v1/items/{path}").json() == {**client.get(f"/v1/items/{path}").json(), "removed": True}
    assert client.put(f"/v1/items/{path}", json={}).json()["item_id"] == "a/similar"


def test_every_user_is_erased(client: TestClient) -> None:
    for user in ("a/history", ".."):
        event = {"event_id": user, "user_id": user, "item_id": "a"}
        assert client.post("/v1/events", json={"events": [event]}).json()["stored"] == 1
        assert client.delete("/v1/user", params={"user_id": user}).json() == {"user_id": user, "events": 1}


@pytest.mark.parametrize("name", NO_IDS)
def test_what_is_no_id_is_refused_everywhere(client: TestClient, name: str) -> None:
    path = quote(name, safe="")
    answers = [
        client.get("/v1/item", params={"item_id": name}),
        client.get("/v1/item/similar", params={"item_id": name}),
        client.get("/v1/user/history", params={"user_id": name}),
        client.delete("/v1/user", params={"user_id": name}),
        client.put("/v1/item", params={"item_id": name}, json={"title": "new"}),
        client.delete("/v1/item", params={"item_id": name}),
        client.get(f"/v1/items/{path}"),
        client.get(f"/v1/items/{path}/similar"),
        client.get(f"/v1/users/{path}/history"),
        client.put(f"/v1/items/{path}", json={"title": "new"}),
        client.post("/v1/recommendations", json={"history": [name]}),
        client.post("/v1/recommendations", json={"user_id": name}),
        client.post("/v1/events", json={"events": [{"event_id": "1", "user_id": name, "item_id": "a"}]}),
    ]
    assert {one.status_code for one in answers} == {422}
    assert all("256" in one.json()["message"] for one in answers)


@pytest.mark.parametrize("value", ['"a\\ud83d!"', "true", '["a"]', '{"id":1}', "null", "NaN", "1.5"])
def test_a_value_of_another_kind_is_no_id(client: TestClient, value: str) -> None:
    body = f'{{"events":[{{"event_id":"1","user_id":"u","item_id":{value}}}]}}'
    answer = client.post("/v1/events", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["message"].startswith("events.0.item_id: ")


@pytest.mark.parametrize("value", ['"a\\ud83d!"', '["a"]', '{"en":"a"}', "NaN"])
def test_a_description_is_text(client: TestClient, value: str) -> None:
    content = f'{{"title":{value}}}'
    answer = client.put("/v1/item?item_id=new", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["message"].startswith("title: ")


def test_a_body_may_begin_with_a_byte_order_mark(client: TestClient) -> None:
    body = b"\xef\xbb\xbf" + json.dumps({"history": ["a/similar"], "k": 2}).encode()
    answer = client.post("/v1/recommendations", content=body, headers={"Content-Type": "application/json"})
    assert len(answer.json()["items"]) == 2
