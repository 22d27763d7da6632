"""How Alembic runs the migrations: on the connection that `sartor.store.upgrade` gives, in its transaction."""

from __future__ import annotations

from alembic import context
from sartor.store.schema import metadata, version

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=version.name,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
