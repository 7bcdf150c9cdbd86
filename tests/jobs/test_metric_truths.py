"""Every metric that jobs share, and those of streaming ETL and quantizer: a planted truth is what is measured.

Generated from the jobs' descriptions, so that a new metric without its truth fails. Migration and deduplication have
tables of their own (test_migration_parameters.py, test_dedup_parameters.py).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pyspark.sql import SparkSession
from tests.jobs.planted_clock import PlantedClock

from pipeline_jobs import contract, heap, resources
from pipeline_jobs.contract import MeasurementWriter, Sample, TrialConfig
from pipeline_jobs.event_log import summarise_event_log
from pipeline_jobs.quantizer import job as quantizer
from pipeline_jobs.quantizer import step_times as quantizer_steps
from pipeline_jobs.quantizer.batch import BatchResult
from pipeline_jobs.quantizer.check import Expected
from pipeline_jobs.session import close_session, open_session, stop_jvm
from pipeline_jobs.streaming_etl import production
from pipeline_jobs.streaming_etl.engine import Done, Report, Usage
from pipeline_jobs.streaming_etl.metrics import growth_bytes_per_s, run_metrics
from pipeline_jobs.streaming_etl.progress import Totals
from pipeline_jobs.streaming_etl.settings import Settings
from pipeline_jobs.streaming_etl.trial_parameters import TargetChoices
from pipeline_tuner.jobs import JOBS as DESCRIBED
from pipeline_tuner.jobs import description_of
from pipeline_tuner.jobs.description import HEAP, RESOURCES, SPARK, TIMES
from pipeline_tuner.measurement import validated

JOBS = Path(__file__).resolve().parents[2] / "spark_jobs"
SHARED = {*TIMES, *RESOURCES, *HEAP, *SPARK}
OF_THEIR_OWN = {"migration", "dedup"}
Metrics = dict[str, float]


# What Spark's event log says: two stages of planted tasks.


def task(stage: int, s: float, *, failed: bool = False, **figures: int) -> dict[str, Any]:
    """The end of a task that took so long; `figures` by the log's names without spaces."""
    nested: dict[str, Any] = {"Shuffle Read Metrics": {}, "Shuffle Write Metrics": {}, "JVM GC Time": 0}
    for name, value in figures.items():
        group, _, inner = name.partition("__")
        if inner:
            nested.setdefault(group.replace("_", " "), {})[inner.replace("_", " ")] = value
        else:
            nested[group.replace("_", " ")] = value
    info = {"Launch Time": 50_000, "Finish Time": 50_000 + int(s * 1000), "Failed": failed, "Killed": False}
    event = {"Event": "SparkListenerTaskEnd", "Stage ID": stage, "Stage Attempt ID": 0, "Task Info": info}
    return event | {"Task Metrics": nested}


def stage(number: int, at_s: float) -> list[dict[str, Any]]:
    info = {"Stage ID": number, "Stage Attempt ID": 0, "Stage Name": "s", "Submission Time": int(at_s * 1000)}
    return [{"Event": "SparkListenerStageCompleted", "Stage Info": info}]


def lost(at_s: float, why: str = "worker lost") -> dict[str, Any]:
    removed = {"Event": "SparkListenerExecutorRemoved", "Timestamp": int(at_s * 1000), "Executor ID": "1"}
    return removed | {"Removed Reason": why}


EVENTS = [
    task(0, 1.0, Shuffle_Write_Metrics__Shuffle_Bytes_Written=300, Executor_CPU_Time=2_000_000_000),
    task(0, 1.0, Shuffle_Write_Metrics__Shuffle_Bytes_Written=400, JVM_GC_Time=1500, Peak_Execution_Memory=70),
    task(0, 7.0, Disk_Bytes_Spilled=9000, Memory_Bytes_Spilled=5, Peak_Execution_Memory=50),
    *stage(0, 50),
    task(1, 2.0, Shuffle_Read_Metrics__Local_Bytes_Read=500, Shuffle_Read_Metrics__Remote_Bytes_Read=200),
    task(1, 2.0, failed=True),
    *stage(1, 60),
    task(2, 900.0, Disk_Bytes_Spilled=1, Shuffle_Write_Metrics__Shuffle_Bytes_Written=1),  # a warm-up's
    *stage(2, 10),
    *[lost(55), lost(61), lost(10), lost(62, "Executor killed by driver.")],
]
IN_LOG: Metrics = {
    "shuffle_read_bytes": 700,
    "shuffle_write_bytes": 700,
    "spill_bytes": 9000,
    "gc_s": 1.5,
    "executor_cpu_s": 2.0,
    "tasks": 5,
    "failed_tasks": 1,
    "task_skew": 7.0,
    "peak_execution_memory_bytes": 70,
    "executors_lost": 2,
}


def from_log(folder: Path, _: pytest.MonkeyPatch) -> Metrics:
    lines = [json.dumps(event, separators=(",", ":")) for event in EVENTS]
    (folder / "log").write_text("\n".join(lines))
    found = summarise_event_log(folder / "log", since=40)
    assert summarise_event_log(folder / "log", during=[(49, 51)])["executors_lost"] == 0
    return {name: value for name, value in found.items() if name != "stages"}


# What is sampled of the machine: a tree of two processes whose figures are planted.


class PlantedProcess:
    """A process whose processor time and memory are what the test says at each look."""

    def __init__(self, pid: int, looks: list[tuple[float, int]]) -> None:
        self.pid, self._looks = pid, looks
        self._now = -1

    def next(self) -> PlantedProcess:
        self._now = min(self._now + 1, len(self._looks) - 1)
        return self

    def oneshot(self) -> Any:
        return nullcontext()

    def create_time(self) -> float:
        return 1.0

    def cpu_times(self) -> Any:
        return SimpleNamespace(user=self._looks[self._now][0], system=0.5)

    def memory_info(self) -> Any:
        return SimpleNamespace(rss=self._looks[self._now][1])


IN_MACHINE: Metrics = {
    "core_seconds": 9.0,  # 4 and 5
    "machine_core_seconds": 15.0,
    "other_cpu_fraction": 0.3,  # (15 - 9) of two cores' 20
    "memory_peak_bytes": 900.0,
    "memory_peak_fraction": 0.45,
    "swap_bytes": 64.0,
    "heap_peak_bytes": 600.0,
    "heap_peak_fraction": 0.75,
}


def from_machine(_: Path, patch: pytest.MonkeyPatch) -> Metrics:
    """Three looks over ten seconds: at the start, in between, at the end."""
    tree = [PlantedProcess(1, [(1.0, 100), (3.0, 500), (5.0, 200)]), PlantedProcess(2, [(0.0, 10), (1, 400), (5, 10)])]
    machine, swap, heaps = iter([100.0, 115.0]), iter([0, 0, 32, 32, 0, 0]), iter([(200, 800), (600, 800), (300, 800)])
    clock = PlantedClock()
    clock.stands_in_for_time(patch, resources)
    patch.setattr(resources, "_tree", lambda _: [process.next() for process in tree])
    patch.setattr(resources, "_machine_busy_s", lambda: next(machine))
    patch.setattr(resources, "_swap_bytes", lambda _: next(swap))
    patch.setattr(resources, "memory_limit_bytes", lambda: 2000)
    patch.setattr(resources.os, "cpu_count", lambda: 2)
    context = SimpleNamespace(master="local[2]", _jvm=SimpleNamespace(java=None))
    patch.setattr(heap, "_context", lambda: context)
    patch.setattr(heap.HeapMonitor, "_own_now", lambda *_: next(heaps))
    with resources.ResourceMonitor(interval_s=10**6) as monitor:
        monitor.sample()
        clock.sleep(10)
    return monitor.metrics()


# How long: a start, three repeats and an end.


IN_TIME: Metrics = {"startup_s": 3.0, "duration_s": 2.0, "teardown_s": 1.5}


def from_clock(folder: Path, patch: pytest.MonkeyPatch) -> Metrics:
    clock = PlantedClock()
    clock.stands_in_for_time(patch, contract)
    writer = MeasurementWriter(TrialConfig("j", "t", {}, warmups=1, repeats=3), folder / "m.json")
    for sample, s in zip(writer.samples(), (60.0, 1.0, 9.0, 2.0), strict=True):
        sample.timed(lambda s=s: clock.sleep(s))  # type: ignore[misc]
    writer.startup_s, writer.teardown_s = 3.0, 1.5
    writer.write()
    measured = validated((folder / "m.json").read_bytes())
    return dict(measured.metrics) | {"startup_s": measured.startup_s, "teardown_s": measured.teardown_s}


GROUPS = {from_log: IN_LOG, from_machine: IN_MACHINE, from_clock: IN_TIME}
PLANTED = [(name, measure, truths[name]) for measure, truths in GROUPS.items() for name in truths]


@pytest.mark.parametrize(("name", "measure", "truth"), PLANTED, ids=[name for name, *_ in PLANTED])
def test_a_shared_metric_is_the_truth_that_was_planted(
    name: str,
    measure: Callable[[Path, pytest.MonkeyPatch], Metrics],
    truth: float,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert measure(tmp_path, monkeypatch)[name] == pytest.approx(truth)


def test_each_shared_metric_has_its_truth() -> None:
    assert {name for name, *_ in PLANTED} == SHARED, "plant its truth in this file"


PLANTED_MEMORY = """
import json, subprocess, sys
from pipeline_jobs.resources import ResourceMonitor
child = "held = bytearray(b'x') * 200_000_000; print('full', flush=True); input()"
def have_child():
    process = subprocess.Popen([sys.executable, "-c", child], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdout.readline()
    inside.sample()
    process.communicate(b"end")
with ResourceMonitor(interval_s=3600) as inside:
    base = inside._memory_peak_bytes
    held = bytearray(b"x") * 300_000_000
    inside.sample()
    own = inside.metrics()["memory_peak_bytes"] - base
    del held
    have_child()
    held = bytearray(b"x") * 300_000_000
    have_child()
    both = inside.metrics()["memory_peak_bytes"] - base
print(json.dumps([own, both]))
"""


def test_planted_memory_of_a_process_and_of_its_child_is_the_peak() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PLANTED_MEMORY],
        env={**os.environ, "PYTHONPATH": str(JOBS)},
        capture_output=True,
        text=True,
        check=True,
    )
    own, both = json.loads(done.stdout)
    assert 290e6 < own < 350e6
    assert 490e6 < both < 600e6


# What a real Spark writes.


@pytest.fixture(scope="module")
def real(spark_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Metrics]]:
    """The figures of plain work, and of work with a fault: a sort that spills, one long task, a first failure."""
    yield {name: figures(name, work, tmp_path_factory.mktemp(name)) for name, work in WORKS.items()}
    stop_jvm()


def plain(spark: SparkSession) -> None:
    spark.range(0, 40_000, 1, 4).selectExpr("id % 7919 AS k").repartition(4, "k").sortWithinPartitions("k").count()
    spark.range(0, 40_000, 1, 4).selectExpr("id % 7919 AS k").sort("k").write.format("noop").mode("overwrite").save()


def failing(spark: SparkSession) -> None:
    from pyspark import TaskContext

    def once(rows: Iterator[int]) -> Iterator[int]:
        context = TaskContext.get()
        if context is not None and context.attemptNumber() == 0:
            raise ValueError("planted")
        return rows

    spark.sparkContext.parallelize([1], 1).mapPartitions(once).count()


def skewed(spark: SparkSession) -> None:
    """One task of four does thousand times as much."""
    spark.sparkContext.parallelize([1, 1, 1, 3_000_000], 4).map(lambda n: sum(range(n))).count()


SPILLING = {"spark.shuffle.spill.numElementsForceSpillThreshold": 1000}
WORKS: dict[str, tuple[dict[str, Any], Callable[[SparkSession], None]]] = {
    "plain": ({}, plain),
    "spilling": (SPILLING, plain),
    "failing": ({"master": "local[2,3]"}, failing),
    "skewed": ({}, skewed),
}


def figures(name: str, work: tuple[dict[str, Any], Callable[[SparkSession], None]], folder: Path) -> Metrics:
    configuration, action = work
    base = {"master": "local[2]", "shuffle_partitions": 4, "driver_memory": "1g", "adaptive": False}
    spark = open_session(name, base | configuration, event_log_dir=folder)
    try:
        action(spark)
    finally:
        close_session(spark)
    return {key: value for key, value in summarise_event_log(folder).items() if key != "stages"}


def test_planted_spill_failure_and_skew_of_a_real_spark_are_measured(real: dict[str, Metrics]) -> None:
    assert real["plain"]["spill_bytes"] == 0 < 10_000 < real["spilling"]["spill_bytes"]
    assert real["spilling"]["shuffle_write_bytes"] == real["spilling"]["shuffle_read_bytes"] > 0
    assert (real["plain"]["failed_tasks"], real["failing"]["failed_tasks"]) == (0, 1)
    assert real["skewed"]["task_skew"] > 1
    assert real["skewed"]["tasks"] == 4


# Streaming ETL: a report of four batches and two pipelines' threads.


REPORT = Report(
    batches=[Done(1.0, 0.1, 10, 30, 1000), Done(2.0, 0.2, 10, 30, 1000), Done(2.5, 0.3, 10, 30, 1000),
             Done(9.0, 0.9, 20, 60, 3000)],
    usages=[Usage("p0-extract", True, {"extract": 3.0}, wait_s=1.0, cpu_s=2.0, alive_s=10.0),
            Usage("p1-extract", True, {"extract": 2.0}, wait_s=0.5, cpu_s=1.0, alive_s=10.0),
            Usage("p0-worker-1", False, {"transform": 1.0, "load": 4.0}, wait_s=5.0, cpu_s=3.0, alive_s=10.0),
            Usage("p1-worker-1", False, {"transform": 0.5, "load": 2.0}, wait_s=6.0, cpu_s=1.0, alive_s=10.0)],
)  # fmt: skip
STREAMING: Metrics = {
    "records": 50,
    "rows": 150,
    "bytes": 6000,
    "records_per_s": 5,
    "records_per_s_per_pipeline": 2.5,
    "rows_per_s": 15,
    "peak_rows_per_s": 60,
    "batches": 4,
    "mean_batch_records": 12.5,
    "s_per_1000_records": 200,
    "latency_p50_s": 0.25,
    "latency_p95_s": 0.81,
    "latency_p99_s": 0.882,
    "extract_busy_s": 5.0,
    "transform_busy_s": 1.5,
    "load_busy_s": 6.0,
    "extract_wait_s": 1.5,
    "worker_wait_s": 11.0,
    "extract_cpu_s": 3.0,
    "worker_cpu_s": 4.0,
    "cpu_per_worker": 0.2,
    "memory_growth_bytes_per_s": 50.0,
    "errors": 7,
    "records_in_all_runs": 123,
}


@pytest.fixture(scope="module")
def streamed() -> Metrics:
    """The report's metrics, those of a growing memory, and what production adds of its totals."""
    growing = growth_bytes_per_s([(n / 10, n * 5) for n in range(20)])
    assert growing is not None
    return run_metrics(REPORT, 10.0, 2) | {"memory_growth_bytes_per_s": growing} | in_production()


def in_production() -> Metrics:
    """What a production run adds: rejected records and all that its runs have loaded."""
    totals = Totals(documents=123, loaded=110, rejected=7, replaced=6, rows=300, batches=4)
    config = TrialConfig("streaming_etl", "t", {}, warmups=0, connections={})
    writer = MeasurementWriter(config, "unused")
    accounts = SimpleNamespace(dead_letters=list)
    target = SimpleNamespace(connect=lambda: SimpleNamespace(close=lambda: None), schema="public")
    options: Any = SimpleNamespace(load_mapping=lambda: None, documents=0, follow_s=-1, run_id="r", spark_master="")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(production, "origin_of", lambda *_: None)
        patch.setattr(production, "target_of", lambda *_: target)
        patch.setattr(production, "described", lambda *_: {})
        patch.setattr(production, "Accounts", lambda *_: accounts)
        patch.setattr(production, "_load", lambda *_: (REPORT, totals))
        production.run_production(config, options, Settings(), TargetChoices(), writer, threading.Event())
    assert all(check["passed"] for check in writer.checks)
    return writer.metrics


@pytest.mark.parametrize("name", STREAMING)
def test_a_metric_of_streaming_etl_is_the_truth_that_was_planted(name: str, streamed: Metrics) -> None:
    assert streamed[name] == pytest.approx(STREAMING[name])


# Quantizer: two batches whose steps took a planted time.


QUANTIZER: Metrics = {
    "rows": 1000,
    "rows_per_s": 50,
    "bytes": 700,
    "files": 5,
    "rollup_rows": 60,
    "plan_s": 3.0,
    "roll_up_s": 7.0,
    "merge_s": 0.5,
    "commit_s": 0.25,
    "count_s": 4.0,
    "append_s": 2.0,
    "partials_s": 1.0,
}


def planted_steps(patch: pytest.MonkeyPatch, **seconds: float) -> dict[str, float]:
    """The steps of a batch, timed by the job's own stop-watch."""
    clock = PlantedClock()
    clock.stands_in_for_time(patch, quantizer_steps)
    silent = SimpleNamespace(setJobDescription=lambda _: None, setLocalProperty=lambda *_: None)
    steps = quantizer_steps.Steps(SimpleNamespace(sparkContext=silent))  # type: ignore[arg-type]
    for name, s in seconds.items():
        steps.begin(name)
        clock.sleep(s)
    steps.end()
    clock.sleep(60)
    return steps.seconds


def rolled_up(patch: pytest.MonkeyPatch) -> Metrics:
    ours = planted_steps(patch, plan=1.0, roll_up=7.0, merge=0.5, commit=0.25)
    theirs = planted_steps(patch, plan=2.0, count=4.0, append=2.0, partials=1.0)
    trial = quantizer.Trial.__new__(quantizer.Trial)
    trial.expected = Expected(0, 1000, 900, 880, 0.0, 1.0, (1,))
    trial.results = [
        BatchResult(1, 1, files=2, bytes=300, rows=20, steps=ours),
        BatchResult(2, 1, files=3, bytes=400, rows=40, steps=theirs),
    ]
    sample = Sample(is_warmup=False, duration_s=20.0)
    trial._add_metrics(sample, SimpleNamespace(metrics=dict))  # type: ignore[arg-type]
    return sample.metrics


@pytest.mark.parametrize("name", QUANTIZER)
def test_a_metric_of_the_quantizer_is_the_truth_that_was_planted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert rolled_up(monkeypatch)[name] == pytest.approx(QUANTIZER[name])


TABLES = {"streaming_etl": STREAMING, "quantizer": QUANTIZER}


def missing(job: str) -> set[str]:
    """Described metrics without a truth, and truths of no metric."""
    described = description_of(job)
    assert described is not None
    return (set(described.metrics) - SHARED) ^ TABLES[job].keys()


@pytest.mark.parametrize("job", TABLES)
def test_each_metric_of_a_job_has_its_truth(job: str) -> None:
    assert missing(job) == set(), "plant its truth in this file"


def test_no_other_metric_is_measured(streamed: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    assert streamed.keys() == STREAMING.keys()
    assert rolled_up(monkeypatch).keys() == QUANTIZER.keys()


def test_each_job_has_its_table() -> None:
    assert DESCRIBED.keys() == TABLES.keys() | OF_THEIR_OWN
