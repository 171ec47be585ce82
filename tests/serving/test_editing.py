"""Adding and removing items while the run is served: changes are on disk, reach every worker, and lose no request."""

import errno
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from answering import Opened
from fastapi.testclient import TestClient

from deftrec import Recommender
from deftrec.incremental import changes, places
from deftrec.incremental.changes import add_items
from deftrec.incremental.overlay import FILE
from deftrec.serving.engine import InferenceEngine, RecommendationRequest
from deftrec.serving.index import VectorIndex
from deftrec.serving.index.faiss_index import FaissIndex

LAMP = {"title": "red number 103", "category": "red|old"}


@pytest.fixture
def editable(opened: Opened, worded_run: Path) -> TestClient:
    return opened(run=worded_run)


def put(client: TestClient, item: object, words: dict[str, str] | None = None) -> Any:
    return client.put(f"/v1/items/{item}", json=LAMP if words is None else words)


def ids(client: TestClient, **question: object) -> list[str]:
    answer = client.post("/v1/recommendations", json={"k": 200, **question})
    assert answer.status_code == 200, answer.text
    return [one["item_id"] for one in answer.json()["items"]]


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


# -- what they do ----------------------------------------------------------------------------------------------


def test_an_item_is_there_at_once_and_stays(editable: TestClient, worded_run: Path) -> None:
    before = editable.get("/v1/model").json()
    assert before["capabilities"]["new_items"] is True
    answer = put(editable, 900)
    assert (answer.status_code, answer.json()["title"]) == (201, "red number 103")
    assert answer.json()["categories"] == ["red", "old"]
    assert answer.json() == editable.get("/v1/items/900").json()
    after = editable.get("/v1/model").json()
    assert after["items"] == before["items"] + 1
    assert after["version"] != before["version"]
    # As the library does with the same run.
    history = Recommender.load(worded_run).interactions.history(1000)
    expected = Recommender.load(worded_run).recommend(history=history, k=200)
    assert ids(editable, history=history) == [str(one.item) for one in expected]
    assert "900" in ids(editable, history=history)
    # Searched, taken, asked for its like, drawn.
    assert [one["item_id"] for one in editable.get("/v1/items?q=NUMBER 103").json()["items"]].count("900") == 1
    events = {"events": [{"event_id": "1", "user_id": "zoe", "item_id": 900}]}
    assert editable.post("/v1/events", json=events).json()["stored"] == 1
    assert "900" not in ids(editable, user_id="zoe")
    assert len(editable.get("/v1/items/900/similar").json()["items"]) == 10
    assert "900" in {one["item_id"] for one in editable.get("/v1/map").json()["items"]}
    # Put again: nothing; with other words: these.
    version = after["version"]
    assert put(editable, 900).status_code == 200
    assert editable.get("/v1/model").json()["version"] == version
    again = put(editable, 900, {"title": "blue"})
    assert (again.status_code, again.json()["title"], again.json()["categories"]) == (200, "blue", [])
    assert put(editable, 900, {}).json() == again.json(), "the words that are there"
    assert put(editable, "0900", {}).status_code == 422, "another id than 900, and none that this run can have"


def test_a_removed_item_is_recommended_no_more_and_stays_in_histories(editable: TestClient) -> None:
    [first, second, *_] = ids(editable, history=[])
    events = {"events": [{"event_id": "1", "user_id": "zoe", "item_id": first}]}
    editable.post("/v1/events", json=events)
    items = editable.get("/v1/model").json()["items"]
    gone = editable.delete(f"/v1/items/{first}")
    assert (gone.status_code, gone.json()["removed"]) == (200, True)
    assert editable.delete(f"/v1/items/{first}").json() == gone.json(), "again, the same"
    assert editable.get("/v1/model").json()["items"] == items - 1
    for question in ({"history": []}, {"history": [second]}, {"history": [second], "allow": [first]}):
        assert first not in ids(editable, **question)
    assert first not in {one["item_id"] for one in editable.get("/v1/map").json()["items"]}
    title = gone.json()["title"]
    assert first not in {one["item_id"] for one in editable.get("/v1/items", params={"q": title}).json()["items"]}
    [taken] = editable.get("/v1/users/zoe/history").json()["items"]
    assert (taken["item_id"], taken["removed"]) == (first, True)
    # Back by its id alone, with the words that it was trained with.
    back = put(editable, first, {})
    assert (back.status_code, back.json()) == (200, {**gone.json(), "removed": False})
    assert first in ids(editable, history=[second])
    assert editable.delete("/v1/items/nothing").status_code == 404


def test_nothing_on_the_map_moves_when_items_come(editable: TestClient) -> None:
    def places() -> dict[str, Any]:
        return {one["item_id"]: one["place"] for one in editable.get("/v1/map").json()["items"]}

    before = places()
    put(editable, 900)
    after = places()
    assert set(after) - set(before) == {"900"}
    for item, place in before.items():
        assert after[item] == pytest.approx(place, abs=1e-5)


# -- what is refused -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("item", "words", "status", "code", "message"),
    [
        ("900", {}, 422, "invalid", "give it a title, category or text"),
        ("900", {"title": "  "}, 422, "invalid", "give it a title, category or text"),
        ("lamp", LAMP, 422, "invalid", "'lamp' is no whole number"),
        ("{first}", {"title": "other"}, 409, "trained_item", "trained with its description"),
        ("900", {"name": "x"}, 422, "invalid", "name: "),
        ("900", {"title": "x" * 1001}, 422, "invalid", "title: "),
    ],
)
def test_what_is_no_item_is_refused(
    editable: TestClient, item: str, words: dict[str, str], status: int, code: str, message: str
) -> None:
    first = ids(editable, history=[])[0]
    version = editable.get("/v1/model").json()["version"]
    answer = put(editable, item.format(first=first), words)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert message in answer.json()["message"]
    assert editable.get("/v1/model").json()["version"] == version


def test_a_run_that_cannot_says_why_and_the_mend(client: TestClient, engine: InferenceEngine) -> None:
    able = client.get("/v1/model").json()["capabilities"]
    assert able["new_items"] is False
    assert "train with text.model minilm" in able["new_items_reason"]
    answer = put(client, "new")
    assert (answer.status_code, answer.json()["code"]) == (409, "fixed_catalogue")
    assert able["new_items_reason"] in answer.json()["message"]


def test_a_run_without_text_takes_back_what_was_removed(opened: Opened, runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "first", tmp_path / "first")
    client = opened(run=tmp_path / "first")
    before = ids(client, history=[])
    assert client.delete(f"/v1/items/{before[0]}").status_code == 200
    assert before[0] not in ids(client, history=[])
    assert put(client, before[0], {"title": "blue"}).json()["code"] == "trained_item"
    assert put(client, before[0], {}).status_code == 200
    assert ids(client, history=[]) == before


def test_a_run_that_must_not_be_written_says_so(
    editable: TestClient, worded_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ids(editable, history=[])[0]
    reachable = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != worded_run and reachable(path, mode))
    assert editable.get("/v1/model").json()["capabilities"]["new_items"] is False
    for answer in (put(editable, 900), editable.delete(f"/v1/items/{first}")):
        assert (answer.status_code, answer.json()["code"]) == (409, "fixed_catalogue")
        assert "mount it so that it can" in answer.json()["message"]
        assert str(worded_run) not in answer.text


def test_the_last_item_stays(editable: TestClient) -> None:
    [*others, last] = ids(editable, history=[])
    for item in others:
        assert editable.delete(f"/v1/items/{item}").status_code == 200
    answer = editable.delete(f"/v1/items/{last}")
    assert (answer.status_code, answer.json()["code"]) == (409, "last_item")
    assert ids(editable, history=[]) == [last]


def test_a_full_disk_changes_nothing(editable: TestClient, worded_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, f"no room in {worded_run}")

    with monkeypatch.context() as short:
        short.setattr(places, "write_overlay", full)
        answer = put(editable, 900)
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "run_unwritable", "5")
    assert str(worded_run) not in answer.text
    assert editable.get("/v1/items/900").status_code == 404
    assert put(editable, 900).status_code == 201


def test_a_damaged_run_says_no_path(editable: TestClient, worded_run: Path) -> None:
    (worded_run / "config.json").write_text("{")
    answer = put(editable, 900)
    assert (answer.status_code, answer.json()["code"]) == (409, "damaged_run")
    assert str(worded_run) not in answer.text
    assert ids(editable, history=[]), "what is loaded goes on"


# -- several workers -------------------------------------------------------------------------------------------


def test_every_worker_learns_of_it(opened: Opened, worded_run: Path) -> None:
    slow, quick = opened(run=worded_run, watch_seconds=1000), opened(run=worded_run, watch_seconds=0.02)
    assert put(slow, 900).status_code == 201
    until(lambda: "900" in ids(quick, history=[]))
    assert quick.delete("/v1/items/900").json()["removed"] is True
    # Whoever watches seldom looks when it is asked for what it does not know.
    assert put(quick, 901, {"title": "blue"}).status_code == 201
    assert slow.get("/v1/items/900").json()["removed"] is False
    events = {"events": [{"event_id": "1", "user_id": "zoe", "item_id": 901}]}
    assert slow.post("/v1/events", json=events).status_code == 200
    assert slow.get("/v1/items/900").json()["removed"] is True
    # The command line's changes count as well.
    add_items(worded_run, pl.DataFrame({"item": [902], "title": ["green"]}))
    until(lambda: quick.get("/v1/items?q=green").json()["items"] != [])
    assert ids(slow, history=[902])
    assert slow.get("/v1/model").json()["version"] == quick.get("/v1/model").json()["version"]


def test_puts_on_several_workers_at_once_lose_nothing(opened: Opened, worded_run: Path) -> None:
    workers = [opened(run=worded_run) for _ in range(2)]
    statuses: list[int] = []

    def keep_putting(client: TestClient, start: int) -> None:
        statuses.extend(put(client, n).status_code for n in range(start, start + 4))

    threads = [threading.Thread(target=keep_putting, args=(workers[n % 2], 900 + 10 * n)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [201] * 16
    wanted = {str(900 + 10 * n + m) for n in range(4) for m in range(4)}
    for client in workers:
        until(lambda client=client: wanted <= set(ids(client, history=[])))  # type: ignore[misc]


def test_what_others_damage_is_not_served(opened: Opened, worded_run: Path) -> None:
    client = opened(run=worded_run, watch_seconds=0.02)
    put(client, 900)
    whole = (worded_run / FILE).read_bytes()

    def replace(content: bytes) -> None:  # at one go: the watcher must not look in between
        (worded_run / "other").write_bytes(content)
        (worded_run / "other").replace(worded_run / FILE)

    replace(whole[:100])
    until(lambda: 'deftrec_renewals_total{outcome="failed"}' in client.get("/metrics").text)
    assert "900" in ids(client, history=[])
    assert client.get("/v1/items/901").status_code == 404
    assert put(client, 901).json()["code"] == "damaged_run"
    assert 'deftrec_renewals_total{outcome="failed"} 1.0' in client.get("/metrics").text, "looked at once"
    replace(whole)
    assert put(client, 901).status_code == 201


def test_no_request_is_lost_while_items_come_and_go(editable: TestClient) -> None:
    history = ids(editable, history=[])[:2]
    answered: list[str] = []
    done = threading.Event()

    def keep_asking() -> None:
        while not done.is_set():
            answer = editable.post("/v1/recommendations", json={"history": history})
            assert answer.status_code == 200
            answered.append(answer.json()["model"]["version"])

    threads = [threading.Thread(target=keep_asking) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for n in range(3):
            assert put(editable, 900 + n).status_code == 201
            assert editable.delete(f"/v1/items/{900 + n}").status_code == 200
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert len(set(answered)) > 3, "answered by what was there before, between and after"


# -- indexes and the document ----------------------------------------------------------------------------------


def test_an_index_of_the_trained_items_finds_the_new_ones_too(worded_run: Path) -> None:
    pytest.importorskip("faiss", reason='FAISS: pip install "deftrec[faiss]"')
    exact, indexed = InferenceEngine.load(worded_run), InferenceEngine.load(worded_run, "faiss")
    add_items(worded_run, pl.DataFrame({"item": [900, 901], "title": ["red number 103", "blue"]}))
    changes.remove_items(worded_run, [exact.items[0], 901])
    assert indexed.outdated()
    renewed, expected = indexed.renewed(), exact.renewed()
    assert not renewed.outdated()
    assert renewed.index is indexed.index
    for history in ([1, 2, 3], [len(expected.items) - 2]):
        [one], [other] = (
            each.answer([RecommendationRequest(each, np.array(history), k=30)]) for each in (renewed, expected)
        )
        assert not isinstance(one, Exception)
        assert not isinstance(other, Exception)
        assert [found.item for found in one.found] == [found.item for found in other.found]
        assert (900 in [found.item for found in one.found]) == (history == [1, 2, 3])
        assert not {int(exact.items[0]), 901} & {found.item for found in one.found}


def test_what_is_renewed_keeps_its_index_open(
    opened: Opened, worded_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("faiss", reason='FAISS: pip install "deftrec[faiss]"')
    closed: list[VectorIndex] = []
    monkeypatch.setattr(FaissIndex, "close", lambda index: closed.append(index))
    client = opened(run=worded_run, index="faiss")
    service = client.app.state.service  # type: ignore[attr-defined]
    before = service.engine
    history = before.items[:1]
    assert put(client, 900).status_code == 201
    client.portal.call(service.answer, RecommendationRequest(before, np.array([0])))  # type: ignore[union-attr]
    assert ids(client, history=history)
    assert service.engine is not before
    assert not closed
    assert client.post("/v1/admin/model", json={"run": worded_run.name}).status_code == 200
    assert ids(client, history=history)
    assert closed == [before.index]


def test_the_document_says_what_is_put_and_what_comes_back(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    operation = document["paths"]["/v1/items/{item_id}"]["put"]
    schema = {"$ref": "#/components/schemas/NewItem"}
    assert operation["requestBody"]["content"]["application/json"]["schema"] == schema
    for status in ("200", "201"):
        assert operation["responses"][status]["content"]["application/json"]["schema"]["$ref"].endswith("/Item")
    assert set(document["components"]["schemas"]["NewItem"]["properties"]) == {
        "title",
        "category",
        "text",
        "attributes",
    }
