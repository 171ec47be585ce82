"""Migration of a database to the tables of this version."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, text

from deftrec.errors import DeftRecError

LOCK = 0x0DEF7
"""Advisory lock of PostgreSQL: workers that start at the same time migrate one after the other."""


def migrate(connection: Connection) -> None:
    """Upgrade a database inside the open transaction of `connection`, if it is not up to date.

    Raises:
        DeftRecError: A newer version of deftrec has changed the tables.
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
            f"the event store was made by a newer version of deftrec ({error}); upgrade deftrec or give another --store"
        ) from error
