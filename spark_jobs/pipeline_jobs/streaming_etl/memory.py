"""The in-memory studies (`MemoryWork`): the engine without databases, on records made while it runs; their
parameters.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline_jobs.streaming_etl import memory_kernel as kernel
from pipeline_jobs.streaming_etl.engine import Manager, Pipeline, Report
from pipeline_jobs.streaming_etl.memory_records import KINDS, LISTS, Columns, Transformed
from pipeline_jobs.streaming_etl.paced_source import Pace
from pipeline_jobs.streaming_etl.records import Batch, Piece
from pipeline_jobs.streaming_etl.settings import BatchSize, Limit, Settings, check_choice, check_flag

if TYPE_CHECKING:
    from pipeline_jobs.streaming_etl.memory_requests import RequestClient

TRANSFORMS = ("own", "light", "heavy", "network")
HEAVY_ROUNDS = 200
"""Rounds of hashing a record that the heavy transform adds: about 0.3 us."""
LIMITS = (Limit("records", 1, 10**12), Limit("pace_records_per_s", 0, 10**12, is_whole=False))


class MadePiece(Piece):
    """Records made from a number up."""

    def __init__(self, records: Columns, first: int) -> None:
        super().__init__(records)
        self.first = first

    def position(self, number: int) -> str:
        """The record's number."""
        return str(self.first + number)


class Generator:
    """Makes `count` records, a batch at a time, into room that came back from the workers."""

    def __init__(self, work: MemoryWork, batch_bytes: int) -> None:
        self._kind, self._count, self._batch_bytes = KINDS[work.record], work.records, batch_bytes
        self._made_before = work.made_before
        self._pace = Pace(work.pace_records_per_s) if work.pace_records_per_s else None
        self._free: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def give_back(self, room: Any) -> None:
        """Take back the room of a loaded batch."""
        self._free.put(room)

    def pieces(self, batch_size: BatchSize) -> Iterator[Piece | None]:
        """Pieces of one batch each; at a pace, those that are due together."""
        at = 0
        while at < self._count:
            count = min(batch_size.current, self._count - at)
            if self._pace:
                count = self._pace.step(count)
                yield from self._pace.waits(count)
            room, is_new = self._room(count)
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

    helper_cpu_s = 0.0

    def __init__(self, generator: Generator, transform: str, requests: RequestClient | None, sums: Sums) -> None:
        self._generator, self._transform = generator, transform
        self._requests, self._sums = requests, sums

    def transform(self, batch: Batch) -> Transformed:
        """The transform that the study asks for."""
        records = batch.records
        out: Transformed = records.light() if self._transform == "light" else records.transformed()
        if self._transform == "heavy":
            kernel.mix(out.hashes, HEAVY_ROUNDS)
        if self._requests:
            out.answers = self._requests.answers(_numbers(batch))
        return out

    def load(self, batch: Batch, transformed: Transformed) -> int:
        """Count, and give the room back to the generator."""
        self._sums.add(len(batch), int(transformed.numbers.sum() + transformed.answers.sum()))
        if len(batch.slices) == 1 and len(batch) == len(batch.slices[0].piece.records):
            self._generator.give_back(batch.records)
        return len(batch)

    def close(self) -> None:
        """Close the connections that requests went through."""
        if self._requests:
            self._requests.close()


def _numbers(batch: Batch) -> np.ndarray:
    """The numbers of a batch's records."""
    parts = [(part.piece, part.first, part.last) for part in batch.slices]
    made = [(piece.first, first, last) for piece, first, last in parts if isinstance(piece, MadePiece)]
    return np.concatenate([np.arange(base + first, base + last) for base, first, last in made])


class Sums:
    """What arrived, over all workers."""

    def __init__(self) -> None:
        self.records = self.numbers = 0
        self._lock = threading.Lock()

    def add(self, records: int, numbers: int) -> None:
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
    pace_records_per_s: float = 0.0
    """How many records per second each pipeline's source gives; 0 for as many as it can."""

    def __post_init__(self) -> None:
        check_choice("record", self.record, tuple(KINDS))
        check_choice("transform", self.transform, TRANSFORMS)
        check_flag("made_before", self.made_before)
        for limit in LIMITS:
            limit.check(getattr(self, limit.name))

    @contextmanager
    def prepared(self, settings: Settings, cancel: threading.Event) -> Iterator[Callable[[], tuple[Report, Sums]]]:
        """Code compiled and, for the network transform, a server running: a function that runs the work once."""
        with _server(self.transform) as address:
            self._warmed(settings).run(settings, cancel, address)
            yield lambda: self.run(settings, cancel, address)

    def run(self, settings: Settings, cancel: threading.Event, address: str = "") -> tuple[Report, Sums]:
        """Every pipeline moves all its records. Returns the report and what arrived.

        `address` is that of the server that the network transform asks.
        """
        sums = Sums()
        pipelines = []
        for number in range(settings.manager_worker_num):
            generator = Generator(self, settings.batch_bytes)

            def worker(generator: Generator = generator) -> MemoryWorker:
                requests = _client(address, settings.transform_concurrency) if address else None
                return MemoryWorker(generator, self.transform, requests, sums)

            pipelines.append(Pipeline(f"memory-{number}", generator, worker, settings, cancel))
        return Manager(settings, cancel).run(pipelines), sums

    def _warmed(self, settings: Settings) -> MemoryWork:
        """A small run of the same kind, which loads the compiled code."""
        return replace(self, records=min(self.records, settings.batch_size, 1000), pace_records_per_s=0.0)

    def expected_numbers(self) -> int:
        """The sum over all numbers that the transforms of one pipeline give, by a formula."""
        numbers = np.arange(self.records, dtype=np.int64)
        expected = 0
        if self.transform == "network":
            from pipeline_jobs.streaming_etl.memory_requests import answer_to

            expected = int(answer_to(numbers).sum())
        if self.record == "heavy":
            return expected + self.records * (int(LISTS.sum()) + (0 if self.transform == "light" else 50_000))
        return expected + int(sum((numbers * factor % 500).sum() for factor in (3, 4, 5)))


# Imported in these two: only the network transform needs an HTTP client, which takes a while to import.
def _client(address: str, concurrency: int) -> RequestClient:
    from pipeline_jobs.streaming_etl.memory_requests import RequestClient

    return RequestClient(address, concurrency)


def _server(transform: str) -> Any:
    if transform != "network":
        return nullcontext("")
    from pipeline_jobs.streaming_etl.memory_requests import request_server

    return request_server()
