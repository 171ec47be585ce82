"""Tables for events and erasures. The revision after this one must first copy the tables here, as they are now."""

from alembic import op

from deftrec.serving.store.tables import metadata

revision, down_revision = "0001", None


def upgrade() -> None:
    """Create both tables."""
    metadata.create_all(op.get_bind(), checkfirst=False)
