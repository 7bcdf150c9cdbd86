"""What the catalogs say of a table: columns, keys, size; and the making of a trial's target table."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg2.extensions import connection as Connection

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.migration.postgres import identifier, identifiers

FIRST_USER_OID = 16384
"""Types from here on are the database's own: their numbers, and so their binary forms, differ between databases."""


@dataclass(frozen=True)
class Column:
    """A column as both sides need to know it."""

    name: str
    type: str
    """As SQL, with its modifiers: `numeric(10,2)`."""
    type_oid: int
    not_null: bool
    generated: str
    """The expression of a generated column, or ''."""
    identity: str
    """'a' always, 'd' by default, '' none."""
    is_long: bool
    """Whether its values have no fixed length."""
    collation: str
    """A collation of its own, as SQL, or ''."""


@dataclass(frozen=True)
class Table:
    """A table, view or partitioned table of PostgreSQL."""

    schema: str
    name: str
    kind: str
    """pg_class.relkind: r table, p partitioned, v view, m materialized view, f foreign."""
    unlogged: bool
    blocks: int
    estimated_rows: float
    """-1 where the server has never counted."""
    columns: tuple[Column, ...]
    keys: tuple[tuple[str, ...], ...]
    """Unique keys without NULLs, the primary key first."""

    @property
    def sql(self) -> str:
        """The quoted name."""
        return f"{identifier(self.schema)}.{identifier(self.name)}"

    def column(self, name: str) -> Column:
        """The column of a name. Raises BadConfigurationError naming those that exist."""
        for column in self.columns:
            if column.name == name:
                return column
        raise BadConfigurationError(f"{self.sql} has no column {name!r}: it has {[c.name for c in self.columns]}")


def find_table(connection: Connection, schema: str, name: str) -> Table | None:
    """The table of that name, or None."""
    with connection.cursor() as cursor:
        cursor.execute(_TABLE, (schema, name))
        row = cursor.fetchone()
        if row is None:
            return None
        oid, kind, persistence, rows, blocks = row
        cursor.execute(_COLUMNS, (oid,))
        columns = tuple(Column(*values) for values in cursor.fetchall())
        cursor.execute(_KEYS, (oid,))
        keys = tuple(tuple(names) for (names,) in cursor.fetchall())
    return Table(schema, name, kind, persistence == "u", blocks, rows, columns, keys)


def existing_table(connection: Connection, schema: str, name: str, role: str) -> Table:
    """The table of that name. Raises BadConfigurationError if there is none."""
    table = find_table(connection, schema, name)
    if table is None:
        raise BadConfigurationError(f"the {role} has no table {schema}.{name}")
    return table


def create_like(connection: Connection, source: Table, schema: str, name: str) -> None:
    """Make an empty table with the columns, generation rules and keys of a table in another database."""
    parts = [_definition(column) for column in source.columns]
    if source.keys:
        parts.append(f"PRIMARY KEY ({identifiers(source.keys[0])})")
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {identifier(schema)}.{identifier(name)} ({', '.join(parts)})")


def create_trial_table(connection: Connection, model: Table, name: str) -> None:
    """Make an empty table just as the model is, indexes and persistence included, beside it."""
    unlogged = "UNLOGGED " if model.unlogged else ""
    copy = f"{identifier(model.schema)}.{identifier(name)}"
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE {unlogged}TABLE {copy} (LIKE {model.sql} INCLUDING ALL)")


def copied_columns(source: Table, target: Table) -> tuple[Column, ...]:
    """The target's columns to fill, in its order. Raises BadConfigurationError where the tables don't fit."""
    names = {column.name for column in source.columns}
    wanted = [column for column in target.columns if not column.generated]
    homeless = names - {column.name for column in target.columns}
    if homeless:
        raise BadConfigurationError(f"{target.sql} has no columns {sorted(homeless)}, which {source.sql} has")
    return tuple(column for column in wanted if column.name in names)


def select_list(columns: tuple[Column, ...], source: Table) -> str:
    """The source's columns as SQL, in the target's types."""
    return ", ".join(
        identifier(c.name) + ("" if source.column(c.name).type == c.type else f"::{c.type}") for c in columns
    )


def has_own_types(columns: tuple[Column, ...]) -> bool:
    """Whether a type is the database's own, so that only its text form carries over."""
    return any(column.type_oid >= FIRST_USER_OID for column in columns)


def _definition(column: Column) -> str:
    parts = [identifier(column.name), column.type]
    if column.generated:
        parts.append(f"GENERATED ALWAYS AS ({column.generated}) STORED")
    if column.identity:
        parts.append(f"GENERATED {'ALWAYS' if column.identity == 'a' else 'BY DEFAULT'} AS IDENTITY")
    if column.not_null:
        parts.append("NOT NULL")
    return " ".join(parts)


_TABLE = """
SELECT c.oid, c.relkind, c.relpersistence, c.reltuples,
       CASE WHEN c.relkind IN ('r', 'm') THEN pg_relation_size(c.oid) / current_setting('block_size')::int ELSE 0 END
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p', 'v', 'm', 'f')"""

_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod),
       greatest(a.atttypid, coalesce(nullif(t.typelem, 0), 0))::int, a.attnotnull,
       CASE WHEN a.attgenerated <> '' THEN pg_get_expr(d.adbin, d.adrelid) ELSE '' END, a.attidentity, a.attlen < 0,
       CASE WHEN a.attcollation NOT IN (0, t.typcollation) THEN
         (SELECT quote_ident(n.nspname) || '.' || quote_ident(l.collname) FROM pg_collation l
          JOIN pg_namespace n ON n.oid = l.collnamespace WHERE l.oid = a.attcollation) ELSE '' END
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"""

_KEYS = """
SELECT array_agg(a.attname::text ORDER BY k.place)
FROM pg_index i CROSS JOIN unnest(i.indkey) WITH ORDINALITY k (number, place)
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
WHERE i.indrelid = %s AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
  AND k.place <= i.indnkeyatts
GROUP BY i.indexrelid, i.indisprimary, i.indnkeyatts HAVING bool_and(a.attnotnull)
ORDER BY i.indisprimary DESC, i.indnkeyatts"""
