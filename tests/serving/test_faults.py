"""Servers that are killed and databases that go away: what was acknowledged is there, once and whole.

`DEFTREC_KILLS=50 pytest tests/serving/test_faults.py --timeout 3600` kills as often as docs/serving.md says.
"""

import os
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from answering import Start
from event_stream import BATCH, Stream
from killing import Killed

from deftrec.serving.engine import Engine
from deftrec.serving.store import SqlStore

KILLS = int(os.environ.get("DEFTREC_KILLS", "3"))


def test_kill_9_loses_nothing_that_was_acknowledged(runs: Path, engine: Engine, store_url: str) -> None:
    with Killed(runs / "first", store_url) as server, Stream(engine.items) as stream:
        for _ in range(KILLS):
            stream.address = server.start()
            stream.wait_for(10)
            server.kill()
    store = SqlStore(store_url)
    whole = tuple(engine.items[:BATCH])
    assert len(stream.acknowledged) >= 10 * KILLS
    assert not stream.refused
    for batch in stream.acknowledged:
        assert store.history(stream.user(batch), 100).items == whole, batch
    for batch in stream.unanswered:
        assert store.history(stream.user(batch), 100).items in (whole, ()), f"{batch} is half there"
    store.close()


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
def test_a_database_that_goes_away_and_comes_back(
    served: Start, engine: Engine, store_url: str, postgresql_server
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
            postgresql_server.start()
        stream.wait_for(10)
    assert stream.statuses == {503}
    assert not stream.unanswered
    store = SqlStore(store_url)
    for batch in stream.acknowledged:
        assert store.history(stream.user(batch), 100).items == tuple(engine.items[:BATCH])
    store.close()
