"""Which stored recommendations production follows (`FOLLOWED`), and the upsert that all writers share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Select, Table
from sqlalchemy.dialects import postgresql

from pipeline_tuner.recommendation import DecisionStatus
from pipeline_tuner.store.schema import recommendation

FOLLOWED = (
    recommendation.c.is_followed,
    recommendation.c.status.in_([status for status in DecisionStatus if status.is_answer]),
    recommendation.c.configuration.is_not(None),
)
"""Which recommendations production may follow."""


_DISTINCT_ON = getattr(postgresql, "distinct_on", None)
"""Of SQLAlchemy 2.1, where columns in `distinct()` are on their way out; Airflow runs with 2.0, too."""


def first_of_each(query: Select[Any], *columns: Any) -> Select[Any]:
    """The first row of each value of these columns (DISTINCT ON), in the order of the query."""
    return query.distinct(*columns) if _DISTINCT_ON is None else query.ext(_DISTINCT_ON(*columns))


def now() -> datetime:
    """This moment, with its time zone."""
    return datetime.now(UTC)


def upsert(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Insert rows; one whose key is there already replaces the columns that it names."""
    statement = postgresql.insert(table).values(rows)
    keys = [column.name for column in table.primary_key]
    changes = {name: statement.excluded[name] for name in rows[0] if name not in keys}
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changes))
