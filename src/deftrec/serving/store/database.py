"""Connection to the database of the store: SQLite (WAL mode, every commit is synced to disk) or PostgreSQL."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, InterfaceError, InternalError, NoSuchModuleError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from deftrec.errors import ConfigError, DeftRecError, MissingExtraError, first_line
from deftrec.serving.problems import ProblemError

BUSY_SECONDS = 5  # seconds until a lock, a statement or a connection attempt is given up
POOL = {"pool_size": 10, "pool_timeout": BUSY_SECONDS}
LOCK = 0x0DEF7  # advisory lock of PostgreSQL: workers that start at the same time migrate one after the other
EXAMPLES = "give sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME"


class StoreUnavailableError(ProblemError):
    """The store cannot be reached, is full or is busy; the same request may succeed later."""

    def __init__(self, reason: str) -> None:
        message = "the event store does not answer"
        super().__init__(503, "store_unavailable", message, retry_after=2, internal=f"{message} ({reason}); try again")


@contextmanager
def store_errors() -> Iterator[None]:
    """Convert errors of the connection, and of a full disk, to a `StoreUnavailableError`."""
    try:
        yield
    except (OperationalError, InterfaceError, InternalError, PoolTimeoutError) as error:
        raise StoreUnavailableError(first_line(getattr(error, "orig", None) or error)) from error


def connect(url: str) -> sa.Engine:
    """Make a SQLAlchemy engine for the URL of a store, without connecting; errors as for `SqlStore`."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConfigError(f"`store=...` is not a URL; {EXAMPLES}") from error
    if parsed.drivername == "sqlite" and parsed.database not in (None, "", ":memory:"):
        return _sqlite_engine(parsed)
    if parsed.drivername in ("postgresql", "postgresql+psycopg"):
        return _postgresql_engine(parsed.set(drivername="postgresql+psycopg"))
    raise ConfigError(f"`store=...`: {parsed.drivername} is not supported; {EXAMPLES}")


def _sqlite_engine(url: URL) -> sa.Engine:
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_SECONDS}, **POOL)

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
    arguments = {"connect_timeout": BUSY_SECONDS, "options": options}
    try:  # the ping reconnects after a restart of the database
        return sa.create_engine(url, pool_pre_ping=True, connect_args=arguments, **POOL)
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise MissingExtraError("psycopg", "serve", "a store in PostgreSQL") from error


def migrate(connection: sa.Connection) -> None:
    """Upgrade a database inside an open transaction; a `DeftRecError` if a newer version changed the tables."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise DeftRecError(
            f"the event store was made by a newer version of deftrec ({error}); upgrade deftrec, or give another store"
        ) from error
