"""A run of the migration job: one trial or one production run; prepare, move, compare, measure."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pyspark.sql import SparkSession

from pipeline_jobs.contract import BadConfigurationError, MeasurementWriter, TrialConfig
from pipeline_jobs.environment import environment
from pipeline_jobs.idle_settings import refuse_idle
from pipeline_jobs.migration.endpoints import open_endpoints
from pipeline_jobs.migration.jdbc_source import run_generic
from pipeline_jobs.migration.metrics import record_stages
from pipeline_jobs.migration.mover import Mover
from pipeline_jobs.migration.options import Settings, Workload, read_settings, read_workload
from pipeline_jobs.migration.production import Production
from pipeline_jobs.migration.trial import Trial
from pipeline_jobs.postgres import is_postgres, server_errors
from pipeline_jobs.session import close_session, effective_master, is_local, open_session
from pipeline_jobs.started_together import started_together


def run(config: TrialConfig, writer: MeasurementWriter) -> None:
    """Measure one configuration, or (workload option `run_id`) move a table for good and resume what was left.

    Raises JobError, BadConfigurationError or InfrastructureError.
    """
    settings, workload = read_settings(config), read_workload(config)
    refuse_idle(config.configuration)
    if workload.run_id and (config.repeats != 1 or config.min_work_s):
        raise BadConfigurationError("a run with a run_id happens once: set repeats to 1 and min_work_s to 0")
    uris = config.uri("source"), config.uri("target")
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="migration-") as logs:
        if is_postgres(uris[0]):
            counted_from, ended = _run(config, settings, workload, uris, writer, logs)
        else:
            with _session(config, settings, logs) as spark:
                writer.startup_s = time.monotonic() - begun
                counted_from = run_generic(spark, config, settings, workload, writer)
                ended = time.monotonic()
        writer.teardown_s = time.monotonic() - ended
        record_stages(writer, logs, counted_from)


def _run(
    config: TrialConfig,
    settings: Settings,
    workload: Workload,
    uris: tuple[str, str],
    writer: MeasurementWriter,
    logs: str,
) -> tuple[float, float]:
    """Between two PostgreSQLs. Returns when counting began (s since 1970), and when the work ended (monotonic)."""
    ready = _production_ready if workload.run_id else _trial_ready
    begun = time.monotonic()
    with server_errors(), ready(config, settings, workload, uris, logs) as (spark, work):
        writer.startup_s = time.monotonic() - begun
        writer.environment = environment()
        work.measure(writer, Mover(spark, work.ends, settings, workload))
        work.judge(writer)
        return work.counted_from, time.monotonic()


@contextmanager
def _production_ready(
    config: TrialConfig, settings: Settings, workload: Workload, uris: tuple[str, str], logs: str
) -> Iterator[tuple[SparkSession, Production]]:
    """One after the other: a run whose session can't be had leaves nothing on record."""
    with (
        open_endpoints(*uris, workload, settings, f"migration {workload.run_id}") as ends,
        _session(config, settings, logs) as spark,
        Production(config, settings, workload, ends).prepared() as work,
    ):
        yield spark, work


@contextmanager
def _trial_ready(
    config: TrialConfig, settings: Settings, workload: Workload, uris: tuple[str, str], logs: str
) -> Iterator[tuple[SparkSession, Trial]]:
    """The session beside the trial's table and ranges: neither needs the other."""
    with started_together(_session(config, settings, logs), _trial(config, settings, workload, uris)) as ready:
        yield ready


@contextmanager
def _trial(config: TrialConfig, settings: Settings, workload: Workload, uris: tuple[str, str]) -> Iterator[Trial]:
    with (
        open_endpoints(*uris, workload, settings, f"migration {config.trial_id}") as ends,
        Trial(config, settings, workload, ends).prepared() as work,
    ):
        yield work


@contextmanager
def _session(config: TrialConfig, settings: Settings, logs: str) -> Iterator[SparkSession]:
    own: dict[str, Any] = {"parallelism": settings.task_count}
    if not settings.cores and not settings.master and is_local(effective_master(config.configuration)):
        own["cores"] = settings.core_count
    extra = {"spark.sql.caseSensitive": "true", "spark.locality.wait": "0"}
    spark = open_session(
        f"migration {config.trial_id}", {**config.configuration, **own}, extra=extra, event_log_dir=logs
    )
    try:
        yield spark
    finally:
        close_session(spark)
