"""A run with a reasoner, served: requests use the reasoning that is stored, and never wait for more."""

import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from answering import Opened
from fastapi import FastAPI
from fastapi.testclient import TestClient

from deftrec import Recommender
from deftrec.reasoning import Reasoner, ReasoningStore, StoredReasoning
from deftrec.recommendation import Recommendation
from reasoned import fit, forget, speak_up
from toy import ring


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reasoned")
    fit(folder, ring(users=60, strings=True))
    speak_up(folder / "run")
    forget(folder / "run")
    return folder / "run"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of a run with a reasoner that has read nothing."""
    return Path(shutil.copytree(trained, tmp_path / "reasoned"))


@pytest.fixture
def go(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """The language model is built once this is set."""
    event, built = threading.Event(), StoredReasoning.reasoner

    def reasoner(self: StoredReasoning) -> Reasoner:
        assert event.wait(60)
        assert built.fget is not None
        return built.fget(self)  # type: ignore[no-any-return]

    monkeypatch.setattr(StoredReasoning, "reasoner", property(reasoner))
    yield event
    event.set()


def reasoning(client: TestClient) -> StoredReasoning:
    found = client.app.state.service.engine.run.reasoning  # type: ignore[attr-defined]
    assert isinstance(found, StoredReasoning)
    return found


def ask(client: TestClient, **query: object) -> list[dict[str, Any]]:
    answer = client.post("/v1/recommendations", json=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]  # type: ignore[no-any-return]


def texts(items: Sequence[dict[str, Any]]) -> set[str | None]:
    return {one["explanation"]["text"] for one in items}


def same(items: Sequence[dict[str, Any]], library: Sequence[Recommendation]) -> bool:
    """Whether the service recommends as the library does."""
    expected = pytest.approx([one.score for one in library], rel=1e-4, abs=1e-5)
    return [one["item_id"] for one in items] == [one.item for one in library] and (
        [one["score"] for one in items] == expected
    )


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_request_waits_for_no_reasoning_and_a_later_one_has_it(
    opened: Opened, run: Path, go: threading.Event
) -> None:
    library = Recommender.load(run)
    user, history = library.interactions.users[0], library.interactions.sequences[0]
    assert library.run.reasoning is not None
    library.run.reasoning.wait = False
    without = library.recommend(user)
    client = opened(run=run)
    assert client.get("/v1/model").json()["capabilities"]["words"]
    assert same(ask(client, user_id=user), without)
    before = ask(client, user_id=user, explain=True)
    assert same(before, without)
    assert texts(before) == {None}
    assert not isinstance(reasoning(client)._reasoner, Reasoner), "the language model is not loaded"
    page = client.get("/metrics").text
    assert "deftrec_reasoning_total 0.0" in page
    assert "deftrec_reasoning_queue 0.0" not in page

    go.set()
    until(lambda: reasoning(client).statement(history))
    library.run.reasoning.wait = True
    expected = library.recommend(user, explain=True)
    after = ask(client, user_id=user, explain=True)
    assert same(after, expected)
    assert not same(after, without)
    assert expected[0].explanation is not None
    assert expected[0].explanation.text
    assert texts(after) == {expected[0].explanation.text}
    until(lambda: "deftrec_reasoning_total 2.0" in client.get("/metrics").text)


def test_reasoning_serves_the_events_that_follow(opened: Opened, run: Path) -> None:
    client = opened(run=run)
    engine = client.app.state.service.engine  # type: ignore[attr-defined]
    items = engine.items[:5]
    ask(client, history=items[:4])
    until(lambda: reasoning(client).statement(np.arange(4)))
    assert None not in texts(ask(client, history=items, explain=True))


def test_nothing_is_computed_where_nothing_is_to_be(opened: Opened, run: Path, go: threading.Event) -> None:
    client = opened(run=run, reasoning_refresh=False)
    engine = client.app.state.service.engine  # type: ignore[attr-defined]
    assert texts(ask(client, history=engine.items[:3], explain=True)) == {None}
    assert engine.refresher is None
    assert not len(reasoning(client).store)
    assert "deftrec_reasoning_queue 0.0" in client.get("/metrics").text


def test_a_run_that_cannot_be_written_is_served_from_its_store(
    opened: Opened, run: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ReasoningStore, "is_writable", property(lambda store: False))
    with caplog.at_level(logging.WARNING, "deftrec.serving"):
        client = opened(run=run)
    assert "no refresh of reasoning" in caplog.messages
    engine = client.app.state.service.engine  # type: ignore[attr-defined]
    assert engine.refresher is None
    assert texts(ask(client, history=engine.items[:3], explain=True)) == {None}


def test_a_refresher_lasts_as_long_as_its_run_is_served(
    build: Callable[..., FastAPI], run: Path, go: threading.Event
) -> None:
    shutil.copytree(run, run.with_name("second"))
    with TestClient(build(run=run)) as client:
        service = client.app.state.service  # type: ignore[attr-defined]
        before = service.engine
        ask(client, history=before.items[:3])
        assert client.delete(f"/v1/items/{before.items[5]}").status_code == 200
        assert service.engine is not before
        assert service.engine.refresher is before.refresher
        assert client.post("/v1/admin/model", json={"run": "second"}).status_code == 200
        until(lambda: before.refresher._closed)
        ask(client, history=before.items[:3])
        after = service.engine.refresher
        assert after is not before.refresher
        go.set()
        until(lambda: reasoning(client).statement(np.arange(3)))
        assert after._thread.is_alive()
    assert not after._thread.is_alive()
