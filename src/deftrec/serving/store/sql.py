"""Event store in SQLite or PostgreSQL."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from deftrec.serving.keys import digest
from deftrec.serving.problems import ProblemError
from deftrec.serving.store.database import connect, migrate, store_errors
from deftrec.serving.store.tables import erased, events


class EventConflictError(ProblemError):
    """An event id is stored already for another event; the index is the position in the batch, from 0."""


class Event(NamedTuple):
    """Interaction of a user with an item, at a time in seconds since 1970; None stands for the time of arrival.

    `kind` and `value` are the kind of event and its rating or amount; None: there is none.
    """

    event_id: str
    user_id: str
    item_id: str
    time: float | None = None
    kind: str | None = None
    value: float | None = None


@dataclass(frozen=True)
class AppendResult:
    """Outcome of a batch: numbers of events that are new, and of those that were stored before."""

    stored: int
    duplicates: int


class StoredHistory(NamedTuple):
    """Stored items of a user, oldest first; older interactions of a user who was `erased` once must not be used.

    `times` holds the time of each item in seconds since 1970, `kinds` and `values` those of each event.
    """

    items: tuple[str, ...]
    erased: bool
    times: tuple[float, ...] = ()
    kinds: tuple[str | None, ...] = ()
    values: tuple[float | None, ...] = ()


class SqlStore:
    """Events and erasures at a SQLAlchemy URL; the constructor creates or migrates the tables.

    Several threads and processes may use a store at the same time. Every method raises a `StoreUnavailableError` if the
    database does not answer. Raises a `ConfigError` if the URL is invalid or names another kind of database, a
    `MissingExtraError` if the driver for PostgreSQL is not installed, and a `StoreUnavailableError` if the database
    does not answer.

    Args:
        url: Either `sqlite:///path` or `postgresql://user:password@host/database`.
        now: Clock in seconds since 1970, replaceable in tests.
    """

    def __init__(self, url: str, now: Callable[[], float] = time.time) -> None:
        self._now, self._engine = now, connect(url)
        self._sqlite = self._engine.dialect.name == "sqlite"
        self._insert: Any = sqlite.insert if self._sqlite else postgresql.insert
        # SQLite has one writer and waiting threads poll; without a lock some of many threads would starve.
        self._lock: AbstractContextManager[object] = threading.Lock() if self._sqlite else nullcontext()
        with self._writing() as connection:
            migrate(connection)

    def append(self, batch: Sequence[Event]) -> AppendResult:
        """Write all of a batch to disk, or nothing and raise an `EventConflictError` if an id is of another event."""
        received = self._now()
        timed = [event._replace(time=received) if event.time is None else event for event in batch]
        rows = [{**event._asdict(), "received": received, "place": place} for place, event in enumerate(timed)]
        # Always in the same order: batches that share ids then cannot deadlock.
        rows.sort(key=lambda row: str(row["event_id"]))
        statement = self._insert(events).on_conflict_do_nothing(index_elements=["event_id"])
        with self._writing() as connection:
            new = set(connection.execute(statement.values(rows).returning(events.c.event_id)).scalars())
            if len(new) < len(rows):
                _check_same(connection, batch)
        return AppendResult(len(new), len(rows) - len(new))

    def history(self, user: str, limit: int) -> StoredHistory:
        """Newest `limit` events of a user by time; events of equal time are in order of arrival."""
        newest = (
            sa.select(events.c.item_id, events.c.time, events.c.kind, events.c.value)
            .where(events.c.user_id == user)
            .order_by(events.c.time.desc(), events.c.received.desc(), events.c.place.desc())
            .limit(limit)
        )
        known = sa.select(sa.exists().where(erased.c.user_sha256 == digest(user)))
        with store_errors(), self._engine.begin() as connection:
            rows = [tuple(row) for row in reversed(connection.execute(newest).all())]
            was_erased = bool(connection.execute(known).scalar())
        items, times, kinds, values = zip(*rows, strict=True) if rows else ((), (), (), ())
        return StoredHistory(tuple(map(str, items)), was_erased, tuple(map(float, times)), kinds, values)

    def forget(self, user: str) -> int:
        """Delete the stored events of a user, also from SQLite's free pages, and remember it; returns their number."""
        mark = self._insert(erased).values(user_sha256=digest(user), time=self._now())
        with self._writing() as connection:
            deleted = connection.execute(sa.delete(events).where(events.c.user_id == user)).rowcount
            connection.execute(mark.on_conflict_do_nothing(index_elements=["user_sha256"]))
        if self._sqlite:
            with store_errors(), self._engine.connect() as connection:
                connection.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return deleted

    def erased(self, users: Sequence[str]) -> frozenset[str]:
        """Those of `users` that were erased once."""
        digests = {digest(user): user for user in users}
        with store_errors(), self._engine.begin() as connection:
            some = sa.select(erased.c.user_sha256).where(erased.c.user_sha256.in_(list(digests)))
            return frozenset(digests[one] for one in connection.execute(some).scalars())

    def ping(self) -> None:
        """Return if the database answers."""
        with store_errors(), self._engine.begin() as connection:
            connection.execute(sa.select(sa.exists().where(events.c.event_id == "")))

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        """A transaction that takes SQLite's lock at its start; SQLite would not wait for a lock taken later."""
        with self._lock, store_errors(), self._engine.connect() as plain:
            connection = plain.execution_options(immediate=True)
            with connection.begin():
                yield connection


def _check_same(connection: sa.Connection, wanted: Sequence[Event]) -> None:
    """Raise an `EventConflictError` if an event differs from the stored event with its id."""
    stored = sa.select(events).where(events.c.event_id.in_({event.event_id for event in wanted}))
    rows = {row.event_id: row for row in connection.execute(stored)}
    for index, event in enumerate(wanted):
        row = rows[event.event_id]
        same = (row.user_id, row.item_id, row.kind, row.value)
        if same != (event.user_id, event.item_id, event.kind, event.value) or event.time not in (None, row.time):
            message = f"event_id {event.event_id!r} belongs to another event; give every event its own id"
            raise EventConflictError(409, "event_conflict", message, index=index)
