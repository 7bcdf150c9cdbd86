"""The migration of a results database to the newest schema version, which is the last file in
`migrations/versions/`; safe at any time, from several processes at once.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, text

from pipeline_tuner.store.engine import as_engine, clear_errors
from pipeline_tuner.store.schema import SCHEMA

MIGRATION_LOCK = 7_350_011
"""Key of the advisory lock that lets one process migrate at a time."""


def migrate(url_or_engine: str | Engine) -> None:
    """Create or upgrade the schema `pipeline_tuner`. Raises InfrastructureError where the database is unavailable."""
    engine = as_engine(url_or_engine)
    with clear_errors(), engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
        command.upgrade(alembic_config(connection), "head")


def alembic_config(connection: Connection) -> Config:
    """Alembic's configuration for the packaged versions, bound to an open transaction."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
