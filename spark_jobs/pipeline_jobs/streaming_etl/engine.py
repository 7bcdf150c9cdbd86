"""The engine: pipelines of a source, a channel and workers that transform and load, measured stage by stage.

Workers are threads: the transcoder, the database's client library and the operating system all work without
the interpreter's lock, so threads fill the cores and a batch is never copied between processes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from pipeline_jobs.streaming_etl.channel import Channel, Closed
from pipeline_jobs.streaming_etl.records import Batch, Piece
from pipeline_jobs.streaming_etl.settings import BatchSize, Settings


class Source(Protocol):
    """Where records come from. Iteration ends only at the real end of data; trouble raises."""

    def pieces(self, batch_size: BatchSize) -> Iterator[Piece | None]:
        """Pieces in order; None says that nothing has come for a while (a chance to stop)."""
        ...


class Worker(Protocol):
    """One worker's own transform and load."""

    def transform(self, batch: Batch) -> Any:
        """What is to be loaded for a batch."""
        ...

    def load(self, batch: Batch, transformed: Any) -> int:
        """Put it into the target, all or nothing. Returns rows loaded."""
        ...

    @property
    def helper_cpu_s(self) -> float:
        """CPU seconds of threads that work for this worker, so far."""
        ...

    def close(self) -> None:
        """Give back what the worker holds."""
        ...


@dataclass
class Usage:
    """What a thread did: seconds busy by stage, seconds waiting, CPU seconds, seconds that it lived."""

    name: str
    is_extractor: bool = False
    busy_s: dict[str, float] = field(default_factory=dict)
    wait_s: float = 0.0
    cpu_s: float = 0.0
    alive_s: float = 0.0

    def timed(self, stage: str, action: Callable[[], Any]) -> Any:
        """Run an action as part of a stage."""
        start = time.monotonic()
        try:
            return action()
        finally:
            self.busy_s[stage] = self.busy_s.get(stage, 0.0) + time.monotonic() - start


@dataclass(frozen=True)
class Done:
    """A batch in the target: when (monotonic seconds), how long after its first record came, and how much."""

    at: float
    latency_s: float
    records: int
    rows: int
    bytes: int


@dataclass
class Report:
    """What one run of a pipeline, or of several, did."""

    batches: list[Done] = field(default_factory=list)
    usages: list[Usage] = field(default_factory=list)
    batch_sizes: list[int] = field(default_factory=list)
    was_cancelled: bool = False

    @property
    def records(self) -> int:
        """Records in the target."""
        return sum(batch.records for batch in self.batches)

    @property
    def rows(self) -> int:
        """Rows in the target."""
        return sum(batch.rows for batch in self.batches)

    def add(self, other: Report) -> None:
        """Take in another pipeline's report."""
        self.batches += other.batches
        self.usages += other.usages
        self.batch_sizes += other.batch_sizes
        self.was_cancelled |= other.was_cancelled


class Pipeline:
    """One source, one channel, `worker_num` workers."""

    def __init__(
        self,
        name: str,
        source: Source,
        make_worker: Callable[[], Worker],
        settings: Settings,
        cancel: threading.Event,
        *,
        first_sequence: int = 0,
    ) -> None:
        self.name = name
        self._source, self._make_worker, self._settings, self._cancel = source, make_worker, settings, cancel
        self._channel = Channel(settings.capacity, settings.capacity_bytes, first_sequence)
        self._batch_size = BatchSize(settings)
        self._report = Report()
        self._errors: list[BaseException] = []
        self._lock = threading.Lock()

    def run(self) -> Report:
        """Move everything, or up to a cancel what was read. Raises the first error of any thread."""
        channel = self._channel
        workers = [f"{self.name}-worker-{n + 1}" for n in range(self._settings.worker_num)]
        jobs = [(Usage(f"{self.name}-extract", is_extractor=True), self._extract, channel.close)]
        jobs += [(Usage(name), self._work, channel.fail) for name in workers]
        threads = [
            threading.Thread(target=self._guarded, args=(usage, work, on_error), name=usage.name)
            for usage, work, on_error in jobs
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._errors:
            raise self._errors[0]
        self._report.batch_sizes.append(self._batch_size.current)
        self._report.was_cancelled = self._cancel.is_set()
        return self._report

    def _guarded(self, usage: Usage, work: Callable[[Usage], None], on_error: Callable[[], None]) -> None:
        """Run a thread's work. A source that fails still has what was read drained; a worker that fails stops all."""
        cpu_before_s, start = time.thread_time(), time.monotonic()
        try:
            work(usage)
        except Closed:
            pass
        except BaseException as error:
            with self._lock:
                self._errors.append(error)
            on_error()
        usage.cpu_s += time.thread_time() - cpu_before_s
        usage.alive_s = time.monotonic() - start
        with self._lock:
            self._report.usages.append(usage)

    def _extract(self, usage: Usage) -> None:
        pieces = self._source.pieces(self._batch_size)
        try:
            while not self._cancel.is_set():
                piece = usage.timed("extract", lambda: next(pieces, self._source))
                if piece is self._source:
                    break
                if piece is not None:
                    start = time.monotonic()
                    self._channel.put(piece)
                    usage.wait_s += time.monotonic() - start
        finally:
            close = getattr(pieces, "close", None)
            if close:
                close()
        self._channel.close()

    def _work(self, usage: Usage) -> None:
        worker = self._make_worker()
        settings = self._settings
        try:
            while True:
                start = time.monotonic()
                try:
                    batch = self._channel.take(self._batch_size.current, settings.batch_bytes, settings.timeout_s)
                finally:
                    usage.wait_s += time.monotonic() - start
                self._move(worker, batch, usage)
        finally:
            usage.cpu_s += worker.helper_cpu_s
            worker.close()

    def _move(self, worker: Worker, batch: Batch, usage: Usage) -> None:
        size = batch.records.bytes
        transformed = usage.timed("transform", lambda: worker.transform(batch))
        rows = usage.timed("load", lambda: worker.load(batch, transformed))
        now = time.monotonic()
        self._batch_size.observe(len(batch), now)
        with self._lock:
            self._report.batches.append(Done(now, now - batch.received_at, len(batch), rows, size))


class Manager:
    """Runs pipelines, at most `manager_worker_num` side by side, between one pre and one post hook."""

    def __init__(self, settings: Settings, cancel: threading.Event) -> None:
        self._settings, self._cancel = settings, cancel

    def run(
        self,
        pipelines: list[Pipeline],
        *,
        before: Callable[[], None] = lambda: None,
        after: Callable[[Report], None] = lambda report: None,
    ) -> Report:
        """The report of all. `before` and `after` run once each; `after` only when every pipeline succeeded."""
        before()
        waiting, report = list(pipelines), Report()
        errors: list[BaseException] = []
        lock = threading.Lock()

        def run_some() -> None:
            while True:
                with lock:
                    if not waiting or errors:
                        return
                    pipeline = waiting.pop(0)
                try:
                    done = pipeline.run()
                except BaseException as error:
                    self._cancel.set()
                    with lock:
                        errors.append(error)
                    return
                with lock:
                    report.add(done)

        count = min(self._settings.manager_worker_num, len(pipelines))
        threads = [threading.Thread(target=run_some, name=f"manager-{n + 1}") for n in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        after(report)
        return report
