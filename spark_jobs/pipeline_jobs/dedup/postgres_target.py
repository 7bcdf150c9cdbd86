"""The PostgreSQL target: tasks fill a staging table, one transaction merges it and moves the bookmark.

Before that transaction the target is as it was; after it, as it should be. Each task attempt stages its rows
under its own number, and only the attempts that Spark counts as done are merged: an attempt that was retried,
speculated or lost with its executor leaves no row behind. One run at a time writes to a target (an advisory lock).
What the merge will need is tried before the first record is read: types, names, the unique index, permissions.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from psycopg2 import DataError, Error, IntegrityError, ProgrammingError, errors
from pyspark.sql import DataFrame
from pyspark.sql.types import StructField, StructType

from pipeline_jobs.contract import BadConfigurationError, JobError
from pipeline_jobs.dedup.bookmarks import Bookmarks, Staged, newest_staged
from pipeline_jobs.dedup.columns import Names
from pipeline_jobs.dedup.csv_copy import APPLICATION, ATTEMPT, copier
from pipeline_jobs.dedup.options import Rule, Source, Target
from pipeline_jobs.dedup.postgres_types import as_copied, holds, length_limit, postgres_type
from pipeline_jobs.dedup.strategies import DELETED
from pipeline_jobs.postgres import beside_parameters, connect, first_line, identifier, identifiers

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor

LOCK_TIMEOUT_S = 30
NO_SOURCE = Source("parquet", "")


def counted(attempts: Sequence[int]) -> str:
    """Which staged rows count, as SQL. Without a parameter: a name with a `%` in the same statement would be one."""
    return f"{ATTEMPT} = ANY('{{{','.join(map(str, attempts))}}}'::bigint[])"


@dataclass(frozen=True)
class Column:
    """A column of the target."""

    name: str
    """As SQL."""
    staged: str
    """What it is called in the staging table, as SQL."""
    type: str
    """PostgreSQL's, of the staged values."""
    is_key: bool
    order: int | None
    """Its place in the declared order; None outside of it."""


@dataclass(frozen=True)
class Theirs:
    """A column of a target that is there already."""

    type: str
    """A domain's is its base's."""
    is_exact: bool
    """Whether equal means equal: False for a collation that takes different texts for the same."""


@dataclass(frozen=True)
class Merged:
    """Rows of the target that a run changed."""

    staged: int
    upserted: int
    deleted: int
    newest: str | None = None
    """The bookmark's position after it; None without one."""

    def metrics(self) -> dict[str, float]:
        """For a measurement."""
        return {"staged": float(self.staged), "upserted": float(self.upserted), "deleted": float(self.deleted)}


class PostgresTarget:
    """One run's hold on a target table. Use as a context manager; raises JobError where another run holds it."""

    def __init__(
        self,
        uri: str,
        target: Target,
        rule: Rule,
        schema: StructType,
        *,
        source: Source = NO_SOURCE,
        names: Names | None = None,
        identity: str = "",
    ) -> None:
        """`schema` and `rule` are in the source's own names; `names` says what they are called in the staged rows.

        `identity` tells the source's tables from others of their names.
        """
        self._uri, self._target, self._rule, self._schema = uri, target, rule, schema
        self._names = names or Names.of(schema.names)
        self._columns = [self._column(number) for number in range(len(schema))]
        prefix = f"{identifier(target.work_schema)}." if target.work_schema else ""
        self._staging = f"{prefix}_dedup_{uuid.uuid4().hex[:12]}"
        self._bookmarks = Bookmarks(
            target.bookmark, self._table, source, rule, schema=target.work_schema, identity=identity
        )
        self._now = datetime.now(UTC)

    def _column(self, number: int) -> Column:
        part, declared = self._schema[number], self._rule.declared
        return Column(
            name=identifier(part.name),
            staged=identifier(self._names.inner[number]),
            type=postgres_type(part.dataType).split(" COLLATE")[0],
            is_key=part.name in self._rule.key,
            order=declared.index(part.name) if part.name in declared else None,
        )

    def __enter__(self) -> PostgresTarget:
        self._connection = connect(self._uri, APPLICATION)
        try:
            self._lock()
            with self._connection.cursor() as cursor:
                cursor.execute("SET client_min_messages = warning")
                self._prepare(cursor)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        # What is left of the staging table goes at once where it can; else the next run removes it.
        with suppress(Error), self._connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '5s'")
            cursor.execute(f"DROP TABLE IF EXISTS {self._staging}")
        self._connection.close()

    @property
    def _table(self) -> str:
        return qualified(self._target.table)

    def bookmark(self) -> str | None:
        """How far the runs so far have read; None where everything is to be read."""
        if not self._target.bookmark:
            return None
        with self._connection.cursor() as cursor:
            position = self._bookmarks.read(cursor)
        return position.newest if position else None

    def stage(self, latest: DataFrame) -> list[int]:
        """Copy the rows into the staging table; returns the task attempts whose rows count."""
        rows = latest.select(*(as_copied(latest, name) for name in self._names.inner), DELETED)
        copied = rows.mapInArrow(copier(self._uri, self._staging, rows.columns), "attempt bigint, copied bigint")
        return [row.attempt for row in copied.where("copied > 0").collect()]

    def merge(self, attempts: Sequence[int]) -> Merged:
        """Bring the target to the staged state and the bookmark to its new position, in one transaction."""
        self._connection.autocommit = False
        try:
            with self._connection, self._connection.cursor() as cursor:
                merged = self._merge(cursor, list(attempts))
                cursor.execute(f"DROP TABLE {self._staging}")
        except (DataError, IntegrityError, ProgrammingError, errors.ProgramLimitExceeded) as error:
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

    def _prepare(self, cursor: Cursor) -> None:
        """Make the tables that are missing, and try what the merge will need. Raises BadConfigurationError."""
        try:
            self._make_tables(cursor)
        except errors.InsufficientPrivilege as error:
            raise BadConfigurationError(
                f"{first_line(error)}: the job makes a staging table for {self._target.table}, and the table itself "
                f"where it is missing; GRANT CREATE ON SCHEMA {self._target.work_schema or 'public'} to its role, or "
                "set target.work_schema to a schema where it may create"
            ) from None
        except (errors.InvalidSchemaName, errors.UndefinedTable) as error:
            raise BadConfigurationError(f"{first_line(error)}: make the schema, or name another one") from None
        except errors.TooManyColumns as error:
            raise BadConfigurationError(f"{first_line(error)}: name fewer in source.schema, or nest some") from None
        except errors.ReadOnlySqlTransaction as error:
            raise BadConfigurationError(
                f"{first_line(error)}: the target is a standby, or its role or database has "
                "default_transaction_read_only; name one that can be written"
            ) from None
        self._rehearse(cursor)

    def _make_tables(self, cursor: Cursor) -> None:
        columns = [f"{column.name} {postgres_type(part.dataType)}" for column, part in self._with_schema]
        theirs = self._theirs(cursor)
        if not theirs:
            unique = f"UNIQUE NULLS NOT DISTINCT ({identifiers(self._rule.key)})"
            cursor.execute(f"CREATE TABLE IF NOT EXISTS {self._table} ({', '.join(columns)}, {unique})")
            theirs = self._theirs(cursor)
        self._check_columns(theirs)
        self._check_policies(cursor)
        self._limits = {
            column.staged: limit
            for column in self._columns
            if (limit := length_limit(theirs[_plain(column.name)].type))
        }
        if self._target.bookmark:
            self._bookmarks.make_table(cursor)
        self._drop_left_over(cursor)
        staged = [f"{column.staged} {postgres_type(part.dataType)}" for column, part in self._with_schema]
        staged += [f"{DELETED} boolean NOT NULL", f"{ATTEMPT} bigint NOT NULL"]
        cursor.execute(f"CREATE UNLOGGED TABLE {self._staging} ({', '.join(staged)})")
        cursor.execute(f"COMMENT ON TABLE {beside_parameters(self._staging)} IS %s", (self._comment,))

    @property
    def _with_schema(self) -> list[tuple[Column, StructField]]:
        return list(zip(self._columns, self._schema, strict=True))

    @property
    def _comment(self) -> str:
        return f"staging of a dedup run into {self._target.table}"

    def _theirs(self, cursor: Cursor) -> dict[str, Theirs]:
        """The target's columns; empty where there is no table."""
        cursor.execute(
            "SELECT attname, format_type(coalesce(nullif(typbasetype, 0), atttypid), "
            "CASE WHEN typbasetype = 0 THEN atttypmod ELSE typtypmod END), coalesce(collisdeterministic, true) "
            "FROM pg_attribute JOIN pg_type t ON t.oid = atttypid LEFT JOIN pg_collation c ON c.oid = attcollation "
            "WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
            (self._table,),
        )
        return {name: Theirs(kind, exact) for name, kind, exact in cursor.fetchall()}

    def _check_columns(self, theirs: dict[str, Theirs]) -> None:
        """Refuse a target without a column of ours, or with one that would round, cut or move what comes."""
        names = {part.name for part in self._schema}
        missing = [name for name in self._schema.names if name not in theirs]
        if missing:
            raise BadConfigurationError(f"table {self._target.table} has no column {', '.join(missing)}: add it")
        for part, column in zip(self._schema, self._columns, strict=True):
            if not holds(theirs[part.name].type, column.type):
                raise BadConfigurationError(
                    f"table {self._target.table} has column {part.name} of type {theirs[part.name].type}, which can't "
                    f"hold every {column.type} of the source: ALTER its type to {column.type}"
                )
        vague = [name for name in names if not theirs[name].is_exact]
        if vague:
            raise BadConfigurationError(
                f"table {self._target.table} has column {vague[0]} with a collation that takes different texts for "
                'equal: ALTER its type to text COLLATE "C"'
            )

    def _check_policies(self, cursor: Cursor) -> None:
        """Refuse a table of which policies hide rows: a delete marker would not reach them."""
        cursor.execute("SELECT row_security_active(%s)", (self._table,))
        if cursor.fetchone() == (True,):
            raise BadConfigurationError(
                f"table {self._target.table} has policies (row level security) for the job's role, which would hide "
                "rows from it: ALTER ROLE ... BYPASSRLS, or let the table's owner run the job"
            )

    def _rehearse(self, cursor: Cursor) -> None:
        """Let PostgreSQL plan what the merge will do: what it would refuse then is refused now."""
        try:
            for statement in (self._clear, *self._deletes(counted([])), self._upsert(counted([]))):
                cursor.execute(f"EXPLAIN {statement}")
        except errors.InvalidColumnReference:
            raise BadConfigurationError(
                f"table {self._target.table} needs a unique index on ({', '.join(self._rule.key)}) to merge into: "
                f"CREATE UNIQUE INDEX ON {self._table} ({identifiers(self._rule.key)})"
            ) from None
        except errors.InsufficientPrivilege as error:
            raise BadConfigurationError(
                f"{first_line(error)}: GRANT SELECT, INSERT, UPDATE, DELETE ON {self._table} to the job's role"
            ) from None
        except (ProgrammingError, errors.FeatureNotSupported, errors.ObjectNotInPrerequisiteState) as error:
            raise BadConfigurationError(
                f"PostgreSQL can't merge into {self._target.table}: {first_line(error)}; name a table with the "
                "source's columns"
            ) from None

    def _drop_left_over(self, cursor: Cursor) -> None:
        """Staging tables of runs that were killed: their lock is gone, so they are too."""
        cursor.execute(
            r"SELECT oid::regclass::text FROM pg_class WHERE relname LIKE '\_dedup\_%%' AND relkind = 'r' "
            "AND (pg_table_is_visible(oid) OR relnamespace = to_regnamespace(%s)) "
            "AND obj_description(oid, 'pg_class') = %s",
            (identifier(self._target.work_schema or "public"), self._comment),
        )
        for (name,) in cursor.fetchall():
            cursor.execute(f"DROP TABLE IF EXISTS {name}")

    def _merge(self, cursor: Cursor, attempts: list[int]) -> Merged:
        which = counted(attempts)
        self._check_lengths(cursor, which)
        if self._target.mode == "replace":
            cursor.execute(self._clear)
        cursor.execute(f"SELECT count(*) FROM {self._staging} WHERE {which}")
        staged = cursor.fetchone()[0]  # type: ignore[index]
        deleted = 0
        for statement in self._deletes(which):
            cursor.execute(statement)
            deleted += cursor.rowcount
        cursor.execute(self._upsert(which))
        return Merged(staged, cursor.rowcount, deleted, self._move_bookmark(cursor, which))

    def _check_lengths(self, cursor: Cursor, which: str) -> None:
        """Raises BadConfigurationError where PostgreSQL would cut trailing blanks off to make a text fit."""
        for column in self._columns:
            if column.staged not in self._limits:
                continue
            most = self._limits[column.staged]
            cursor.execute(
                f"SELECT length({column.staged}) FROM {self._staging} WHERE {which} AND NOT {DELETED} "
                f"AND length({column.staged}) > {most} LIMIT 1"
            )
            row = cursor.fetchone()
            if row is not None:
                raise BadConfigurationError(
                    f"the source has a text of {row[0]} characters in column {_plain(column.name)}, where table "
                    f"{self._target.table} has room for {most}: ALTER its type to text"
                )

    @property
    def _clear(self) -> str:
        return f"DELETE FROM {self._table}"

    def _deletes(self, which: str) -> list[str]:
        """Delete what the staged markers say. Keys with a NULL go apart: only `=` can be looked up or hashed."""
        key = [column for column in self._columns if column.is_key]
        some_null = " OR ".join(f"s.{column.staged} IS NULL" for column in key)
        statements = []
        for operator, part in (("=", f"NOT ({some_null})"), ("IS NOT DISTINCT FROM", f"({some_null})")):
            same = " AND ".join(f"t.{column.name} {operator} s.{column.staged}" for column in key)
            newer = self._newer({column.name: f"s.{column.staged}" for column in self._columns})
            statements.append(
                f"DELETE FROM {self._table} t USING {self._staging} s WHERE s.{DELETED} AND {part} "
                f"AND s.{which} AND {same} AND {newer}"
            )
        return statements

    def _upsert(self, which: str) -> str:
        names = ", ".join(column.name for column in self._columns)
        others = [column.name for column in self._columns if not column.is_key]
        newer = self._newer({column.name: f"excluded.{column.name}" for column in self._columns})
        return (
            f"INSERT INTO {self._table} AS t ({names}) SELECT {', '.join(column.staged for column in self._columns)} "
            f"FROM {self._staging} WHERE NOT {DELETED} AND {which} "
            f"ON CONFLICT ({identifiers(self._rule.key)}) DO UPDATE "
            f"SET {', '.join(f'{name} = excluded.{name}' for name in others)} WHERE {newer}"
        )

    def _newer(self, incoming: Mapping[str, str]) -> str:
        """SQL for: the incoming row is at or after the present one in the total order, NULL being the smallest."""
        declared = sorted((c for c in self._columns if c.order is not None), key=lambda c: c.order or 0)
        rest = [c for c in self._columns if c.order is None and not c.is_key and c.type != "jsonb"]
        condition = "true"
        for column in reversed([*declared, *rest]):
            collation = ' COLLATE "C"' if column.type == "text" else ""
            i, p = f"{incoming[column.name]}{collation}", f"t.{column.name}{collation}"
            condition = (
                f"(({i} > {p}) IS TRUE OR ({i} IS NOT NULL AND {p} IS NULL) "
                f"OR ({i} IS NOT DISTINCT FROM {p} AND {condition}))"
            )
        return condition

    def _move_bookmark(self, cursor: Cursor, which: str) -> str | None:
        if not self._target.bookmark:
            return None
        timestamp = next(column for column in self._columns if column.order == 0)
        staged = Staged(
            table=self._staging,
            where=which,
            key=tuple((column.staged, column.name) for column in self._columns if column.is_key),
            timestamp=(timestamp.staged, timestamp.name),
            kind=timestamp.type,
        )
        newest = newest_staged(cursor, staged, self._target.unit, self._now)
        self._bookmarks.move(cursor, newest, staged)
        return newest


def drop_table(uri: str, table: str) -> None:
    """Remove a trial's target."""
    connection = connect(uri, APPLICATION)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET client_min_messages = warning")
            cursor.execute(f"DROP TABLE IF EXISTS {qualified(table)}")
    finally:
        connection.close()


def qualified(table: str) -> str:
    """`schema.table` or `table`, quoted."""
    return ".".join(map(identifier, table.split(".", 1)))


def _plain(name: str) -> str:
    """A quoted name without its quotes."""
    return name[1:-1].replace('""', '"')
