"""The bounded queue between a source and its workers, where batches are cut by size or time."""

from __future__ import annotations

import threading
import time
from collections import deque

from pipeline_jobs.streaming_etl.records import Batch, Piece, Slice


class Closed(Exception):
    """Nothing more comes out of the channel."""


class Channel:
    """Holds at most `capacity` records and `capacity_bytes` bytes; a piece larger than that passes alone.

    A batch is given out when it has `batch_size` records or `batch_bytes` bytes, when its oldest record has
    waited `timeout_s`, or when the channel is closed: what was read is always drained. Batches are numbered
    in the source's order. After `fail` nothing more comes out, and `put` raises Closed.
    """

    def __init__(self, capacity: int, capacity_bytes: int, first_sequence: int = 0) -> None:
        self._capacity, self._capacity_bytes = capacity, capacity_bytes
        self._slices: deque[Slice] = deque()
        self._records = self._bytes = self._blocked = 0
        self._next = first_sequence
        self._closed = self._failed = False
        self._changed = threading.Condition()

    def put(self, piece: Piece) -> None:
        """Add a piece; waits while the channel is full. Raises Closed where nobody takes any more."""
        count, size = len(piece.records), piece.records.bytes
        with self._changed:
            self._blocked += 1
            while self._records and self._is_too_much(count, size) and not (self._closed or self._failed):
                self._changed.notify_all()
                self._changed.wait()
            self._blocked -= 1
            if self._closed or self._failed:
                raise Closed
            self._slices.append(Slice(piece, 0, count))
            self._records += count
            self._bytes += size
            self._changed.notify_all()

    def take(self, batch_size: int, batch_bytes: int, timeout_s: float) -> Batch:
        """The next batch; waits for one. Raises Closed when all is drained."""
        with self._changed:
            while not self._is_due(batch_size, batch_bytes, timeout_s):
                if self._failed or (self._closed and not self._slices):
                    raise Closed
                self._changed.wait(self._due_in_s(timeout_s))
            if self._failed:
                raise Closed
            batch = Batch(self._next, tuple(self._cut(batch_size, batch_bytes)))
            self._next += 1
            self._changed.notify_all()
            return batch

    def close(self) -> None:
        """No more pieces come; what is there is drained."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def fail(self) -> None:
        """Stop everybody at once; what is there is left."""
        with self._changed:
            self._failed = True
            self._changed.notify_all()

    def _is_too_much(self, count: int, size: int) -> bool:
        return self._records + count > self._capacity or self._bytes + size > self._capacity_bytes

    def _is_due(self, batch_size: int, batch_bytes: int, timeout_s: float) -> bool:
        if not self._slices:
            return False
        is_full = self._records >= batch_size or self._bytes >= batch_bytes or self._blocked > 0
        return is_full or self._closed or (self._due_in_s(timeout_s) or 0) <= 0

    def _due_in_s(self, timeout_s: float) -> float | None:
        if not self._slices:
            return None
        return max(0.0, self._slices[0].piece.received_at + timeout_s - time.monotonic())

    def _cut(self, batch_size: int, batch_bytes: int) -> list[Slice]:
        """Take slices off the front, up to one limit or the other, at least one record."""
        taken: list[Slice] = []
        room, room_bytes = batch_size, batch_bytes
        while self._slices and room > 0:
            part = self._slices.popleft()
            count = min(room, len(part))
            size = part.piece.records.part(part.first, part.first + count).bytes
            while size > room_bytes and count > 1:
                count = max(1, min(count - 1, int(count * room_bytes / size)))
                size = part.piece.records.part(part.first, part.first + count).bytes
            if taken and size > room_bytes:
                self._slices.appendleft(part)
                break
            taken.append(Slice(part.piece, part.first, part.first + count))
            room, room_bytes = room - count, room_bytes - size
            self._records -= count
            self._bytes -= size
            if count < len(part):
                self._slices.appendleft(Slice(part.piece, part.first + count, part.last))
                if room > 0:
                    break
        return taken
