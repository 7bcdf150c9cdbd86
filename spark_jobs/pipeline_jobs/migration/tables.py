"""Tables in PostgreSQL's catalogs: columns, keys, size; the making of a trial's target table."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.postgres import identifier, identifiers

FIRST_USER_OID = 16384
"""Types from here on are the database's own: their numbers, and so their binary forms, differ between databases."""


NAMES_OF_OBJECTS = (
    *("regclass", "regcollation", "regconfig", "regdictionary", "regnamespace", "regoper", "regoperator", "regproc"),
    *("regprocedure", "regrole", "regtype"),
)
"""Types whose text names something of the database, and whose binary form is its number there."""

NO_BINARY = ("aclitem", "tsquery")
"""Types without a binary form, or whose server doesn't read all that it sends (an empty tsquery)."""


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
    is_collated: bool
    """Whether the order of its values depends on a collation."""
    carrier: str
    """The built-in type, as SQL, that says all that its values may be: of a domain what it is made of; else '' for a
    type of the database's own."""

    @property
    def is_own(self) -> bool:
        """Whether the type is the database's own."""
        return self.type_oid >= FIRST_USER_OID

    @property
    def has_portable_binary(self) -> bool:
        """Whether the binary form of its values means the same in another database."""
        return not self.is_own and self.type.removesuffix("[]") not in (*NAMES_OF_OBJECTS, *NO_BINARY)


_OWN_REFERENCES = """
SELECT conname FROM pg_constraint WHERE contype = 'f' AND conrelid = confrelid AND conrelid = %s::regclass ORDER BY 1
"""


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
        oid, kind, persistence, rows, blocks, is_parent = row
        cursor.execute(_COLUMNS, (oid,))
        columns = tuple(Column(*values) for values in cursor.fetchall())
        cursor.execute(_KEYS, (oid,))
        # A key of a table that others inherit from says nothing of their rows, which are read with its own.
        keys = () if is_parent else tuple(tuple(names) for (names,) in cursor.fetchall())
    return Table(schema, name, kind, persistence == "u", blocks, rows, columns, keys)


def existing_table(connection: Connection, schema: str, name: str, role: str) -> Table:
    """The table of that name. Raises BadConfigurationError if there is none."""
    table = find_table(connection, schema, name)
    if table is None:
        raise BadConfigurationError(f"the {role} has no table {schema}.{name}")
    return table


def create_like(connection: Connection, source: Table, schema: str, name: str) -> None:
    """Make an empty table with the columns, generation rules and keys of a table in another database."""
    with connection.cursor() as cursor:
        parts = [_definition(column, _has_collation(cursor, column.collation)) for column in source.columns]
        if source.keys:
            parts.append(f"PRIMARY KEY ({identifiers(source.keys[0])})")
        cursor.execute(f"CREATE TABLE {identifier(schema)}.{identifier(name)} ({', '.join(parts)})")


def advance_identities(connection: Connection, table: Table) -> None:
    """Let identity columns count on from the largest value that has landed. A sequence never goes back."""
    with connection.cursor() as cursor:
        for name in (column.name for column in table.columns if column.identity):
            cursor.execute(f"SELECT max({identifier(name)}) FROM {table.sql}")
            ((largest,),) = cursor.fetchall()
            cursor.execute(_ADVANCE, {"table": table.sql, "column": name, "largest": largest})


def check_own_references(connection: Connection, table: Table) -> None:
    """Raises BadConfigurationError where rows refer to rows of the same table: a range can't see the others' rows."""
    with connection.cursor() as cursor:
        cursor.execute(_OWN_REFERENCES, (table.sql,))
        row = cursor.fetchone()
    if row is not None:
        raise BadConfigurationError(
            f"{table.sql} refers to its own rows ({row[0]}), which other ranges may not have brought yet: set "
            "partitions 1, or drop that constraint and add it again afterwards"
        )


def shortened(name: str, most_bytes: int) -> str:
    """The beginning of a name: PostgreSQL cuts names at 63 bytes, without a word."""
    return name.encode()[:most_bytes].decode(errors="ignore")


def create_trial_table(connection: Connection, model: Table, name: str) -> None:
    """Make an empty table just as the model is, indexes and persistence included, beside it.

    Its identity columns take any value, so that all methods can be measured.
    """
    unlogged = "UNLOGGED " if model.unlogged else ""
    copy = f"{identifier(model.schema)}.{identifier(name)}"
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE {unlogged}TABLE {copy} (LIKE {model.sql} INCLUDING ALL)")
        for column in model.columns:
            if column.identity == "a":
                cursor.execute(f"ALTER TABLE {copy} ALTER {identifier(column.name)} SET GENERATED BY DEFAULT")


def copied_columns(source: Table, target: Table) -> tuple[Column, ...]:
    """The target's columns to fill, in its order. Raises BadConfigurationError where the tables don't fit."""
    names = {column.name for column in source.columns}
    homeless = names - {column.name for column in target.columns}
    if homeless:
        raise BadConfigurationError(f"{target.sql} has no columns {sorted(homeless)}, which {source.sql} has")
    made = [c.name for c in target.columns if c.generated and c.name in names and not source.column(c.name).generated]
    if made:
        raise BadConfigurationError(
            f"{target.sql} makes {made} itself (GENERATED), so the values of {source.sql} would be lost: make them "
            "ordinary columns there (ALTER TABLE ... ALTER ... DROP EXPRESSION), or move a view without them"
        )
    other = [
        c.name
        for c in target.columns
        if c.generated and c.name in names and source.column(c.name).generated != c.generated
    ]
    if other:
        raise BadConfigurationError(
            f"{target.sql} makes {other} in another way than {source.sql} (GENERATED), so other values would be there: "
            "make them ordinary columns there (ALTER TABLE ... ALTER ... DROP EXPRESSION), or move a view without them"
        )
    copied = tuple(column for column in target.columns if column.name in names and not column.generated)
    if not copied:
        raise BadConfigurationError(f"{target.sql} has no column to fill")
    return copied


def value_sql(column: Column, source: Table) -> str:
    """A value of the source as SQL, in the target's type; as text where that is of the target database's own."""
    name = identifier(column.name)
    if source.column(column.name).type == column.type:
        return name
    return f"{name}::{column.carrier or 'text'}"


def select_list(columns: tuple[Column, ...], source: Table) -> str:
    """The source's columns as SQL, in the target's types."""
    return ", ".join(value_sql(column, source) for column in columns)


def has_portable_binary(columns: tuple[Column, ...]) -> bool:
    """Whether binary COPY carries the values over; else only their text form does."""
    return all(column.has_portable_binary for column in columns)


def _has_collation(cursor: Cursor, collation: str) -> bool:
    """Whether the database has it; it changes the order of values, and no value."""
    cursor.execute("SELECT to_regcollation(%s)", (collation or None,))
    return cursor.fetchone() != (None,)


def _definition(column: Column, is_collation_there: bool) -> str:
    parts = [identifier(column.name), column.type]
    if column.collation and is_collation_there:
        parts.append(f"COLLATE {column.collation}")
    if column.generated:
        parts.append(f"GENERATED ALWAYS AS ({column.generated}) STORED")
    if column.identity:
        parts.append(f"GENERATED {'ALWAYS' if column.identity == 'a' else 'BY DEFAULT'} AS IDENTITY")
    if column.not_null:
        parts.append("NOT NULL")
    return " ".join(parts)


_TABLE = """
SELECT c.oid, c.relkind, c.relpersistence, c.reltuples,
       CASE WHEN c.relkind IN ('r', 'm') THEN pg_relation_size(c.oid) / current_setting('block_size')::int ELSE 0 END,
       c.relkind = 'r' AND EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p', 'v', 'm', 'f')"""

_COLUMNS = f"""
SELECT a.attname, format_type(a.atttypid, a.atttypmod),
       greatest(a.atttypid, coalesce(nullif(t.typelem, 0), 0))::int, a.attnotnull,
       CASE WHEN a.attgenerated <> '' THEN pg_get_expr(d.adbin, d.adrelid) ELSE '' END, a.attidentity, a.attlen < 0,
       CASE WHEN a.attcollation NOT IN (0, t.typcollation) THEN
         (SELECT quote_ident(n.nspname) || '.' || quote_ident(l.collname) FROM pg_collation l
          JOIN pg_namespace n ON n.oid = l.collnamespace WHERE l.oid = a.attcollation) ELSE '' END,
       a.attcollation <> 0,
       (WITH RECURSIVE made_of (type, modifier, base) AS (
          SELECT t.oid, CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END, t.typbasetype
          UNION ALL
          SELECT b.oid, CASE WHEN b.typtype = 'd' THEN b.typtypmod ELSE m.modifier END, b.typbasetype
          FROM made_of m JOIN pg_type b ON b.oid = m.base
        )
        SELECT CASE WHEN greatest(m.type, coalesce(nullif(b.typelem, 0), 0)) < {FIRST_USER_OID}
                    THEN format_type(m.type, m.modifier) ELSE '' END
        FROM made_of m JOIN pg_type b ON b.oid = m.type WHERE m.base = 0)
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"""

_ADVANCE = """
SELECT setval(s.seqrelid, %(largest)s) FROM pg_sequence s
WHERE s.seqrelid = pg_get_serial_sequence(%(table)s, %(column)s)::regclass AND s.seqincrement > 0
  AND %(largest)s > coalesce(pg_sequence_last_value(s.seqrelid), s.seqstart - 1)
  AND has_sequence_privilege(s.seqrelid, 'UPDATE')"""

_KEYS = """
SELECT array_agg(a.attname::text ORDER BY k.place)
FROM pg_index i CROSS JOIN unnest(i.indkey) WITH ORDINALITY k (number, place)
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
WHERE i.indrelid = %s AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
  AND k.place <= i.indnkeyatts
GROUP BY i.indexrelid, i.indisprimary, i.indnkeyatts HAVING bool_and(a.attnotnull)
ORDER BY i.indisprimary DESC, i.indnkeyatts"""
