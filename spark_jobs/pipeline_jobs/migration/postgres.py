"""Connections to PostgreSQL, quoting, and which of its errors are a row's, the environment's or the job's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from pipeline_jobs.contract import BadConfigurationError, InfrastructureError, JobError

SESSION = (
    "SET datestyle = 'ISO, MDY'; SET intervalstyle = postgres; SET timezone = 'UTC'; SET extra_float_digits = 1; "
    "SET bytea_output = hex; SET standard_conforming_strings = on; SET lc_monetary = 'C'; SET xmloption = content"
)
"""The same text of a value on both sides, whatever the servers' defaults."""

WHOLE_TABLES = "SET row_security = off"
"""Rows that a policy would hide are an error."""

JDBC_SESSION = "-c intervalstyle=postgres -c bytea_output=hex -c lc_monetary=C -c xmloption=content -c row_security=off"
"""The same for the JDBC driver, which sets the rest itself; but not the zone, which it takes from the JVM."""

ROW_ERROR_CLASSES = ("22", "23", "54", "P0")
"""SQLSTATE classes of errors that a row's own content causes."""

ENVIRONMENT_ERROR_CLASSES = ("08", "25", "28", "3D", "42501", "53", "57", "58")
"""SQLSTATE classes (or codes) of a server that is away, full, read-only or closed to this user."""


def is_postgres(uri: str) -> bool:
    """Whether a URI is PostgreSQL's own, rather than a generic `jdbc:` one."""
    return uri.startswith(("postgresql://", "postgres://"))


def connect(uri: str, application_name: str, *, autocommit: bool = True, sees_whole_tables: bool = False) -> Connection:
    """An open connection. `sees_whole_tables`: rows that a policy would hide are an error.

    Raises InfrastructureError with the server's reason, without the password."""
    try:
        connection = psycopg2.connect(
            uri,
            application_name=application_name[:63],
            connect_timeout=20,
            keepalives_idle=30,
            client_encoding="UTF8",  # psycopg2 would not notice a SET
        )
        with connection.cursor() as cursor:
            cursor.execute(f"{SESSION}; {WHOLE_TABLES}" if sees_whole_tables else SESSION)
        connection.commit()
    except psycopg2.OperationalError as error:
        raise InfrastructureError(f"can't connect to {address(uri)}: {first_line(error)}") from None
    connection.autocommit = autocommit
    return connection


def address(uri: str) -> str:
    """`host:port/database` of a URI, fit for a message."""
    parts = urlsplit(uri.removeprefix("jdbc:"))
    return f"{parts.hostname or 'localhost'}:{parts.port or 5432}{parts.path}"


def jdbc_connection(uri: str, parameters: dict[str, str]) -> dict[str, str]:
    """Spark's JDBC options `url`, `user`, `password`, `driver` for a PostgreSQL URI."""
    parts = urlsplit(uri)
    own = {name: value for name, value in parse_qsl(parts.query) if name == "sslmode"}
    query = urlencode(own | parameters, quote_via=quote)
    return {
        "url": f"jdbc:postgresql://{parts.hostname or 'localhost'}:{parts.port or 5432}{parts.path}?{query}",
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "driver": "org.postgresql.Driver",
    }


def identifier(name: str) -> str:
    """A name as SQL, whatever its case and characters."""
    return '"' + name.replace('"', '""') + '"'


def identifiers(names: Sequence[str]) -> str:
    """Names as SQL, with commas."""
    return ", ".join(map(identifier, names))


def literal(text: str) -> str:
    """A text as SQL."""
    return "'" + text.replace("'", "''") + "'"


def column_types(cursor: Cursor, table: str) -> dict[str, str]:
    """The columns of a table with their types as PostgreSQL writes them, in order; empty where there is no table."""
    cursor.execute(
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
        "WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        (table,),
    )
    return dict(cursor.fetchall())


def first_line(error: BaseException) -> str:
    """An error's first line, which has the reason."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def is_row_error(error: psycopg2.Error) -> bool:
    """Whether a row's content is at fault, so that the others of its range can land."""
    return (error.pgcode or "").startswith(ROW_ERROR_CLASSES)


def as_job_error(sqlstate: str, message: str) -> JobError:
    """The job's error for a range that failed for good."""
    if not sqlstate or sqlstate.startswith(ENVIRONMENT_ERROR_CLASSES):
        return InfrastructureError(message)
    return JobError(message)


@contextmanager
def server_errors() -> Iterator[None]:
    """What a server says outside of ranges, as the job's error in one line."""
    try:
        yield
    except psycopg2.Error as error:
        sqlstate = error.pgcode or ""
        if sqlstate.startswith(("42", "0A", "3F")) and not sqlstate.startswith(ENVIRONMENT_ERROR_CLASSES):
            raise BadConfigurationError(f"the server refuses: {first_line(error)}") from error
        raise as_job_error(sqlstate, first_line(error)) from error


def one_row(connection: Connection, query: str, parameters: Sequence[object] | None = None) -> tuple[Any, ...]:
    """The only row of a query that always has one. With parameters, `%` has a meaning in the query, names included."""
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        row = cursor.fetchone()
    assert row is not None
    return row
