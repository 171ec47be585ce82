"""HTTP interface on a tiny run: requests, responses and errors."""

import json
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from answering import Opened
from fastapi.testclient import TestClient

from deftrec import Recommender
from deftrec.serving.engine import EngineRequest, InferenceEngine, RecommendationRequest
from deftrec.serving.index import VectorIndex
from deftrec.serving.store import StoreUnavailableError


def event(event_id: str, item: object, user: object = "ann", **more: object) -> dict[str, object]:
    return {"event_id": event_id, "user_id": user, "item_id": item, **more}


def ask(client: TestClient, **question: object) -> Any:
    answer = client.post("/v1/recommendations", json=question)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(answer: Any) -> list[str]:
    return [one["item_id"] for one in answer["items"]]


# -- events ----------------------------------------------------------------------------------------------------


def test_an_event_changes_the_next_recommendation(client: TestClient, engine: InferenceEngine) -> None:
    before = ask(client, user_id="ann", k=3)
    assert {one["source"] for one in before["items"]} == {"popularity"}
    taken = engine.items[:2]
    sent = client.post("/v1/events", json={"events": [event("1", taken[0], time=1), event("2", taken[1], time=2)]})
    assert (sent.status_code, sent.json()) == (200, {"stored": 2, "duplicates": 0})
    after = ask(client, user_id="ann", k=3)
    assert after["history_length"] == 2
    assert ids(after) == ids(ask(client, history=taken, k=3))
    assert {one["source"] for one in after["items"]} == {"deftrec"}


def test_events_come_after_the_runs_own_history(client: TestClient, engine: InferenceEngine) -> None:
    user = str(engine.interactions.users[0])
    own = engine.own_history(user)
    client.post("/v1/events", json={"events": [event("1", engine.items[5], user)]})
    history = client.get(f"/v1/users/{user}/history").json()
    assert [one["item_id"] for one in history["items"]] == [*own, engine.items[5]]


def test_an_event_sent_again_is_kept_once(client: TestClient, engine: InferenceEngine) -> None:
    batch = {"events": [event("1", engine.items[0])]}
    client.post("/v1/events", json=batch)
    assert client.post("/v1/events", json=batch).json() == {"stored": 0, "duplicates": 1}
    assert len(client.get("/v1/users/ann/history").json()["items"]) == 1


def test_an_unknown_item_refuses_the_whole_batch(client: TestClient, engine: InferenceEngine) -> None:
    answer = client.post("/v1/events", json={"events": [event("1", engine.items[0]), event("2", "nothing")]})
    assert answer.status_code == 422
    assert (answer.json()["code"], answer.json()["index"]) == ("unknown_item", 1)
    assert client.get("/v1/users/ann/history").json()["items"] == []


def test_an_event_id_of_another_event_is_a_conflict(client: TestClient, engine: InferenceEngine) -> None:
    client.post("/v1/events", json={"events": [event("1", engine.items[0])]})
    answer = client.post("/v1/events", json={"events": [event("2", engine.items[1]), event("1", engine.items[1])]})
    assert (answer.status_code, answer.json()["code"], answer.json()["index"]) == (409, "event_conflict", 1)
    assert len(client.get("/v1/users/ann/history").json()["items"]) == 1


def test_a_batch_has_a_limit(opened: Opened, engine: InferenceEngine) -> None:
    client = opened(events=2)
    answer = client.post("/v1/events", json={"events": [event(str(n), engine.items[0]) for n in range(3)]})
    assert (answer.status_code, answer.json()["code"]) == (422, "too_many_events")


def test_several_processes_share_one_store(opened: Opened, engine: InferenceEngine) -> None:
    one, other = opened(), opened()
    one.post("/v1/events", json={"events": [event("1", engine.items[0])]})
    assert other.post("/v1/events", json={"events": [event("1", engine.items[0])]}).json()["duplicates"] == 1
    assert [item["item_id"] for item in other.get("/v1/users/ann/history").json()["items"]] == engine.items[:1]


# -- recommendations -------------------------------------------------------------------------------------------


def test_the_service_answers_as_the_library_does(client: TestClient, engine: InferenceEngine) -> None:
    recommender: Recommender = engine.recommender
    user = engine.interactions.users[3]
    for exclude in (True, False):
        expected = recommender.recommend(user, k=7, exclude_seen=exclude)
        answer = ask(client, user_id=user, k=7, exclude_seen=exclude)
        assert ids(answer) == [one.item for one in expected]
        assert [one["score"] for one in answer["items"]] == pytest.approx([one.score for one in expected], abs=1e-4)
        assert [one["rank"] for one in answer["items"]] == list(range(1, 8))
    assert answer["model"] == {"run": "first", "version": engine.version}
    assert set(answer["seconds"]) == {"store", "queue", "generate", "retrieve", "total"}


def test_filters_leave_what_they_say(client: TestClient, engine: InferenceEngine) -> None:
    history, every = engine.items[:1], len(engine.items)
    whole = ids(ask(client, history=history, k=every))
    assert len(whole) == every - 1
    red = ids(ask(client, history=history, k=every, category="red"))
    assert red == [item for item in whole if engine.numbers[item] in engine.recommender.categories["red"]]
    some = whole[2:6]
    assert ids(ask(client, history=history, k=every, allow=some)) == some
    assert ids(ask(client, history=history, k=every, deny=some)) == [item for item in whole if item not in some]
    assert ids(ask(client, history=history, allow=some, deny=some)) == []
    assert ids(ask(client, history=[], allow=some, k=9)) == sorted(
        some, key=lambda item: (-int(engine.recommender.popularity[engine.numbers[item]]), engine.numbers[item])
    )


def test_a_seed_draws_the_same_and_another_one_otherwise(client: TestClient, engine: InferenceEngine) -> None:
    def scores(**more: object) -> list[float]:
        return [one["score"] for one in ask(client, history=engine.items[:2], k=5, **more)["items"]]

    assert scores(samples=1, seed=3) == pytest.approx(scores(samples=1, seed=3))
    assert scores(samples=1, seed=3) != pytest.approx(scores(samples=1, seed=4), abs=1e-3)


def test_an_explanation_is_the_librarys(client: TestClient, engine: InferenceEngine) -> None:
    history = engine.items[:3]
    expected = engine.recommender.recommend(history=history, k=2, explain=True)
    found = ask(client, history=history, k=2, explain=True)
    for one, other in zip(found["items"], expected, strict=True):
        assert other.explanation is not None
        influences = one["explanation"]["influences"]
        assert [by["item_id"] for by in influences] == [by.item for by in other.explanation.influences]
        assert one["explanation"]["shares"] == pytest.approx(other.explanation.shares, abs=1e-4)
    assert "explain" in found["seconds"]


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ({}, "give either user_id or history"),
        ({"user_id": "a", "history": []}, "give either user_id or history"),
        ({"history": [], "k": 0}, "k: "),
        ({"history": [], "k": 201}, "k is 200 at most"),
        ({"history": [], "samples": 65}, "samples is 64 at most"),
        ({"history": [], "seed": -1}, "seed: "),
        ({"history": [], "category": "nonsense"}, "no item has this category"),
        ({"history": [], "explain": True, "samples": 2}, "leave out samples"),
        ({"history": ["nothing"]}, "history: this item is not in the run's catalogue"),
        ({"history": [], "allow": ["nothing"]}, "allow: this item is not"),
        ({"history": [], "kk": 3}, "kk: Extra inputs"),
        ({"user_id": ""}, "user_id: "),
        ({"user_id": "a\u0000b"}, "control characters"),
        ({"user_id": True}, "user_id: "),
    ],
)
def test_a_wrong_question_is_told_what_is_wrong(client: TestClient, question: dict[str, object], words: str) -> None:
    answer = client.post("/v1/recommendations", json=question)
    assert answer.status_code == 422
    assert words in answer.json()["message"]


def test_a_body_without_its_type_is_told_which(client: TestClient) -> None:
    answer = client.post("/v1/recommendations", content=b'{"history": []}')
    assert answer.status_code == 415
    assert "Content-Type: application/json" in answer.json()["message"]


def test_ids_are_as_large_as_those_of_data(client: TestClient) -> None:
    for user, status in ((2**64 - 1, 404), (-(2**63), 404), (2**64, 422)):
        answer = client.post("/v1/recommendations", json={"user_id": user, "k": 1})
        assert answer.status_code in {status, 200} if status == 404 else answer.status_code == status


def test_a_path_ends_where_the_library_says(client: TestClient, engine: InferenceEngine) -> None:
    history = engine.items[:3]
    answer = client.post("/v1/path", json={"history": history, "seeds": [0, 5]}).json()
    expected = engine.plane(engine.recommender.denoising_path(history, 20, 5))
    assert len(answer["paths"]) == 2
    assert answer["paths"][1] == [pytest.approx(point, abs=1e-4) for point in expected.tolist()]


# -- users and items -------------------------------------------------------------------------------------------


def test_erasure_takes_the_runs_history_too(client: TestClient, engine: InferenceEngine) -> None:
    user = str(engine.interactions.users[0])
    client.post("/v1/events", json={"events": [event("1", engine.items[5], user)]})
    assert client.delete(f"/v1/users/{user}").json() == {"user_id": user, "events": 1}
    assert client.get(f"/v1/users/{user}/history").json()["items"] == []
    assert user not in {one["user_id"] for one in client.get("/v1/users").json()["users"]}
    assert {one["source"] for one in ask(client, user_id=user)["items"]} == {"popularity"}


def test_titles_are_searched_by_all_their_words(client: TestClient, engine: InferenceEngine) -> None:
    def search(words: str) -> list[str]:
        return [one["title"] for one in client.get("/v1/items", params={"q": words}).json()["items"]]

    assert search("NUMBER 17") == ["number 17"]
    assert search("number") == search("number ")
    assert all("alert" in title for title in search("number script"))
    assert len(search("number script")) == 3
    assert search("%") == []


def test_items_and_their_likes(client: TestClient, engine: InferenceEngine) -> None:
    item = engine.items[4]
    found = client.get(f"/v1/items/{item}").json()
    assert (found["item_id"], found["title"]) == (item, engine.titles[4])
    assert found["place"] == pytest.approx(engine.places[4].tolist())
    similar = client.get(f"/v1/items/{item}/similar", params={"k": 3}).json()
    assert ids(similar) == [one.item for one in engine.recommender.similar(item, 3)]
    assert client.get("/v1/items/nothing").status_code == 404
    assert client.get("/v1/items/nothing/similar").json()["code"] == "unknown_item"
    assert len(client.get("/v1/map").json()["items"]) == len(engine.items)


@pytest.mark.parametrize(
    ("name", "path"), [("users", "/v1/users?q=zz"), ("background", "/v1/map"), ("search", "/v1/items?q=zz")]
)
def test_who_looks_at_all_there_is_holds_up_nobody(
    client: TestClient, engine: InferenceEngine, monkeypatch: pytest.MonkeyPatch, name: str, path: str
) -> None:
    begun, go = threading.Event(), threading.Event()

    def slow(*_: object) -> list[object]:
        begun.set()
        assert go.wait(5)
        return []

    monkeypatch.setattr(engine, name, slow)
    with ThreadPoolExecutor(1) as other:
        looking = other.submit(client.get, path)
        assert begun.wait(5)
        assert client.get("/healthz").status_code == 200
        go.set()
        assert looking.result().status_code == 200


# -- the model -------------------------------------------------------------------------------------------------


def test_a_switch_loses_no_request(client: TestClient, engine: InferenceEngine) -> None:
    versions: list[str] = []
    done = threading.Event()

    def keep_asking() -> None:
        while not done.is_set():
            versions.append(ask(client, history=engine.items[:2], k=3)["model"]["version"])

    threads = [threading.Thread(target=keep_asking) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        switched = client.post("/v1/admin/model", json={"run": "second"})
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert switched.status_code == 200
    assert switched.json()["run"] == "second"
    assert switched.json()["version"] != engine.version
    assert set(versions) <= {engine.version, switched.json()["version"]}
    assert ask(client, history=engine.items[:2])["model"] == switched.json()


class Closed(VectorIndex):
    """An index that is asked nothing, and counts how often it is closed."""

    times = 0

    def nearest(self, queries: np.ndarray, count: int) -> np.ndarray:
        raise NotImplementedError

    def close(self) -> None:
        self.times += 1


def test_a_run_that_was_switched_out_is_closed_after_its_last_answer(
    client: TestClient, engine: InferenceEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    index, batcher = Closed(), client.app.state.service.batcher  # type: ignore[attr-defined]
    monkeypatch.setattr(engine, "index", index)
    work, begun, go = batcher._work, threading.Event(), threading.Event()
    open_then: list[bool] = []

    def held(jobs: Sequence[EngineRequest]) -> object:
        begun.set()
        assert go.wait(30)
        answers = work(jobs)
        open_then.append(index.times == 0)
        return answers

    batcher._work = held
    with ThreadPoolExecutor(2) as others:
        asking = [others.submit(ask, client, history=engine.items[:2])]
        assert begun.wait(30)
        asking.append(others.submit(ask, client, history=engine.items[:3]))
        while not len(batcher):
            time.sleep(0.01)
        assert client.post("/v1/admin/model", json={"run": "second"}).status_code == 200
        go.set()
        assert {one.result()["model"]["run"] for one in asking} == {"first"}
    assert ask(client, history=engine.items[:2])["model"]["run"] == "second"
    assert open_then == [True, True, False], "of both that were under way, then of the next"
    assert index.times == 1


def test_a_run_that_nobody_asks_is_closed_when_it_is_switched_out(
    client: TestClient, engine: InferenceEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = Closed()
    monkeypatch.setattr(engine, "index", index)
    ask(client, history=engine.items[:2])
    assert index.times == 0
    assert client.post("/v1/admin/model", json={"run": "second"}).status_code == 200
    ask(client, history=engine.items[:2])
    assert index.times == 1
    service = client.app.state.service  # type: ignore[attr-defined]
    late = client.portal.call(service.answer, RecommendationRequest(engine, np.zeros(1, np.int64)))  # type: ignore[union-attr]
    assert len(late.found) == 10, "who began with it before the switch is answered still"
    ask(client, history=engine.items[:2])
    assert index.times == 2, "what that opened again"


@pytest.mark.parametrize("name", ["third", "../first", "/etc", "first/..", "..", "."])
def test_only_runs_beside_the_present_one_are_switched_to(client: TestClient, name: str) -> None:
    answer = client.post("/v1/admin/model", json={"run": name})
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_run")
    assert client.get("/v1/model").json()["run"] == "first"


def test_a_damaged_run_is_refused_and_the_present_one_stays(client: TestClient, runs: Any) -> None:
    (runs / "damaged").mkdir(exist_ok=True)
    (runs / "damaged" / "run.json").write_text("{")
    answer = client.post("/v1/admin/model", json={"run": "damaged"})
    assert (answer.status_code, answer.json()["code"]) == (409, "damaged_run")
    assert str(runs) not in answer.text
    assert client.get("/v1/model").json()["run"] == "first"


# -- faults ----------------------------------------------------------------------------------------------------


def test_a_store_that_is_away_is_a_503_with_a_time(client: TestClient, engine: InferenceEngine) -> None:
    store = client.app.state.service.store  # type: ignore[attr-defined]

    def away(*_: object) -> None:
        raise StoreUnavailableError("the event store does not answer (password of host); try again")

    store.history = store.append = store.ping = away
    batch = {"events": [event("1", engine.items[0])]}
    for answer in (
        client.post("/v1/recommendations", json={"user_id": "ann"}),
        client.post("/v1/events", json=batch),
        client.get("/readyz"),
    ):
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        assert "password" not in answer.text
    assert client.get("/healthz").status_code == 200
    assert len(ask(client, history=engine.items[:1])["items"]) == 10, "without the store there are ad-hoc histories"


def test_what_nobody_foresaw_is_a_bare_500(client: TestClient) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("secret of the inside")

    client.app.state.service.store.history = broken  # type: ignore[attr-defined]
    answer = client.post("/v1/recommendations", json={"user_id": "ann"})
    assert answer.status_code == 500
    assert set(answer.json()) == {"code", "message"}
    assert "secret" not in answer.text
    assert answer.headers["x-request-id"] in answer.json()["message"]


def test_too_late_is_a_503_with_a_time(client: TestClient, engine: InferenceEngine) -> None:
    service = client.app.state.service  # type: ignore[attr-defined]
    work, held = service.batcher._work, threading.Event()
    service.batcher._work = lambda jobs: held.wait(5) and work(jobs)
    answer = client.post("/v1/recommendations", json={"history": engine.items[:1], "deadline_ms": 30})
    held.set()
    assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
    assert int(answer.headers["retry-after"]) >= 1


# -- for whoever watches ---------------------------------------------------------------------------------------


def test_metrics_count_what_happened(client: TestClient, engine: InferenceEngine) -> None:
    client.post("/v1/events", json={"events": [event("1", engine.items[0])] * 2})
    ask(client, user_id="ann")
    client.get("/v1/items/nothing")
    page = client.get("/metrics").text
    for line in (
        'deftrec_events_total{outcome="stored"} 1.0',
        'deftrec_events_total{outcome="duplicate"} 1.0',
        'deftrec_request_seconds_count{method="POST",route="/v1/recommendations",status="200"} 1.0',
        'deftrec_request_seconds_count{method="GET",route="/v1/items/{item_id:path}",status="404"} 1.0',
        'deftrec_stage_seconds_count{stage="generate"} 1.0',
        "deftrec_batch_size_count 1.0",
        "deftrec_queue 0.0",
    ):
        assert line in page, line
    assert "ann" not in page


def test_the_openapi_document_names_every_route(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert {
        "/v1/events",
        "/v1/recommendations",
        "/v1/users/{user_id}/history",
        "/v1/items/{item_id}/similar",
        "/v1/admin/model",
        "/healthz",
        "/readyz",
        "/metrics",
    } <= set(document["paths"])
    operations = [one["operationId"] for path in document["paths"].values() for one in path.values()]
    assert len(set(operations)) == len(operations)
    assert json.dumps(document["components"]["schemas"]["NewEvent"]["required"]) == '["event_id", "user_id", "item_id"]'
