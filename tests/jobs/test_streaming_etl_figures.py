"""A planted truth (a delay, a leak, a slow batch or pipeline) is what the figures say; what is unknown is absent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.jobs.planted_clock import PlantedClock

from pipeline_jobs.streaming_etl import channel, engine, records, settings
from pipeline_jobs.streaming_etl import metrics as metrics_module
from pipeline_jobs.streaming_etl.engine import Manager, Pipeline, Report, Usage
from pipeline_jobs.streaming_etl.metrics import (
    MemoryTrend,
    bottleneck,
    growth_bytes_per_s,
    peak_rows_per_s,
    run_metrics,
    thread_details,
)
from pipeline_jobs.streaming_etl.records import Batch, Documents, Piece
from pipeline_jobs.streaming_etl.settings import BatchSize, Settings

MB = 1_000_000
JOBS = Path(__file__).resolve().parents[2] / "spark_jobs"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> PlantedClock:
    """The time that the engine and its figures see."""
    planted = PlantedClock()
    planted.stands_in_for_time(monkeypatch, channel, engine, metrics_module, records, settings)
    return planted


class Source:
    """Pieces of ten records, each after a pause."""

    def __init__(self, pieces: int, pause_s: float = 0.0) -> None:
        self.count, self.pause_s = pieces, pause_s

    def pieces(self, batch_size: BatchSize) -> Iterator[Piece | None]:
        for _ in range(self.count):
            engine.time.sleep(self.pause_s)
            piece = Piece(Documents.of([b"x" * 100] * 10))
            piece.position = str  # type: ignore[method-assign]
            yield piece


class Worker:
    """Takes as long as the test says for a batch's transform and load; three rows a record."""

    helper_cpu_s = 0.0

    def __init__(self, transform_s: float, load_s: Callable[[int], float], burns: bool = False) -> None:
        self.transform_s, self.load_s, self.burns = transform_s, load_s, burns

    def transform(self, batch: Batch) -> Any:
        end = time.monotonic() + self.transform_s
        while self.burns and time.monotonic() < end:
            pass
        if not self.burns:
            engine.time.sleep(self.transform_s)

    def load(self, batch: Batch, transformed: Any) -> int:
        engine.time.sleep(self.load_s(batch.sequence))
        return 3 * len(batch)

    def close(self) -> None:
        pass


def ran(
    sources: list[Source],
    *,
    transform_s: float = 0.0,
    load_s: Callable[[int], float] = lambda _: 0.0,
    burns: bool = False,
    workers: int = 1,
) -> tuple[Report, dict[str, float]]:
    chosen = Settings(batch_size=10, worker_num=workers, manager_worker_num=len(sources), timeout_s=30)
    cancel, start = threading.Event(), engine.time.monotonic()
    pipelines = [
        Pipeline(f"p{n}", source, lambda: Worker(transform_s, load_s, burns), chosen, cancel)
        for n, source in enumerate(sources)
    ]
    report = Manager(chosen, cancel).run(pipelines)
    return report, run_metrics(report, engine.time.monotonic() - start, len(sources))


def test_a_planted_delay_of_a_load_is_the_loads_time_and_the_latency(clock: PlantedClock) -> None:
    report, metrics = ran([Source(12)], load_s=lambda _: 0.05)
    assert metrics["load_busy_s"] == pytest.approx(0.6)
    # A full channel holds two batches, so a batch waits for at most three others and its own load.
    assert 0.05 <= metrics["latency_p50_s"] <= 4 * 0.05 + 1e-9
    assert metrics["s_per_1000_records"] == pytest.approx(1000 * 0.6 / 120)
    assert (metrics["records"], metrics["rows"], metrics["mean_batch_records"]) == (120, 360, 10)
    assert bottleneck(report) == "load"


def test_a_slow_source_and_a_slow_transform_are_named() -> None:
    report, metrics = ran([Source(10, pause_s=0.03)])
    assert bottleneck(report) == "extract"
    assert metrics["extract_busy_s"] >= 0.3
    # A busy machine adds to both.
    assert metrics["worker_wait_s"] > metrics["transform_busy_s"] + metrics["load_busy_s"]
    report, metrics = ran([Source(10)], transform_s=0.03, burns=True)
    assert bottleneck(report) == "transform"
    # A share of one processor that others want as well: held against a worker that sleeps as long.
    sleeping = ran([Source(10)], transform_s=0.03)[1]
    assert metrics["worker_cpu_s"] > 3 * sleeping["worker_cpu_s"]
    assert metrics["cpu_per_worker"] > sleeping["cpu_per_worker"]


def test_one_slow_batch_of_many_is_in_the_last_percentile_and_not_in_the_median(clock: PlantedClock) -> None:
    _, metrics = ran([Source(40)], load_s=lambda sequence: 0.4 if sequence == 39 else 0.0)
    assert 0.2 < metrics["latency_p99_s"] <= 0.4
    assert metrics["latency_p50_s"] == 0


def test_a_slow_pipeline_is_told_from_the_others_by_its_threads() -> None:
    report, _ = ran([Source(5), Source(5, pause_s=0.06)])
    busy = {
        thread["name"]: thread["extract_busy_s"]
        for thread in thread_details(report.usages)
        if "extract" in thread["name"]
    }
    assert busy["p1-extract"] >= 0.3
    assert busy["p1-extract"] > 2 * busy["p0-extract"]


LEAK = """
import json, time
from pipeline_jobs.streaming_etl.metrics import MemoryTrend
held = []
with MemoryTrend() as memory:
    for _ in range(25):
        held.append(bytearray(b"x") * 5_000_000)
        time.sleep(0.05)
print(json.dumps([memory.samples(), memory.metrics()["memory_growth_bytes_per_s"]]))
"""


def test_a_planted_leak_is_the_growth_of_memory() -> None:
    """In a process of its own: this one may give memory back meanwhile."""
    environment = {**os.environ, "PYTHONPATH": str(JOBS)}
    program = [sys.executable, "-c", LEAK]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=True)
    samples, growth = json.loads(done.stdout)
    assert samples[-1][1] - samples[0][1] > 100 * MB
    half = samples[len(samples) // 2 :]
    (first_s, first), (last_s, last) = half[0], half[-1]
    assert growth == pytest.approx((last - first) / (last_s - first_s), rel=0.5)


@pytest.mark.parametrize(
    ("samples", "growth"),
    [
        ([(n / 10, 5 * MB + n * MB) for n in range(20)], 10 * MB),
        ([(n / 10, 50 * MB - n * MB) for n in range(20)], -10 * MB),
        ([(n / 10, 90 * MB if n > 3 else n) for n in range(20)], 0),
        ([(0.0, MB), (0.1, 2 * MB), (0.2, 9 * MB)], None),
        ([(n / 100, MB * n) for n in range(50)], None),
        ([], None),
    ],
)
def test_growth_is_measured_in_both_directions_or_absent(
    samples: list[tuple[float, int]], growth: float | None
) -> None:
    found = growth_bytes_per_s(samples)
    assert found == (None if growth is None else pytest.approx(growth, abs=1000))


def test_short_work_says_nothing_of_memory_or_of_a_peak(clock: PlantedClock) -> None:
    with MemoryTrend() as memory:
        _, metrics = ran([Source(3)], load_s=lambda _: 0.01)
    assert memory.metrics() == {}
    assert "peak_rows_per_s" not in metrics


def test_the_peak_is_that_of_the_densest_second(clock: PlantedClock) -> None:
    report, metrics = ran([Source(75, pause_s=0.02)], load_s=lambda sequence: 1.0 if sequence == 20 else 0.0)
    assert metrics["peak_rows_per_s"] == peak_rows_per_s(report.batches, 2.0)
    assert 1.2 * metrics["rows_per_s"] < metrics["peak_rows_per_s"] <= 58 * 30


def test_a_run_that_moved_nothing_has_no_latency_no_time_for_a_record_and_no_bottleneck() -> None:
    report = Report(usages=[Usage("p-extract", is_extractor=True, busy_s={"extract": 0.1}), Usage("p-worker-1")])
    metrics = run_metrics(report, 0.5, 1)
    assert (metrics["records"], metrics["records_per_s"], metrics["batches"]) == (0, 0, 0)
    unknown = ("latency", "s_per_1000", "mean_batch", "peak", "cpu_per_worker")
    assert [name for name in metrics if name.startswith(unknown)] == []
    assert bottleneck(report) is None
