"""The PostgreSQL target: a batch's rows, rejected documents (dead letters) and position in one transaction."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from pipeline_jobs.contract import InfrastructureError
from pipeline_jobs.streaming_etl.connection_pool import Pool
from pipeline_jobs.streaming_etl.copying import copy_rows
from pipeline_jobs.streaming_etl.in_place import InPlace
from pipeline_jobs.streaming_etl.mapping import Mapping
from pipeline_jobs.streaming_etl.one_run import Turn
from pipeline_jobs.streaming_etl.parallel_transcoder import ParallelTranscoder
from pipeline_jobs.streaming_etl.records import Batch, Documents
from pipeline_jobs.streaming_etl.retry import Backoff
from pipeline_jobs.streaming_etl.tables import BATCHES, DEAD_LETTERS, TargetError
from pipeline_jobs.streaming_etl.transcoder import Encoded, Key, Rejected, Transcoder

DATA_ERRORS = ("22", "23", "54", "P0")
"""SQLSTATE classes that blame a row: data, integrity, limits, and what a user's trigger raises."""
TRANSIENT_ERRORS = ("08", "40", "53", "55P03", "57P01", "57P02", "57P03", "58")
"""Those that pass: connection, serialization and deadlock, resources, locks, shutdown and start, system."""

UNIQUE_VIOLATION = "23505"

Write = Callable[[Cursor, Encoded], None]
"""One of the ways to write documents' rows."""


def sqlstate(error: BaseException) -> str:
    """PostgreSQL's code of an error; empty where the connection broke before it could say."""
    return getattr(error, "pgcode", None) or ""


def is_transient(error: BaseException) -> bool:
    """Whether the same transaction may succeed later."""
    if not isinstance(error, psycopg2.Error):
        return False
    broken = isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError) and not sqlstate(error)
    return broken or sqlstate(error).startswith(TRANSIENT_ERRORS)


@dataclass(frozen=True)
class Transformed:
    """What a worker's transform hands to its load."""

    documents: Documents
    encoded: Encoded
    numbers: tuple[int, ...] | None = None
    """The places of the documents in the batch, where these are not all of it."""

    def number(self, document: int) -> int:
        """The place in the batch of one of the documents."""
        return document if self.numbers is None else self.numbers[document]


@dataclass
class Landed:
    """What became of a batch's documents."""

    table_rows: tuple[int, ...] = ()
    """By the mapping's tables, as far as there are any."""
    loaded: int = 0
    rejected: tuple[Rejected, ...] = ()

    @property
    def rows(self) -> int:
        """Rows of all tables."""
        return sum(self.table_rows)

    def add(self, documents: int, table_rows: Sequence[int]) -> None:
        """Count documents whose rows are written."""
        self.loaded += documents
        self.table_rows = tuple(a + b for a, b in zip_longest(self.table_rows, table_rows, fillvalue=0))


class TableWorker:
    """Transforms batches of documents with a transcoder of its own, and loads them through a pooled connection."""

    def __init__(
        self,
        mapping: Mapping,
        pool: Pool,
        turn: Turn,
        *,
        backoff: Backoff,
        stop: threading.Event,
        transform_concurrency: int = 1,
    ) -> None:
        self._mapping, self._pool, self._turn = mapping, pool, turn
        self._schema, self._job, self._number = turn.schema, turn.job, turn.range
        self._backoff, self._stop = backoff, stop
        self._in_place = InPlace(mapping, turn.schema)
        parallel = transform_concurrency > 1
        self._transcoder = ParallelTranscoder(mapping, transform_concurrency) if parallel else Transcoder(mapping)

    def transform(self, batch: Batch) -> Transformed:
        """The batch's rows as COPY payloads."""
        documents: Documents = batch.records
        return Transformed(documents, self._transcoder.encode(documents))

    def load(self, batch: Batch, transformed: Transformed) -> int:
        """Commit the batch. Returns its rows. Retries what passes; raises InfrastructureError or TargetError."""
        attempts = 0

        def attempt() -> int:
            nonlocal attempts
            attempts += 1
            return self._commit(batch, transformed, is_retry=attempts > 1)

        try:
            return self._backoff.run(attempt, is_transient, self._stop)
        except psycopg2.Error as error:
            message = f"batch {batch.sequence} did not commit: {str(error).strip()}"
            if is_transient(error):
                raise InfrastructureError(f"{message} (after {self._backoff.retries} retries)") from error
            raise TargetError(message) from error

    @property
    def helper_cpu_s(self) -> float:
        """CPU seconds of the threads that transcode parts of a batch."""
        return self._transcoder.helper_cpu_s

    def close(self) -> None:
        """End the transcoder's threads; connections belong to the pool."""
        self._transcoder.close()

    def _commit(self, batch: Batch, transformed: Transformed, *, is_retry: bool) -> int:
        with self._pool.connection() as connection:
            with connection.cursor() as cursor:
                self._turn.check(cursor)
                if is_retry and (rows := self._committed_rows(cursor, batch)) is not None:
                    return rows
                landed = self._land(cursor, transformed)
                self._write_dead_letters(cursor, batch, transformed, landed.rejected)
                self._write_account(cursor, batch, landed)
            connection.commit()
            return landed.rows

    def _committed_rows(self, cursor: Cursor, batch: Batch) -> int | None:
        """The batch's rows where an attempt that seemed to fail had in truth committed."""
        cursor.execute(
            sql.SQL("SELECT rows FROM {} WHERE (job, number, sequence) = (%s, %s, %s)").format(
                sql.Identifier(self._schema, BATCHES)
            ),
            (self._job, self._number, batch.sequence),
        )
        found = cursor.fetchone()
        return found[0] if found else None

    def _land(self, cursor: Cursor, transformed: Transformed) -> Landed:
        """Write the rows; where the database refuses some, find these by halves."""
        encoded = transformed.encoded
        if self._is_stale(encoded):
            encoded = self._transcoder.encode(transformed.documents)
        landed = Landed(rejected=encoded.rejected)
        self._try(cursor, transformed.documents, encoded.numbers.tolist(), encoded, landed)
        return landed

    def _is_stale(self, encoded: Encoded) -> bool:
        """Whether a bisection in an attempt before this one has used the transcoder's buffer again."""
        return not self._transcoder.holds(encoded)

    def _try(
        self, cursor: Cursor, documents: Documents, numbers: list[int], encoded: Encoded | None, landed: Landed,
        write: Write | None = None,
    ) -> None:  # fmt: skip
        """Write the rows of these documents, as they are `encoded` where they are; what is refused, by halves."""
        if not numbers:
            return
        write = write or (self._write_part if encoded is None else self._write_rows)
        if encoded is None:
            left_out = sorted(set(range(len(documents))) - set(numbers))
            encoded = self._transcoder.encode(documents, left_out)
        cursor.execute("SAVEPOINT part")
        try:
            write(cursor, encoded)
            cursor.execute("RELEASE SAVEPOINT part")
        except psycopg2.Error as error:
            if not sqlstate(error).startswith(DATA_ERRORS):
                raise
            cursor.execute("ROLLBACK TO SAVEPOINT part")
            if write != self._replace and self._came_meanwhile(cursor, encoded, error):
                self._try(cursor, documents, numbers, None, landed, self._replace)
            else:
                self._halve(cursor, documents, numbers, error, landed)
        else:
            landed.add(len(numbers), encoded.rows)

    def _halve(
        self, cursor: Cursor, documents: Documents, numbers: list[int], error: psycopg2.Error, landed: Landed
    ) -> None:
        """Try both halves of what the database refuses; a single document becomes a dead letter."""
        if len(numbers) == 1:
            detail = str(error).split("\nCONTEXT", maxsplit=1)[0].strip()
            landed.rejected += (Rejected(numbers[0], f"refused_{sqlstate(error)}", detail),)
            return
        middle = len(numbers) // 2
        self._try(cursor, documents, numbers[:middle], None, landed)
        self._try(cursor, documents, numbers[middle:], None, landed)

    def _came_meanwhile(self, cursor: Cursor, encoded: Encoded, error: psycopg2.Error) -> bool:
        """Whether another load may have brought some of the documents after this one had looked for them.

        They may be gone again by now: then only the name of the key tells it from a unique index of the owner's.
        """
        if sqlstate(error) != UNIQUE_VIOLATION:
            return False
        return self._existing(cursor, encoded.keys) > 0 or self._is_key(cursor, error.diag.constraint_name)

    def _is_key(self, cursor: Cursor, name: str | None) -> bool:
        root = sql.Identifier(self._schema, self._mapping.root.name).as_string(cursor)
        cursor.execute(
            "SELECT 1 FROM pg_index JOIN pg_class c ON c.oid = indexrelid "
            "WHERE indrelid = %s::regclass AND indisprimary AND relname = %s",
            (root, name),
        )
        return cursor.fetchone() is not None

    def _write_rows(self, cursor: Cursor, encoded: Encoded) -> None:
        """Replace these documents' rows: items that are gone from an array are gone from its table."""
        existing = self._existing(cursor, encoded.keys)
        if self._in_place.fits(cursor, existing, len(encoded.keys)):
            self._in_place.replace(cursor, encoded)
        else:
            self._write_anew(cursor, encoded, existing)

    def _write_part(self, cursor: Cursor, encoded: Encoded) -> None:
        """The same for a part of a batch: none of its rows stays as it was."""
        self._write_anew(cursor, encoded, self._existing(cursor, encoded.keys))

    def _write_anew(self, cursor: Cursor, encoded: Encoded, existing: int) -> None:
        if existing:
            self._replace(cursor, encoded)
        else:
            self._copy(cursor, encoded, first_table=0)

    def _replace(self, cursor: Cursor, encoded: Encoded) -> None:
        """Write all rows anew, whether they are there or not.

        The root first: another load of the same documents waits there, and what it has committed is seen below it.
        """
        self._merge_root(cursor, encoded)
        for table in reversed(self._mapping.tables[1:]):
            self._delete(cursor, table.name, encoded.keys)
        self._copy(cursor, encoded, first_table=1)

    def _copy(self, cursor: Cursor, encoded: Encoded, *, first_table: int) -> None:
        for number, table in enumerate(self._mapping.tables):
            if encoded.rows[number] and number >= first_table:
                names = self._mapping.column_names(table)
                copy_rows(cursor, sql.Identifier(self._schema, table.name), names, encoded.payloads[number])

    def _existing(self, cursor: Cursor, keys: Sequence[Key]) -> int:
        """How many of these documents are there."""
        self._with_keys(cursor, sql.SQL("SELECT FROM {table} AS target WHERE {match}"), self._mapping.root.name, keys)
        return cursor.rowcount

    def _lock(self, cursor: Cursor, keys: Sequence[Key]) -> list[Key]:
        """Those of these documents that are there, locked until the transaction ends."""
        listed = sql.SQL(", ").join(sql.Identifier("target", key.name) for key in self._mapping.keys)
        statement = sql.SQL("SELECT {0} FROM {{table}} AS target WHERE {{match}} ORDER BY {0} FOR UPDATE")
        self._with_keys(cursor, statement.format(listed), self._mapping.root.name, keys)
        rows = [tuple(map(_plain, row)) for row in cursor.fetchall()]
        return [row if len(row) > 1 else row[0] for row in rows]

    def _delete(self, cursor: Cursor, table: str, keys: Sequence[Key]) -> None:
        self._with_keys(cursor, sql.SQL("DELETE FROM {table} AS target WHERE {match}"), table, keys)

    def _with_keys(self, cursor: Cursor, statement: sql.SQL | sql.Composed, table: str, keys: Sequence[Key]) -> None:
        """Run a statement on the rows of a table, called `target` in it, that have these keys."""
        names = [sql.Identifier("target", key.name) for key in self._mapping.keys]
        casts = [sql.SQL("%s::" + key.type + "[]") for key in self._mapping.keys]
        if len(names) == 1:
            match, values = sql.SQL("{} = ANY({})").format(names[0], casts[0]), [list(keys)]
        else:
            match = sql.SQL("({}) IN (SELECT * FROM unnest({}))").format(
                sql.SQL(", ").join(names), sql.SQL(", ").join(casts)
            )
            values = [list(column) for column in zip(*map(tuple, keys), strict=True)]  # type: ignore[arg-type]
        text = statement.as_string(cursor)
        where = sql.Identifier(self._schema, table).as_string(cursor)
        cursor.execute(text.replace("{table}", where).replace("{match}", match.as_string(cursor)), values)

    def _merge_root(self, cursor: Cursor, encoded: Encoded) -> None:
        root = self._mapping.root
        names, keys = self._mapping.column_names(root), [key.name for key in self._mapping.keys]
        listed = sql.SQL(", ").join(map(sql.Identifier, names))
        cursor.execute(
            # The mapping's columns alone: others are the owner's, with defaults that a copy would not have.
            sql.SQL(
                "CREATE TEMP TABLE IF NOT EXISTS etl_root ON COMMIT DELETE ROWS AS SELECT {} FROM {} WITH NO DATA"
            ).format(listed, sql.Identifier(self._schema, root.name))
        )
        copy_rows(cursor, sql.Identifier("pg_temp", "etl_root"), names, encoded.payloads[0])
        values = [name for name in names if name not in keys]
        changed = [sql.SQL("{0} = EXCLUDED.{0}").format(sql.Identifier(name)) for name in values or keys]
        # A row with nothing but its key is not written again, but locked as the others are.
        action = sql.SQL("UPDATE SET {}" + ("" if values else " WHERE false")).format(sql.SQL(", ").join(changed))
        cursor.execute(
            # In the order of the keys: two loads that lock the same rows don't wait for each other.
            sql.SQL(
                "INSERT INTO {} ({}) SELECT {} FROM pg_temp.etl_root ORDER BY {key} ON CONFLICT ({key}) DO {}"
            ).format(
                sql.Identifier(self._schema, root.name),
                listed,
                listed,
                action,
                key=sql.SQL(", ").join(map(sql.Identifier, keys)),
            )
        )
        cursor.execute("DELETE FROM pg_temp.etl_root")

    def _write_dead_letters(
        self, cursor: Cursor, batch: Batch, transformed: Transformed, rejected: Sequence[Rejected]
    ) -> None:
        for letter in rejected:
            cursor.execute(
                sql.SQL(
                    "INSERT INTO {} (job, place, reason, detail, document) VALUES (%s, %s, %s, %s, %s) "
                    "ON CONFLICT (job, place) DO UPDATE SET reason = EXCLUDED.reason, detail = EXCLUDED.detail, "
                    "document = EXCLUDED.document, at = now()"
                ).format(sql.Identifier(self._schema, DEAD_LETTERS)),
                (
                    self._job,
                    batch.place(transformed.number(letter.number)),
                    letter.reason,
                    letter.detail,
                    transformed.documents.raw(letter.number),
                ),
            )

    def _write_account(self, cursor: Cursor, batch: Batch, landed: Landed) -> None:
        replaced = len(batch) - landed.loaded - len(landed.rejected)
        cursor.execute(
            sql.SQL(
                "INSERT INTO {} (job, number, sequence, position, documents, loaded, rejected, replaced, rows, "
                "table_rows) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
            ).format(sql.Identifier(self._schema, BATCHES)),
            (
                self._job, self._number, batch.sequence, batch.position, len(batch),
                landed.loaded, len(landed.rejected), replaced, landed.rows, list(landed.table_rows),
            ),
        )  # fmt: skip


def _plain(value: Any) -> Any:
    """A key's value as the statements take it back."""
    return bytes(value) if isinstance(value, memoryview) else value
