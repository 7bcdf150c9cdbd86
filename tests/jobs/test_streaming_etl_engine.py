"""The channel cuts batches as it should, and the engine runs hooks, pipelines and adaptation as it should."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tests.jobs.planted_clock import PlantedClock

from pipeline_jobs.streaming_etl import channel as channel_module
from pipeline_jobs.streaming_etl import engine, records
from pipeline_jobs.streaming_etl import settings as settings_module
from pipeline_jobs.streaming_etl.channel import Channel, Closed
from pipeline_jobs.streaming_etl.engine import Manager, Pipeline
from pipeline_jobs.streaming_etl.records import Batch, Documents, Piece
from pipeline_jobs.streaming_etl.settings import BatchSize, Settings


class Numbered(Piece):
    """Documents whose place is their number in the source."""

    def __init__(self, first: int, count: int, size: int = 10) -> None:
        super().__init__(Documents.of([bytes([(first + n) % 256]) * size for n in range(count)]))
        self.first = first

    def position(self, number: int) -> str:
        return str(self.first + number)


def places(batch: Batch) -> list[int]:
    return [int(batch.place(n)) for n in range(len(batch))]


def test_a_batch_leaves_when_it_is_full_and_the_rest_stays_for_the_next() -> None:
    channel = Channel(100, 10_000)
    for first in (0, 4, 8):
        channel.put(Numbered(first, 4))
    assert places(channel.take(5, 10_000, 60)) == [0, 1, 2, 3, 4]
    assert places(channel.take(5, 10_000, 60)) == [5, 6, 7, 8, 9]
    channel.close()
    assert places(channel.take(5, 10_000, 60)) == [10, 11]
    with pytest.raises(Closed):
        channel.take(5, 10_000, 60)


def test_batches_joined_from_pieces_hold_the_records_bytes_and_position() -> None:
    channel = Channel(100, 10_000)
    channel.put(Numbered(0, 2, size=3))
    channel.put(Numbered(2, 2, size=3))
    batch = channel.take(3, 10_000, 60)
    assert [batch.records.raw(n) for n in range(3)] == [b"\0\0\0", b"\1\1\1", b"\2\2\2"]
    assert (batch.sequence, batch.position) == (0, "2")


def test_a_batch_leaves_on_bytes_and_one_record_always_fits() -> None:
    channel = Channel(100, 10_000)
    channel.put(Numbered(0, 10, size=40))
    assert places(channel.take(100, 100, 60)) == [0, 1]
    assert places(channel.take(100, 5, 60)) == [2]


def test_a_batch_leaves_when_its_oldest_record_has_waited() -> None:
    channel = Channel(100, 10_000)
    start = time.monotonic()
    channel.put(Numbered(0, 2))
    assert places(channel.take(10, 10_000, 0.2)) == [0, 1]
    assert time.monotonic() - start >= 0.2


@pytest.mark.parametrize(("capacity", "capacity_bytes"), [(4, 10_000), (1000, 40)])
def test_a_full_channel_holds_the_source_back_by_records_and_by_bytes(capacity: int, capacity_bytes: int) -> None:
    channel, put = Channel(capacity, capacity_bytes), []

    def fill() -> None:
        for first in range(0, 12, 2):
            channel.put(Numbered(first, 2))
            put.append(first)

    thread = threading.Thread(target=fill)
    thread.start()
    _until_held_back(channel)
    assert put == [0, 2]
    taken = [place for _ in range(6) for place in places(channel.take(2, 10_000, 60))]
    thread.join()
    assert taken == list(range(12))


def _until_held_back(channel: Channel) -> None:
    """Wait until a source stands before the full channel. Nobody takes from it, so it stays there."""
    while not channel._blocked:
        time.sleep(0.001)


def test_a_source_that_waits_for_room_does_not_wait_for_the_timeout() -> None:
    channel = Channel(4, 10_000)
    channel.put(Numbered(0, 3))
    thread = threading.Thread(target=channel.put, args=(Numbered(3, 3),))
    thread.start()
    assert places(channel.take(10, 10_000, 3600)) == [0, 1, 2]
    thread.join()


class Source:
    """Records in pieces of three; with `silent_until` it goes on, silent, until that has happened."""

    def __init__(
        self, count: int, *, fails_after: int | None = None, silent_until: threading.Event | None = None
    ) -> None:
        self.count, self.fails_after, self.silent_until = count, fails_after, silent_until

    def pieces(self, batch_size: BatchSize) -> Iterator[Piece | None]:
        for first in range(0, self.count, 3):
            if self.fails_after is not None and first >= self.fails_after:
                raise ConnectionError("the cursor is gone")
            yield Numbered(first, min(3, self.count - first))
        if self.silent_until:
            self.silent_until.wait()


class Collects:
    """A worker that keeps what it loads."""

    helper_cpu_s = 0.0

    def __init__(self, loaded: list[int], lock: threading.Lock, fails_at: int | None = None) -> None:
        self.loaded, self.lock, self.fails_at = loaded, lock, fails_at

    def transform(self, batch: Batch) -> Any:
        return places(batch)

    def load(self, batch: Batch, transformed: list[int]) -> int:
        if self.fails_at in transformed:
            raise RuntimeError("the target is full")
        with self.lock:
            self.loaded += transformed
        return len(transformed)

    def close(self) -> None:
        pass


def run(source: Source, settings: Settings, *, fails_at: int | None = None) -> tuple[list[int], list[str]]:
    loaded: list[int] = []
    hooks: list[str] = []
    lock, cancel = threading.Lock(), threading.Event()
    pipelines = [
        Pipeline(f"p{n}", source, lambda: Collects(loaded, lock, fails_at), settings, cancel)
        for n in range(settings.manager_worker_num)
    ]
    try:
        Manager(settings, cancel).run(
            pipelines, before=lambda: hooks.append("before"), after=lambda report: hooks.append(f"after {report.rows}")
        )
    except Exception as error:
        hooks.append(str(error))
    return sorted(loaded), hooks


@pytest.mark.parametrize("workers", [1, 4])
def test_everything_passes_and_hooks_run_once(workers: int) -> None:
    loaded, hooks = run(Source(100), Settings(batch_size=7, worker_num=workers))
    assert loaded == list(range(100))
    assert hooks == ["before", "after 100"]


def test_pipelines_run_side_by_side_between_one_pair_of_hooks() -> None:
    loaded, hooks = run(Source(50), Settings(batch_size=7, worker_num=2, manager_worker_num=3))
    assert loaded == sorted([*range(50)] * 3)
    assert hooks == ["before", "after 150"]


def test_a_cursor_error_is_not_the_end_of_the_data() -> None:
    loaded, hooks = run(Source(100, fails_after=30), Settings(batch_size=7, worker_num=2))
    assert hooks == ["before", "the cursor is gone"]
    assert loaded == list(range(30))


def test_a_worker_that_fails_stops_the_pipeline() -> None:
    loaded, hooks = run(Source(10_000), Settings(batch_size=7, worker_num=2), fails_at=20)
    assert hooks == ["before", "the target is full"]
    assert len(loaded) < 10_000


def test_a_small_batch_of_a_silent_source_leaves_on_timeout() -> None:
    """The source says nothing more until the batch has been loaded: without the timeout both would wait for ever."""

    class Tells(Collects):
        def load(self, batch: Batch, transformed: list[int]) -> int:
            arrived.set()
            return super().load(batch, transformed)

    arrived, loaded = threading.Event(), []
    settings = Settings(batch_size=100, worker_num=1, timeout_s=0.1)
    source = Source(3, silent_until=arrived)
    Pipeline("p", source, lambda: Tells(loaded, threading.Lock()), settings, threading.Event()).run()
    assert loaded == [0, 1, 2]


def test_where_the_time_goes_is_measured_by_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock moves in loads only, each of which begins when the source stands before a full channel or has ended."""
    clock = PlantedClock()
    clock.stands_in_for_time(monkeypatch, channel_module, engine, records, settings_module)

    class Slow(Collects):
        def load(self, batch: Batch, transformed: list[int]) -> int:
            if batch.sequence < 2:
                _until_held_back(pipeline._channel)
            clock.sleep(0.05)
            return 0

    pipeline = Pipeline(
        "p", Source(30), lambda: Slow([], threading.Lock()), Settings(batch_size=6, worker_num=1), threading.Event()
    )
    report = pipeline.run()
    extract, worker = sorted(report.usages, key=lambda usage: usage.name)
    assert worker.busy_s["load"] == pytest.approx(0.25)
    assert worker.busy_s["transform"] == 0
    assert extract.wait_s >= 0.1 - 1e-9


def test_adaptive_batching_follows_its_rule_between_its_limits() -> None:
    size = BatchSize(
        Settings(batch_size=100, adaptive=True, target_records_per_s=1000, min_batch_size=80, max_batch_size=150)
    )
    seen = []
    for rate in (799, 799, 799, 799, 801, 1199, 1201, 1e6, 1e6, 1e6, 1e6, 1e6, 1e6, 1e6):
        size.adapt(rate)
        seen.append(size.current)
    assert seen == [120, 144, 150, 150, 150, 150, 135, 121, 108, 97, 87, 80, 80, 80]


def test_adaptive_batching_grows_a_running_pipeline() -> None:
    settings = Settings(
        batch_size=2, worker_num=1, adaptive=True, target_records_per_s=1e9, min_batch_size=2, max_batch_size=50
    )
    settings_window = BatchSize.WINDOW_S
    BatchSize.WINDOW_S = 0.0
    try:
        loaded: list[int] = []
        pipeline = Pipeline("p", Source(2000), lambda: Collects(loaded, threading.Lock()), settings, threading.Event())
        report = pipeline.run()
    finally:
        BatchSize.WINDOW_S = settings_window
    assert report.batch_sizes == [50]
    assert max(done.records for done in report.batches) > 20
    assert sorted(loaded) == list(range(2000))


def test_an_empty_documents_has_no_bytes() -> None:
    assert (len(Documents.of([])), Documents.of([]).bytes, Documents.of([]).data.dtype) == (0, 0, np.uint8)
