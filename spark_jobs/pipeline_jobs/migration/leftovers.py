"""Removal of the tables of killed trials: known by a lock that only a living trial holds."""

from __future__ import annotations

from contextlib import suppress

from psycopg2.errors import LockNotAvailable
from psycopg2.extensions import connection as Connection

from pipeline_jobs.postgres import identifier

_LOCK = "hashtextextended('pipeline_migration trial ' || %s, 0)"


def claim_table(target: Connection, name: str) -> None:
    """Hold a trial's table until this connection ends; waits for the end of a killed attempt's connection."""
    with target.cursor() as cursor:
        cursor.execute(f"SELECT pg_advisory_lock({_LOCK})", (name,))


def remove_orphans(target: Connection, schema: str, prefix: str) -> None:
    """Drop the tables whose names begin so and that no living trial holds; one that is still written to stays."""
    with target.cursor() as cursor:
        cursor.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = %s AND left(tablename, length(%s)) = %s",
            (schema, prefix, prefix),
        )
        for (name,) in cursor.fetchall():
            cursor.execute(f"SELECT pg_try_advisory_lock({_LOCK})", (name,))
            if cursor.fetchone() == (True,):
                _drop(target, f"{identifier(schema)}.{identifier(name)}")
                cursor.execute(f"SELECT pg_advisory_unlock({_LOCK})", (name,))


def _drop(target: Connection, table: str) -> None:
    with target.cursor() as cursor, suppress(LockNotAvailable):
        cursor.execute("SET lock_timeout = '2s'")
        try:
            cursor.execute(f"DROP TABLE IF EXISTS {table}")
        finally:
            cursor.execute("RESET lock_timeout")
