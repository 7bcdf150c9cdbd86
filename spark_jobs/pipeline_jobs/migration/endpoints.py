"""The two ends of a migration on the driver: connections, tables, key, and the source's snapshot."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.migration.conversions import refuse_changes
from pipeline_jobs.migration.jdbc_method import refuse_what_spark_cannot_fill, refuse_what_spark_cannot_name
from pipeline_jobs.migration.options import Settings, Workload
from pipeline_jobs.migration.own_types import have_same_order, own_types, provide, refuse_other_shapes
from pipeline_jobs.migration.ranges import Key, choose_key
from pipeline_jobs.migration.tables import Column, Table, copied_columns, create_like, existing_table, find_table
from pipeline_jobs.postgres import connect, one_row

COPIED_INTO = ("r", "p", "f")
"""pg_class.relkind of what takes rows by COPY."""


@dataclass(frozen=True)
class Endpoints:
    """A source table, a target table, and what they have in common."""

    source_uri: str
    target_uri: str
    source: Connection
    """In one read-only transaction, the run's snapshot."""
    target: Connection
    """In autocommit."""
    source_table: Table
    target_table: Table
    columns: tuple[Column, ...]
    key: Key | None
    snapshot: str
    """What other sessions import to see the same rows; '' where the server doesn't offer it."""
    has_same_order: bool
    """Whether the key's values have one order on both sides."""

    @property
    def shared_key(self) -> Key | None:
        """The key, if the target has its columns too."""
        types = {column.name: column.type for column in self.target_table.columns}
        key = self.key
        return key if key is not None and [types.get(name) for name in key.names] == list(key.types) else None

    @property
    def target_key(self) -> Key | None:
        """The shared key, if a range of it is the same rows on the target."""
        return self.shared_key if self.has_same_order else None

    def with_target(self, table: Table) -> Endpoints:
        """The same with another target table."""
        return replace(self, target_table=table, columns=copied_columns(self.source_table, table))

    def fingerprint(self, rows: int) -> dict[str, Any]:
        """What the workload is, for telling whether two measurements are of the same."""
        shape = [(column.name, column.type) for column in self.source_table.columns]
        facts = {
            "table": self.source_table.name,
            "rows": rows,
            "columns": len(shape),
            "columns_hash": hashlib.sha256(json.dumps(shape).encode()).hexdigest()[:12],
            "key": list(self.key.names) if self.key else [],
            "source_version": _major(self.source),
            "target_version": _major(self.target),
        }
        return facts | {"fingerprint": hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]}


@contextmanager
def open_endpoints(
    source_uri: str, target_uri: str, workload: Workload, settings: Settings, name: str
) -> Iterator[Endpoints]:
    """Both ends, open. Makes the target table like the source's where there is none.

    Raises InfrastructureError where a server can't be reached, BadConfigurationError where the tables don't fit.
    """
    with (
        closing(connect(target_uri, f"{name} driver", sees_whole_tables=True)) as target,
        closing(connect(source_uri, f"{name} driver", autocommit=False, sees_whole_tables=True)) as source,
    ):
        snapshot = _export_snapshot(source)
        source_table = existing_table(source, workload.schema, workload.table, "source")
        target_table = _target_table(source, target, source_table, workload, settings)
        if workload.run_id:
            _refuse_no_target(source, source_table, target, target_table)
        columns = copied_columns(source_table, target_table)
        _refuse_by_method(columns, workload, settings)
        refuse_changes(source, source_table, target_table, columns)
        agree = _collation(source) == _collation(target)
        key = choose_key(source_table, workload.key, agree, target_table)
        yield Endpoints(
            source_uri=source_uri,
            target_uri=target_uri,
            source=source,
            target=target,
            source_table=source_table,
            target_table=target_table,
            columns=columns,
            key=key,
            snapshot=snapshot,
            has_same_order=key is None or _have_same_order(source, source_table, target, target_table, key, agree),
        )


def _major(connection: Connection) -> str:
    """A text: a version is the same or another, never 10% more. Minor ones don't make a workload another."""
    return f"PostgreSQL {connection.server_version // 10_000}"


def _target_table(
    source: Connection, target: Connection, source_table: Table, workload: Workload, settings: Settings
) -> Table:
    """The target's table. One that is missing is made like the source's, after the types that it needs.

    What is refused is refused before: it leaves no table behind.
    """
    schema = workload.target_schema or workload.schema
    name = workload.target_table or workload.table
    theirs = find_table(target, schema, name)
    if not source_table.columns:
        raise BadConfigurationError(f"{source_table.sql} has no columns: there is nothing to move")
    own = [column.name for column in source_table.columns if column.is_own]
    types = own_types(source, source_table, own) if own else ()
    if theirs is None:
        _refuse_by_method(source_table.columns, workload, settings)
        choose_key(source_table, workload.key, collations_agree=True)
        provide(target, types, create=workload.create_types)
        create_like(target, source_table, schema, name)
        theirs = existing_table(target, schema, name, "target")
    kept = [column.name for column in theirs.columns if column.is_own and column.name in own]
    if kept:
        refuse_other_shapes(types, own_types(target, theirs, kept))
    return theirs


def _refuse_by_method(columns: Sequence[Column], workload: Workload, settings: Settings) -> None:
    """Raises BadConfigurationError for columns that the method can't write. A trial's own table takes any value."""
    if settings.method == "jdbc":
        refuse_what_spark_cannot_name(columns)
        if workload.run_id:
            refuse_what_spark_cannot_fill(columns)


def _refuse_no_target(source: Connection, source_table: Table, target: Connection, target_table: Table) -> None:
    """Raises BadConfigurationError where nothing can be moved into the target: a view, or the source itself."""
    if target_table.kind not in COPIED_INTO:
        raise BadConfigurationError(f"the target {target_table.sql} is no table: name another target_table")
    if target_table.sql == source_table.sql and _database(source) == _database(target):
        raise BadConfigurationError(
            f"{target_table.sql} is the source and the target: name another target_table, or another database"
        )


def _database(connection: Connection) -> tuple[Any, ...]:
    """What no other database has: when its server began, and its number there."""
    return one_row(
        connection,
        "SELECT pg_postmaster_start_time(), oid FROM pg_database WHERE datname = current_database()",
    )


def _have_same_order(
    source: Connection, source_table: Table, target: Connection, target_table: Table, key: Key, collations_agree: bool
) -> bool:
    """Whether a range of the key is the same rows on both sides: collations and the labels of enums order values."""
    columns = [source_table.column(name) for name in key.names if not key.is_address]
    own = [column.name for column in columns if column.is_own]
    if any(column.is_collated for column in columns) and _encoding(source) != _encoding(target):
        return False
    if not own:
        return True
    there = {column.name for column in target_table.columns}
    is_there = set(own) <= there
    return (
        collations_agree
        and is_there
        and have_same_order(own_types(source, source_table, own), own_types(target, target_table, own))
    )


def _encoding(connection: Connection) -> str | None:
    return connection.get_parameter_status("server_encoding")


def _export_snapshot(source: Connection) -> str:
    with source.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL jit = off; SAVEPOINT snapshot")
        try:
            return str(one_row(source, "SELECT pg_export_snapshot()")[0])
        except psycopg2.Error:
            cursor.execute("ROLLBACK TO SAVEPOINT snapshot")
            return ""


def _collation(connection: Connection) -> dict[str, Any]:
    """What the order of texts depends on: locale and its version."""
    (facts,) = one_row(connection, "SELECT to_jsonb(d) FROM pg_database d WHERE datname = current_database()")
    wanted = ("datcollate", "datctype", "datlocprovider", "datlocale", "daticulocale", "datcollversion", "encoding")
    return {name: facts.get(name) for name in wanted}
