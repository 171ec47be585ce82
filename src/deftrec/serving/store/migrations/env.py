"""Alembic environment; uses the connection of `deftrec.serving.store.migrate`."""

from alembic import context

from deftrec.serving.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
