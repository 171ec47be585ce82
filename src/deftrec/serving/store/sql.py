"""Event store in SQLite (WAL mode, every commit is synced to disk) or PostgreSQL."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, InterfaceError, InternalError, NoSuchModuleError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from deftrec.errors import ConfigError, MissingExtraError
from deftrec.serving.store.base import (
    AppendResult,
    Event,
    EventConflictError,
    EventStore,
    StoredHistory,
    StoreUnavailableError,
)
from deftrec.serving.store.migrate import migrate
from deftrec.serving.store.tables import erased, events

BUSY_SECONDS = 5
"""Seconds until a lock, a statement or a connection attempt is given up."""
POOL = 10
IDS_AT_ONCE = 500
EXAMPLES = "give sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME"


class SqlStore(EventStore):
    """Event store at a SQLAlchemy URL; the constructor creates or migrates the tables.

    Args:
        url: Either `sqlite:///path` or `postgresql://user:password@host/database`.
        now: Clock in seconds since 1970, replaceable in tests.

    Raises:
        ConfigError: The URL is invalid or names another kind of database.
        MissingExtraError: The driver for PostgreSQL is not installed.
        StoreUnavailableError: The database does not answer.
    """

    def __init__(self, url: str, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._engine = connect(url)
        self._insert: Any = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[self._engine.dialect.name]
        # SQLite has one writer and waiting threads poll; without a lock some of many threads would starve.
        self._lock: AbstractContextManager[object] = (
            threading.Lock() if self._engine.dialect.name == "sqlite" else nullcontext()
        )
        with self._writing() as connection:
            migrate(connection)

    def append(self, batch: Sequence[Event]) -> AppendResult:
        """See `EventStore.append`."""
        received = self._now()
        rows: list[dict[str, object]] = [
            {
                "event_id": event.event_id,
                "user_id": event.user,
                "item_id": event.item,
                "time": received if event.time is None else event.time,
                "received": received,
                "place": place,
            }
            for place, event in enumerate(batch)
        ]
        # Always in the same order: batches that share ids then cannot deadlock.
        rows.sort(key=lambda row: str(row["event_id"]))
        statement = self._insert(events).on_conflict_do_nothing(index_elements=["event_id"])
        with self._writing() as connection:
            new = set(connection.execute(statement.values(rows).returning(events.c.event_id)).scalars())
            if len(new) < len(rows):
                _check_same(connection, batch)
        return AppendResult(len(new), len(rows) - len(new))

    def history(self, user: str, limit: int) -> StoredHistory:
        """See `EventStore.history`."""
        newest = (
            sa.select(events.c.item_id)
            .where(events.c.user_id == user)
            .order_by(events.c.time.desc(), events.c.received.desc(), events.c.place.desc())
            .limit(limit)
        )
        known = sa.select(sa.exists().where(erased.c.user_sha256 == _digest(user)))
        with self._reading() as connection:
            items = connection.execute(newest).scalars().all()
            return StoredHistory(tuple(reversed(items)), bool(connection.execute(known).scalar()))

    def forget(self, user: str) -> int:
        """See `EventStore.forget`. SQLite overwrites the freed pages, and its log is truncated."""
        mark = self._insert(erased).values(user_sha256=_digest(user), time=self._now())
        with self._writing() as connection:
            gone = connection.execute(sa.delete(events).where(events.c.user_id == user)).rowcount
            connection.execute(mark.on_conflict_do_nothing(index_elements=["user_sha256"]))
        if self._engine.dialect.name == "sqlite":
            with store_errors(), self._engine.connect() as connection:
                connection.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return gone

    def erased(self, users: Sequence[str]) -> frozenset[str]:
        """See `EventStore.erased`."""
        digests = {_digest(user): user for user in users}
        with self._reading() as connection:
            some = sa.select(erased.c.user_sha256).where(erased.c.user_sha256.in_(list(digests)))
            return frozenset(digests[one] for one in connection.execute(some).scalars())

    def ping(self) -> None:
        """See `EventStore.ping`."""
        with self._reading() as connection:
            connection.execute(sa.select(sa.exists().where(events.c.event_id == "")))

    def close(self) -> None:
        """See `EventStore.close`."""
        self._engine.dispose()

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with store_errors(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        """A transaction that takes SQLite's lock at its start; SQLite would not wait for a lock taken later."""
        with self._lock, store_errors(), self._engine.connect() as plain:
            connection = plain.execution_options(immediate=True)
            with connection.begin():
                yield connection


def _check_same(connection: sa.Connection, wanted: Sequence[Event]) -> None:
    """Raise an `EventConflictError` if an event differs from the stored event with its id."""
    kept: dict[str, tuple[str, str, float]] = {}
    ids = list({event.event_id for event in wanted})
    for start in range(0, len(ids), IDS_AT_ONCE):
        some = events.c.event_id.in_(ids[start : start + IDS_AT_ONCE])
        for row in connection.execute(sa.select(events).where(some)):
            kept[row.event_id] = (row.user_id, row.item_id, row.time)
    for index, event in enumerate(wanted):
        user, item, when = kept[event.event_id]
        if (user, item) != (event.user, event.item) or event.time not in (None, when):
            raise EventConflictError(index, event.event_id)


def _digest(user: str) -> str:
    return hashlib.sha256(user.encode()).hexdigest()


@contextmanager
def store_errors() -> Iterator[None]:
    """Convert errors of the connection, and of a full disk, to a `StoreUnavailableError`."""
    try:
        yield
    except (OperationalError, InterfaceError, InternalError, PoolTimeoutError) as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise StoreUnavailableError(reason) from error


def connect(url: str) -> sa.Engine:
    """Make a SQLAlchemy engine for the URL of a store, without connecting; raises like `SqlStore`."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConfigError(f"--store is not a URL; {EXAMPLES}") from error
    if parsed.drivername == "sqlite" and parsed.database not in (None, "", ":memory:"):
        return _sqlite_engine(parsed)
    if parsed.drivername in ("postgresql", "postgresql+psycopg"):
        return _postgresql_engine(parsed.set(drivername="postgresql+psycopg"))
    raise ConfigError(f"--store: {parsed.drivername} is not supported; {EXAMPLES}")


def _sqlite_engine(url: URL) -> sa.Engine:
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_SECONDS}, pool_size=POOL, pool_timeout=BUSY_SECONDS)

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions are begun by `_begin`
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        immediate = connection.get_execution_options().get("immediate")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


def _postgresql_engine(url: URL) -> sa.Engine:
    milliseconds = BUSY_SECONDS * 1000
    options = f"-c synchronous_commit=on -c statement_timeout={milliseconds} -c lock_timeout={milliseconds}"
    try:
        return sa.create_engine(
            url,
            pool_pre_ping=True,  # reconnects after a restart of the database
            pool_size=POOL,
            pool_timeout=BUSY_SECONDS,
            connect_args={"connect_timeout": BUSY_SECONDS, "options": options},
        )
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise MissingExtraError("psycopg", "serve", "a store in PostgreSQL") from error
