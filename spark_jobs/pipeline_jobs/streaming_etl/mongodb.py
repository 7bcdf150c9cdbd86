"""The source of a MongoDB collection: a full load in `_id` order that resumes after the last `_id` committed.

Documents stay the bytes that the server sent. A cursor that fails is opened again after the last document
that was read; when that does not help either, the load fails. Only the server's word ends the data.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

import bson
import numpy as np
from bson import json_util
from bson.codec_options import CodecOptions
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from pymongo.errors import AutoReconnect, ConnectionFailure, CursorNotFound, InvalidURI, OperationFailure, PyMongoError

from pipeline_jobs.contract import BadConfigurationError, InfrastructureError
from pipeline_jobs.streaming_etl import kernel
from pipeline_jobs.streaming_etl.progress import Range
from pipeline_jobs.streaming_etl.records import Documents, Piece
from pipeline_jobs.streaming_etl.retry import Backoff
from pipeline_jobs.streaming_etl.settings import BatchSize

RAW = CodecOptions(document_class=RawBSONDocument)
SAMPLES_A_RANGE = 100
NOT_WORTH_A_RETRY = (13, 18, 8000, 2, 9, 59)
"""Server codes that stay: not authorised (13, 18, 8000), bad value, failed to parse, no such command."""


def client_of(uri: str) -> MongoClient[dict[str, Any]]:
    """A client that gives up finding a server after 5 s; retries are the load's.

    Raises BadConfigurationError where the URI is none.
    """
    try:
        return MongoClient(uri, serverSelectionTimeoutMS=5000, connectTimeoutMS=5000, appname="pipeline-tuner")
    except (ValueError, InvalidURI) as error:
        raise BadConfigurationError(f"the source's URI is not mongodb://user:password@host/DATABASE: {error}") from None


def is_transient(error: BaseException) -> bool:
    """Whether the same question may be answered later."""
    if isinstance(error, OperationFailure) and not isinstance(error, CursorNotFound):
        return error.code not in NOT_WORTH_A_RETRY
    return isinstance(error, AutoReconnect | ConnectionFailure | CursorNotFound)


def id_text(raw: bytes) -> str:
    """A document's `_id` as canonical extended JSON: `{"_id": {"$numberLong": "7"}}`."""
    document = RawBSONDocument(raw, CodecOptions(document_class=RawBSONDocument))
    return json_util.dumps({"_id": _decoded(document)["_id"]}, json_options=json_util.CANONICAL_JSON_OPTIONS)


def _decoded(document: RawBSONDocument) -> dict[str, Any]:
    return {"_id": document["_id"]} if "_id" in document else {"_id": None}


class CollectionPiece(Piece):
    """Documents as a cursor gave them. Positions and places are `_id`s."""

    def __init__(self, records: Documents) -> None:
        super().__init__(records)
        self._documents = records

    def position(self, number: int) -> str:
        """The document's `_id`."""
        return id_text(self._documents.raw(number))

    def place(self, number: int) -> str:
        """The document's `_id`, or what can be said of one that can't be read."""
        try:
            return self.position(number)
        except BSONError:
            return f"unreadable _id, piece received at {self.received_at}, document {number}"


class CollectionRange:
    """The documents whose `_id` is above `first` and not above `last`, in `_id` order."""

    def __init__(
        self, uri: str, collection: str, first: str | None, last: str | None, backoff: Backoff, stop: threading.Event
    ) -> None:
        self._uri, self._collection = uri, collection
        self._after, self._last = first, last
        self._backoff, self._stop = backoff, stop

    def pieces(self, batch_size: BatchSize) -> Iterator[CollectionPiece]:
        """Pieces as the server sends them. Raises InfrastructureError where it stays away."""
        with client_of(self._uri) as client:
            collection = client.get_default_database()[self._collection]
            failures = 0
            while True:
                try:
                    for piece in self._read(collection, batch_size):
                        failures = 0
                        yield piece
                        self._after = piece.position(len(piece.records) - 1)
                    return
                except PyMongoError as error:
                    failures += 1
                    give_up = failures > self._backoff.retries or not is_transient(error)
                    if give_up or self._stop.wait(self._backoff.pause_s(failures)):
                        raise InfrastructureError(
                            f"reading {self._collection} failed after {self._after or 'the start'}: {error} "
                            f"({failures - 1} retries). What was read before is loaded; start again to go on"
                        ) from error

    def _read(self, collection: Any, batch_size: BatchSize) -> Iterator[CollectionPiece]:
        cursor = collection.find_raw_batches(
            id_filter(self._after, self._last), sort=[("_id", 1)], batch_size=batch_size.current
        )
        with cursor:
            for raw in cursor:
                documents = split_documents(raw)
                if len(documents):
                    yield CollectionPiece(documents)


class Collection:
    """A collection of the database that the URI names."""

    is_endless = False

    def __init__(self, uri: str, collection: str, *, backoff: Backoff, stop: threading.Event) -> None:
        if not urlsplit(uri).path.strip("/"):
            raise BadConfigurationError("the source's URI names no database: mongodb://host:port/DATABASE")
        self._uri, self._collection = uri, collection
        self._backoff, self._stop = backoff, stop

    def __reduce__(self) -> tuple[Any, ...]:
        """Elsewhere there is no event to stop by."""
        return _collection, (self._uri, self._collection, self._backoff)

    @property
    def name(self) -> str:
        """Database and collection; hosts may change between runs."""
        return f"collection {urlsplit(self._uri).path.strip('/')}.{self._collection}"

    def ranges(self, count: int) -> tuple[Range, ...]:
        """Up to `count` parts of about equal size, cut at `_id`s of a sample. The last is open: new documents land."""
        cuts = self._cuts(count) if count > 1 else []
        bounds = [None, *cuts, None]
        return tuple(Range(n, low, high) for n, (low, high) in enumerate(pairwise(bounds)))

    def open(self, part: Range, position: str | None) -> CollectionRange:
        """A part's documents, those after `position` where one is given."""
        return CollectionRange(
            self._uri, self._collection, position or part.first, part.last, self._backoff, self._stop
        )

    def count(self) -> int:
        """How many documents the server says there are."""
        with client_of(self._uri) as client:
            return client.get_default_database()[self._collection].count_documents({})

    def _cuts(self, count: int) -> list[str]:
        def sample() -> list[dict[str, Any]]:
            with client_of(self._uri) as client:
                steps = [
                    {"$sample": {"size": count * SAMPLES_A_RANGE}},
                    {"$project": {"_id": 1}},
                    {"$sort": {"_id": 1}},
                ]
                return list(client.get_default_database()[self._collection].aggregate(steps))

        try:
            found = self._backoff.run(sample, is_transient, self._stop)
        except PyMongoError as error:
            raise InfrastructureError(f"the source does not answer: {error}") from error
        texts = [id_text(bson.encode(row)) for row in found]
        return list(dict.fromkeys(texts[len(texts) * n // count] for n in range(1, count) if texts))


def _collection(uri: str, collection: str, backoff: Backoff) -> Collection:
    return Collection(uri, collection, backoff=backoff, stop=threading.Event())


def id_filter(after: str | None, last: str | None) -> dict[str, Any]:
    """`_id` above `after` and not above `last`, over all types of `_id`: a plain `$gt` sees only one type."""
    conditions = []
    if after is not None:
        conditions.append({"$gt": ["$_id", {"$literal": json_util.loads(after)["_id"]}]})
    if last is not None:
        conditions.append({"$lte": ["$_id", {"$literal": json_util.loads(last)["_id"]}]})
    return {"$expr": {"$and": conditions}} if conditions else {}


def split_documents(raw: bytes) -> Documents:
    """A raw batch of a cursor as documents. Raises InfrastructureError where the server sent something else."""
    data = np.frombuffer(raw, np.uint8)
    room = len(raw) // 5
    starts, stops = np.empty(room, np.int64), np.empty(room, np.int64)
    count, after = kernel.split(data, 0, len(data), room, len(data), starts, stops)
    if count < 0 or after != len(data):
        raise InfrastructureError(f"the source sent {len(raw) - after} bytes that are no document")
    return Documents(data, starts[:count], stops[:count])
