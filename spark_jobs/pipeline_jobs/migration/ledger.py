"""The ledger on the target: runs, partitions and rejected rows; what has landed, exactly once.

A range's rows and its state PASS commit in one transaction. Everything else may be lost or repeated.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg2.extensions import connection as Connection
from psycopg2.extras import execute_values

from pipeline_jobs.contract import InfrastructureError, JobError
from pipeline_jobs.migration.ranges import KeyRange
from pipeline_jobs.postgres import identifier, one_at_a_time, one_row

ORPHAN_TIMEOUT_S = 60

PENDING = ("NOT_STARTED", "STARTED", "FAIL")
"""States of a range whose rows are not on the target."""

_IS_PENDING = "state IN ('NOT_STARTED', 'STARTED', 'FAIL')"


@dataclass(frozen=True)
class Ledger:
    """The ledger of one run. All methods take a connection to the target."""

    schema: str
    run_id: str

    def table(self, name: str) -> str:
        """The quoted name of `run`, `partition`, `rejected_row` or `difference`."""
        return f"{identifier(self.schema)}.{identifier(name)}"

    def create_tables(self, target: Connection) -> None:
        """Make the tables where they are missing."""
        with target.cursor() as cursor:
            cursor.execute("SELECT to_regclass(%s)", (self.table("difference"),))
            if cursor.fetchone() == (None,):
                with one_at_a_time(cursor, "pipeline_migration"):
                    cursor.execute(_TABLES.format(schema=identifier(self.schema)))

    def lock(self, target: Connection) -> None:
        """Hold the run for this connection; a second job on it is refused, and a killed one's rest is waited for."""
        with target.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 1))", (self.run_id,))
            if cursor.fetchone() != (True,):
                raise InfrastructureError(f"run {self.run_id!r} is being worked on by another job")

    def end_orphans(self, target: Connection) -> None:
        """End what a killed job's workers still do on this target, and wait until they are gone."""
        with target.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid, %s) FROM pg_stat_activity "
                "WHERE application_name = %s AND datname = current_database() AND pid <> pg_backend_pid()",
                (ORPHAN_TIMEOUT_S * 1000, self.application_name),
            )
            if any(gone == (False,) for gone in cursor.fetchall()):
                raise InfrastructureError(f"an older job's connections of run {self.run_id!r} don't end")

    @property
    def application_name(self) -> str:
        """What the workers' connections are called, to find those of a killed job."""
        return f"migration {self.run_id}"[:63]

    def begin(self, target: Connection, description: dict[str, object]) -> bool:
        """Record the run. Returns whether it had begun before. Raises JobError where it was another migration.

        What an older version did not note of it may be anything.
        """
        with target.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {self.table('run')} (run_id, description) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                (self.run_id, json.dumps(description)),
            )
            if cursor.rowcount == 1:
                return False
        (before,) = one_row(target, f"SELECT description FROM {self.table('run')} WHERE run_id = %s", (self.run_id,))
        changed = sorted(name for name in description if before.get(name, description[name]) != description[name])
        if changed:
            raise JobError(f"run {self.run_id!r} was begun with another {', '.join(changed)}: take a new run_id")
        return True

    def add_ranges(self, target: Connection, ranges: Sequence[KeyRange]) -> None:
        """Plan a run's first ranges, all or none."""
        values = [(self.run_id, n, n, json.dumps(_bounds(item))) for n, item in enumerate(ranges)]
        insert = f"INSERT INTO {self.table('partition')} (run_id, number, place, bounds) VALUES %s"
        with target.cursor() as cursor:
            execute_values(cursor, insert, values, page_size=max(1, len(values)))

    def ranges(self, target: Connection, states: Iterable[str] = ()) -> list[PlannedRange]:
        """The run's ranges in the key's order, of these states or all."""
        with target.cursor() as cursor:
            cursor.execute(
                f"SELECT number, bounds, state, attempt, read_rows, written_rows, skipped_rows, rejected_rows, error, "
                f"sqlstate, place FROM {self.table('partition')} WHERE run_id = %s ORDER BY place",
                (self.run_id,),
            )
            rows = [PlannedRange(row[0], _range(row[1]), *row[2:]) for row in cursor.fetchall()]
        wanted = set(states)
        return [row for row in rows if not wanted or row.state in wanted]

    def replace(self, target: Connection, old: PlannedRange, pieces: Sequence[KeyRange]) -> None:
        """Put smaller ranges in the place of one that didn't pass. Nothing happens if it has passed after all."""
        with target.cursor() as cursor:
            cursor.execute(
                f"WITH gone AS (DELETE FROM {self.table('partition')} "
                f"WHERE run_id = %(run)s AND number = %(old)s AND {_IS_PENDING} RETURNING place), "
                f"place AS (SELECT g.place, coalesce(min(p.place), g.place + 1) - g.place AS room FROM gone g "
                f"LEFT JOIN {self.table('partition')} p ON p.run_id = %(run)s AND p.place > g.place GROUP BY g.place) "
                f"INSERT INTO {self.table('partition')} (run_id, number, place, bounds, parent, attempt) "
                f"SELECT %(run)s, (SELECT max(number) FROM {self.table('partition')} WHERE run_id = %(run)s) + n, "
                f"place + room * (n - 1) / %(count)s, bounds, %(old)s, %(attempt)s "
                f"FROM place, unnest(%(bounds)s::jsonb[]) WITH ORDINALITY AS piece (bounds, n)",
                {
                    "run": self.run_id,
                    "old": old.number,
                    "count": len(pieces),
                    "attempt": old.attempt,
                    "bounds": [json.dumps(_bounds(piece)) for piece in pieces],
                },
            )

    def claim(self, target: Connection, number: int) -> int | None:
        """Mark a range STARTED. Returns the attempt, or None where it has passed or been split."""
        with target.cursor() as cursor:
            cursor.execute(
                f"SET LOCAL synchronous_commit = off; UPDATE {self.table('partition')} "
                "SET state = 'STARTED', attempt = attempt + 1, started_at = clock_timestamp(), "
                "ended_at = NULL, error = NULL, sqlstate = NULL "
                f"WHERE run_id = %s AND number = %s AND {_IS_PENDING} RETURNING attempt",
                (self.run_id, number),
            )
            row = cursor.fetchone()
        return row[0] if row else None

    def hold(self, target: Connection, number: int, attempt: int) -> bool:
        """Inside the range's transaction: keep others off it. Returns whether the attempt is still the current one."""
        return self._is_attempt(target, number, attempt, "state = 'STARTED' FOR UPDATE")

    def passed(self, target: Connection, number: int, counts: Counts) -> None:
        """Inside the range's transaction: its rows have landed."""
        with target.cursor() as cursor:
            cursor.execute(
                f"UPDATE {self.table('partition')} SET state = 'PASS', read_rows = %s, written_rows = %s, "
                "skipped_rows = %s, rejected_rows = %s, ended_at = clock_timestamp() "
                "WHERE run_id = %s AND number = %s",
                (counts.read, counts.written, counts.skipped, counts.rejected, self.run_id, number),
            )

    def has_passed(self, target: Connection, number: int, attempt: int) -> bool:
        """Whether this attempt's rows have landed."""
        return self._is_attempt(target, number, attempt, "state = 'PASS'")

    def _is_attempt(self, target: Connection, number: int, attempt: int, condition: str) -> bool:
        with target.cursor() as cursor:
            cursor.execute(
                f"SELECT FROM {self.table('partition')} "
                f"WHERE run_id = %s AND number = %s AND attempt = %s AND {condition}",
                (self.run_id, number, attempt),
            )
            return cursor.fetchone() is not None

    def fill_counts(self, target: Connection, number: int, rows: int) -> None:
        """Give the counts of a range that `jdbc` wrote just before its job was killed."""
        with target.cursor() as cursor:
            cursor.execute(
                f"UPDATE {self.table('partition')} SET read_rows = %(rows)s, written_rows = %(rows)s, "
                "skipped_rows = 0, rejected_rows = 0 "
                "WHERE run_id = %(run)s AND number = %(number)s AND read_rows IS NULL",
                {"rows": rows, "run": self.run_id, "number": number},
            )

    def failed(self, target: Connection, number: int, sqlstate: str, reason: str) -> None:
        """Record why a range didn't land. Nothing happens if it has passed after all."""
        with target.cursor() as cursor:
            cursor.execute(
                f"UPDATE {self.table('partition')} SET state = 'FAIL', error = %s, sqlstate = %s, "
                f"ended_at = clock_timestamp() WHERE run_id = %s AND number = %s AND {_IS_PENDING}",
                (reason[:4000], sqlstate, self.run_id, number),
            )

    def reject(self, target: Connection, number: int, rows: Sequence[tuple[str, str, str]]) -> None:
        """Inside the range's transaction: keep rows that were not written: (row as text, SQLSTATE, reason)."""
        insert = f"INSERT INTO {self.table('rejected_row')} (run_id, number, row_text, sqlstate, reason) VALUES %s"
        with target.cursor() as cursor:
            execute_values(cursor, insert, [(self.run_id, number, *row) for row in rows])

    def set_state(self, target: Connection, numbers: Sequence[int], state: str) -> None:
        """Mark ranges that were compared: PASS or DIFF."""
        with target.cursor() as cursor:
            cursor.execute(
                f"UPDATE {self.table('partition')} SET state = %s WHERE run_id = %s AND number = ANY(%s)",
                (state, self.run_id, list(numbers)),
            )

    def forget_all(self, target: Connection) -> None:
        """Remove every run whose id begins with this one: those of a trial's repeats, however many there were."""
        with target.cursor() as cursor:
            cursor.execute(
                f"DELETE FROM {self.table('run')} WHERE left(run_id, length(%(run)s)) = %(run)s", {"run": self.run_id}
            )

    def forget(self, target: Connection) -> None:
        """Remove the run and all that hangs on it: a trial's, once measured."""
        with target.cursor() as cursor:
            cursor.execute(f"DELETE FROM {self.table('run')} WHERE run_id = %s", (self.run_id,))


@dataclass(frozen=True)
class Counts:
    """Rows of a range: read = written + skipped + rejected."""

    read: int = 0
    written: int = 0
    skipped: int = 0
    rejected: int = 0


@dataclass(frozen=True)
class PlannedRange:
    """A range as the ledger has it."""

    number: int
    range: KeyRange
    state: str = "NOT_STARTED"
    attempt: int = 0
    read_rows: int | None = None
    written_rows: int | None = None
    skipped_rows: int | None = None
    rejected_rows: int | None = None
    error: str | None = None
    sqlstate: str | None = None
    place: float = 0.0


def _bounds(item: KeyRange) -> dict[str, object]:
    return {"low": item.low, "high": item.high, "nulls": item.nulls}


def _range(bounds: Mapping[str, Any]) -> KeyRange:
    low, high = bounds["low"], bounds["high"]
    return KeyRange(low and tuple(low), high and tuple(high), bounds["nulls"])


_TABLES = """
CREATE SCHEMA IF NOT EXISTS {schema};
CREATE TABLE IF NOT EXISTS {schema}.run (
  run_id text PRIMARY KEY,
  description jsonb NOT NULL,
  started_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE IF NOT EXISTS {schema}.partition (
  run_id text NOT NULL REFERENCES {schema}.run ON DELETE CASCADE,
  number integer NOT NULL,
  place double precision NOT NULL,
  bounds jsonb NOT NULL,
  state text NOT NULL DEFAULT 'NOT_STARTED'
    CHECK (state IN ('NOT_STARTED', 'STARTED', 'PASS', 'FAIL', 'DIFF')),
  attempt integer NOT NULL DEFAULT 0,
  parent integer,
  read_rows bigint, written_rows bigint, skipped_rows bigint, rejected_rows bigint,
  started_at timestamptz, ended_at timestamptz,
  error text, sqlstate text,
  PRIMARY KEY (run_id, number)
);
CREATE TABLE IF NOT EXISTS {schema}.rejected_row (
  run_id text NOT NULL REFERENCES {schema}.run ON DELETE CASCADE,
  number integer NOT NULL,
  row_text text NOT NULL,
  sqlstate text NOT NULL,
  reason text NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE IF NOT EXISTS {schema}.difference (
  run_id text NOT NULL REFERENCES {schema}.run ON DELETE CASCADE,
  number integer NOT NULL,
  kind text NOT NULL CHECK (kind IN ('MISSING', 'MISMATCH', 'EXTRA')),
  key text[] NOT NULL,
  corrected boolean NOT NULL DEFAULT false,
  recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
"""
