"""The target's tables: made or checked, foreign keys, emptied; and the tables of the progress."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from psycopg2 import OperationalError, ProgrammingError, sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from pipeline_jobs.contract import BadConfigurationError, JobError
from pipeline_jobs.postgres import column_types
from pipeline_jobs.streaming_etl.connection_pool import fetched_row
from pipeline_jobs.streaming_etl.mapping import Column, Mapping, Table

BATCHES, DEAD_LETTERS, RANGES, VERSIONS = "etl_batch", "etl_dead_letter", "etl_range", "etl_version"
HOOKS = "etl_hook"
ACCOUNT_TABLES = (BATCHES, DEAD_LETTERS, RANGES, VERSIONS, HOOKS)
ACCOUNTS = f"""
CREATE TABLE IF NOT EXISTS {{schema}}.{RANGES} (
    job text, number integer, source text NOT NULL, first text, last text, is_done boolean NOT NULL DEFAULT false,
    target_oids bigint[], target_files bigint[], mapping text,
    turn bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (job, number));
CREATE TABLE IF NOT EXISTS {{schema}}.{BATCHES} (
    job text, number integer, sequence bigint, position text NOT NULL, documents bigint NOT NULL,
    loaded bigint NOT NULL, rejected bigint NOT NULL, replaced bigint NOT NULL, rows bigint NOT NULL,
    table_rows bigint[], committed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (job, number, sequence));
CREATE TABLE IF NOT EXISTS {{schema}}.{DEAD_LETTERS} (
    job text, place text, reason text NOT NULL, detail text NOT NULL, document bytea,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (job, place));
CREATE TABLE IF NOT EXISTS {{schema}}.{VERSIONS} (
    job text, key text, seconds bigint NOT NULL, increment bigint NOT NULL,
    PRIMARY KEY (job, key));
CREATE TABLE IF NOT EXISTS {{schema}}.{HOOKS} (
    job text, moment text, ran_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (job, moment));
"""
ADDED_LATER = (
    (RANGES, "target_oids", "bigint[]"),
    (RANGES, "target_files", "bigint[]"),
    (RANGES, "mapping", "text"),
    (RANGES, "turn", "bigint NOT NULL DEFAULT 0"),
    (BATCHES, "table_rows", "bigint[]"),
)
"""Columns that accounts of an earlier version lack: table, name and type."""
REFUSALS = ("42", "54", "0A", "3F")
"""SQLSTATE classes of what a server will never make: names, rights and types, limits, features, schemas."""
CATALOG_NAMES = {"varchar": "character varying", "timestamptz": "timestamp with time zone"}


def create_tables(connection: Connection, mapping: Mapping, schema: str, *, foreign_keys: bool = True) -> None:
    """Make what is missing of the schema, the mapping's tables and the accounts, then check what was there.

    Raises BadConfigurationError where an existing table does not take the mapping's columns.
    """
    try:
        with connection, connection.cursor() as cursor:
            _create_accounts(cursor, schema)
            for table, oid in zip(mapping.tables, table_oids(cursor, mapping, schema), strict=True):
                if oid is None:
                    cursor.execute(_create(mapping, table, schema))
                _check(cursor, mapping, table, schema)
    except (ProgrammingError, OperationalError) as error:
        if not (error.pgcode or "").startswith(REFUSALS):
            raise
        message = str(error).strip().splitlines()[0]
        raise BadConfigurationError(
            f"the tables of {mapping.collection} can't be made in {schema}: {message}"
        ) from None
    if foreign_keys:
        add_foreign_keys(connection, mapping, schema)


def create_accounts(connection: Connection, schema: str) -> None:
    """Make what is missing of the schema and the accounts."""
    with connection, connection.cursor() as cursor:
        _create_accounts(cursor, schema)


def _create_accounts(cursor: Cursor, schema: str) -> None:
    _alone(cursor, schema)
    cursor.execute("SELECT FROM pg_namespace WHERE nspname = %s", (schema,))
    if not cursor.rowcount:  # IF NOT EXISTS asks for the right to make it, even where it is there
        cursor.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
    if not all(_column_names(cursor, schema, table) for table in ACCOUNT_TABLES):
        cursor.execute(sql.SQL(ACCOUNTS).format(schema=sql.Identifier(schema)))
    for table, name, kind in ADDED_LATER:
        # Altering a table waits for all loads that write to it, even where nothing is to be altered.
        if name not in _column_names(cursor, schema, table):
            statement = sql.SQL("ALTER TABLE {} ADD COLUMN {} " + kind)
            cursor.execute(statement.format(sql.Identifier(schema, table), sql.Identifier(name)))


def _alone(cursor: Cursor, schema: str) -> None:
    """Until the transaction ends no other load makes tables in the schema: IF NOT EXISTS fails where two do at once."""
    cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"streaming_etl tables of {schema}",))


def _column_names(cursor: Cursor, schema: str, table: str) -> Collection[str]:
    """Of one of the accounts; none where it is not there."""
    return column_types(cursor, sql.Identifier(schema, table).as_string(cursor))


def table_oids(cursor: Cursor, mapping: Mapping, schema: str) -> list[int | None]:
    """What tells the mapping's tables from others of the same names; None for one that is not there."""
    return _of_each_table(cursor, mapping, schema, sql.SQL("{}::oid"))


def table_files(cursor: Cursor, mapping: Mapping, schema: str) -> list[int | None]:
    """The number of each table's file, which TRUNCATE changes; None for one that is not there, or has partitions."""
    return _of_each_table(cursor, mapping, schema, sql.SQL("pg_relation_filenode({})"))


def _of_each_table(cursor: Cursor, mapping: Mapping, schema: str, number: sql.SQL) -> list[int | None]:
    """A number of each of the mapping's tables, in their order; `number` has a place for the table."""
    table = sql.SQL("to_regclass(format('%%I.%%I', %s::text, name))")
    query = "SELECT ({})::bigint FROM unnest(%s::text[]) WITH ORDINALITY AS listed (name, place) ORDER BY place"
    cursor.execute(sql.SQL(query).format(number.format(table)), (schema, [each.name for each in mapping.tables]))
    return [found for (found,) in cursor.fetchall()]


def add_foreign_keys(connection: Connection, mapping: Mapping, schema: str) -> None:
    """Make the foreign keys that are missing; rows that are there are validated by it."""
    with connection, connection.cursor() as cursor:
        _alone(cursor, schema)
        for table in mapping.tables[1:]:
            if not _has_foreign_key(cursor, table, schema):
                cursor.execute(_foreign_key(mapping, table, schema))


def drop_foreign_keys(connection: Connection, mapping: Mapping, schema: str) -> None:
    """Take away the foreign keys that `add_foreign_keys` makes."""
    with connection, connection.cursor() as cursor:
        for table in mapping.tables[1:]:
            cursor.execute(
                sql.SQL("ALTER TABLE {} DROP CONSTRAINT IF EXISTS {}").format(
                    sql.Identifier(schema, table.name), sql.Identifier(_constraint(table))
                )
            )


def empty_tables(connection: Connection, mapping: Mapping, schema: str) -> None:
    """Delete all rows of the mapping's tables and of the accounts: for trials on tables of their own."""
    names = [*(table.name for table in mapping.tables), *ACCOUNT_TABLES]
    with connection, connection.cursor() as cursor:
        joined = sql.SQL(", ").join(sql.Identifier(schema, name) for name in names)
        cursor.execute(sql.SQL("TRUNCATE {}").format(joined))


def _create(mapping: Mapping, table: Table, schema: str) -> sql.Composed:
    keys = mapping.key_columns(table)
    key_sql = {key.name: key.sql for key in mapping.keys}
    columns = [(name, key_sql.get(name, "integer NOT NULL")) for name in keys]
    columns += [(column.name, column.sql) for column in table.columns if column.name not in keys]
    listed = sql.SQL(", ").join(sql.SQL("{} " + kind).format(sql.Identifier(name)) for name, kind in columns)
    return sql.SQL("CREATE TABLE IF NOT EXISTS {} ({}, PRIMARY KEY ({}))").format(
        sql.Identifier(schema, table.name), listed, _names(keys)
    )


def _foreign_key(mapping: Mapping, table: Table, schema: str) -> sql.Composed:
    parent = mapping.ancestors(table)[-1]
    keys = _names(mapping.key_columns(parent))
    return sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} FOREIGN KEY ({}) REFERENCES {} ({})").format(
        sql.Identifier(schema, table.name),
        sql.Identifier(_constraint(table)),
        keys,
        sql.Identifier(schema, parent.name),
        keys,
    )


def _constraint(table: Table) -> str:
    return f"{table.name[:50]}_parent_fk"


def _has_foreign_key(cursor: Cursor, table: Table, schema: str) -> bool:
    cursor.execute(
        "SELECT 1 FROM pg_constraint WHERE contype = 'f' AND conrelid = format('%%I.%%I', %s, %s)::regclass",
        (schema, table.name),
    )
    return cursor.fetchone() is not None


def _check(cursor: Cursor, mapping: Mapping, table: Table, schema: str) -> None:
    """Raises BadConfigurationError where a table that is there would round, cut or refuse the mapping's rows."""
    there = _columns(cursor, schema, table)
    wanted = dict.fromkeys(mapping.key_columns(table), Column("", (), "integer"))
    wanted |= {column.name: column for column in (*mapping.keys, *table.columns)}
    keys = mapping.key_columns(table)
    wrong = [
        f"{name} is {there[name].type if name in there else 'missing'}, must be {column.type}{column.size}"
        for name, column in wanted.items()
        if name not in there or not _fits(there[name].type, column)
    ]
    wrong += [f"{name} is GENERATED, must take values" for name in wanted if name in there and there[name].is_made]
    wrong += [
        f'{name} has a collation that takes different texts for equal, must be COLLATE "C"'
        for name in keys
        if name in there and not there[name].is_exact
    ]
    wrong += [] if _is_unique(cursor, mapping, table, schema) else [f"({', '.join(keys)}) must be its primary key"]
    if wrong:
        raise BadConfigurationError(f"the table {schema}.{table.name} is there but does not fit: {'; '.join(wrong)}")


@dataclass(frozen=True)
class _Theirs:
    """A column of a table that is there."""

    type: str
    is_made: bool
    """Whether PostgreSQL makes the value itself and takes none."""
    is_exact: bool
    """False for a collation that takes different texts for the same."""


def _columns(cursor: Cursor, schema: str, table: Table) -> dict[str, _Theirs]:
    """The columns of what has the table's name. Raises BadConfigurationError where that is no table."""
    cursor.execute("SELECT relkind FROM pg_class WHERE oid = format('%%I.%%I', %s, %s)::regclass", (schema, table.name))
    (kind,) = fetched_row(cursor)
    if kind not in ("r", "p"):
        raise BadConfigurationError(f"{schema}.{table.name} is there but is no table: give the mapping's another name")
    cursor.execute(
        "SELECT attname, format_type(atttypid, atttypmod), attgenerated <> '' OR attidentity = 'a', "
        "coalesce(collisdeterministic, true) FROM pg_attribute LEFT JOIN pg_collation c ON c.oid = attcollation "
        "WHERE attrelid = format('%%I.%%I', %s, %s)::regclass AND attnum > 0 AND NOT attisdropped",
        (schema, table.name),
    )
    return {name: _Theirs(*row) for name, *row in cursor.fetchall()}


def _is_unique(cursor: Cursor, mapping: Mapping, table: Table, schema: str) -> bool:
    """Whether the key finds one row; a table without others below it, and not the root, needs no index for that."""
    if table is not mapping.root and not any(each.parent == table.name for each in mapping.tables):
        return True
    cursor.execute(
        "SELECT EXISTS (SELECT FROM pg_index WHERE indrelid = format('%%I.%%I', %s, %s)::regclass AND indisunique "
        "AND indimmediate AND indisvalid AND indpred IS NULL AND indexprs IS NULL AND (SELECT array_agg(attname::text "
        "ORDER BY attname::text) FROM pg_attribute WHERE attrelid = indrelid "
        "AND attnum = ANY((indkey::int2[])[0:indnkeyatts - 1])) = %s::text[])",
        (schema, table.name, sorted(mapping.key_columns(table), key=lambda name: name.encode())),
    )
    return bool(fetched_row(cursor)[0])


def _fits(there: str, column: Column) -> bool:
    """Whether a column's type, as PostgreSQL shows it, takes all values of the mapping's as they are.

    numeric with fewer digits and timestamptz with fewer than three would round, a shorter varchar would cut blanks off.
    """
    name, kind = CATALOG_NAMES.get(column.type, column.type), there.partition("(")[0]
    if column.type == "varchar":
        return kind == name and (kind == there or int(there[len(kind) + 1 : -1]) >= column.max_length > 0)
    if column.type == "timestamptz":
        return there in (name, *(f"timestamp({digits}) with time zone" for digits in (3, 4, 5, 6)))
    return there in ((name, name + column.size) if column.precision else (name,))


def _names(names: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))


class TargetError(JobError):
    """The target refuses for a reason that no retry and no dead letter cures."""


class TargetChangedError(BadConfigurationError):
    """The target's tables are not those that a load's positions belong to."""
