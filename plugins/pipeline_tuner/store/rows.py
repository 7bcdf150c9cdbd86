"""What several readers and writers of rows share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects.postgresql import insert as postgres_insert

from pipeline_tuner.recommendation import DecisionStatus
from pipeline_tuner.store.schema import recommendation

FOLLOWED = (
    recommendation.c.is_followed,
    recommendation.c.status.in_([status for status in DecisionStatus if status.is_answer]),
    recommendation.c.configuration.is_not(None),
)
"""Which recommendations production may follow."""


def now() -> datetime:
    """This moment, with its time zone."""
    return datetime.now(UTC)


def upsert(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Insert rows; one whose key is there already replaces the columns that it names."""
    statement = postgres_insert(table).values(rows)
    keys = [column.name for column in table.primary_key]
    changes = {name: statement.excluded[name] for name in rows[0] if name not in keys}
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changes))
