"""Connections to PostgreSQL, quoting, and which of its errors are a row's, the environment's or the job's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor
from psycopg2.extensions import parse_dsn

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

OF_JDBC = {"sslmode": "sslmode", "sslrootcert": "sslrootcert", "sslcert": "sslcert", "sslkey": "sslkey",
           "options": "options"}  # fmt: skip
"""libpq's parameters of a URI that the JDBC driver must have too, and its names for them."""
SERVERS = {"primary": "primary", "read-write": "primary", "standby": "secondary", "read-only": "secondary",
           "prefer-standby": "preferSecondary"}  # fmt: skip
"""Which of several servers is meant, by libpq's words."""

MAX_NAME_BYTES = 63

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
    try:
        return f"{parts.hostname or 'localhost'}:{parts.port or 5432}{parts.path}"
    except ValueError:
        return parts.netloc.rpartition("@")[2] + parts.path


def jdbc_connection(uri: str, parameters: dict[str, str]) -> dict[str, str]:
    """Spark's JDBC options `url`, `user`, `password`, `driver` for a PostgreSQL URI.

    The driver must come to the same server, database and schemas as libpq does, which takes more in a URI than it.
    Raises BadConfigurationError where it can't.
    """
    try:
        given = parse_dsn(uri) if is_postgres(uri) else None
    except psycopg2.ProgrammingError:
        given = None
    if given is None:  # What libpq says of it may hold a part of the password.
        raise BadConfigurationError(
            "the connection is no URI of PostgreSQL, postgresql://user:password@host:port/database: percent-encode "
            "what isn't a letter or digit in user, password and database, and use libpq's own parameters"
        )
    own = {theirs: given[name] for name, theirs in OF_JDBC.items() if name in given}
    if "target_session_attrs" in given:
        own["targetServerType"] = SERVERS.get(given["target_session_attrs"], "any")
    options = " ".join(filter(None, (own.get("options"), parameters.get("options"))))
    query = urlencode(own | parameters | ({"options": options} if options else {}), quote_via=quote)
    return {
        "url": f"jdbc:postgresql://{_jdbc_hosts(given)}/{quote(given.get('dbname', ''), safe='')}?{query}",
        "user": given.get("user", ""),
        "password": given.get("password", ""),
        "driver": "org.postgresql.Driver",
    }


def _jdbc_hosts(given: dict[str, str]) -> str:
    hosts = given.get("host", "localhost").split(",")
    ports = given.get("port", "5432").split(",")
    if "service" in given or any(host.startswith(("/", "@")) for host in hosts):
        raise BadConfigurationError("JDBC knows neither sockets nor services: name host and port in the connection")
    named = (f"[{host}]" if ":" in host else host or "localhost" for host in hosts)
    return ",".join(f"{host}:{port or 5432}" for host, port in zip(named, ports * len(hosts), strict=False))


def identifier(name: str) -> str:
    """A name as SQL, whatever its case and characters."""
    return '"' + name.replace('"', '""') + '"'


def check_name(what: str, name: str) -> None:
    """Raises BadConfigurationError for a name that PostgreSQL would cut without a word: another table's, maybe."""
    size = len(name.encode())
    if size > MAX_NAME_BYTES:
        raise BadConfigurationError(
            f"{what} is {name[:20]!r}... of {size} bytes: PostgreSQL's names have {MAX_NAME_BYTES} at most"
        )


def identifiers(names: Sequence[str]) -> str:
    """Names as SQL, with commas."""
    return ", ".join(map(identifier, names))


def beside_parameters(sql: str) -> str:
    """SQL with names in it as a part of a statement that has parameters, where a `%` would be one."""
    return sql.replace("%", "%%")


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


@contextmanager
def one_at_a_time(cursor: Cursor, name: str) -> Iterator[None]:
    """Others of the name wait until the block ends: IF NOT EXISTS fails where two make a table. For autocommit."""
    cursor.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (name,))
    try:
        yield
    finally:
        cursor.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", (name,))


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
