"""A run of the quantizer: one trial with its metrics, or one production batch; warm-up, work, check."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from pyspark.sql import SparkSession

from pipeline_jobs.contract import MeasurementWriter, Sample, TrialConfig
from pipeline_jobs.environment import environment
from pipeline_jobs.event_log import Stretch, summarise_event_log
from pipeline_jobs.quantizer import baseline, catalogs, iceberg
from pipeline_jobs.quantizer.batch import BatchResult, run_batch
from pipeline_jobs.quantizer.batch_request import Batch
from pipeline_jobs.quantizer.check import Expected, check_rollups, expected_values
from pipeline_jobs.quantizer.production import run_production
from pipeline_jobs.quantizer.result_sample import series_sample
from pipeline_jobs.quantizer.rollup import warm_up
from pipeline_jobs.quantizer.settings import Settings, Workload, borders_us, read_settings, read_workload, sized
from pipeline_jobs.quantizer.workload_table import make_source, source_name
from pipeline_jobs.resources import ResourceMonitor
from pipeline_jobs.session import close_session, open_session, require_shared

WARM_UP_PART = 8
CLOCK_STEP_S = 0.001
"""Spark's log has milliseconds."""


def run(config: TrialConfig, writer: MeasurementWriter) -> None:
    """Measure one configuration, or (workload option `target`) roll up a batch for good.

    Raises JobError, BadConfigurationError or InfrastructureError.
    """
    settings, work = read_settings(config), read_workload(config)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="quantizer-") as folder:
        with _session(config, work, folder) as spark:
            if not work.maintenance:  # maintenance is all Iceberg's own, in the JVM
                warm_up_workers(spark)
            if work.warehouse.startswith("file:"):
                require_shared(spark, Path(url2pathname(urlsplit(work.warehouse).path)))
            if work.target:
                writer.startup_s = time.monotonic() - begun
                writer.environment = environment()
                run_production(spark, settings, work, writer)
                return
            trial = Trial(spark, settings, work, config.fraction, f"trial_{_name(config.trial_id)}")
            trial.prepare()
            writer.startup_s = time.monotonic() - begun
            writer.environment = environment()
            try:
                measured = trial.measure(writer)
                trial.judge(writer)
            finally:
                trial.clean_up()
            ended = time.monotonic()
        writer.teardown_s = time.monotonic() - ended
        record_stages(writer, folder, measured)


def warm_up_workers(spark: SparkSession) -> None:
    """Start the Python workers and let each load the compiled hot path, as part of the start-up."""
    warm_up()
    workers = spark.sparkContext.defaultParallelism
    spark.sparkContext.parallelize(range(workers), workers).foreach(lambda _: warm_up())


class Trial:
    """A trial's tables and what is done with them."""

    def __init__(self, spark: SparkSession, settings: Settings, work: Workload, fraction: float, name: str) -> None:
        work = sized(work, fraction)
        self.spark, self.settings, self.work = spark, settings, work
        self.source = source_name(work)
        self.target = f"lake.quantizer_{name}.rollups"
        self.borders_us = borders_us(work, fraction if work.kind == "weather" else 1.0)
        self.results: list[BatchResult] = []
        self.expected: Expected | None = None

    def prepare(self) -> None:
        """Make the raw points where they are not there yet, and know what they amount to."""
        make_source(self.spark, self.source, self.work)
        start, end = self.borders_us[0], self.borders_us[-1]
        self.expected = expected_values(self.spark, self.source, start, end, self.work.resolutions_ms)

    def measure(self, writer: MeasurementWriter) -> list[Stretch]:
        """Roll up once a sample, into a new table each time. Returns when the counted samples ran."""
        measured: list[Stretch] = []
        for sample in writer.samples():
            self._new_tables()
            if sample.is_warmup:
                sample.timed(lambda: self._roll_up(self._warm_up_borders))
                continue
            begun = time.time() - CLOCK_STEP_S
            with ResourceMonitor() as monitor:
                sample.timed(lambda: self._roll_up(self.borders_us))
            measured.append((begun, time.time()))
            self._add_metrics(sample, monitor)
        return measured

    @property
    def _warm_up_borders(self) -> list[int]:
        """The same batches over a part of the time: the code gets as warm, and a trial is over sooner."""
        start = self.borders_us[0]
        return [start + (border - start) // WARM_UP_PART for border in self.borders_us]

    def _new_tables(self) -> None:
        self.clean_up()
        if self.settings.shape == "baseline":
            baseline.create_tables(self.spark, self._batch(0, 1), self.settings.table_properties)
        else:
            iceberg.create_rollups(self.spark, self.target, self.settings.table_properties)

    def _roll_up(self, borders: list[int]) -> None:
        self.results = []
        for start, end in pairwise(borders):
            batch = self._batch(start, end)
            if self.settings.shape == "baseline":
                self.results.append(baseline.run_baseline(self.spark, batch, self.settings))
            else:
                self.results.append(run_batch(self.spark, batch))

    def _batch(self, start_us: int, end_us: int) -> Batch:
        return self.settings.batch(self.source, self.target, start_us, end_us, self.work.resolutions_ms)

    def _add_metrics(self, sample: Sample, monitor: ResourceMonitor) -> None:
        assert self.expected is not None
        sample.metrics |= monitor.metrics()
        sample.metrics |= {
            "rows": float(self.expected.rows),
            "rows_per_s": self.expected.rows / sample.duration_s,
            "bytes": float(sum(result.bytes for result in self.results)),
            "files": float(sum(result.files for result in self.results)),
            "rollup_rows": float(sum(result.rows for result in self.results)),
        }
        sample.metrics |= {f"{name}_s": seconds for name, seconds in self._steps.items()}

    @property
    def _steps(self) -> dict[str, float]:
        names = dict.fromkeys(name for result in self.results for name in result.steps)
        return {name: sum(result.steps.get(name, 0.0) for result in self.results) for name in names}

    def judge(self, writer: MeasurementWriter) -> None:
        """Record whether the last sample's table is right, and what Iceberg says of it."""
        assert self.expected is not None
        for name, passed, detail in check_rollups(self.spark, self.target, self.expected, self.results, self.settings):
            writer.check(name, passed, detail)
        writer.details["iceberg"] = iceberg.table_statistics(self.spark, self.target)
        writer.details["steps"] = self._steps
        writer.details["counts"] = [asdict(result.counts) for result in self.results]
        if self.settings.shape == "tasks":
            writer.details["sample"] = series_sample(self.spark, self.source, self.target)
        writer.workload = {
            "name": self.source.rpartition(".")[2],
            "rows": self.expected.rows,
            "resolutions_ms": list(self.work.resolutions_ms),
            "batches": self.work.batches,
        }

    def clean_up(self) -> None:
        """Drop the trial's tables with their files."""
        for name in (self.target, f"{self.target}_partials", f"{self.target}_too_late"):
            self.spark.sql(f"DROP TABLE IF EXISTS {name} PURGE")


@contextmanager
def _session(config: TrialConfig, work: Workload, folder: str) -> Iterator[SparkSession]:
    uri = config.uri("catalog") if work.catalog in catalogs.WITH_URI else None
    extra = catalogs.catalog_settings(work.catalog, work.warehouse, uri)
    logs = Path(folder) / "events"
    logs.mkdir()
    spark = open_session(f"quantizer {config.trial_id}", config.configuration, extra=extra, event_log_dir=logs)
    try:
        if work.catalog == "jdbc" and uri:
            catalogs.use_password(spark, uri)
        yield spark
    finally:
        catalogs.forget_password(spark)
        close_session(spark)


def record_stages(writer: MeasurementWriter, folder: str, measured: list[Stretch]) -> None:
    """Spark's own metrics of the counted samples: metrics a sample, and the stages as a detail."""
    summary: Mapping[str, Any] = summarise_event_log(Path(folder) / "events", during=measured)
    samples = max(1, len(writer.counted_samples))
    per_run = ("task_skew", "peak_execution_memory_bytes")
    for key, value in summary.items():
        if isinstance(value, int | float):
            writer.metrics[key] = value if key in per_run else value / samples
    writer.details["stages"] = summary["stages"]


def _name(trial_id: str) -> str:
    return hashlib.sha256(trial_id.encode()).hexdigest()[:12]
