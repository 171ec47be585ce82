"""Bring a database to the tables that this version knows."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, text

from deftrec.errors import DeftRecError

LOCK = 0x0DEF7
"""Of PostgreSQL: several workers that start at once migrate one after the other."""


def migrate(connection: Connection) -> None:
    """Upgrade inside the open transaction of `connection`; a database that is up to date is left alone.

    Raises:
        DeftRecError: a newer version of deftrec has changed the tables.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise DeftRecError(
            f"the event store is of a newer version of deftrec ({error}); upgrade deftrec, or give another --store"
        ) from error
