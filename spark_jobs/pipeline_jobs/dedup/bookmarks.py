"""The bookmarks of incremental runs: how far a job has read one source, for one rule and one target.

A position that is too low costs reading again; one that is too high hides records. So whatever is in doubt lowers it:
another source or rule, a target that was dropped, emptied, rewritten or put back to an older state, a record of the
future, a number that stands alone far above all others.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pipeline_jobs.dedup.options import Rule, Source, TimestampUnit
from pipeline_jobs.postgres import beside_parameters, column_types, identifier, identifiers, literal, one_at_a_time

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor

BOOKMARKS = "pipeline_tuner_bookmarks"
COLUMNS = {
    "target_oid": "bigint",
    "target_file": "bigint",
    "about": "text",
    "witness": "jsonb",
}
"""What came to the table later, with types."""

PER_SECOND = {
    TimestampUnit.SECONDS: 1,
    TimestampUnit.MILLISECONDS: 10**3,
    TimestampUnit.MICROSECONDS: 10**6,
    TimestampUnit.NANOSECONDS: 10**9,
}
LARGEST = {"smallint": 2**15 - 1, "integer": 2**31 - 1, "bigint": 2**63 - 1}
"""The last number of a type is what people write for "never"."""


@dataclass(frozen=True)
class Staged:
    """Where the run's rows lie: the columns of key and timestamp as staged, with the target's names."""

    table: str
    """The staging table, as SQL."""
    where: str
    """Which rows count, as SQL."""
    key: tuple[tuple[str, str], ...]
    timestamp: tuple[str, str]
    kind: str
    """PostgreSQL's type of the timestamp."""


@dataclass(frozen=True)
class Position:
    """How far a job has read, as the database keeps it."""

    newest: str
    """The largest timestamp that counts: ISO 8601 with a Z for a moment, or a whole number."""


class Bookmarks:
    """The positions of jobs, in a table beside their targets."""

    def __init__(
        self, job: str, table: str, source: Source, rule: Rule, *, schema: str = "", identity: str = ""
    ) -> None:
        """`identity`: what tells the source's tables from others of their names, where it has tables."""
        self._job, self._table, self._rule = job, table, rule
        about = {"format": source.format, "path": source.path, "rule": asdict(rule)}
        self._about = json.dumps(about | ({"identity": identity} if identity else {}), sort_keys=True, default=list)
        self._bookmarks = f"{identifier(schema)}.{BOOKMARKS}" if schema else BOOKMARKS

    def make_table(self, cursor: Cursor) -> None:
        """Make the table, and what it lacks since an older version. Raises psycopg2's InsufficientPrivilege."""
        if COLUMNS.keys() <= column_types(cursor, self._bookmarks).keys():
            return
        with one_at_a_time(cursor, self._bookmarks):
            self._make_what_is_missing(cursor)

    def _make_what_is_missing(self, cursor: Cursor) -> None:
        present = column_types(cursor, self._bookmarks)
        if not present:
            cursor.execute(
                f"CREATE TABLE IF NOT EXISTS {self._bookmarks} (job text PRIMARY KEY, target text NOT NULL, "
                "newest text NOT NULL, moved_at timestamptz NOT NULL DEFAULT now())"
            )
        for name, kind in COLUMNS.items():
            if name not in present:
                cursor.execute(f"ALTER TABLE {self._bookmarks} ADD COLUMN IF NOT EXISTS {name} {kind}")

    def read(self, cursor: Cursor) -> Position | None:
        """The position, where it still belongs to this source, rule and content; None: read everything."""
        cursor.execute(
            f"SELECT newest, witness FROM {beside_parameters(self._bookmarks)} WHERE job = %s AND about = %s "
            "AND target_oid = %s::regclass::oid AND target_file IS NOT DISTINCT FROM pg_relation_filenode(%s)",
            (self._job, self._about, self._table, self._table),
        )
        row = cursor.fetchone()
        return Position(row[0]) if row and self._is_there(cursor, row[1]) else None

    def _is_there(self, cursor: Cursor, witness: dict[str, object] | None) -> bool:
        """Whether a row that a run left in the target is still there, or a later one of its key."""
        if witness is None:
            return True
        key = " AND ".join(f"t.{name} IS NOT DISTINCT FROM w.{name}" for name in map(identifier, self._rule.key))
        at = identifier(self._rule.timestamp)
        row = literal(json.dumps(witness))
        cursor.execute(
            f"SELECT 1 FROM {self._table} t, jsonb_populate_record(NULL::{self._table}, {row}) w "
            f"WHERE {key} AND (w.{at} IS NULL OR t.{at} >= w.{at})"
        )
        return cursor.fetchone() is not None

    def move(self, cursor: Cursor, newest: str | None, staged: Staged) -> None:
        """Bring the position to `newest`, within the transaction of its rows."""
        if newest is None:
            return
        cursor.execute(
            f"INSERT INTO {beside_parameters(self._bookmarks)} "
            "(job, target, newest, target_oid, target_file, about, witness) "
            "VALUES (%s, %s, %s, %s::regclass::oid, pg_relation_filenode(%s), %s, %s) ON CONFLICT (job) DO UPDATE "
            "SET target = excluded.target, newest = excluded.newest, target_oid = excluded.target_oid, "
            "target_file = excluded.target_file, about = excluded.about, witness = excluded.witness, moved_at = now()",
            (
                *(self._job, self._table, newest, self._table, self._table, self._about),
                self._witness(cursor, staged),
            ),
        )

    def _witness(self, cursor: Cursor, staged: Staged) -> str | None:
        """Key and timestamp of the newest row that was staged, else of any row of the target; None: it is empty."""
        named = ", ".join(f"{inner} AS {own}" for inner, own in (*staged.key, staged.timestamp))
        cursor.execute(
            f"SELECT to_jsonb(w)::text FROM (SELECT {named} FROM {staged.table} WHERE {staged.where} "
            f"AND NOT _deleted ORDER BY {staged.timestamp[0]} DESC NULLS LAST LIMIT 1) w"
        )
        row = cursor.fetchone()
        if row is None:
            columns = identifiers((*self._rule.key, self._rule.timestamp))
            cursor.execute(f"SELECT to_jsonb(w)::text FROM (SELECT {columns} FROM {self._table} LIMIT 1) w")
            row = cursor.fetchone()
        return row[0] if row else None


def newest_staged(cursor: Cursor, staged: Staged, unit: TimestampUnit, now: datetime) -> str | None:
    """The largest timestamp of the staged rows that may be believed at `now`; None where there is none."""
    if staged.kind in LARGEST:
        return _newest_number(cursor, staged, unit, now)
    column = staged.timestamp[0]
    shape = {
        "timestamptz": f"""to_char(max({column}) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')""",
        "timestamp": f"""to_char(max({column}), 'YYYY-MM-DD"T"HH24:MI:SS.US')""",
    }.get(staged.kind, f"to_char(max({column}), 'YYYY-MM-DD')")
    moment = now.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ")
    limit = f"'{moment}Z'::timestamptz" if staged.kind == "timestamptz" else f"'{moment}'::timestamp::{staged.kind}"
    cursor.execute(f"SELECT {shape} FROM {staged.table} WHERE {staged.where} AND {column} <= {limit}")
    return cursor.fetchone()[0]  # type: ignore[index, no-any-return]


def _newest_number(cursor: Cursor, staged: Staged, unit: TimestampUnit, now: datetime) -> str | None:
    column, which = staged.timestamp[0], f"FROM {staged.table} WHERE {staged.where}"
    cursor.execute(f"SELECT min({column}) {which}")
    smallest = cursor.fetchone()[0]  # type: ignore[index]
    if smallest is None:
        return None
    limit = largest_believable(smallest, unit, now, LARGEST[staged.kind])
    cursor.execute(f"SELECT DISTINCT {column} {which} AND {column} <= {limit} ORDER BY 1 DESC LIMIT 2")
    found = believed([number for (number,) in cursor.fetchall()], smallest, unit)
    return None if found is None else str(found)


def largest_believable(smallest: int, unit: TimestampUnit, now: datetime, largest: int) -> int:
    """The largest number that a position may take: the clock, in the unit that was declared.

    Without one, the coarsest unit in which the smallest number is not in the future: that can be too low, which costs
    reading again, and never too high.
    """
    if unit is TimestampUnit.NUMBER:
        return largest - 1
    seconds = int(now.timestamp())
    units = PER_SECOND.values() if unit is TimestampUnit.UNKNOWN else (PER_SECOND[unit],)
    clocks = [(seconds + 1) * per_second for per_second in units]
    return min(largest - 1, next((clock for clock in clocks if smallest <= clock), clocks[-1]))


def believed(largest: Sequence[int], smallest: int, unit: TimestampUnit) -> int | None:
    """The position, of the two largest numbers (the larger first; or one, or none).

    Where nobody said what the numbers count, one that is farther above the others than these lie apart, and more than
    twice as large as any of them, isn't believed.
    """
    if not largest:
        return None
    if len(largest) == 1 or unit is not TimestampUnit.UNKNOWN:
        return largest[0]
    top, second = largest
    return second if top - second > second - smallest and top > 2 * second else top
