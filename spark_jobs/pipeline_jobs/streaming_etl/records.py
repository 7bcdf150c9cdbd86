"""The records of the engine: pieces of a source with their places in it, and batches made of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

Raw = bytes
"""The bytes of one document, under a name that the property `bytes` does not hide."""


class Records(Protocol):
    """Some records side by side, as columns or bytes, never as objects."""

    def __len__(self) -> int: ...

    @property
    def bytes(self) -> int:
        """Their size together."""
        ...

    def part(self, first: int, last: int) -> Records:
        """Some of them, without a copy."""
        ...

    def joined(self, others: Sequence[Any]) -> Records:
        """These and others after them, in one."""
        ...


@dataclass(frozen=True)
class Documents:
    """BSON documents side by side in one buffer: document n is `data[starts[n]:stops[n]]`."""

    data: np.ndarray
    starts: np.ndarray
    stops: np.ndarray

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def bytes(self) -> int:
        """Their size together."""
        return int((self.stops - self.starts).sum())

    def raw(self, number: int) -> Raw:
        """The bytes of one document."""
        return self.data[self.starts[number] : self.stops[number]].tobytes()

    def part(self, first: int, last: int) -> Documents:
        """Some of them, without a copy."""
        return Documents(self.data, self.starts[first:last], self.stops[first:last])

    def joined(self, others: Sequence[Documents]) -> Documents:
        """These and others after them, copied into one buffer."""
        return Documents.of([d.raw(n) for d in (self, *others) for n in range(len(d))])

    @classmethod
    def of(cls, raws: Sequence[Raw]) -> Documents:
        """Documents from separate bytes."""
        stops = np.cumsum([len(raw) for raw in raws], dtype=np.int64)
        starts = np.append(0, stops).astype(np.int64)[: len(raws)]
        return cls(np.frombuffer(b"".join(raws) or b"\0", np.uint8), starts, stops)


class Piece:
    """Records as the source gave them. Subclasses know where each stands in the source."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self.received_at = time.monotonic()

    def position(self, number: int) -> str:
        """Where to go on once record `number` of this piece, and all before it, are in the target."""
        raise NotImplementedError

    def place(self, number: int) -> str:
        """How people find record `number` in the source."""
        return self.position(number)


@dataclass(frozen=True)
class Slice:
    """Records first..last of a piece."""

    piece: Piece
    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first

    @property
    def records(self) -> Any:
        """The records themselves."""
        return self.piece.records.part(self.first, self.last)


@dataclass(frozen=True)
class Batch:
    """Records in the source's order that are transformed and loaded together."""

    sequence: int
    slices: tuple[Slice, ...]

    @cached_property
    def records(self) -> Any:
        """All of them in one; copied only where they came in several pieces."""
        first, *others = [part.records for part in self.slices]
        return first.joined(others) if others else first

    def __len__(self) -> int:
        return sum(map(len, self.slices))

    @property
    def received_at(self) -> float:
        """When the oldest of them came from the source (monotonic seconds)."""
        return self.slices[0].piece.received_at

    @property
    def position(self) -> str:
        """Where to go on once this batch is in the target."""
        last = self.slices[-1]
        return last.piece.position(last.last - 1)

    def place(self, number: int) -> str:
        """How people find record `number` of the batch in the source."""
        for part in self.slices:
            if number < len(part):
                return part.piece.place(part.first + number)
            number -= len(part)
        raise IndexError(number)
