"""Bring a database's schema forward or back with Alembic; two at once wait for each other."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from control.database import Database

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK = 7_307_443
"""PostgreSQL's advisory lock that a migration holds; an arbitrary number of ours."""


def upgrade(database: Database) -> None:
    """To the newest schema."""
    _run(database, "upgrade", "head")


def downgrade(database: Database, revision: str) -> None:
    """Back to `revision`; `base` drops everything."""
    _run(database, "downgrade", revision)


def current(database: Database) -> str | None:
    """The schema's revision; None before the first migration."""
    with database.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def newest() -> str | None:
    """The revision that this version of the program needs."""
    return ScriptDirectory.from_config(_configuration()).get_current_head()


def _run(database: Database, direction: str, revision: str) -> None:
    engine = database.engine.execution_options(immediate=True)
    with engine.begin() as connection:
        _lock(connection)
        configuration = _configuration()
        configuration.attributes["connection"] = connection
        getattr(command, direction)(configuration, revision)


def _configuration() -> Config:
    configuration = Config()
    configuration.set_main_option("script_location", str(MIGRATIONS))
    return configuration


def _lock(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
