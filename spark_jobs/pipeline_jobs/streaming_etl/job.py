"""One trial or one production run of the streaming ETL: prepare, move, check, measure."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

from pipeline_jobs.contract import BadConfigurationError, MeasurementWriter, TrialConfig
from pipeline_jobs.environment import environment
from pipeline_jobs.resources import ResourceMonitor
from pipeline_jobs.streaming_etl.engine import Report
from pipeline_jobs.streaming_etl.figures import MemoryTrend, bottleneck, run_metrics, thread_details
from pipeline_jobs.streaming_etl.memory import MemoryWork
from pipeline_jobs.streaming_etl.production import run_production
from pipeline_jobs.streaming_etl.settings import Settings
from pipeline_jobs.streaming_etl.trial import TablesTrial
from pipeline_jobs.streaming_etl.workload import Options

MEMORY_WORK = ("record", "transform", "records", "made_before")
SHORTEST_S = 0.3
"""An in-memory sample runs its pipelines again until this much time has passed."""


def run(config: TrialConfig, writer: MeasurementWriter) -> None:
    """Measure a configuration, or (workload option `run_id`) load for good, going on where a run stopped.

    Raises JobError, BadConfigurationError or InfrastructureError. SIGTERM ends it early: what was read is drained.
    """
    options, settings = Options.of(config), _settings(config)
    writer.environment = environment()
    with _cancelled_by_sigterm() as cancel:
        if options.kind == "memory":
            _measure_memory(config, settings, writer, cancel)
        elif options.run_id:
            run_production(config, options, settings, writer, cancel)
        else:
            _measure_tables(config, options, settings, writer, cancel)


def _settings(config: TrialConfig) -> Settings:
    values = dict(config.configuration)
    for name in ("foreign_keys", "async_commit", *MEMORY_WORK):
        values.pop(name, None)
    try:
        return Settings(**values)
    except TypeError as error:
        raise BadConfigurationError(f"the streaming ETL has no such parameter: {error}") from None


@contextmanager
def _cancelled_by_sigterm() -> Iterator[threading.Event]:
    cancel = threading.Event()
    before: Any = None
    with suppress(ValueError):  # not in the main thread: whoever runs the job there handles signals itself
        before = signal.signal(signal.SIGTERM, lambda *_: cancel.set())
    try:
        yield cancel
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def _measure_tables(
    config: TrialConfig, options: Options, settings: Settings, writer: MeasurementWriter, cancel: threading.Event
) -> None:
    begun = time.monotonic()
    with closing(TablesTrial(config, options, settings, cancel)) as trial:
        writer.workload = dict(trial.described())
        writer.startup_s = time.monotonic() - begun
        reports: list[Report] = []
        for sample in writer.samples():
            trial.empty()
            with ResourceMonitor() as resources, MemoryTrend() as memory:
                report = sample.timed(trial.load)
            sample.metrics |= run_metrics(report, sample.duration_s, settings.manager_worker_num)
            sample.metrics |= resources.metrics()
            sample.metrics |= memory.metrics()
            reports.append(report)
        for name, passed, detail in trial.checks():
            writer.check(name, passed, detail)
        _note(writer, reports[-1], memory)
        writer.metrics["errors"] = float(trial.totals.rejected)
        ended = time.monotonic()
    writer.teardown_s = time.monotonic() - ended


def _measure_memory(
    config: TrialConfig, settings: Settings, writer: MeasurementWriter, cancel: threading.Event
) -> None:
    given = {name: config.configuration[name] for name in MEMORY_WORK if name in config.configuration}
    work = MemoryWork(**given)
    begun = time.monotonic()
    work.warmed(settings).run(settings, cancel)
    writer.startup_s = time.monotonic() - begun
    writer.workload = {"kind": "memory", "fingerprint": "records made in memory, version 1"}
    arrived = numbers = runs = 0
    for sample in writer.samples():
        report, runs_now = Report(), 0
        with ResourceMonitor() as resources, MemoryTrend() as memory:
            start = time.monotonic()
            while runs_now == 0 or time.monotonic() - start < SHORTEST_S:
                part, sums = work.run(settings, cancel)
                report.add(part)
                arrived, numbers, runs_now = arrived + sums.records, numbers + sums.numbers, runs_now + 1
            sample.duration_s = time.monotonic() - start
        runs += runs_now
        sample.metrics |= run_metrics(report, sample.duration_s, settings.manager_worker_num)
        sample.metrics |= resources.metrics()
        sample.metrics |= memory.metrics()
    times = runs * settings.manager_worker_num
    writer.check("every record arrived", arrived == times * work.records, f"{arrived} of {times * work.records}")
    if not work.made_before:
        expected = times * work.expected_numbers()
        writer.check("the transform's numbers add up", numbers == expected, f"{numbers}, expected {expected}")
    _note(writer, report, memory)


def _note(writer: MeasurementWriter, report: Report, memory: MemoryTrend) -> None:
    writer.details |= {
        **({"bottleneck": stage} if (stage := bottleneck(report)) else {}),
        "threads": thread_details(report.usages),
        "memory": memory.samples(),
        "batch_sizes_at_end": report.batch_sizes,
    }
