"""The in-memory studies: the engine without databases, on records that are made while it runs."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.streaming_etl import memory_kernel as kernel
from pipeline_jobs.streaming_etl.engine import Manager, Pipeline, Report
from pipeline_jobs.streaming_etl.memory_records import KINDS, LISTS, Columns, Transformed
from pipeline_jobs.streaming_etl.records import Batch, Piece
from pipeline_jobs.streaming_etl.settings import BatchSize, Settings

TRANSFORMS = ("own", "light", "heavy", "network")
HEAVY_ROUNDS = 200
"""Rounds of hashing a record that the heavy transform adds: about 0.3 us."""
REQUEST_S = 0.001
"""How long one request of the simulated network transform takes."""


class MadePiece(Piece):
    """Records made from a number up."""

    def __init__(self, records: Columns, first: int) -> None:
        super().__init__(records)
        self._first = first

    def position(self, number: int) -> str:
        """The record's number."""
        return str(self._first + number)


class Generator:
    """Makes `count` records, a batch at a time, into room that came back from the workers."""

    def __init__(self, record: str, count: int, batch_bytes: int, *, made_before: bool = False) -> None:
        self._kind, self._count, self._batch_bytes = KINDS[record], count, batch_bytes
        self._made_before = made_before
        self._free: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def give_back(self, room: Any) -> None:
        """Take back the room of a loaded batch."""
        self._free.put(room)

    def pieces(self, batch_size: BatchSize) -> Iterator[Piece | None]:
        """Pieces of one batch each."""
        at = 0
        while at < self._count:
            room, is_new = self._room(min(batch_size.current, self._count - at))
            if is_new or not self._made_before:
                room.fill(at)
            yield MadePiece(room, at)
            at += len(room)

    def _room(self, count: int) -> tuple[Any, bool]:
        count = max(1, min(count, self._batch_bytes // self._kind.record_bytes))
        try:
            room = self._free.get_nowait()
        except queue.Empty:
            return self._kind.room(count), True
        return (room, False) if len(room) == count else (self._kind.room(count), True)


class MemoryWorker:
    """Transforms records and adds up what came out, which shows that every record came."""

    def __init__(self, generator: Generator, transform: str, concurrency: int, sums: Sums) -> None:
        self._generator, self._transform = generator, transform
        self._concurrency, self._sums = concurrency, sums

    def transform(self, batch: Batch) -> Transformed:
        """The transform that the study asks for."""
        if self._transform == "network":
            waves = -(-len(batch) // self._concurrency)
            time.sleep(waves * REQUEST_S)
        out: Transformed = batch.records.transformed(self._transform == "light")
        if self._transform == "heavy":
            kernel.mix(out.hashes, HEAVY_ROUNDS)
        return out

    def load(self, batch: Batch, transformed: Transformed) -> int:
        """Count, and give the room back to the generator."""
        self._sums.add(len(batch), int(transformed.numbers.sum()), int(transformed.sizes[-1].max()))
        if len(batch.slices) == 1 and len(batch) == len(batch.slices[0].piece.records):
            self._generator.give_back(batch.records)
        return len(batch)

    def close(self) -> None:
        """Nothing is held."""


class Sums:
    """What arrived, over all workers."""

    def __init__(self) -> None:
        self.records = self.numbers = 0
        self._lock = threading.Lock()

    def add(self, records: int, numbers: int, longest: int) -> None:
        """Count a batch."""
        with self._lock:
            self.records += records
            self.numbers += numbers


@dataclass(frozen=True)
class MemoryWork:
    """One in-memory run: records a pipeline, their kind, and what is done with them."""

    record: str = "compact"
    transform: str = "own"
    records: int = 1_000_000
    made_before: bool = False
    """Make one batch and send it again and again: what the engine costs without making records."""

    def __post_init__(self) -> None:
        if self.record not in KINDS or self.transform not in TRANSFORMS or self.records < 1:
            raise BadConfigurationError(
                f"record is {self.record!r}, one of {', '.join(KINDS)}; transform is {self.transform!r}, "
                f"one of {', '.join(TRANSFORMS)}; records is {self.records}, 1 or more"
            )

    def run(self, settings: Settings, cancel: threading.Event) -> tuple[Report, Sums]:
        """Every pipeline moves all its records. Returns the report and what arrived."""
        sums = Sums()
        pipelines = []
        for number in range(settings.manager_worker_num):
            generator = Generator(self.record, self.records, settings.batch_bytes, made_before=self.made_before)

            def worker(generator: Generator = generator) -> MemoryWorker:
                return MemoryWorker(generator, self.transform, settings.transform_concurrency, sums)

            pipelines.append(Pipeline(f"memory-{number}", generator, worker, settings, cancel))
        return Manager(settings, cancel).run(pipelines), sums

    def warmed(self, settings: Settings) -> MemoryWork:
        """A small run of the same kind, which loads the compiled code."""
        return replace(self, records=min(self.records, settings.batch_size, 1000), transform=self.transform)

    def expected_numbers(self) -> int:
        """The sum over all numbers that the transforms of one pipeline give, by a formula."""
        if self.record == "heavy":
            return self.records * (int(LISTS.sum()) + (0 if self.transform == "light" else 50_000))
        if self.transform == "light":
            return self.records * 3
        numbers = np.arange(self.records, dtype=np.int64)
        return int(sum((numbers * factor % 500).sum() for factor in (3, 4, 5)))
