"""A run of the streaming ETL: one trial or one production run; prepare, move, check, measure."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

from pipeline_jobs.contract import MeasurementWriter, TrialConfig
from pipeline_jobs.environment import environment
from pipeline_jobs.resources import ResourceMonitor
from pipeline_jobs.streaming_etl.engine import Report
from pipeline_jobs.streaming_etl.memory import MemoryWork, Sums
from pipeline_jobs.streaming_etl.metrics import MemoryTrend, bottleneck, run_metrics, thread_details
from pipeline_jobs.streaming_etl.production import run_production
from pipeline_jobs.streaming_etl.settings import Settings
from pipeline_jobs.streaming_etl.trial import TablesTrial
from pipeline_jobs.streaming_etl.trial_parameters import TargetChoices, read_memory, read_tables
from pipeline_jobs.streaming_etl.workload import Options

MIN_S = 0.3
"""An in-memory sample runs its pipelines again until this much time has passed."""


def run(config: TrialConfig, writer: MeasurementWriter) -> None:
    """Measure a configuration, or (workload option `run_id`) load for good, going on where a run stopped.

    Raises JobError, BadConfigurationError or InfrastructureError. SIGTERM ends it early: what was read is drained.
    """
    options = Options.of(config)
    writer.environment = environment()
    with _cancelled_by_sigterm() as cancel:
        if options.kind == "memory":
            _measure_memory(config, writer, cancel)
            return
        settings, choices = read_tables(config.configuration)
        if options.run_id:
            run_production(config, options, settings, choices, writer, cancel)
        else:
            _measure_tables(config, options, settings, choices, writer, cancel)


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
    config: TrialConfig,
    options: Options,
    settings: Settings,
    choices: TargetChoices,
    writer: MeasurementWriter,
    cancel: threading.Event,
) -> None:
    begun = time.monotonic()
    with closing(TablesTrial(config, options, settings, choices, cancel)) as trial:
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


def _measure_memory(config: TrialConfig, writer: MeasurementWriter, cancel: threading.Event) -> None:
    settings, work = read_memory(config.configuration)
    begun = time.monotonic()
    writer.workload = {"kind": "memory", "fingerprint": "records made in memory, version 2"}
    with work.prepared(settings, cancel) as run_once:
        writer.startup_s = time.monotonic() - begun
        arrived, runs = Sums(), 0
        for sample in writer.samples():
            report, runs_now = Report(), 0
            with ResourceMonitor() as resources, MemoryTrend() as memory:
                start = time.monotonic()
                while runs_now == 0 or time.monotonic() - start < MIN_S:
                    part, sums = run_once()
                    report.add(part)
                    arrived.add(sums.records, sums.numbers)
                    runs_now += 1
                sample.duration_s = time.monotonic() - start
            runs += runs_now
            sample.metrics |= run_metrics(report, sample.duration_s, settings.manager_worker_num)
            sample.metrics |= resources.metrics()
            sample.metrics |= memory.metrics()
    _check_memory(writer, work, arrived, runs * settings.manager_worker_num)
    _note(writer, report, memory)


def _check_memory(writer: MeasurementWriter, work: MemoryWork, arrived: Sums, times: int) -> None:
    records, numbers = times * work.records, times * work.expected_numbers()
    writer.check("every record arrived", arrived.records == records, f"{arrived.records} of {records}")
    if not work.made_before:
        writer.check(
            "the transform's numbers add up", arrived.numbers == numbers, f"{arrived.numbers}, expected {numbers}"
        )


def _note(writer: MeasurementWriter, report: Report, memory: MemoryTrend) -> None:
    writer.details |= {
        **({"bottleneck": stage} if (stage := bottleneck(report)) else {}),
        "threads": thread_details(report.usages),
        "memory": memory.samples(),
        "batch_sizes_at_end": report.batch_sizes,
    }
