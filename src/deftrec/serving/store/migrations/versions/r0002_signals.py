"""Kind and value of events."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0002", "0001"


def upgrade() -> None:
    """Add both columns; events that are stored have neither."""
    op.add_column("events", sa.Column("kind", sa.String, nullable=True, comment="kind of event, such as purchase"))
    op.add_column("events", sa.Column("value", sa.Double, nullable=True, comment="rating or amount"))
