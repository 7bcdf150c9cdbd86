"""The shape `baseline`: the job as the quantizer guide has it, each of its steps a setting that can be left out.

Read, repartition by org and cache; count and union the partial points; repartition by series; aggregate each
resolution; repartition for the write; append; write the points of unfinished windows to 200 files. Its rows have
neither counter statistics nor a sketch, and its sums are plain sums of doubles: it does less than ours does. In its
favour, the resolutions share one set of partial points and one shuffle; the document has one of each a resolution.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce

from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame, DataFrameWriterV2, SparkSession
from pyspark.sql import functions as F

from pipeline_jobs.quantizer.batch import BatchResult
from pipeline_jobs.quantizer.batch_request import Batch
from pipeline_jobs.quantizer.rollup import MAX_VALUE, Counts
from pipeline_jobs.quantizer.step_times import Steps

COLUMNS = "org_id STRING, metric_name STRING, wall_timestamp TIMESTAMP, value DOUBLE"
SMALL_PARTIALS = 10_000


@dataclass(frozen=True)
class Shape:
    """Which of the document's steps are taken; the defaults are the document's."""

    cache_input: bool = True
    read_partitions: int = 200
    """Repartition by org after the read; 0 leaves the step out."""
    repartition_series: bool = True
    """Repartition by org and metric before the aggregation."""
    count_partials: bool = True
    """Count the partial points to tell small ones apart, and the rollups for the log."""
    write_partitions: int = 200
    """Repartition by org and resolution before the write, and the partials' files; 0 leaves the step out."""
    sort_metrics: bool = True
    """Sort by metric within the partitions that are written."""
    storage_level: str = "MEMORY_AND_DISK"
    """Where the cached points are kept."""
    fanout: bool = True
    """Iceberg's fan-out writer, which keeps a file open for each partition and needs no sorted input."""
    split_bytes: int = 256 << 20
    """What one task reads of the raw table's files."""
    write_format: str = "parquet"
    target_file_bytes: int = 128 << 20


def create_tables(spark: SparkSession, batch: Batch, properties: Mapping[str, str] | None = None) -> None:
    """Make the baseline's two tables, rollups and the points of unfinished windows, with Iceberg's `properties`."""
    listed = ", ".join(
        f"'{key}'='{value}'" for key, value in ({"format-version": "2"} | dict(properties or {})).items()
    )
    spark.sql(f"CREATE NAMESPACE IF NOT EXISTS {batch.target.rpartition('.')[0]}")
    spark.sql(
        f"CREATE TABLE IF NOT EXISTS {batch.target} (org_id STRING, metric_name STRING, resolution_ms BIGINT, "
        "window_end TIMESTAMP, count BIGINT, sum DOUBLE, sum_sq DOUBLE, min DOUBLE, max DOUBLE, first DOUBLE, "
        "first_ts TIMESTAMP, last DOUBLE, last_ts TIMESTAMP) USING iceberg "
        f"PARTITIONED BY (resolution_ms, days(window_end)) TBLPROPERTIES ({listed})"
    )
    spark.sql(f"CREATE TABLE IF NOT EXISTS {batch.target}_partials ({COLUMNS}) USING iceberg TBLPROPERTIES ({listed})")


def run_baseline(spark: SparkSession, batch: Batch, shape: Shape) -> BatchResult:
    """Roll up a batch as the document does. Not exactly once: its three writes can be cut between."""
    steps = Steps(spark)
    steps.begin("count")
    table = spark.read.option("split-size", str(shape.split_bytes)).table(batch.source)
    data = table.where(_within(batch)).select("org_id", "metric_name", "wall_timestamp", "value")
    if shape.read_partitions:
        data = data.repartition(shape.read_partitions, "org_id")
    if shape.cache_input:
        data = data.persist(getattr(StorageLevel, shape.storage_level))
    points = data.where(F.col("value").isNotNull() & (F.abs("value") <= MAX_VALUE))
    points = _with_partials(spark.table(f"{batch.target}_partials"), points, shape)
    if shape.repartition_series:
        points = points.repartition("org_id", "metric_name")
    rollups = _rollups(points, batch)
    if shape.count_partials:
        rollups.count()
    steps.begin("append")
    _write(rollups, batch, shape)
    steps.begin("partials")
    _write_partials(points, batch, shape)
    steps.end()
    if shape.cache_input:
        data.unpersist()
    files = spark.table(f"{batch.target}.files").agg(F.count("*"), F.sum("file_size_in_bytes"), F.sum("record_count"))
    listed = files.first()
    assert listed is not None
    return BatchResult(0, None, Counts(), listed[0], listed[1] or 0, listed[2] or 0, steps=steps.seconds)


def _within(batch: Batch) -> Column:
    start, end = (F.timestamp_micros(F.lit(each)) for each in (batch.start_us, batch.end_us))
    return (F.col("wall_timestamp") > start) & (F.col("wall_timestamp") <= end)


def _with_partials(partials: DataFrame, points: DataFrame, shape: Shape) -> DataFrame:
    """The document broadcasts small partials before the union, which does nothing: broadcast is a hint for joins."""
    if shape.count_partials and partials.count() < SMALL_PARTIALS:
        partials = F.broadcast(partials)
    return points.unionAll(partials)


def _rollups(points: DataFrame, batch: Batch) -> DataFrame:
    """Each resolution from the points, as the document calls computeRollups for each."""
    time_us = F.unix_micros("wall_timestamp")
    levels: list[DataFrame] = []
    for resolution_ms in batch.resolutions_ms:
        size = F.lit(resolution_ms * 1000)
        ended = points.withColumn("window_end", F.timestamp_micros(time_us + F.pmod(-time_us, size)))
        end_us = F.unix_micros("window_end")
        is_new = end_us > last_window_end(batch.start_us, resolution_ms)
        ended = ended.where(is_new & (end_us <= last_window_end(batch.end_us, resolution_ms)))
        level = ended.groupBy("org_id", "metric_name", F.lit(resolution_ms).alias("resolution_ms"), "window_end").agg(
            F.count("value").alias("count"),
            F.sum("value").alias("sum"),
            F.sum(F.col("value") * F.col("value")).alias("sum_sq"),
            F.min("value").alias("min"),
            F.max("value").alias("max"),
            F.min_by("value", "wall_timestamp").alias("first"),
            F.min("wall_timestamp").alias("first_ts"),
            F.max_by("value", "wall_timestamp").alias("last"),
            F.max("wall_timestamp").alias("last_ts"),
        )
        levels.append(level)
    return reduce(DataFrame.unionAll, levels).withColumn("resolution_ms", F.col("resolution_ms").cast("bigint"))


def last_window_end(time_us: int, resolution_ms: int) -> int:
    """The end of the last window that is over at a time (us): a batch emits those that ended since it began."""
    return time_us // (resolution_ms * 1000) * (resolution_ms * 1000)


def _write(rollups: DataFrame, batch: Batch, shape: Shape) -> None:
    if shape.write_partitions:
        rollups = rollups.repartition(shape.write_partitions, "org_id", "resolution_ms")
    if shape.sort_metrics:
        rollups = rollups.sortWithinPartitions("metric_name")
    _writer(rollups, batch.target, shape).append()


def _write_partials(points: DataFrame, batch: Batch, shape: Shape) -> None:
    finished_us = last_window_end(batch.end_us, batch.resolutions_ms[-1])
    left = points.where(F.unix_micros("wall_timestamp") > finished_us)
    left = left.repartition(shape.write_partitions) if shape.write_partitions else left.coalesce(1)
    _writer(left, f"{batch.target}_partials", shape).overwrite(F.lit(True))


def _writer(rows: DataFrame, table: str, shape: Shape) -> DataFrameWriterV2:
    writer = rows.writeTo(table).option("fanout-enabled", str(shape.fanout).lower())
    writer = writer.option("write-format", shape.write_format)
    return writer.option("target-file-size-bytes", str(shape.target_file_bytes))
