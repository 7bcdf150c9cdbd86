"""A run of the dedup job: one trial with its metrics, or one production run; on Spark or on Glue."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pyspark.sql import SparkSession

from pipeline_jobs.contract import BadConfigurationError, MeasurementWriter, Sample, TrialConfig, data_folder
from pipeline_jobs.dedup.checks import check_output
from pipeline_jobs.dedup.failures import explained
from pipeline_jobs.dedup.options import OF_GLUE, PARTS, DedupOptions, dedup_options, made_options
from pipeline_jobs.dedup.postgres_target import drop_table
from pipeline_jobs.dedup.readers import with_utc_executors
from pipeline_jobs.dedup.run_once import Outcome, deduplicate
from pipeline_jobs.dedup.source_inspection import Inspection, inspect_source
from pipeline_jobs.dedup.trial_data import Data, prepare_data
from pipeline_jobs.environment import environment
from pipeline_jobs.event_log import summarise_event_log
from pipeline_jobs.idle_settings import Platform, refuse_idle
from pipeline_jobs.resources import ResourceMonitor
from pipeline_jobs.session import close_session, open_session, require_shared

EXTRA_SETTINGS = {"spark.sql.execution.arrow.maxRecordsPerBatch": "20000"}
STAGES_SHOWN = 20


def run(config: TrialConfig, writer: MeasurementWriter) -> None:
    """Run a trial, or in production the one run. Raises JobError with one clear message."""
    for name in OF_GLUE:
        if name in config.configuration:
            raise BadConfigurationError(f"{name} has no effect here: it sizes a run on AWS Glue. Leave it out")
    refuse_idle(config.configuration, _places(config))
    _run(config, writer)


def run_on_glue(config: TrialConfig, writer: MeasurementWriter) -> None:
    """The same on Glue's workers, whose sizes are parameters. Raises JobError."""
    refuse_idle(config.configuration, _places(config), platform=Platform.MANAGED)
    _run(config, writer)


def _places(config: TrialConfig) -> list[str]:
    """The addresses that are read and written."""
    sides = (config.workload.get(side) for side in PARTS)
    return [str(side["path"]) for side in sides if isinstance(side, Mapping) and "path" in side]


def _run(config: TrialConfig, writer: MeasurementWriter) -> None:
    data = prepare_data(config)
    options = dedup_options(replace(config, workload=data.workload))
    writer.workload = dict(data.fingerprint)
    with tempfile.TemporaryDirectory(prefix="dedup-") as log_folder:
        started = time.monotonic()
        settings = with_utc_executors(config.configuration)
        spark = open_session("dedup", settings, extra=EXTRA_SETTINGS, event_log_dir=log_folder)
        writer.environment = environment()
        writer.startup_s = time.monotonic() - started
        try:
            if data.folder is not None:
                require_shared(spark, data.folder)
            found = _inspected(spark, data, config)
            writer.metrics["inspection_s"] = found.took_s
            tried = [_measure(spark, sample, data, options, config, found) for sample in writer.samples()]
            measured = [each for each in tried if not each[0].is_warmup]
            check_output(writer, data, options, config, [outcome for _, outcome, _ in measured])
        except Exception as error:
            raise explained(error, config.configuration) from error
        finally:
            ended = time.monotonic()
            _remove_scratch(options, config)
            close_session(spark)
            writer.teardown_s = time.monotonic() - ended
        for sample, outcome, (since, until) in measured:
            writer.details["stages"] = _add_event_log(sample, log_folder, since, until)
            if outcome.read_bytes is not None:
                sample.metrics["bytes"] = float(outcome.read_bytes)
            # Spark doesn't count what its vectored reader takes from local files: the files' own size is right.
            if "bytes" in data.fingerprint:
                sample.metrics["bytes"] = float(data.fingerprint["bytes"])
    writer.details |= _details(measured[-1][1], options)


def _inspected(spark: SparkSession, data: Data, config: TrialConfig) -> Inspection:
    """What is known of the source before the clock starts; made data need no look."""
    if data.folder is not None:
        return Inspection()
    return inspect_source(spark, data.source, config, data_folder() / made_options(config).folder)


def _measure(
    spark: SparkSession, sample: Sample, data: Data, options: DedupOptions, config: TrialConfig, found: Inspection
) -> tuple[Sample, Outcome, tuple[float, float]]:
    _remove_scratch(options, config)
    since = time.time()
    # A warm-up starts the context's Python workers and compiles the generated code: a part of the rows is enough.
    source = data.part if sample.is_warmup and data.part else data.source
    with ResourceMonitor() as monitor:
        outcome = sample.timed(lambda: deduplicate(spark, source, options, config, found))
    rows = outcome.counts.rows if outcome.counts else data.rows
    sample.metrics |= monitor.metrics() | (outcome.counts.metrics() if outcome.counts else {})
    if rows:
        sample.metrics |= {"rows": float(rows), "rows_per_s": rows / sample.duration_s}
    if outcome.merged:
        sample.metrics |= outcome.merged.metrics()
    return sample, outcome, (since, time.time())


def _add_event_log(sample: Sample, folder: str, since: float, until: float) -> list[dict[str, Any]]:
    metrics = summarise_event_log(folder, since=since, until=until)
    stages = metrics.pop("stages")
    sample.metrics |= metrics
    sample.metrics["bytes"] = float(sum(stage.get("input_bytes", 0) for stage in stages))
    sample.metrics["task_max_s"] = max((stage["max_task_s"] for stage in stages), default=0.0)
    found: list[dict[str, Any]] = stages[:STAGES_SHOWN]
    return found


def _details(outcome: Outcome, options: DedupOptions) -> dict[str, Any]:
    choice = outcome.choice.to_dict() if outcome.choice else None
    strategy = outcome.choice.strategy if outcome.choice else options.tuning.strategy
    return {
        "strategy": strategy,
        "auto": choice,
        "newest": outcome.newest,
        "started_from": outcome.started_from,
        "folder": outcome.folder,
    }


def _remove_scratch(options: DedupOptions, config: TrialConfig) -> None:
    if options.target.scratch and options.target.kind == "postgresql":
        drop_table(config.uri("target"), options.target.table)
