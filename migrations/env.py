# SPDX-License-Identifier: Apache-2.0
"""Alembic's entry: runs on the connection that computeapi.db.schema hands over."""

from alembic import context

from computeapi.db.models import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
