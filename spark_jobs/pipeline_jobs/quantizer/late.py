"""Rows that came after their time had been rolled up.

The source's snapshots say when a row came. A late row whose largest window is still open for updates makes the job
roll up that window's stretch anew from the source, which is exact for counters and repeated points too; a
row that is later than that is counted, and kept in the table `<target>_too_late` under its batch's number.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.quantizer import lake
from pipeline_jobs.quantizer.coverage import Coverage, common, united
from pipeline_jobs.quantizer.position import Position
from pipeline_jobs.quantizer.rollup import Counts

if TYPE_CHECKING:
    from pipeline_jobs.quantizer.batch import Batch


@dataclass(frozen=True)
class LateRows:
    """What came late. `redone`: the stretches of the largest windows that have to be rolled up anew."""

    counts: Counts = field(default_factory=Counts)
    redone: Coverage = ()

    @property
    def any(self) -> bool:
        """Whether there is anything to count or do."""
        return self.counts.rows > 0


def find_late_rows(
    spark: SparkSession, source: Any, batch: Batch, position: Position, source_snapshot: int
) -> LateRows:
    """The rows appended since the last batch whose time it had covered, and rows without a time.

    Raises BadConfigurationError where the source was changed otherwise than by appending rows.
    """
    last = position.source_snapshot
    if last == source_snapshot:
        return LateRows()
    if last is None:
        always = lake.iceberg(spark).expressions.Expressions.alwaysTrue()
        files = lake.files_at(spark, source, source_snapshot, always, "wall_timestamp")
        return LateRows(_without_time(files))
    changed = set(lake.operations_between(source, last, source_snapshot)) - {"append", "replace"}
    if changed:
        raise BadConfigurationError(
            f"rows of {batch.source} were changed ({', '.join(sorted(changed))}) since the last batch, which can't be "
            "followed row by row: roll up into a new table"
        )
    files = lake.files_added(spark, source, last, source_snapshot, "wall_timestamp")
    counts = _without_time(files)
    if not any(_may_be_covered(file, position.covered) for file in files):
        return LateRows(counts)
    return _sort_out(spark, batch, position, source_snapshot, counts)


def _without_time(files: list[lake.DataFile]) -> Counts:
    nulls = sum(file.null_times for file in files)
    return Counts(rows=nulls, null_key=nulls)


def _may_be_covered(file: lake.DataFile, covered: Coverage) -> bool:
    if file.low_us is None or file.high_us is None:
        return file.rows > file.null_times
    return bool(common(covered, (file.low_us - 1, file.high_us)))


def _sort_out(spark: SparkSession, batch: Batch, position: Position, source_snapshot: int, counts: Counts) -> LateRows:
    size_us = batch.resolutions_ms[-1] * 1000
    options = {"start-snapshot-id": str(position.source_snapshot), "end-snapshot-id": str(source_snapshot)}
    time_us = F.unix_micros("wall_timestamp")
    window_us = time_us + F.pmod(-time_us, F.lit(size_us))
    rows = spark.read.options(**options).table(batch.source).where(_inside(position.covered))
    rows = rows.withColumn("_window_us", window_us)
    found = {row["_window_us"]: row["count"] for row in rows.groupBy("_window_us").count().collect()}
    closed_us = position.watermark_us - batch.lateness_ms * 1000
    late = {end: count for end, count in found.items() if end > closed_us}
    too_late = sum(found.values()) - sum(late.values())
    if too_late:
        _keep_aside(spark, rows.where(F.col("_window_us") <= closed_us), batch, position.batch + 1)
    counts += Counts(rows=sum(found.values()), late=sum(late.values()), too_late=too_late)
    return LateRows(counts, united((end - size_us, end) for end in late))


def _inside(covered: Coverage) -> Any:
    time_us = F.unix_micros("wall_timestamp")
    condition = F.lit(False)
    for after, until in covered:
        condition |= (time_us > after) & (time_us <= until)
    return condition


def _keep_aside(spark: SparkSession, rows: DataFrame, batch: Batch, number: int) -> None:
    """Overwrites what a killed attempt at the same batch left, so rows are kept once."""
    name = f"{batch.target}_too_late"
    rows = rows.drop("_window_us").withColumn("batch", F.lit(number))
    if not spark.catalog.tableExists(name):
        rows.limit(0).writeTo(name).using("iceberg").partitionedBy(F.col("batch")).createOrReplace()
    rows.writeTo(name).overwrite(F.col("batch") == number)
