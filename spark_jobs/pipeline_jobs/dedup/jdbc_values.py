"""Values of a PostgreSQL source table that Spark's JDBC reader would change: refused before anything is read."""

from __future__ import annotations

import re

from psycopg2 import Error
from psycopg2.extensions import DECIMAL, Column
from psycopg2.extensions import cursor as Cursor

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.dedup.csv_copy import APPLICATION
from pipeline_jobs.postgres import connect, identifier, is_postgres

NO_NUMBER = "{0}::text IN ('NaN', 'Infinity', '-Infinity')"
"""What a column of numeric must not be, as SQL."""
OTHER_PLACES = "array_lower({0}, 1) <> 1"
"""Lists that don't count from 1: Spark's always do."""
AS_TEXT = ("bit", "money")
"""First words of types that Spark writes in a way of its own."""
BOUNDED = re.compile(r"numeric\((\d+),(-?\d+)\)")
MAX_DIGITS = 38
UNBOUNDED = 65535
"""What the driver says for a numeric without precision."""
IN_LISTS = ("numeric", "time", "date", "interval")
"""First words of types whose lists Spark changes."""
WITH_INFINITY = ("timestamp", "date")
OUTSIDE = (
    "NOT isfinite({0}) OR {0} > '9999-12-31 23:59:59.999999' OR {0} < '0001-01-01' "
    "OR ({0} >= '1582-10-05' AND {0} < '1582-10-15')"
)
"""What a column of dates or times must not be, as SQL: Java's old calendar has no 5 to 14 October 1582."""


def check_values(uri: str, table: str) -> None:
    """Raises BadConfigurationError naming the column whose values would not arrive as they are.

    `table` may be a query in parentheses. A source that isn't PostgreSQL is not looked at.
    """
    if not is_postgres(uri):
        return
    connection = connect(uri, APPLICATION)
    try:
        with connection.cursor() as cursor:
            columns = _columns(cursor, table)
            _refuse_types(table, columns)
            _refuse_moments(cursor, table, columns)
    except Error:
        # What the table itself refuses is said by the reader, in one place for all kinds of databases.
        return
    finally:
        connection.close()


def _columns(cursor: Cursor, table: str) -> dict[str, str]:
    """Names and types of what a table or query gives, as PostgreSQL writes them."""
    cursor.execute(f"SELECT * FROM {table} LIMIT 0")
    described = [(column.name, column.type_code, *_modifier(column)) for column in cursor.description or ()]
    columns = {}
    for name, code, modifier in described:
        cursor.execute("SELECT format_type(%s::oid, %s)", (code, modifier))
        columns[name] = cursor.fetchone()[0]  # type: ignore[index]
    return columns


def _modifier(column: Column) -> tuple[int | None]:
    """PostgreSQL's own number for precision and scale, which the driver gives apart; only those of numeric count."""
    if column.type_code not in DECIMAL.values or column.precision in (None, UNBOUNDED):
        return (None,)
    return ((column.precision << 16 | (column.scale or 0) & 0x7FF) + 4,)


def _refuse_moments(cursor: Cursor, table: str, columns: dict[str, str]) -> None:
    """One pass over the table for all its dates, times and numbers without an end."""
    outside = {
        name: condition.format(identifier(name))
        for name, kind in columns.items()
        if (condition := _must_not_be(kind)) is not None
    }
    if not outside:
        return
    wanted = [f"min({identifier(name)}::text) FILTER (WHERE {condition})" for name, condition in outside.items()]
    cursor.execute(f"SELECT {', '.join(wanted)} FROM {table}")
    for name, value in zip(outside, cursor.fetchone() or (), strict=False):
        if value is not None:
            raise BadConfigurationError(
                f"source {table} has {value} in column {name}, which Spark's {columns[name].split('(')[0].split()[0]} "
                "can't hold: read from a view that gives NULL or another value for it"
            )


def _must_not_be(kind: str) -> str | None:
    """What a column of a type must not be, as SQL; None where every value arrives."""
    if kind.endswith("[]"):
        return OTHER_PLACES
    if kind.startswith(WITH_INFINITY):
        return OUTSIDE
    return NO_NUMBER if kind.startswith("numeric") else None


def _refuse_types(table: str, columns: dict[str, str]) -> None:
    for name, kind in columns.items():
        if kind == "numeric":
            raise BadConfigurationError(
                f"source {table} has column {name} of type numeric without precision, which Spark would cut to 18 "
                f"digits after the point: read from a view with {name}::numeric(p, s) or {name}::text"
            )
        found = BOUNDED.fullmatch(kind)
        if found and (int(found[1]) > MAX_DIGITS or not 0 <= int(found[2]) <= int(found[1])):
            raise BadConfigurationError(
                f"source {table} has column {name} of type {kind}, where Spark's numbers have {MAX_DIGITS} digits at "
                f"most, and none before a negative scale: read from a view with {name}::text"
            )
        if kind.endswith("[]") and kind.startswith(IN_LISTS):
            raise BadConfigurationError(
                f"source {table} has column {name} of type {kind}, whose elements Spark would cut or move: read from a "
                f"view with {name}::text"
            )
        if kind.removesuffix("[]").split("(")[0].split()[0] in AS_TEXT:
            raise BadConfigurationError(
                f"source {table} has column {name} of type {kind}, which Spark would write in its own way: read from a "
                f"view with {name}::text"
            )
        if kind.startswith(("time ", "time(")):
            raise BadConfigurationError(
                f"source {table} has column {name} of type {kind}, which Spark would move by the machine's time zone: "
                f"read from a view with {name}::text"
            )
