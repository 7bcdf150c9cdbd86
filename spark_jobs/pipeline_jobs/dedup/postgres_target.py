"""The latest records into PostgreSQL: tasks fill a staging table, one transaction merges it and moves the bookmark.

Before that transaction the target is as it was; after it, as it should be. Each task attempt stages its rows
under its own number, and only the attempts that Spark counts as done are merged: an attempt that was retried,
speculated or lost with its executor leaves no row behind. One run at a time writes to a target (an advisory lock).
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg2 import DataError, IntegrityError, ProgrammingError, errors
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import DataType, DecimalType, StructType

from pipeline_jobs.contract import BadConfigurationError, JobError
from pipeline_jobs.dedup.csv_copy import APPLICATION, ATTEMPT, copier
from pipeline_jobs.dedup.options import Rule, Target
from pipeline_jobs.dedup.strategies import DELETED
from pipeline_jobs.migration.postgres import column_types, connect, first_line, identifier, identifiers

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor

BOOKMARKS = "pipeline_tuner_bookmarks"
LOCK_TIMEOUT_S = 30

TYPES = {
    "boolean": "boolean",
    "tinyint": "smallint",
    "smallint": "smallint",
    "int": "integer",
    "bigint": "bigint",
    "float": "real",
    "double": "double precision",
    "string": 'text COLLATE "C"',
    "binary": "bytea",
    "date": "date",
    "timestamp": "timestamptz",
    "timestamp_ntz": "timestamp",
}
"""Spark's types in PostgreSQL; text compares by bytes, as Spark's does. What isn't listed is kept as jsonb."""


@dataclass(frozen=True)
class Merged:
    """Rows of the target that a run changed."""

    staged: int
    upserted: int
    deleted: int


class PostgresTarget:
    """One run's hold on a target table. Use as a context manager; raises JobError where another run holds it."""

    def __init__(self, uri: str, target: Target, rule: Rule, schema: StructType) -> None:
        self._uri, self._target, self._rule, self._schema = uri, target, rule, schema
        self._staging = f"_dedup_{uuid.uuid4().hex[:12]}"

    def __enter__(self) -> PostgresTarget:
        self._connection = connect(self._uri, APPLICATION)
        self._lock()
        self._make_tables()
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()

    @property
    def _table(self) -> str:
        return qualified(self._target.table)

    def bookmark(self) -> str | None:
        """The largest timestamp of the runs so far, None before the first."""
        with self._connection.cursor() as cursor:
            # A bookmark speaks about one table: where that was dropped or restored, everything is read again.
            cursor.execute(
                f"SELECT newest FROM {BOOKMARKS} WHERE job = %s "
                "AND coalesce(target_oid, %s::regclass::oid) = %s::regclass::oid",
                (self._target.bookmark, self._table, self._table),
            )
            row = cursor.fetchone()
        return row[0] if row else None

    def stage(self, latest: DataFrame) -> list[int]:
        """Copy the rows into the staging table; returns the task attempts whose rows count."""
        rows = latest.select(*(as_copied(latest, name) for name in self._schema.names), DELETED)
        copied = rows.mapInArrow(copier(self._uri, self._staging, rows.columns), "attempt bigint, copied bigint")
        return [row.attempt for row in copied.where("copied > 0").collect()]

    def merge(self, attempts: Sequence[int], newest: str | None) -> Merged:
        """Bring the target to the staged state and the bookmark to `newest`, in one transaction."""
        self._connection.autocommit = False
        try:
            with self._connection, self._connection.cursor() as cursor:
                merged = self._merge(cursor, list(attempts))
                self._move_bookmark(cursor, newest)
                cursor.execute(f"DROP TABLE {self._staging}")
        except errors.InvalidColumnReference:
            raise BadConfigurationError(
                f"table {self._target.table} needs a unique index on ({', '.join(self._rule.key)}) to merge into"
            ) from None
        except (DataError, IntegrityError, ProgrammingError) as error:
            raise BadConfigurationError(
                f"PostgreSQL refused the rows for table {self._target.table}: {first_line(error)}; compare its columns "
                "and constraints with the source's"
            ) from None
        finally:
            self._connection.autocommit = True
        return merged

    def _lock(self) -> None:
        """Wait a little: the server may still be ending what a killed run had asked for."""
        with self._connection.cursor() as cursor:
            cursor.execute("SET client_connection_check_interval = '1s'")
            cursor.execute("SET lock_timeout = %s", (f"{LOCK_TIMEOUT_S}s",))
            try:
                cursor.execute("SELECT pg_advisory_lock(hashtext(%s))", (f"dedup {self._target.table}",))
            except errors.LockNotAvailable:
                raise JobError(f"another run writes to {self._target.table}: let it end first") from None
            cursor.execute("RESET lock_timeout")

    def _make_tables(self) -> None:
        columns = [f"{identifier(part.name)} {postgres_type(part.dataType)}" for part in self._schema]
        unique = f"UNIQUE NULLS NOT DISTINCT ({identifiers(self._rule.key)})"
        with self._connection.cursor() as cursor:
            cursor.execute("SET client_min_messages = warning")
            try:
                cursor.execute(f"CREATE TABLE IF NOT EXISTS {self._table} ({', '.join(columns)}, {unique})")
            except errors.InsufficientPrivilege as error:
                raise BadConfigurationError(
                    f"{first_line(error)}: the job makes a staging table beside {self._target.table}; "
                    "GRANT CREATE ON SCHEMA to its role"
                ) from None
            cursor.execute(
                f"CREATE TABLE IF NOT EXISTS {BOOKMARKS} (job text PRIMARY KEY, target text NOT NULL, "
                "newest text NOT NULL, moved_at timestamptz NOT NULL DEFAULT now())"
            )
            cursor.execute(f"ALTER TABLE {BOOKMARKS} ADD COLUMN IF NOT EXISTS target_oid bigint")
            self._check_columns(cursor)
            self._drop_left_over(cursor)
            extra = f"{DELETED} boolean NOT NULL, {ATTEMPT} bigint NOT NULL"
            cursor.execute(f"CREATE UNLOGGED TABLE {self._staging} ({', '.join(columns)}, {extra})")
            cursor.execute(f"COMMENT ON TABLE {self._staging} IS %s", (self._comment,))

    @property
    def _comment(self) -> str:
        return f"staging of a dedup run into {self._target.table}"

    def _check_columns(self, cursor: Cursor) -> None:
        """Refuse a target without a column of ours, or with one that would round, cut or move what comes."""
        theirs = column_types(cursor, self._table)
        for part in self._schema:
            ours = postgres_type(part.dataType).split(" COLLATE")[0]
            if part.name in theirs and not holds(theirs[part.name], ours):
                raise BadConfigurationError(
                    f"table {self._target.table} has column {part.name} of type {theirs[part.name]}, which can't hold "
                    f"every {ours} of the source: ALTER its type to {ours}"
                )
        missing = [name for name in self._schema.names if name not in theirs]
        if missing:
            raise BadConfigurationError(f"table {self._target.table} has no column {', '.join(missing)}: add it")

    def _drop_left_over(self, cursor: Cursor) -> None:
        """Staging tables of runs that were killed: their lock is gone, so they are too."""
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relname LIKE '\\_dedup\\_%%' AND pg_table_is_visible(oid) "
            "AND obj_description(oid, 'pg_class') = %s",
            (self._comment,),
        )
        for (name,) in cursor.fetchall():
            cursor.execute(f"DROP TABLE IF EXISTS {identifier(name)}")

    def _merge(self, cursor: Cursor, attempts: list[int]) -> Merged:
        if self._target.mode == "replace":
            cursor.execute(f"DELETE FROM {self._table}")
        cursor.execute(f"SELECT count(*) FROM {self._staging} WHERE {ATTEMPT} = ANY(%s)", (attempts,))
        staged = cursor.fetchone()[0]  # type: ignore[index]
        deleted = self._delete(cursor, attempts)
        cursor.execute(self._upsert, (attempts,))
        return Merged(staged, cursor.rowcount, deleted)

    def _delete(self, cursor: Cursor, attempts: list[int]) -> int:
        """Delete what the staged markers say. Keys with a NULL go apart: only `=` can be looked up or hashed."""
        key = [identifier(name) for name in self._rule.key]
        some_null = " OR ".join(f"s.{name} IS NULL" for name in key)
        deleted = 0
        for operator, part in (("=", f"NOT ({some_null})"), ("IS NOT DISTINCT FROM", f"({some_null})")):
            same = " AND ".join(f"t.{name} {operator} s.{name}" for name in key)
            cursor.execute(
                f"DELETE FROM {self._table} t USING {self._staging} s WHERE s.{DELETED} AND {part} "
                f"AND s.{ATTEMPT} = ANY(%s) AND {same} AND {self._newer('s', 't')}",
                (attempts,),
            )
            deleted += cursor.rowcount
        return deleted

    @property
    def _upsert(self) -> str:
        names = self._schema.names
        others = [name for name in names if name not in self._rule.key]
        changes = ", ".join(f"{identifier(name)} = excluded.{identifier(name)}" for name in others)
        return (
            f"INSERT INTO {self._table} AS t ({identifiers(names)}) SELECT {identifiers(names)} FROM {self._staging} "
            f"WHERE NOT {DELETED} AND {ATTEMPT} = ANY(%s) "
            f"ON CONFLICT ({identifiers(self._rule.key)}) DO UPDATE SET {changes} WHERE {self._newer('excluded', 't')}"
        )

    def _newer(self, incoming: str, present: str) -> str:
        """SQL for: the incoming row is at or after the present one in the total order, NULL being the smallest."""
        kinds = {part.name: postgres_type(part.dataType) for part in self._schema}
        rest = [name for name in self._schema.names if name not in {*self._rule.key, *self._rule.declared}]
        condition = "true"
        for name in reversed([*self._rule.declared, *(name for name in rest if kinds[name] != "jsonb")]):
            collation = ' COLLATE "C"' if kinds[name].startswith("text") else ""
            i, p = f"{incoming}.{identifier(name)}{collation}", f"{present}.{identifier(name)}{collation}"
            condition = (
                f"(({i} > {p}) IS TRUE OR ({i} IS NOT NULL AND {p} IS NULL) "
                f"OR ({i} IS NOT DISTINCT FROM {p} AND {condition}))"
            )
        return condition

    def _move_bookmark(self, cursor: Cursor, newest: str | None) -> None:
        if self._target.bookmark and newest is not None:
            cursor.execute(
                f"INSERT INTO {BOOKMARKS} (job, target, newest, target_oid) VALUES (%s, %s, %s, %s::regclass::oid) "
                "ON CONFLICT (job) DO UPDATE SET target = excluded.target, newest = excluded.newest, "
                "target_oid = excluded.target_oid, moved_at = now()",
                (self._target.bookmark, self._target.table, newest, self._table),
            )


def drop_table(uri: str, table: str) -> None:
    """Remove a trial's target."""
    connection = connect(uri, APPLICATION)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET client_min_messages = warning")
            cursor.execute(f"DROP TABLE IF EXISTS {qualified(table)}")
    finally:
        connection.close()


JSON_OPTIONS = {
    "timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX",
    "timestampNTZFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSS",
    "ignoreNullFields": "false",
}
"""Every microsecond and every NULL of a nested value: two keys must not become one."""


def qualified(table: str) -> str:
    """`schema.table` or `table`, quoted."""
    return ".".join(map(identifier, table.split(".", 1)))


def postgres_type(kind: DataType) -> str:
    """The PostgreSQL type for a column of Spark's type."""
    if isinstance(kind, DecimalType):
        return f"numeric({kind.precision},{kind.scale})"
    return TYPES.get(kind.simpleString(), "jsonb")


ALIASES = {"timestamptz": "timestamp with time zone", "timestamp": "timestamp without time zone"}
WIDER: dict[str, tuple[str, ...]] = {
    "smallint": ("integer", "bigint", "numeric", "real", "double precision"),
    "integer": ("bigint", "numeric", "double precision"),
    "bigint": ("numeric",),
    "real": ("double precision",),
}
NARROWING = ("smallint", "integer", "bigint", "real", "numeric", "date", "timestamp", "time", "character", "double")
"""First words of the types that PostgreSQL casts to by rounding, cutting or moving."""


def holds(theirs: str, ours: str) -> bool:
    """Whether a column of the target's type holds every value of ours; types that PostgreSQL checks itself do."""
    ours = ALIASES.get(ours, ours)
    if theirs == ours or theirs in WIDER.get(ours, ()) or theirs.startswith(("text", "character varying")):
        return True
    if theirs.startswith("numeric(") and ours.startswith("numeric("):
        (p, s), (q, r) = (tuple(map(int, kind[8:-1].split(","))) for kind in (theirs, ours))
        return p - s >= q - r and s >= r
    if theirs == "numeric":
        return ours.startswith("numeric")
    return not theirs.startswith(NARROWING)


def as_copied(rows: DataFrame, name: str) -> Column:
    """A column in the form that COPY reads."""
    kind = rows.schema[name].dataType
    if kind.simpleString() == "binary":
        return F.concat(F.lit("\\x"), F.lower(F.hex(name))).alias(name)
    if postgres_type(kind) == "jsonb":
        return F.to_json(name, JSON_OPTIONS).alias(name)
    return F.col(name)
