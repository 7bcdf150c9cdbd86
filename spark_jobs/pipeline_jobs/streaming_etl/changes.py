"""The source of a change stream: inserts, updates, replacements and deletions, in order, by resume token.

A change is applied only where none newer of the same document was: replaying the stream from an earlier token
changes nothing. Of several changes of one document in a batch the last stands.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import bson
from bson import ObjectId, json_util
from bson.raw_bson import RawBSONDocument
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import execute_values
from pymongo.errors import PyMongoError

from pipeline_jobs.contract import BadConfigurationError, InfrastructureError, JobError
from pipeline_jobs.streaming_etl.mapping import Column
from pipeline_jobs.streaming_etl.mongodb import RAW, client_of, is_transient
from pipeline_jobs.streaming_etl.progress import Range
from pipeline_jobs.streaming_etl.records import Batch, Documents, Piece
from pipeline_jobs.streaming_etl.retry import Backoff
from pipeline_jobs.streaming_etl.settings import BatchSize
from pipeline_jobs.streaming_etl.tables import VERSIONS
from pipeline_jobs.streaming_etl.target import Landed, TableWorker, Transformed

AWAIT_MS = 200
HISTORY_LOST = (280, 286)
ROW_CHANGES = ("insert", "update", "replace", "delete")


class ChangesLostError(JobError):
    """The stream can't go on from where it stopped: a full load is needed."""


@dataclass(frozen=True)
class Change:
    """What became of one document: its BSON, or None where it is deleted."""

    key: Any
    raw: bytes | None
    token: str
    version: tuple[int, int]
    """The cluster's time of the change: seconds and increment."""

    @property
    def key_text(self) -> str:
        """The key as canonical extended JSON."""
        return json_util.dumps(self.key, json_options=json_util.CANONICAL_JSON_OPTIONS)


@dataclass(frozen=True)
class Changes:
    """Changes in order."""

    events: tuple[Change, ...]

    def __len__(self) -> int:
        return len(self.events)

    @cached_property
    def bytes(self) -> int:
        """The size of their documents; a deletion counts as 100."""
        return sum(len(event.raw or b"") or 100 for event in self.events)

    def part(self, first: int, last: int) -> Changes:
        """Some of them."""
        return Changes(self.events[first:last])

    def joined(self, others: Sequence[Changes]) -> Changes:
        """These and others after them."""
        return Changes(tuple(event for changes in (self, *others) for event in changes.events))


class ChangesPiece(Piece):
    """Changes as the stream gave them. Positions and places are resume tokens."""

    def __init__(self, events: Sequence[Change]) -> None:
        self._events = tuple(events)
        super().__init__(Changes(self._events))

    def position(self, number: int) -> str:
        """The token of the change."""
        return self._events[number].token


class StreamRange:
    """The changes after a token, until nothing has come for `idle_s` (None: without end)."""

    def __init__(
        self,
        uri: str,
        collection: str,
        token: str | None,
        idle_s: float | None,
        backoff: Backoff,
        stop: threading.Event,
    ) -> None:
        self._uri, self._collection, self._token = uri, collection, token
        self._idle_s, self._backoff, self._stop = idle_s, backoff, stop

    def pieces(self, batch_size: BatchSize) -> Iterator[ChangesPiece | None]:
        """Pieces as changes come, None where none did for a while. Raises InfrastructureError, ChangesLostError."""
        failures = 0
        with client_of(self._uri) as client:
            collection = client.get_default_database().get_collection(self._collection, codec_options=RAW)
            while True:
                try:
                    for piece in self._read(collection, batch_size):
                        failures = 0
                        yield piece
                        if piece:
                            self._token = piece.position(len(piece.records) - 1)
                    return
                except PyMongoError as error:
                    failures += 1
                    self._give_up_or_pause(error, failures)

    def _give_up_or_pause(self, error: PyMongoError, failures: int) -> None:
        if getattr(error, "code", None) in HISTORY_LOST:
            raise ChangesLostError(
                f"the server no longer has the changes of {self._collection} after {self._token}: load it again whole"
            ) from error
        give_up = failures > self._backoff.retries or not is_transient(error)
        if give_up or self._stop.wait(self._backoff.pause_s(failures)):
            raise InfrastructureError(
                f"following {self._collection} failed after {self._token}: {error} ({failures - 1} retries); "
                "start again to go on"
            ) from error

    def _read(self, collection: Any, batch_size: BatchSize) -> Iterator[ChangesPiece | None]:
        token = bson.json_util.loads(self._token) if self._token else None
        last_change = time.monotonic()
        with collection.watch(full_document="updateLookup", resume_after=token, max_await_time_ms=AWAIT_MS) as stream:
            while True:
                events = list(self._ready(stream, batch_size.current))
                if events:
                    last_change = time.monotonic()
                    yield ChangesPiece(events)
                elif self._idle_s is not None and time.monotonic() - last_change > self._idle_s:
                    return
                else:
                    yield None

    def _ready(self, stream: Any, count: int) -> Iterator[Change]:
        """Changes that are there now, at most `count`."""
        for _ in range(count):
            event = stream.try_next()
            if event is None:
                return
            change = _change(event)
            if change:
                yield change


def _change(event: RawBSONDocument) -> Change | None:
    """A change of the stream; None where the document was gone when the server looked: its deletion follows."""
    operation = event["operationType"]
    if operation not in ROW_CHANGES:
        raise ChangesLostError(f"the collection was changed by {operation!r}: check it, and load it again whole")
    document = event.get("fullDocument")
    if operation != "delete" and document is None:
        return None
    time_ = event["clusterTime"]
    token = json_util.dumps(bson.decode(event["_id"].raw), json_options=json_util.CANONICAL_JSON_OPTIONS)
    key = bson.decode(event["documentKey"].raw)["_id"]
    return Change(key, document.raw if document is not None else None, token, (time_.time, time_.inc))


class ChangeStream:
    """The changes of a collection, from the moment when `ranges` was called first."""

    is_endless = True

    def __init__(
        self, uri: str, collection: str, *, idle_s: float | None, backoff: Backoff, stop: threading.Event
    ) -> None:
        self._uri, self._collection = uri, collection
        self._idle_s, self._backoff, self._stop = idle_s, backoff, stop

    @property
    def name(self) -> str:
        """Database and collection."""
        return f"changes of {urlsplit(self._uri).path.strip('/')}.{self._collection}"

    def ranges(self, count: int) -> tuple[Range, ...]:
        """One range, from now on: changes come in order, so one pipeline applies them."""

        def now() -> Any:
            with client_of(self._uri) as client:
                collection = client.get_default_database()[self._collection]
                with collection.watch(max_await_time_ms=AWAIT_MS) as stream:
                    stream.try_next()
                    return stream.resume_token

        try:
            token = self._backoff.run(now, is_transient, self._stop)
        except PyMongoError as error:
            raise InfrastructureError(f"the source gives no change stream: {error}") from error
        return (Range(0, json_util.dumps(token, json_options=json_util.CANONICAL_JSON_OPTIONS), None),)

    def open(self, part: Range, position: str | None) -> StreamRange:
        """The changes after a token."""
        return StreamRange(self._uri, self._collection, position or part.first, self._idle_s, self._backoff, self._stop)


@dataclass(frozen=True)
class TransformedChanges(Transformed):
    """The last change of each document in a batch; `documents` are those of `upserts`."""

    upserts: tuple[Change, ...] = ()
    deletions: tuple[Change, ...] = ()


class ChangeWorker(TableWorker):
    """Applies changes: rows replaced or deleted, and the version of each document kept, in one transaction."""

    def transform(self, batch: Batch) -> TransformedChanges:
        """The rows of the documents that the batch leaves changed."""
        events: tuple[Change, ...] = batch.records.events
        last = {event.key_text: number for number, event in enumerate(events)}
        upserts = [number for number in sorted(last.values()) if events[number].raw is not None]
        deletions = [number for number in sorted(last.values()) if events[number].raw is None]
        documents = Documents.of([events[number].raw or b"" for number in upserts])
        return TransformedChanges(
            documents,
            self._transcoder.encode(documents),
            tuple(upserts),
            tuple(events[number] for number in upserts),
            tuple(events[number] for number in deletions),
        )

    def _land(self, cursor: Cursor, transformed: Transformed) -> Landed:
        assert isinstance(transformed, TransformedChanges)
        newer = self._applied_later(cursor, (*transformed.upserts, *transformed.deletions))
        keep = [n for n, change in enumerate(transformed.upserts) if change.key_text not in newer]
        skip = sorted(set(range(len(transformed.upserts))) - set(keep))
        encoded = self._transcoder.encode(transformed.documents, skip)
        landed = Landed(rejected=encoded.rejected)
        self._try(cursor, transformed.documents, encoded.numbers.tolist(), encoded, landed)
        gone = [change for change in transformed.deletions if change.key_text not in newer]
        if gone:
            self._delete_documents(cursor, [self._column_key(change.key) for change in gone])
        landed.loaded += len(gone)
        self._write_versions(cursor, [*(transformed.upserts[n] for n in keep), *gone])
        return landed

    def _delete_documents(self, cursor: Cursor, keys: Sequence[Any]) -> None:
        """Those whose root's row is there, which is locked first: what another load writes below it is waited for.

        A document that another load commits after that is not deleted: its root is not, and no row below it.
        """
        if locked := self._lock(cursor, keys):
            for table in reversed(self._mapping.tables):
                self._delete(cursor, table.name, locked)

    def _applied_later(self, cursor: Cursor, changes: Sequence[Change]) -> set[str]:
        """Keys of which a newer change was applied before."""
        versions = {change.key_text: change.version for change in changes}
        cursor.execute(
            sql.SQL("SELECT key, seconds, increment FROM {} WHERE job = %s AND key = ANY(%s)").format(self._versions),
            (self._job, list(versions)),
        )
        return {key for key, *version in cursor.fetchall() if tuple(version) > versions[key]}

    def _write_versions(self, cursor: Cursor, changes: Sequence[Change]) -> None:
        statement = sql.SQL(
            "INSERT INTO {} (job, key, seconds, increment) VALUES %s "
            "ON CONFLICT (job, key) DO UPDATE SET seconds = EXCLUDED.seconds, increment = EXCLUDED.increment"
        ).format(self._versions)
        rows = [(self._job, change.key_text, *change.version) for change in changes]
        if rows:
            execute_values(cursor, statement.as_string(cursor), rows)

    @property
    def _versions(self) -> sql.Identifier:
        return sql.Identifier(self._schema, VERSIONS)

    def _column_key(self, key: Any) -> Any:
        """A document's `_id` as the values of the key's columns."""
        found = tuple(_key_value(key, column) for column in self._mapping.keys)
        return found if len(found) > 1 else found[0]


def _key_value(key: Any, column: Column) -> Any:
    if column.path[0] != "_id":
        raise BadConfigurationError(
            "a change stream names deleted documents by _id: the mapping's key must be _id, or fields of it"
        )
    for name in column.path[1:]:
        key = key.get(name) if isinstance(key, dict) else None
    if isinstance(key, ObjectId):
        return key.binary if column.type == "bytea" else str(key)
    if isinstance(key, bytes) and column.type == "uuid":
        return str(UUID(bytes=bytes(key)))
    return key
