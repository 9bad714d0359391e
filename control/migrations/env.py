"""How Alembic reaches the database that `edgectl migrate` hands over as `connection`."""

from __future__ import annotations

from alembic import context

from control.models import Record


def _run() -> None:
    connection = context.config.attributes["connection"]
    context.configure(
        connection=connection,
        target_metadata=Record.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


_run()
