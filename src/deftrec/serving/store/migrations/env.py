"""Run by Alembic; the connection is the one that `deftrec.serving.store.migrate` opened."""

from alembic import context

from deftrec.serving.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
