"""The in-memory studies: the engine without databases, on records that are made while it runs."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.streaming_etl import memory_kernel as kernel
from pipeline_jobs.streaming_etl.engine import BatchSize, Manager, Pipeline, Report, Settings
from pipeline_jobs.streaming_etl.records import Batch, Piece

TRANSFORMS = ("own", "light", "heavy", "network")
HEAVY_ROUNDS = 200
"""Rounds of hashing a record that the heavy transform adds: about 0.3 us."""
REQUEST_S = 0.001
"""How long one request of the simulated network transform takes."""


def _heavy_strings() -> list[tuple[str, str, int, bool]]:
    """The strings of a heavy record: name, pattern, repeats, and whether the record's number follows."""
    found = [
        ("first_name", "First", 1, True), ("last_name", "Last", 1, True), ("email", "user@example.com.", 1, True),
        ("city", "City", 1, True), ("state", "State", 1, False), ("country", "Country", 1, False),
        ("street", "Main Street ", 1, True), ("bio", "Software dev. ", 10, False),
    ]  # fmt: skip
    lists = (
        ("interest", "Interest ", 1, 5), ("skill", "Skill ", 1, 7), ("institution", "University ", 1, 2),
        ("degree", "Degree", 1, 2), ("company", "Company ", 1, 3), ("title", "Engineer ", 1, 3),
        ("duty", "Built and ran things. ", 1, 3), ("notification", "email", 1, 2),
        ("setting_key", "setting_key_", 1, 10), ("setting_value", "setting_value_", 1, 10),
        ("activity", "Activity entry number ", 1, 20), ("transaction_key", "key_", 1, 15),
        ("transaction_value", "value_", 1, 15), ("metadata", "metadata for entry ", 1, 15),
        ("message", "Message body. ", 10, 10), ("sender", "Sender ", 1, 10), ("subject", "Subject ", 1, 10),
        ("attachment", "attachment.pdf ", 1, 30), ("attachment_type", "application/pdf", 1, 30),
        ("connection", "user_", 1, 50), ("connection_name", "Connection ", 1, 50),
        ("post", "Post content. ", 20, 25), ("post_title", "Post title ", 1, 25), ("post_tag", "tag ", 1, 25),
        ("group", "Group ", 1, 5), ("group_role", "member", 1, 5), ("badge", "Badge ", 1, 29),
    )  # fmt: skip
    for name, pattern, repeats, count in lists:
        found += [(name, pattern, repeats, pattern.endswith((" ", "_")) and repeats == 1)] * count
    return found + [(f"blob{n}", letter, 10_000, False) for n, letter in enumerate("xyzab")]


def _unrolled(pattern: str, repeats: int) -> tuple[str, int]:
    """A short text is copied whole; one of a single character, the blobs', is filled in."""
    return (pattern, repeats) if len(pattern) == 1 else (pattern * repeats, 1)


HEAVY_STRINGS = [(name, *_unrolled(pattern, times), takes) for name, pattern, times, takes in _heavy_strings()]
HEAVY_NAMES = [name for name, *_ in HEAVY_STRINGS]
PATTERNS = np.frombuffer("".join(pattern for _, pattern, _, _ in HEAVY_STRINGS).encode(), np.uint8).copy()
_SIZES = np.array([len(pattern) for _, pattern, _, _ in HEAVY_STRINGS], np.int64)
_TIMES = np.array([times for _, _, times, _ in HEAVY_STRINGS], np.int64)
STRINGS = np.stack([np.cumsum(_SIZES) - _SIZES, _SIZES, _TIMES], axis=1)
TAKES_ID = np.array([takes for *_, takes in HEAVY_STRINGS])
HEAVY_BYTES = int((STRINGS[:, 1] * STRINGS[:, 2]).sum() + 10 * TAKES_ID.sum())
"""Room for one record with a number below 10 ** 10."""
WANTED = tuple(HEAVY_NAMES.index(name) for name in ("first_name", "last_name", "email", "city", "bio"))
LISTS = np.array([HEAVY_NAMES.count(name) for name in ("connection", "post", "message", "activity")], np.int64)


class Columns:
    """Records as columns, arrays of one length."""

    record_bytes = 0

    def __init__(self, *columns: np.ndarray) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(self.columns[0])

    @property
    def bytes(self) -> int:
        """Their size together."""
        return len(self) * self.record_bytes

    def part(self, first: int, last: int) -> Columns:
        """Some of them, without a copy."""
        if (first, last) == (0, len(self)):
            return self
        return self._same(tuple(column[first:last] for column in self.columns))

    def joined(self, others: Sequence[Columns]) -> Columns:
        """These and others after them."""
        groups = zip(self.columns, *(other.columns for other in others), strict=True)
        return self._same(tuple(np.concatenate(group) for group in groups))

    def _same(self, columns: tuple[np.ndarray, ...]) -> Columns:
        return type(self)(*columns)


class CompactColumns(Columns):
    """Compact records."""

    record_bytes = 77

    @classmethod
    def room(cls, count: int) -> CompactColumns:
        """Columns for `count` records, not yet filled."""
        columns = (
            np.empty(count, np.int64), np.empty((count, kernel.NAME_BYTES), np.uint8),
            np.empty((count, kernel.EMAIL_BYTES), np.uint8), np.empty((count, 2), np.uint8), np.empty(count, np.uint8),
            np.empty(count, np.uint16), np.empty(count, np.uint64),
            np.empty((count, 4), np.uint16), np.empty(count, np.uint64),
        )  # fmt: skip
        return cls(*columns)

    def fill(self, first: int) -> None:
        """Make the records with numbers from `first`."""
        kernel.make_compact(first, *self.columns)

    def transformed(self, titles_only: bool) -> Transformed:
        """The transform's columns."""
        ids, counts, hashes = self.columns[0], self.columns[7], self.columns[8]
        count = len(self)
        if titles_only:
            counts = np.broadcast_to(np.uint16(1), (count, 4))
        out = Transformed(
            np.empty((count, kernel.TITLE_BYTES), np.uint8), np.empty(count, np.uint8),
            np.empty(count, np.uint32), np.empty(count, np.float32), np.empty(count, np.uint64),
        )  # fmt: skip
        kernel.transform_compact(ids, counts, hashes, out.text, out.sizes, out.numbers, out.ratios, out.hashes)
        return out


@dataclass
class Transformed:
    """What a transform makes of records, as columns."""

    text: np.ndarray
    sizes: np.ndarray
    numbers: np.ndarray
    ratios: np.ndarray
    hashes: np.ndarray


class HeavyColumns(Columns):
    """Heavy records: `columns` are the ends of their strings and where each record begins; `data` holds the text."""

    record_bytes = HEAVY_BYTES
    data: np.ndarray

    @classmethod
    def room(cls, count: int) -> HeavyColumns:
        """Room for `count` records, not yet filled."""
        made = cls(np.empty((count, len(STRINGS)), np.int64), np.empty(count, np.int64))
        made.data = np.empty(count * HEAVY_BYTES, np.uint8)
        return made

    def fill(self, first: int) -> None:
        """Make the records with numbers from `first`."""
        ends, starts = self.columns
        kernel.make_heavy(first, len(self), PATTERNS, STRINGS, TAKES_ID, self.data, ends)
        starts[0] = 0
        starts[1:] = ends[:-1, -1]

    def transformed(self, titles_only: bool) -> Transformed:
        """The transform's columns; every record's text is in `text`."""
        ends, starts = self.columns
        out = Transformed(
            np.empty(len(self) * 256, np.uint8), np.empty((len(self), 4), np.int64),
            np.empty((len(self), 5), np.int64), np.empty(0, np.float32), np.arange(len(self), dtype=np.uint64),
        )  # fmt: skip
        blobs = len(STRINGS) - (0 if titles_only else 5)
        kernel.transform_heavy(self.data, ends, starts, WANTED, blobs, LISTS, out.text, out.sizes, out.numbers)
        return out

    def joined(self, others: Sequence[Columns]) -> Columns:
        """Refused: a batch of heavy records is one piece, its text is never copied."""
        raise NotImplementedError

    def _same(self, columns: tuple[np.ndarray, ...]) -> Columns:
        same = super()._same(columns)
        same.data = self.data  # type: ignore[attr-defined]
        return same


KINDS: dict[str, type[CompactColumns] | type[HeavyColumns]] = {"compact": CompactColumns, "heavy": HeavyColumns}


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
