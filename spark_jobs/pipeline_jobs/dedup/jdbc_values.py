"""Values of a PostgreSQL table that Spark's JDBC reader would change: refused before anything is read."""

from __future__ import annotations

from psycopg2 import Error

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.migration.postgres import connect, identifier, is_postgres

APPLICATION = "pipeline tuner dedup"
COLUMNS = """
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
WITH_INFINITY = ("timestamp", "date")
LAST_DAY = "9999-12-31"


def check_values(uri: str, table: str) -> None:
    """Raises BadConfigurationError naming the column whose values would not arrive as they are.

    A source that is no plain table (a query in parentheses) and one that isn't PostgreSQL are not looked at.
    """
    if not is_postgres(uri) or table.lstrip().startswith("("):
        return
    connection = connect(uri, APPLICATION)
    try:
        with connection.cursor() as cursor:
            cursor.execute(COLUMNS, (table,))
            columns = dict(cursor.fetchall())
            _refuse_types(table, columns)
            moments = [name for name, kind in columns.items() if kind.startswith(WITH_INFINITY)]
            for name in moments:
                column = identifier(name)
                cursor.execute(
                    f"SELECT {column}::text FROM {table} WHERE NOT isfinite({column}) "
                    f"OR {column} > '{LAST_DAY} 23:59:59.999999' OR {column} < '0001-01-01' LIMIT 1"
                )
                row = cursor.fetchone()
                if row:
                    raise BadConfigurationError(
                        f"source {table} has {row[0]} in column {name}, which Spark's dates can't hold: "
                        "read from a view that gives NULL or another value for it"
                    )
    except Error:
        # What the table itself refuses is said by the reader, in one place for all kinds of databases.
        return
    finally:
        connection.close()


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
