"""Columns whose type is another one on the target: converted exactly, or refused before any row.

Types that widen keep every value. For the others each value is looked at: PostgreSQL's cast and the way back must
give the value again. Between moments with a zone and times without one there is no such way: the owner has to say.
"""

from __future__ import annotations

import psycopg2
from psycopg2.extensions import connection as Connection

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.migration.tables import NAMES_OF_OBJECTS, Column, Table
from pipeline_jobs.postgres import first_line, identifier

NUMBERS = ("numeric", "money")
"""Types whose values are compared as they are, and not their text: 1.50 is 1.5."""

ZONED = ("timestamp with time zone", "time with time zone")
UNZONED = ("timestamp without time zone", "time without time zone", "date")

WIDENING = frozenset(
    {("smallint", "integer"), ("smallint", "bigint"), ("integer", "bigint"), ("real", "double precision")}
    | {
        ("smallint", "double precision"),
        ("integer", "double precision"),
        ("smallint", "real"),
        ("time without time zone", "interval"),
    }
)
"""Pairs that need no look at the values."""


WHOLE = frozenset({"smallint", "integer", "bigint", "oid"})
"""Types whose values are written alike. The way back proves nothing: as an integer, the oid 4294967295 is -1."""


def refuse_changes(source: Connection, source_table: Table, target_table: Table, columns: tuple[Column, ...]) -> None:
    """Raises BadConfigurationError for the first column whose values the target's type would change, with one of them.

    Reads a column of the source once if its type may not fit.
    """
    for column in columns:
        ours = source_table.column(column.name)
        if ours.type != column.type:
            _refuse_change(source, source_table, target_table, ours, column)


def _refuse_change(source: Connection, source_table: Table, target_table: Table, ours: Column, theirs: Column) -> None:
    place = f"{target_table.sql}.{identifier(theirs.name)}".replace("\n", "\\n")
    what = f"{place} is {theirs.type}, of {ours.type} on the source"
    pair = _base(ours.carrier), _base(theirs.carrier)
    plain = tuple(each.removesuffix("[]") for each in pair)
    if (plain[0] in ZONED and plain[1] in UNZONED) or (plain[0] in UNZONED and plain[1] in ZONED):
        raise BadConfigurationError(
            f"{what}: one has a zone and the other none, so which moment is which would be a guess: {_remedy(ours)} "
            "(AT TIME ZONE says the zone)"
        )
    if _is_number_of_object(*plain) or _is_number_of_object(*reversed(plain)):
        raise BadConfigurationError(
            f"{what}: a number of an object means another one in another database: {_remedy(ours)}"
        )
    query = _changed_query(source_table, ours, theirs)
    if query and (changed := _first_changed(source, query, what, ours)):
        raise BadConfigurationError(f"{what}, and would change values such as {changed[0][:80]!r}: {_remedy(ours)}")


def _is_number_of_object(named: str, other: str) -> bool:
    """Whether one type names an object of the database and the other has its number."""
    return named in NAMES_OF_OBJECTS and other in ("oid", "bigint", "integer")


def _remedy(ours: Column) -> str:
    return f"make the target's column {ours.type}, or move a view of the source's that converts it"


def _first_changed(source: Connection, query: str, what: str, ours: Column) -> tuple[str] | None:
    """The first value that would change. Raises BadConfigurationError where the server can't convert."""
    with source.cursor() as cursor:
        cursor.execute("SAVEPOINT look")
        try:
            cursor.execute(query)
            row = cursor.fetchone()
        except psycopg2.Error as error:
            cursor.execute("ROLLBACK TO SAVEPOINT look")
            raise BadConfigurationError(f"{what}, which doesn't fit ({first_line(error)}): {_remedy(ours)}") from None
        cursor.execute("RELEASE SAVEPOINT look")
    return row


def _changed_query(table: Table, ours: Column, theirs: Column) -> str:
    """The query for a value that would change; '' where none can."""
    name, carrier = identifier(ours.name), theirs.carrier or "text"
    pair = _base(ours.carrier), _base(carrier)
    if carrier in ("text", "character varying") or (ours.carrier, carrier) in WIDENING:
        return ""
    is_same = pair[0] == pair[1] or set(pair) <= WHOLE
    back = f"{name}::{carrier}" if is_same else f"({name}::{carrier})::{ours.type}"
    form = "" if pair[0].removesuffix("[]") in NUMBERS else "::text"
    return f"SELECT {name}::text FROM {table.sql} WHERE ({back}){form} IS DISTINCT FROM {name}{form} LIMIT 1"


def _base(type_name: str) -> str:
    """A type without its modifiers: `timestamp(3) with time zone[]` is `timestamp with time zone[]`."""
    head, _, rest = type_name.partition("(")
    return head + rest.partition(")")[2]
