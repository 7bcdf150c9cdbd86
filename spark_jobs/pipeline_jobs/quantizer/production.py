"""A production run: a batch from where the last one ended to a given time, or one maintenance procedure; its
metrics.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime

from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pipeline_jobs.contract import BadConfigurationError, MeasurementWriter
from pipeline_jobs.quantizer import iceberg
from pipeline_jobs.quantizer.batch import BatchResult, run_batch
from pipeline_jobs.quantizer.maintenance import TASKS
from pipeline_jobs.quantizer.position import read_position
from pipeline_jobs.quantizer.settings import Settings, Workload, borders_us, check_name, moment_us
from pipeline_jobs.quantizer.source_table import open_source, points_at
from pipeline_jobs.quantizer.target_table import written_schema
from pipeline_jobs.quantizer.workload_table import make_source, source_name
from pipeline_jobs.spark_errors import in_one_line


def run_production(spark: SparkSession, settings: Settings, work: Workload, writer: MeasurementWriter) -> None:
    """Roll up `work.source` into `work.target`, or do `work.maintenance` there, and record it."""
    for sample in writer.samples():
        if work.maintenance:
            done = sample.timed(lambda: maintain(spark, work))
            sample.metrics |= {key: float(value) for key, value in done.items()}
            continue
        result: BatchResult = sample.timed(lambda: next_batch(spark, settings, work))
        sample.metrics |= {
            "rows": float(result.counts.rows),
            "files": float(result.files),
            "bytes": float(result.bytes),
        }
        sample.metrics |= {f"{stage}_s": value for stage, value in result.steps.items()}
        if sample.duration_s > 0:
            sample.metrics["rows_per_s"] = result.counts.rows / sample.duration_s
        writer.check("the account adds up", result.counts.add_up, str(result.counts))
        writer.details["batch"] = asdict(result)


def maintain(spark: SparkSession, work: Workload) -> dict[str, float]:
    """One maintenance procedure on the target."""
    if work.maintenance not in TASKS:
        raise BadConfigurationError(f"maintenance is {work.maintenance!r}, must be one of {', '.join(TASKS)}")
    return TASKS[work.maintenance](spark, work.target)


def next_batch(spark: SparkSession, settings: Settings, work: Workload) -> BatchResult:
    """The batch after the last one. Raises BadConfigurationError where there is no time to roll up."""
    source = work.source or _own_points(spark, work)
    try:
        _check_tables(spark, source, work.target)
        iceberg.create_rollups(spark, work.target, settings.table_properties)
    except PySparkException as error:
        raise BadConfigurationError(f"source {source} or target {work.target}: {in_one_line(error)}") from None
    position = read_position(iceberg.load(spark, work.target))
    is_first = not position.covered
    start = _first_time(spark, source, work.start) if is_first else position.watermark_us
    # What is covered is over: a time in the future would make late rows of all that come until then.
    now = int(datetime.now(UTC).timestamp() * 1e6)
    given = moment_us("until", work.until)
    until = now if given is None else min(given, now)
    if not work.source:
        until = min(until, borders_us(work)[-1])
    if work.batch_ms:
        until = min(until, start + work.batch_ms * 1000)
    if until <= start:
        return BatchResult(None, position.source_snapshot)
    batch = settings.batch(source, work.target, start, until, work.resolutions_ms)
    is_from_beginning = is_first and not work.start
    return run_batch(spark, replace(batch, lateness_ms=work.lateness_ms, is_from_beginning=is_from_beginning))


def _check_tables(spark: SparkSession, source: str, target: str) -> None:
    """Refuse before anything is written: a source without points, a target that is somebody else's table."""
    open_source(spark, source)
    check_name(target)
    if spark.catalog.tableExists(target):
        written_schema(spark, iceberg.load(spark, target))


def _own_points(spark: SparkSession, work: Workload) -> str:
    """Without a source the workload's own points are rolled up: something to try production with."""
    name = source_name(work)
    make_source(spark, name, work)
    return name


def _first_time(spark: SparkSession, source: str, start: str) -> int:
    given = moment_us("start", start)
    if given is not None:
        return given
    row = points_at(spark, open_source(spark, source)).agg(F.unix_micros(F.min("wall_timestamp"))).first()
    if row is None or row[0] is None:
        raise BadConfigurationError(f"{source} has no row with a time: there is nothing to roll up")
    return int(row[0]) - 1
