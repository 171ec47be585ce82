"""Killed servers and unavailable databases: acknowledged events are stored exactly once.

`benchmarks/serving_faults.py` does more of the same, with a run of real size.
"""

import http.client
import json
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from answering import Start

from deftrec import Recommender
from deftrec.serving.engine import InferenceEngine
from deftrec.serving.store import SqlStore
from event_stream import BATCH, Stream
from server_process import ServerProcess
from serving_faults import killed, send, start, wait


def test_kill_9_loses_nothing_that_was_acknowledged(runs: Path, store_url: str) -> None:
    said = killed(runs / "first", store_url, kills=3)
    assert said.startswith("3 kills; ")
    assert "all there once" in said


def test_kill_9_loses_no_item_that_was_put(worded_run: Path, tmp_path: Path) -> None:
    acknowledged: list[int] = []
    with ServerProcess(worded_run, f"sqlite:///{tmp_path / 'events.sqlite'}") as server:
        for first in (1000, 2000):
            address = server.start()
            putting = threading.Thread(target=keep_putting, args=(address, first, acknowledged))
            putting.start()
            goal = len(acknowledged) + 3
            wait(lambda goal=goal: len(acknowledged) >= goal)  # type: ignore[misc]
            server.kill()
            putting.join()
    known = set(Recommender.load(worded_run).interactions.catalogue["item"])
    assert set(acknowledged) <= known
    assert sum(item >= 1000 for item in known) <= len(acknowledged) + 2, "one of each kill had no answer yet"


def keep_putting(address: str, item: int, acknowledged: list[int]) -> None:
    """Puts one item after the other until nobody answers."""
    while True:
        try:
            status, _ = send(address, "PUT", f"/v1/items/{item}", json.dumps({"title": f"number {item}"}).encode())
        except (OSError, http.client.HTTPException):
            return
        assert status == 201
        acknowledged.append(item)
        item += 1


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
def test_a_database_that_goes_away_and_comes_back(
    served: Start, engine: InferenceEngine, store_url: str, postgresql_server
) -> None:  # type: ignore[no-untyped-def]
    server = served(store=store_url)
    with Stream(engine.items, address=server.address) as stream:
        stream.wait_for(10)
        postgresql_server.stop()
        try:
            until = time.monotonic() + 30
            while not stream.refused:
                assert time.monotonic() < until
                time.sleep(0.01)
            with pytest.raises(urllib.error.HTTPError) as away:
                urllib.request.urlopen(f"{server.address}/readyz", timeout=30)
            assert away.value.code == 503
            assert int(away.value.headers["Retry-After"]) >= 1
            assert urllib.request.urlopen(f"{server.address}/healthz", timeout=30).status == 200
        finally:
            start(postgresql_server)
        stream.wait_for(10)
    assert stream.statuses == {503}
    assert not stream.unanswered
    store = SqlStore(store_url)
    for batch in stream.acknowledged:
        assert store.history(stream.user(batch), 100).items == tuple(engine.items[:BATCH])
    store.close()
