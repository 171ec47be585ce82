"""Tables for events and erasures."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0001", None


def upgrade() -> None:
    """Create both tables."""
    op.create_table(
        "events",
        sa.Column("event_id", sa.String, primary_key=True),
        sa.Column("user_id", sa.String, nullable=False),
        sa.Column("item_id", sa.String, nullable=False),
        sa.Column("time", sa.Double, nullable=False, comment="seconds since 1970, the client's or when it arrived"),
        sa.Column("received", sa.Double, nullable=False, comment="seconds since 1970, when the batch arrived"),
        sa.Column("place", sa.Integer, nullable=False, comment="in its batch"),
    )
    op.create_index("events_of_user", "events", ["user_id", "time", "received", "place"])
    op.create_table(
        "erased",
        sa.Column("user_sha256", sa.String, primary_key=True, comment="the id itself is erased too"),
        sa.Column("time", sa.Double, nullable=False),
    )
