"""The transcoder: a batch of documents as COPY payloads, one per table; the Python side of the compiled kernel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np

from pipeline_jobs.streaming_etl import kernel
from pipeline_jobs.streaming_etl.mapping import Mapping
from pipeline_jobs.streaming_etl.mapping_arrays import make_plan, plan_columns
from pipeline_jobs.streaming_etl.records import Documents

HEADER = np.frombuffer(b"PGCOPY\n\xff\r\n\0" + bytes(8), np.uint8)
TRAILER = np.frombuffer(b"\xff\xff", np.uint8)
MAX_DOCUMENT_BYTES = 16 * 1024 * 1024 + 16 * 1024
"""What MongoDB takes as one document, with the room that it keeps for itself."""
FIRST_ROOM = 64 * 1024


WHOLE_BYTES = {"smallint": 2, "integer": 4, "bigint": 8}
JULIAN_DAY_OF_2000 = 2_451_545
KeyValue = int | str | bytes
Key = KeyValue | tuple[KeyValue, ...]


@dataclass(frozen=True)
class Rejected:
    """A document that does not fit: its place in the batch, why, and at which column."""

    number: int
    reason: str
    detail: str


@dataclass(frozen=True)
class Encoded:
    """The rows of a batch. `payloads` are views of the transcoder's buffer, valid until its next batch."""

    payloads: tuple[memoryview, ...]
    rows: tuple[int, ...]
    rejected: tuple[Rejected, ...]
    keys: tuple[Key, ...]
    """The key of each document that left rows, in order."""
    numbers: np.ndarray
    """Their places in the batch."""
    use: int = 0
    """Which use of the transcoder's buffer this is."""

    @property
    def bytes(self) -> int:
        """The size of all payloads."""
        return sum(map(len, self.payloads))


def _key_value(kind: str, raw: bytes) -> KeyValue:
    if kind in WHOLE_BYTES:
        return int.from_bytes(raw, "big", signed=True)
    if kind == "date":
        # As text: PostgreSQL has years that Python's dates don't.
        return f"J{int.from_bytes(raw, 'big', signed=True) + JULIAN_DAY_OF_2000}"
    if kind == "uuid":
        return str(UUID(bytes=raw))
    return raw if kind == "bytea" else raw.decode()


class Transcoder:
    """Turns documents into COPY payloads for one mapping. Not to be shared between threads: it keeps its buffer."""

    def __init__(self, mapping: Mapping) -> None:
        self.mapping = mapping
        self._plan = make_plan(mapping)
        self._columns = plan_columns(mapping)
        self._rooms = np.full(len(mapping.tables), FIRST_ROOM, np.int64)
        self._arena, self._starts = self._lay_out(self._rooms)
        self._uses = 0
        self.helper_cpu_s = 0.0
        """CPU seconds of threads other than the caller's."""

    def close(self) -> None:
        """Nothing to end."""

    def holds(self, encoded: Encoded) -> bool:
        """Whether a batch's payloads are still in the buffer."""
        return encoded.use == self._uses

    def encode(self, documents: Documents, skip: Sequence[int] = ()) -> Encoded:
        """The rows of a batch's documents, without those at the places in `skip`.

        Where a key comes more than once, the last document stands.
        """
        encoded = self._encode(documents, skip)
        if len(set(encoded.keys)) < len(encoded.keys):
            last = dict(zip(encoded.keys, encoded.numbers.tolist(), strict=True))
            earlier = set(encoded.numbers.tolist()) - set(last.values())
            encoded = self._encode(documents, sorted({*skip, *earlier}))
        return encoded

    def _encode(self, documents: Documents, skip: Sequence[int]) -> Encoded:
        self._uses += 1
        count, tables = len(documents), len(self.mapping.tables)
        too_large = documents.stops - documents.starts > MAX_DOCUMENT_BYTES
        skipped = too_large.copy()
        skipped[list(skip)] = True
        fill = np.append(self._starts + len(HEADER), 0)
        rows = np.zeros(tables, np.int64)
        errors, columns, keys = (np.zeros(count, np.int64) for _ in range(3))
        done = 0
        while True:
            done = kernel.transcode(
                self._plan, documents.data, documents.starts, documents.stops, done, skipped, self._arena,
                self._starts + self._rooms - len(TRAILER), fill, rows, errors, columns, keys,
            )  # fmt: skip
            if done == count:
                break
            self._grow(int(fill[-1]), fill, keys)
        landed = np.flatnonzero(~skipped & (errors == kernel.OK))
        rejected = [self._rejected(n, int(errors[n]), int(columns[n])) for n in np.flatnonzero(errors).tolist()]
        rejected += [
            Rejected(int(n), "too_large", f"more than {MAX_DOCUMENT_BYTES} bytes") for n in np.flatnonzero(too_large)
        ]
        payloads = tuple(self._payload(table, int(fill[table])) for table in range(tables))
        return Encoded(payloads, tuple(rows.tolist()), tuple(rejected), self._keys(keys[landed]), landed, self._uses)

    def _payload(self, table: int, end: int) -> memoryview:
        start = int(self._starts[table])
        self._arena[start : start + len(HEADER)] = HEADER
        self._arena[end : end + len(TRAILER)] = TRAILER
        return self._arena.data[start : end + len(TRAILER)]

    def _rejected(self, number: int, error: int, column: int) -> Rejected:
        if column < 0:
            table = self.mapping.tables[-1 - column]
            rows = "the document itself" if table is self.mapping.root else f"rows from {'.'.join(table.path)}"
            return Rejected(number, kernel.REASONS[error], f"{table.name} ({rows})")
        table, wanted = self._columns[column]
        return Rejected(number, kernel.REASONS[error], f"{table.name}.{wanted.name} ({wanted.sql.lower()})")

    def _keys(self, places: np.ndarray) -> tuple[Key, ...]:
        """The keys at these places: a value each, or a tuple of values where there are several columns."""
        types = [key.type for key in self.mapping.keys]
        size = WHOLE_BYTES.get(types[0]) if len(types) == 1 else None
        if size:
            found = self._arena[places[:, None] + np.arange(4, 4 + size)]
            return tuple(found.view(f">i{size}").ravel().tolist())
        keys = [tuple(self._key_values(int(place), types)) for place in places]
        return tuple(keys) if len(types) > 1 else tuple(key[0] for key in keys)

    def _key_values(self, place: int, types: Sequence[str]) -> Iterator[KeyValue]:
        for kind in types:
            size = int(self._arena[place : place + 4].view(">i4")[0])
            yield _key_value(kind, bytes(self._arena[place + 4 : place + 4 + size]))
            place += 4 + size

    def _lay_out(self, rooms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.empty(int(rooms.sum()), np.uint8), np.append(0, np.cumsum(rooms)[:-1]).astype(np.int64)

    def _grow(self, table: int, fill: np.ndarray, keys: np.ndarray) -> None:
        """Give a table twice the room, and move what is written."""
        used = fill[:-1] - self._starts
        rooms = self._rooms.copy()
        rooms[table] *= 2
        arena, starts = self._lay_out(rooms)
        for start, old, size in zip(starts, self._starts, used, strict=True):
            arena[start : start + size] = self._arena[old : old + size]
        keys += starts[0] - self._starts[0]
        fill[:-1] = starts + used
        self._arena, self._starts, self._rooms = arena, starts, rooms
