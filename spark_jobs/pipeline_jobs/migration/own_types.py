"""A database's own types (enums, composites, domains, ranges, an extension's): read, compared, made on the target."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from graphlib import TopologicalSorter
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.migration.tables import FIRST_USER_OID, Table
from pipeline_jobs.postgres import first_line, identifier, literal


class Kind(Enum):
    """What a type is, by pg_type.typtype."""

    ENUM = "e"
    COMPOSITE = "c"
    DOMAIN = "d"
    RANGE = "r"
    BASE = "b"


@dataclass(frozen=True)
class OwnType:
    """A type of the database's own."""

    oid: int
    kind: Kind
    schema: str
    name: str
    extension: str
    """The extension that it belongs to, or ''."""
    extension_schema: str
    labels: tuple[str, ...]
    """Of an enum, in order."""
    body: str
    """Of a composite its attributes, of a domain what it is made of, of a range its subtype: as SQL."""
    checks: tuple[str, ...]
    """Of a domain: NOT NULL, DEFAULT and CHECKs, as SQL."""
    needs: tuple[int, ...]
    """The types that it is made of."""

    @property
    def sql(self) -> str:
        """The quoted name."""
        return f"{identifier(self.schema)}.{identifier(self.name)}"

    @property
    def statements(self) -> tuple[str, ...]:
        """What makes it in another database. Raises BadConfigurationError where only a program could."""
        if self.extension:
            schema = self.extension_schema
            made = f"CREATE EXTENSION IF NOT EXISTS {identifier(self.extension)} SCHEMA {identifier(schema)}"
            return _schema_statement(schema), made
        match self.kind:
            case Kind.ENUM:
                made = f"CREATE TYPE {self.sql} AS ENUM ({', '.join(map(_one_line, self.labels))})"
            case Kind.COMPOSITE:
                made = f"CREATE TYPE {self.sql} AS ({self.body})"
            case Kind.DOMAIN:
                made = " ".join([f"CREATE DOMAIN {self.sql} AS {self.body}", *self.checks])
            case Kind.RANGE:
                made = f"CREATE TYPE {self.sql} AS RANGE ({self.body})"
            case Kind.BASE:
                raise BadConfigurationError(f"the type {self.sql} is made by C functions: install it on the target")
        return _schema_statement(self.schema), made


def own_types(connection: Connection, table: Table, names: Iterable[str]) -> tuple[OwnType, ...]:
    """The types of these columns that are the database's own, and all that those are made of; what is needed first."""
    found: dict[int, OwnType] = {}
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('search_path')")
        ((path,),) = cursor.fetchall()
        cursor.execute("SELECT set_config('search_path', '', false)")  # every name comes with its schema
        try:
            cursor.execute(_OF_COLUMNS, (table.sql, list(names)))
            wanted = [oid for (oid,) in cursor.fetchall()]
            while wanted:
                cursor.execute(_DESCRIBED, (wanted,))
                found |= {row[0]: _own_type(row) for row in cursor.fetchall()}
                wanted = sorted({oid for each in found.values() for oid in each.needs} - found.keys())
        finally:
            cursor.execute("SELECT set_config('search_path', %s, false)", (path,))
    order = TopologicalSorter({oid: each.needs for oid, each in found.items()}).static_order()
    return tuple(found[oid] for oid in order)


def provide(target: Connection, types: Sequence[OwnType], *, create: bool) -> None:
    """Make the types that the target lacks, all or none. `target` is in autocommit.

    Raises BadConfigurationError with the statements to run where that is not wanted, or where the server refuses.
    """
    missing = _missing(target, types)
    if missing and not create:
        raise BadConfigurationError(
            f"the target lacks the types {', '.join(each.sql for each in missing)}: set create_types, or run there: "
            f"{_statements(missing)}"
        )
    if missing:
        _make(target, missing)


def _make(target: Connection, types: Sequence[OwnType]) -> None:
    listed = _statements(types)
    with target.cursor() as cursor:
        try:
            cursor.execute("BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('pipeline_migration types', 0))")
            # The migration of another table may have made some while this one waited for the lock.
            if missing := _missing(target, types):
                cursor.execute(_statements(missing))
            cursor.execute("COMMIT")
        except psycopg2.Error as error:
            cursor.execute("ROLLBACK")
            raise BadConfigurationError(
                f"the target refuses to make its types ({first_line(error)}): have them made there: {listed}"
            ) from None


def _missing(target: Connection, types: Sequence[OwnType]) -> list[OwnType]:
    return [each for each in types if not _exists(target, each)]


def _statements(types: Sequence[OwnType]) -> str:
    return "; ".join(dict.fromkeys(line for each in types for line in each.statements if line))


def refuse_other_shapes(source: Sequence[OwnType], target: Sequence[OwnType]) -> None:
    """Raises BadConfigurationError where a type of the same name would change, or lacks, what a value may hold."""
    there = {each.sql: each for each in target}
    for each in source:
        other = there.get(each.sql)
        if other is None or other.extension:
            continue
        lacking = [label for label in each.labels if label not in other.labels]
        if other.kind is each.kind and each.body == other.body and not lacking:
            continue
        if other.kind is each.kind is Kind.ENUM:
            raise BadConfigurationError(
                f"the target's type {each.sql} lacks labels, run there: "
                + "; ".join(f"ALTER TYPE {each.sql} ADD VALUE {_one_line(label)}" for label in lacking)
            )
        raise BadConfigurationError(
            f"the type {each.sql} is {each.body or each.kind.name} on the source, {other.body or other.kind.name} on "
            "the target, so values would change: make the target's like the source's"
        )


def have_same_order(source: Sequence[OwnType], target: Sequence[OwnType]) -> bool:
    """Whether values of the types have one order on both sides."""
    return [(each.sql, each.labels, each.body) for each in source] == [
        (each.sql, each.labels, each.body) for each in target
    ]


def _own_type(row: tuple[Any, ...]) -> OwnType:
    oid, kind, schema, name, extension, extension_schema, labels, body, checks, needs = row
    return OwnType(
        oid=oid,
        kind=Kind(kind),
        schema=schema,
        name=name,
        extension=extension,
        extension_schema=extension_schema,
        labels=tuple(labels),
        body=body,
        checks=tuple(check for check in checks if check),
        needs=() if extension else tuple(needs),
    )


def _exists(target: Connection, wanted: OwnType) -> bool:
    with target.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE nspname = %s AND typname = %s",
            (wanted.schema, wanted.name),
        )
        return cursor.fetchone() is not None


def _schema_statement(schema: str) -> str:
    return "" if schema in ("public", "pg_catalog") else f"CREATE SCHEMA IF NOT EXISTS {identifier(schema)}"


def _one_line(text: str) -> str:
    if "\n" not in text and "\r" not in text:
        return literal(text)
    escaped = text.replace("\\", "\\\\").replace("'", "''").replace("\n", "\\n").replace("\r", "\\r")
    return f"E'{escaped}'"


_OF_COLUMNS = f"""
SELECT DISTINCT CASE WHEN t.typcategory = 'A' AND t.typelem <> 0 THEN t.typelem ELSE t.oid END
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = %s::regclass AND a.attname = ANY(%s) AND a.attnum > 0 AND NOT a.attisdropped
  AND greatest(t.oid, t.typelem) >= {FIRST_USER_OID}"""

_DESCRIBED = f"""
SELECT t.oid::int, CASE WHEN t.typtype = 'm' THEN 'r' ELSE t.typtype END, n.nspname, t.typname,
  coalesce(e.extname, ''), coalesce(en.nspname, ''),
  ARRAY(SELECT enumlabel::text FROM pg_enum WHERE enumtypid = t.oid ORDER BY enumsortorder),
  coalesce(CASE t.typtype
    WHEN 'd' THEN format_type(t.typbasetype, t.typtypmod)
    WHEN 'c' THEN (SELECT string_agg(quote_ident(attname) || ' ' || format_type(atttypid, atttypmod), ', '
                                     ORDER BY attnum)
                   FROM pg_attribute WHERE attrelid = t.typrelid AND attnum > 0 AND NOT attisdropped)
    WHEN 'r' THEN (SELECT 'SUBTYPE = ' || format_type(rngsubtype, NULL) || ', MULTIRANGE_TYPE_NAME = '
                     || format_type(rngmultitypid, NULL) || CASE WHEN rngsubdiff <> 0 THEN ', SUBTYPE_DIFF = '
                     || rngsubdiff::regproc ELSE '' END FROM pg_range WHERE rngtypid = t.oid)
  END, ''),
  CASE WHEN t.typtype = 'd' THEN
    ARRAY[CASE WHEN t.typnotnull THEN 'NOT NULL' END, 'DEFAULT ' || t.typdefault]
    || ARRAY(SELECT 'CONSTRAINT ' || quote_ident(conname) || ' ' || pg_get_constraintdef(oid)
             FROM pg_constraint WHERE contypid = t.oid AND contype = 'c' ORDER BY conname)
  ELSE ARRAY[]::text[] END,
  ARRAY(
    SELECT CASE WHEN u.typcategory = 'A' AND u.typelem <> 0 THEN u.typelem ELSE u.oid END::int
    FROM (SELECT t.typbasetype UNION SELECT atttypid FROM pg_attribute
          WHERE attrelid = t.typrelid AND t.typrelid <> 0 AND attnum > 0 AND NOT attisdropped
          UNION SELECT rngsubtype FROM pg_range WHERE rngtypid = t.oid) made_of (oid)
    JOIN pg_type u ON u.oid = made_of.oid WHERE greatest(u.oid, u.typelem) >= {FIRST_USER_OID}
  )
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
LEFT JOIN pg_depend d ON d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e'
LEFT JOIN pg_extension e ON e.oid = d.refobjid LEFT JOIN pg_namespace en ON en.oid = e.extnamespace
WHERE t.oid IN (SELECT coalesce(r.rngtypid, x.oid) FROM unnest(%s) x (oid)
                LEFT JOIN pg_range r ON r.rngmultitypid = x.oid)"""
