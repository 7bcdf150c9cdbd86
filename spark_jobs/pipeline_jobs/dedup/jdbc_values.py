"""Values of a PostgreSQL table that Spark's JDBC reader would change: refused before anything is read."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg2 import Error
from psycopg2.extensions import cursor as Cursor

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.dedup.csv_copy import APPLICATION
from pipeline_jobs.migration.postgres import column_types, connect, identifier, is_postgres

WITH_INFINITY = ("timestamp", "date")
OUTSIDE = "NOT isfinite({0}) OR {0} > '9999-12-31 23:59:59.999999' OR {0} < '0001-01-01'"
"""What a column of dates or times must not be, as SQL."""


def check_values(uri: str, table: str) -> None:
    """Raises BadConfigurationError naming the column whose values would not arrive as they are.

    A source that is no plain table (a query in parentheses) and one that isn't PostgreSQL are not looked at.
    """
    if not is_postgres(uri) or table.lstrip().startswith("("):
        return
    connection = connect(uri, APPLICATION)
    try:
        with connection.cursor() as cursor:
            columns = column_types(cursor, table)
            _refuse_types(table, columns)
            _refuse_moments(cursor, table, [name for name, kind in columns.items() if kind.startswith(WITH_INFINITY)])
    except Error:
        # What the table itself refuses is said by the reader, in one place for all kinds of databases.
        return
    finally:
        connection.close()


def _refuse_moments(cursor: Cursor, table: str, names: Sequence[str]) -> None:
    """One pass over the table for all its dates and times."""
    if not names:
        return
    columns = [identifier(name) for name in names]
    wanted = [f"min({column}::text) FILTER (WHERE {OUTSIDE.format(column)})" for column in columns]
    cursor.execute(f"SELECT {', '.join(wanted)} FROM {table}")
    for name, value in zip(names, cursor.fetchone() or (), strict=False):
        if value is not None:
            raise BadConfigurationError(
                f"source {table} has {value} in column {name}, which Spark's dates can't hold: "
                "read from a view that gives NULL or another value for it"
            )


def _refuse_types(table: str, columns: dict[str, str]) -> None:
    for name, kind in columns.items():
        if kind == "numeric":
            raise BadConfigurationError(
                f"source {table} has column {name} of type numeric without precision, which Spark would cut to 18 "
                f"digits after the point: read from a view with {name}::numeric(p, s) or {name}::text"
            )
        if kind.startswith("time ") or kind.startswith("time("):
            raise BadConfigurationError(
                f"source {table} has column {name} of type {kind}, which Spark would move by the machine's time zone: "
                f"read from a view with {name}::text"
            )
