"""The progress of a load: which ranges of the source and which batches are committed, and where to go on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.streaming_etl.connection_pool import fetched_row
from pipeline_jobs.streaming_etl.mapping import Mapping
from pipeline_jobs.streaming_etl.one_run import Turn
from pipeline_jobs.streaming_etl.tables import (
    BATCHES,
    DEAD_LETTERS,
    HOOKS,
    RANGES,
    VERSIONS,
    TargetChangedError,
    TargetError,
    table_files,
    table_oids,
)

CHANGES = "/changes"
"""What the name of a load's change stream ends with."""


@dataclass(frozen=True)
class Range:
    """A part of the source that one pipeline loads in order. `first` and `last` are positions; None is open."""

    number: int
    first: str | None
    last: str | None
    is_done: bool = False


@dataclass(frozen=True)
class Totals:
    """The ledger of a job. `documents` = `loaded` + `rejected` + `replaced` (by a later one with the same key)."""

    documents: int
    loaded: int
    rejected: int
    replaced: int
    rows: int
    batches: int


@dataclass(frozen=True)
class Resumed:
    """Where a run goes on in a range: its turn, the next batch's number and the position that this starts from."""

    turn: Turn
    sequence: int
    position: str | None
    """None: the range's start."""


class Accounts:
    """The accounts of one job in the target's schema. `job` names the load: the same name goes on where it stopped."""

    def __init__(self, connection: Connection, schema: str, job: str) -> None:
        self._connection, self._schema, self._job = connection, schema, job

    def check_target(self, mapping: Mapping) -> None:
        """Raises TargetChangedError where the job's positions belong to other tables than those that are there now.

        Tables that were dropped, restored or emptied would stay without what the ledger calls loaded; so would the
        columns and tables that a mapping has got since.
        """
        with self._connection, self._connection.cursor() as cursor:
            cursor.execute(
                self._sql(
                    "SELECT target_oids, mapping, target_files FROM {} WHERE job = %s ORDER BY number LIMIT 1", RANGES
                ),
                (self._job,),
            )
            for oids, fingerprint, files in cursor.fetchall():
                self._compare(mapping, oids, table_oids(cursor, mapping, self._schema), fingerprint)
                self._check_not_emptied(cursor, mapping.root.name)
                self._check_not_truncated(cursor, mapping, files or [])

    def _compare(
        self, mapping: Mapping, before: Sequence[int] | None, now: Sequence[int | None], fingerprint: str | None
    ) -> None:
        if fingerprint not in (None, mapping.fingerprint):
            raise self._changed("the mapping is another one than when this load began")
        for table, old, new in zip(mapping.tables, before or (), now, strict=False):
            if old == new:
                continue
            named = f"the table {self._schema}.{table.name}"
            if new is not None:
                raise self._changed(f"{named} was replaced or restored after this load began")
            there = {name for name, oid in zip(mapping.by_name, now, strict=True) if oid is not None}
            orphans = [t.name for t in mapping.tables if table in mapping.ancestors(t) and t.name in there]
            raise self._changed(f"{named} was dropped after this load began", orphans)

    def _check_not_emptied(self, cursor: Cursor, root: str) -> None:
        if self._job.endswith(CHANGES):
            return
        cursor.execute(
            sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE job = %s AND loaded > 0), EXISTS (SELECT FROM {})").format(
                sql.Identifier(self._schema, BATCHES), sql.Identifier(self._schema, root)
            ),
            (self._job,),
        )
        if cursor.fetchone() == (True, False):
            raise self._changed(f"the table {self._schema}.{root} was emptied after this load began")

    def _check_not_truncated(self, cursor: Cursor, mapping: Mapping, files: Sequence[int | None]) -> None:
        """Tables below the root: an empty one may have lost its items one by one, but not its file with them."""
        pairs = zip(mapping.tables, files, table_files(cursor, mapping, self._schema), strict=False)
        for number, (table, old, new) in enumerate(pairs, start=1):
            if old == new or not self._has_filled(cursor, number):
                continue
            cursor.execute(sql.SQL("SELECT EXISTS (SELECT FROM {})").format(sql.Identifier(self._schema, table.name)))
            if cursor.fetchone() == (False,):
                raise self._changed(f"the table {self._schema}.{table.name} was emptied after this load began")

    def _has_filled(self, cursor: Cursor, number: int) -> bool:
        """Whether batches of the job wrote rows of the mapping's table with this number, from 1."""
        cursor.execute(
            self._sql("SELECT EXISTS (SELECT FROM {} WHERE job = %s AND table_rows[%s] > 0)", BATCHES),
            (self._job, number),
        )
        return bool(fetched_row(cursor)[0])

    def _changed(self, what: str, orphans: Sequence[str] = ()) -> TargetChangedError:
        name = self._job.removesuffix(CHANGES)
        reset = sql.SQL("DELETE FROM {} WHERE job IN ({}, {})").format(
            sql.Identifier(self._schema, RANGES), sql.Literal(name), sql.Literal(name + CHANGES)
        )
        if orphans:
            tables = sql.SQL(", ").join(sql.Identifier(self._schema, orphan) for orphan in orphans)
            reset += sql.SQL("; TRUNCATE {}").format(tables)
        return TargetChangedError(f"{what}: to load everything again, run {reset.as_string(self._connection)}")

    def begin(self, source: str, planned: Sequence[Range], mapping: Mapping) -> tuple[Range, ...]:
        """The ranges to load: those of an earlier run of the job, or the planned ones, now on record.

        Where none are on record, whatever else was of this job is forgotten: deleting a job's ranges resets it.
        Raises BadConfigurationError where the job's name stands for another source.
        """
        with self._connection, self._connection.cursor() as cursor:
            cursor.execute(self._sql("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", RANGES))
            cursor.execute(
                self._sql("SELECT number, first, last, is_done, source FROM {} WHERE job = %s ORDER BY number", RANGES),
                (self._job,),
            )
            found = cursor.fetchall()
            if any(row[4] != source for row in found):
                raise BadConfigurationError(
                    f"the job {self._job!r} loaded {found[0][4]} before, this is {source}: give this load another name"
                )
            oids = table_oids(cursor, mapping, self._schema)
            files = table_files(cursor, mapping, self._schema)
            if found:
                self._adopt(cursor, oids, mapping.fingerprint)
                return tuple(Range(*row[:4]) for row in found)
            for table in (BATCHES, DEAD_LETTERS, VERSIONS, HOOKS):
                cursor.execute(self._sql("DELETE FROM {} WHERE job = %s", table), (self._job,))
            for part in planned:
                cursor.execute(
                    self._sql(
                        "INSERT INTO {} (job, number, source, first, last, target_oids, target_files, mapping) "
                        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
                        RANGES,
                    ),
                    (self._job, part.number, source, part.first, part.last, oids, files, mapping.fingerprint),
                )
        return tuple(planned)

    def _adopt(self, cursor: Cursor, oids: Sequence[int | None], fingerprint: str) -> None:
        """A ledger of a version that kept no identity of the target gets that of today's."""
        cursor.execute(
            self._sql(
                "UPDATE {} SET target_oids = coalesce(target_oids, %s), mapping = coalesce(mapping, %s) "
                "WHERE job = %s AND (target_oids IS NULL OR mapping IS NULL)",
                RANGES,
            ),
            (list(oids), fingerprint, self._job),
        )

    def resume(self, number: int) -> Resumed:
        """Take a turn at a range, and find where it goes on.

        Batches that committed after one that did not are removed from the ledger: they come again, and loading
        a document twice has no further effect.
        """
        with self._connection, self._connection.cursor() as cursor:
            turn = Turn.take(cursor, self._schema, self._job, number)
            cursor.execute(
                self._sql(
                    "SELECT sequence, position FROM {} WHERE job = %s AND number = %s ORDER BY sequence", BATCHES
                ),
                (self._job, number),
            )
            found = cursor.fetchall()
            whole = next((n for n, row in enumerate(found) if row[0] != n), len(found))
            cursor.execute(
                self._sql("DELETE FROM {} WHERE job = %s AND number = %s AND sequence >= %s", BATCHES),
                (self._job, number, whole),
            )
        return Resumed(turn, whole, found[whole - 1][1] if whole else None)

    def finish(self, number: int) -> None:
        """Record that a range is loaded to its end."""
        with self._connection, self._connection.cursor() as cursor:
            cursor.execute(
                self._sql("UPDATE {} SET is_done = true WHERE job = %s AND number = %s", RANGES), (self._job, number)
            )

    def run_once(self, moment: str, statements: str) -> None:
        """Run a hook's SQL, unless an earlier run of the job has: the SQL and its record commit together.

        Raises TargetError where the database refuses it.
        """
        if not statements:
            return
        with self._connection, self._connection.cursor() as cursor:
            cursor.execute(
                self._sql("INSERT INTO {} (job, moment) VALUES (%s, %s) ON CONFLICT DO NOTHING", HOOKS),
                (self._job, moment),
            )
            if not cursor.rowcount:
                return
            cursor.execute(sql.SQL("SET LOCAL search_path TO {}, public").format(sql.Identifier(self._schema)))
            try:
                cursor.execute(statements)
            except (psycopg2.ProgrammingError, psycopg2.DataError, psycopg2.IntegrityError) as error:
                raise TargetError(f"workload.options.{moment}_sql failed: {str(error).strip()}") from error

    @property
    def is_complete(self) -> bool:
        """Whether every range is loaded to its end."""
        with self._connection, self._connection.cursor() as cursor:
            cursor.execute(self._sql("SELECT bool_and(is_done) FROM {} WHERE job = %s", RANGES), (self._job,))
            return bool(fetched_row(cursor)[0])

    def totals(self) -> Totals:
        """The sums over all batches."""
        with self._connection, self._connection.cursor() as cursor:
            cursor.execute(
                self._sql(
                    "SELECT coalesce(sum(documents), 0)::bigint, coalesce(sum(loaded), 0)::bigint, "
                    "coalesce(sum(rejected), 0)::bigint, coalesce(sum(replaced), 0)::bigint, "
                    "coalesce(sum(rows), 0)::bigint, count(*) FROM {} WHERE job = %s",
                    BATCHES,
                ),
                (self._job,),
            )
            return Totals(*fetched_row(cursor))

    def dead_letters(self) -> dict[str, int]:
        """How many documents were rejected, by reason."""
        with self._connection, self._connection.cursor() as cursor:
            cursor.execute(
                self._sql("SELECT reason, count(*) FROM {} WHERE job = %s GROUP BY 1 ORDER BY 1", DEAD_LETTERS),
                (self._job,),
            )
            return dict(cursor.fetchall())

    def _sql(self, text: str, table: str) -> sql.Composed:
        return sql.SQL(text).format(sql.Identifier(self._schema, table))
