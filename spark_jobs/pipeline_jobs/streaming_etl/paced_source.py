"""Sources slowed to a declared rate, as ones slower than the workers: what closes batches by time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from pipeline_jobs.streaming_etl.engine import Source
from pipeline_jobs.streaming_etl.load import Origin
from pipeline_jobs.streaming_etl.progress import Range
from pipeline_jobs.streaming_etl.records import Piece
from pipeline_jobs.streaming_etl.settings import BatchSize

STEP_S = 0.02
"""Records come this far apart at most, where the rate allows."""
MAX_SLEEP_S = 0.1
"""After so long the engine may look whether the load is cancelled."""


class Pace:
    """When records are due at a rate (records/s), counted from the first question."""

    def __init__(self, records_per_s: float) -> None:
        self._per_s = records_per_s
        self._start: float | None = None
        self._given = 0

    def step(self, most: int) -> int:
        """How many records to give at once: those of STEP_S, at least one, at most `most`."""
        return max(1, min(most, int(self._per_s * STEP_S)))

    def waits(self, count: int) -> Iterator[None]:
        """Sleeps until `count` more records are due; yields after each MAX_SLEEP_S of it."""
        self._start = time.monotonic() if self._start is None else self._start
        self._given += count
        due = self._start + self._given / self._per_s
        while (left := due - time.monotonic()) > 0:
            time.sleep(min(left, MAX_SLEEP_S))
            if left > MAX_SLEEP_S:
                yield None


class PartOfPiece(Piece):
    """Some records of a piece, with the places that they have there."""

    def __init__(self, whole: Piece, first: int, last: int) -> None:
        super().__init__(whole.records.part(first, last))
        self._whole, self._first = whole, first

    def position(self, number: int) -> str:
        """The place in the whole piece."""
        return self._whole.position(self._first + number)

    def place(self, number: int) -> str:
        """The place in the whole piece."""
        return self._whole.place(self._first + number)


class PacedRange:
    """A source whose records come no faster than the rate."""

    def __init__(self, source: Source, records_per_s: float) -> None:
        self._source, self._per_s = source, records_per_s

    def pieces(self, batch_size: BatchSize) -> Iterator[Piece | None]:
        """The source's pieces in parts, each when it is due; None while waiting."""
        pace = Pace(self._per_s)
        found: Any = self._source.pieces(batch_size)
        with closing(found):
            for piece in found:
                if piece is None:
                    yield None
                    continue
                yield from _parts(piece, pace)


def _parts(piece: Piece, pace: Pace) -> Iterator[Piece | None]:
    at, count = 0, len(piece.records)
    while at < count:
        size = pace.step(count - at)
        yield from pace.waits(size)
        yield PartOfPiece(piece, at, at + size)
        at += size


class PacedOrigin:
    """An origin, each of whose ranges comes at the rate."""

    def __init__(self, whole: Origin, records_per_s: float) -> None:
        self._whole, self._per_s = whole, records_per_s
        self.is_endless = whole.is_endless

    @property
    def name(self) -> str:
        """The origin's own: the rate changes nothing of the data."""
        return self._whole.name

    def ranges(self, count: int) -> tuple[Range, ...]:
        """The origin's ranges."""
        return self._whole.ranges(count)

    def open(self, part: Range, position: str | None) -> Source:
        """The records of a range, at the rate."""
        return PacedRange(self._whole.open(part, position), self._per_s)
