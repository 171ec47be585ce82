"""Contract of event stores, tested on SQLite and on a real PostgreSQL."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from deftrec.errors import ConfigError, DeftRecError
from deftrec.serving.server import open_service
from deftrec.serving.settings import Settings
from deftrec.serving.store import (
    AppendResult,
    Event,
    EventConflictError,
    SqlStore,
    StoreUnavailableError,
    database,
)
from deftrec.serving.store.tables import metadata


@pytest.fixture
def store(store_url: str) -> Iterator[SqlStore]:
    opened = SqlStore(store_url)
    yield opened
    opened.close()


def test_events_come_back_by_time_whatever_order_they_came_in(store: SqlStore) -> None:
    store.append([Event("a", "u", "third", 30), Event("b", "u", "first", 10), Event("c", "v", "other", 5)])
    store.append([Event("d", "u", "second", 20)])
    assert store.history("u", 10).items == ("first", "second", "third")
    assert store.history("u", 2).items == ("second", "third"), "the newest are kept"


def test_equal_times_keep_the_order_in_which_they_came(store: SqlStore) -> None:
    names = ["z", "a", "m", "b"]
    store.append([Event(f"{name}1", "u", name, 7) for name in names])
    store.append([Event(f"{name}2", "u", name + name, 7) for name in names])
    assert store.history("u", 10).items == ("z", "a", "m", "b", "zz", "aa", "mm", "bb")


def test_an_event_without_a_time_is_of_now(store_url: str) -> None:
    store = SqlStore(store_url, now=lambda: 100.0)
    store.append([Event("a", "u", "now"), Event("b", "u", "later", 101), Event("c", "u", "before", 99)])
    assert store.history("u", 10).items == ("before", "now", "later")
    store.close()


def test_an_event_sent_again_is_kept_once(store: SqlStore) -> None:
    batch = [Event("a", "u", "i", 1), Event("b", "u", "j")]
    assert store.append(batch) == AppendResult(2, 0)
    assert store.append([*batch, Event("c", "u", "k", 3)]) == AppendResult(1, 2)
    assert store.append([Event("d", "u", "l", 4)] * 2) == AppendResult(1, 1)
    assert sorted(store.history("u", 10).items) == ["i", "j", "k", "l"]


@pytest.mark.parametrize("other", [Event("a", "v", "i", 1), Event("a", "u", "j", 1), Event("a", "u", "i", 2)])
def test_an_id_of_another_event_refuses_the_whole_batch(store: SqlStore, other: Event) -> None:
    store.append([Event("a", "u", "i", 1)])
    with pytest.raises(EventConflictError) as refused:
        store.append([Event("b", "u", "new", 5), other])
    assert refused.value.problem.index == 1
    assert store.history("u", 10).items == ("i",)


def test_a_large_batch_is_kept_whole(store: SqlStore) -> None:
    batch = [Event(f"e{n}", "u", f"i{n}", n) for n in range(1000)]
    assert store.append(batch) == AppendResult(1000, 0)
    assert store.append(batch) == AppendResult(0, 1000)
    assert store.history("u", 2000).items == tuple(f"i{n}" for n in range(1000))


def test_erasure_leaves_nothing_and_is_remembered(store: SqlStore) -> None:
    store.append([Event("a", "u", "i", 1), Event("b", "v", "i", 1)])
    assert store.forget("u") == 1
    assert store.history("u", 10).items == ()
    assert store.history("u", 10).erased
    assert not store.history("v", 10).erased
    assert store.forget("u") == 0
    assert store.erased(["v", "u", "w"]) == {"u"}
    store.append([Event("c", "u", "new", 2)])
    assert store.history("u", 10) == type(store.history("u", 10))(("new",), True, (2.0,), (None,), (None,))


def test_what_was_erased_is_in_no_file(tmp_path: Path) -> None:
    store = SqlStore(f"sqlite:///{tmp_path / 'events.sqlite'}")
    store.append([Event(f"e{n}", "somebody-secret", f"i{n}") for n in range(50)])
    assert any(b"somebody-secret" in file.read_bytes() for file in tmp_path.iterdir())
    store.forget("somebody-secret")
    assert not any(b"somebody-secret" in file.read_bytes() for file in tmp_path.iterdir())
    store.close()


@pytest.mark.parametrize("word", ["'; DROP TABLE events; --", "%", '" OR ""="', "ü 🎬", "\\"])
def test_ids_are_data(store: SqlStore, word: str) -> None:
    store.append([Event(word, word, word, 1), Event("x", "plain", "i", 1)])
    assert store.history(word, 10).items == (word,)
    assert store.history("plain", 10).items == ("i",)


def test_writers_at_once_lose_nothing(store: SqlStore) -> None:
    def write(writer: int) -> None:
        for n in range(10):
            # Every batch shares its first event with all writers', in both orders: no two may wait in a circle.
            batch = [Event(f"shared{n}", "s", "i", n), Event(f"w{writer}-{n}", f"u{writer}", "i", n)]
            store.append(batch if writer % 2 else batch[::-1])

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(store.history(f"u{writer}", 100).items) for writer in range(4)] == [10] * 4
    assert len(store.history("s", 100).items) == 10


def test_a_store_opened_again_has_everything(store: SqlStore, store_url: str) -> None:
    store.append([Event("a", "u", "i", 1)])
    again = SqlStore(store_url)
    assert again.history("u", 10).items == ("i",)
    again.ping()
    again.close()


def test_migrations_lead_to_the_tables(store: SqlStore, store_url: str) -> None:
    url = store_url.replace("postgresql:", "postgresql+psycopg:")
    with sa.create_engine(url).connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_a_store_of_a_newer_version_is_refused(store: SqlStore, store_url: str) -> None:
    store.close()
    url = store_url.replace("postgresql:", "postgresql+psycopg:")
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()
    with pytest.raises(DeftRecError, match=r"newer version of deftrec .* upgrade deftrec"):
        SqlStore(store_url)


@pytest.mark.parametrize("url", ["mysql://host/db", "sqlite://", "sqlite:///:memory:", "nonsense"])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="give sqlite:///PATH or postgresql://"):
        SqlStore(url)


def test_a_store_that_is_away_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match="does not answer"):
        SqlStore(f"sqlite:///{tmp_path / 'no' / 'folder' / 'events.sqlite'}")
    with pytest.raises(StoreUnavailableError, match="does not answer"):
        SqlStore("postgresql://127.0.0.1:1/nothing")


def test_a_store_that_cannot_be_opened_is_named_without_its_password(tmp_path: Path) -> None:
    settings = Settings(run=tmp_path, store="postgresql://shop:secret@127.0.0.1:1/events")
    with pytest.raises(DeftRecError, match=r"^event store postgresql://shop:\*\*\*@127\.0\.0\.1:1/events: "):
        open_service(settings)


def test_threads_wait_their_turn_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it SQLite's own patience decides, and on a busy machine some thread's is at an end."""
    monkeypatch.setattr(database, "BUSY_SECONDS", 0)
    store = SqlStore(f"sqlite:///{tmp_path / 'events.sqlite'}")

    def write(thread: int) -> None:
        for n in range(20):
            store.append([Event(f"{thread}-{n}", f"u{thread}", "i", n)])

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(8)))
    assert all(len(store.history(f"u{thread}", 100).items) == 20 for thread in range(8))
    store.close()


def test_a_full_disk_is_said_and_breaks_nothing(tmp_path: Path) -> None:
    store = SqlStore(f"sqlite:///{tmp_path / 'events.sqlite'}")
    store.append([Event("a", "u", "i", 1)])
    with store._engine.connect() as connection:  # SQLite's own way to be short of room
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
    store._engine.dispose()

    @sa.event.listens_for(store._engine, "connect")
    def _small(connection, _):  # type: ignore[no-untyped-def]
        connection.execute(f"PRAGMA max_page_count={pages}")

    with pytest.raises(StoreUnavailableError, match="full"):
        store.append([Event(f"b{n}", "u" * 200, "i" * 200) for n in range(500)])
    assert store.history("u", 10).items == ("i",)
    store.close()


def test_kind_and_value_are_stored_and_belong_to_the_event(store: SqlStore) -> None:
    store.append([Event("a", "u", "i", 1, "view"), Event("b", "u", "j", 2, "rating", 4.5), Event("c", "u", "k", 3)])
    found = store.history("u", 10)
    assert (found.kinds, found.values) == (("view", "rating", None), (None, 4.5, None))
    for other in (Event("a", "u", "i", 1, "purchase"), Event("b", "u", "j", 2, "rating", 4.0)):
        with pytest.raises(EventConflictError):
            store.append([other])
