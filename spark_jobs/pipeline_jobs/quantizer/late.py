"""Late rows: points that came after their time had been rolled up, found and rolled up again.

The source's snapshots say when a row came. A late row whose largest window is still open for updates makes the job
roll up that window's stretch anew from the source, which is exact for counters and repeated points too; a
row that is later than that is counted, and kept in the table `<target>_too_late` under its batch's number.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from pyspark.errors import AnalysisException, IllegalArgumentException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.quantizer import iceberg
from pipeline_jobs.quantizer.batch_request import Batch
from pipeline_jobs.quantizer.columns import TIME_COLUMN
from pipeline_jobs.quantizer.coverage import Coverage, common, united
from pipeline_jobs.quantizer.position import Position
from pipeline_jobs.quantizer.rollup import Counts
from pipeline_jobs.quantizer.source_table import SourceTable, points_added, points_at
from pipeline_jobs.quantizer.spark_reader import inside

LOG = logging.getLogger(__name__)
WINDOW = "_window_us"
OWNER = "quantizer.target-uuid"


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
    spark: SparkSession, source: SourceTable, batch: Batch, position: Position, target_uuid: str
) -> LateRows:
    """The rows appended since the last batch whose time it had covered, and rows without a time.

    Raises BadConfigurationError where the source was changed otherwise than by appending rows.
    """
    last = position.source_snapshot
    if last == source.snapshot:
        return LateRows()
    if last is None:
        return LateRows(_without_time(source.files(spark), points_at(spark, source)))
    changed = set(iceberg.operations_between(source.table, last, source.snapshot)) - {"append", "replace"}
    if changed:
        raise BadConfigurationError(
            f"rows of {batch.source} were changed ({', '.join(sorted(changed))}) since the last batch, which can't be "
            "followed row by row: roll up into a new table"
        )
    files = source.files_added(spark, last)
    added = points_added(spark, source, last)
    time = _quoted(source.columns.wall_timestamp.own_name)
    counts = _without_time(files, added.select(F.col(time).alias(TIME_COLUMN)))
    if not any(_may_be_covered(file, position.covered) for file in files):
        return LateRows(counts)
    rows = added.where(inside(time, position.covered)).withColumn(WINDOW, _window_us(time, batch))
    return _sort_out(spark, batch, position, rows, counts, target_uuid)


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _without_time(files: list[iceberg.DataFile], rows: DataFrame) -> Counts:
    """Rows without a time, from the files' metadata; from the rows themselves where those don't say."""
    known = [file.null_times for file in files if file.null_times is not None]
    nulls = sum(known) if len(known) == len(files) else rows.where(F.col(TIME_COLUMN).isNull()).count()
    return Counts(rows=nulls, null_key=nulls)


def _may_be_covered(file: iceberg.DataFile, covered: Coverage) -> bool:
    if file.low_us is None or file.high_us is None:
        return file.null_times is None or file.rows > file.null_times
    return bool(common(covered, (file.low_us - 1, file.high_us)))


def _window_us(time: str, batch: Batch) -> Column:
    """The end (us) of a row's largest window."""
    time_us = F.unix_micros(F.col(time))
    return time_us + F.pmod(-time_us, F.lit(batch.resolutions_ms[-1] * 1000))


def _sort_out(
    spark: SparkSession, batch: Batch, position: Position, rows: DataFrame, counts: Counts, target_uuid: str
) -> LateRows:
    found = {row[WINDOW]: row["count"] for row in rows.groupBy(WINDOW).count().collect()}
    closed_us = position.watermark_us - batch.lateness_ms * 1000
    late = {end: count for end, count in found.items() if end > closed_us}
    too_late = sum(found.values()) - sum(late.values())
    if too_late:
        _keep_aside(spark, rows.where(F.col(WINDOW) <= closed_us), batch, position.batch + 1, target_uuid)
    counts += Counts(rows=sum(found.values()), late=sum(late.values()), too_late=too_late)
    size_us = batch.resolutions_ms[-1] * 1000
    return LateRows(counts, united((end - size_us, end) for end in late))


def _keep_aside(spark: SparkSession, rows: DataFrame, batch: Batch, number: int, target_uuid: str) -> None:
    """Overwrites what attempts at this batch left that were killed, or rolled back since, so rows are kept once."""
    name = f"{batch.target}_too_late"
    rows = rows.drop(WINDOW).withColumn("batch", F.lit(number))
    _make_table(spark, name, rows, target_uuid)
    try:
        rows.writeTo(name).option("mergeSchema", "true").overwrite(F.col("batch") >= number)
    except (AnalysisException, IllegalArgumentException) as error:
        raise BadConfigurationError(
            f"rows of {batch.source} that come too late no longer fit the table {name} that keeps them "
            f"({str(error).splitlines()[0]}): rename that table"
        ) from None


def _make_table(spark: SparkSession, name: str, rows: DataFrame, target_uuid: str) -> None:
    """The table of this very target: a target that was dropped and made anew rolls those rows up again."""
    if spark.catalog.tableExists(name):
        owner = iceberg.load(spark, name).properties().get(OWNER)
        if owner in (None, target_uuid):
            listed = ", ".join(f"'{key}'='{value}'" for key, value in _properties(target_uuid).items())
            spark.sql(f"ALTER TABLE {name} SET TBLPROPERTIES ({listed})")
            return
        LOG.warning("%s held rows of a target that was dropped, which the new one rolls up: it begins anew", name)
    writer = rows.limit(0).writeTo(name).using("iceberg").partitionedBy(F.col("batch"))
    for key, value in _properties(target_uuid).items():
        writer = writer.tableProperty(key, value)
    writer.createOrReplace()


def _properties(target_uuid: str) -> dict[str, str]:
    return {OWNER: target_uuid, "write.spark.accept-any-schema": "true"}
