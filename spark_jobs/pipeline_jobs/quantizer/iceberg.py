"""Iceberg through its own Java classes: tables made and loaded, snapshots, plans of files, statistics.

The rollups' table has one row per series, resolution and window, complete windows and partials alike, partitioned by
resolution, completeness and day. One table, so that one commit replaces partials, adds windows and moves the position.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
from py4j.java_gateway import is_instance_of
from pyspark.sql import SparkSession

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.quantizer.coverage import Coverage
from pipeline_jobs.quantizer.rollup import ROWS_SCHEMA

SQL_TYPES = {
    pa.string(): "string",
    pa.int64(): "bigint",
    pa.float64(): "double",
    pa.bool_(): "boolean",
    pa.timestamp("us", tz="UTC"): "timestamp",
    ROWS_SCHEMA.field("sketch").type: "map<int, bigint>",
}
SPARK_TABLE = "org.apache.iceberg.spark.source.SparkTable"
ICEBERG_TABLE = "org.apache.iceberg.BaseTable"
MISSING = ("NoSuchTable", "NoSuchNamespace", "TABLE_OR_VIEW_NOT_FOUND")
PARTITIONING = "resolution_ms, complete, days(window_end)"
PROPERTIES = {
    "format-version": "2",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "10",
    "write.parquet.compression-codec": "zstd",
}


@dataclass(frozen=True)
class DataFile:
    """A file of a table with the range of its times (us; None where unknown) and Iceberg's own object."""

    path: str
    size_bytes: int
    rows: int
    low_us: int | None = None
    high_us: int | None = None
    null_times: int | None = None
    """Rows without a time; None where Iceberg's metadata don't say."""
    constants: tuple[tuple[int, str | int | float | None], ...] = ()
    """Columns (field ids) whose value is the file's partition's, whatever the file says."""
    needs_spark: str = ""
    """Why only Iceberg's reader for Spark can read the file; empty where others can."""
    java: Any = None


def java(spark: SparkSession) -> Any:
    """The session's JVM."""
    return spark.sparkContext._jvm


def iceberg(spark: SparkSession) -> Any:
    """Iceberg's Java packages."""
    return java(spark).org.apache.iceberg


def spark_table(spark: SparkSession, name: str) -> Any:
    """A table, or a branch of it, as Iceberg's object for Spark. `name`: lake.db.table, lake.db.table.branch_audit.

    Raises BadConfigurationError where there is none, and for what holds no rows of its own (a table's metadata).
    """
    try:
        place = iceberg(spark).spark.Spark3Util.catalogAndIdentifier(spark._jsparkSession, name)
        found = place.catalog().loadTable(place.identifier())
    except Exception as error:
        if any(each in str(error) for each in MISSING):
            raise BadConfigurationError(f"there is no Iceberg table {name}") from None
        raise
    gateway = spark.sparkContext._gateway
    if not is_instance_of(gateway, found, SPARK_TABLE) or not is_instance_of(gateway, found.table(), ICEBERG_TABLE):
        raise BadConfigurationError(f"{name} is no table of Iceberg's that holds rows")
    return found


def load(spark: SparkSession, name: str) -> Any:
    """A table as Iceberg's Java object. `name`: lake.db.table.

    Raises BadConfigurationError where there is none, and for a branch.
    """
    found = spark_table(spark, name)
    if found.branch() is not None:
        raise BadConfigurationError(f"{name} is a branch: only a table's main branch is written to")
    return found.table()


def create_rollups(spark: SparkSession, name: str, properties: Mapping[str, str] | None = None) -> None:
    """Make the rollups' table where it is not there yet; set the properties either way.

    A table of a later format version stays at it: there is no way back.
    """
    columns = ", ".join(f"{each.name} {SQL_TYPES[each.type]} NOT NULL" for each in ROWS_SCHEMA)
    spark.sql(f"CREATE NAMESPACE IF NOT EXISTS {name.rpartition('.')[0]}")
    listed = ", ".join(f"'{key}'='{value}'" for key, value in (PROPERTIES | dict(properties or {})).items())
    spark.sql(
        f"CREATE TABLE IF NOT EXISTS {name} ({columns}) USING iceberg "
        f"PARTITIONED BY ({PARTITIONING}) TBLPROPERTIES ({listed})"
    )
    if properties:
        version = iceberg(spark).TableUtil.formatVersion(load(spark, name))
        kept = {"format-version": str(max(version, int(properties.get("format-version", version))))}
        listed = ", ".join(f"'{key}'='{value}'" for key, value in (dict(properties) | kept).items())
        spark.sql(f"ALTER TABLE {name} SET TBLPROPERTIES ({listed})")


def current_snapshot(table: Any) -> int | None:
    """The id of a table's current snapshot; None while it is empty."""
    snapshot = table.currentSnapshot()
    return None if snapshot is None else snapshot.snapshotId()


def files_at(spark: SparkSession, table: Any, snapshot: int, where: Any, ids: Sequence[int]) -> list[DataFile]:
    """The data files of a snapshot that may hold rows of a filter (an Iceberg expression).

    `ids`: the columns (field ids) that are wanted, the time first.
    """
    scan = table.newScan().useSnapshot(snapshot).includeColumnStats().filter(where)
    return list(_planned(spark, scan, ids))


def files_added(spark: SparkSession, table: Any, after: int, until: int, ids: Sequence[int]) -> list[DataFile]:
    """The data files that were appended after one snapshot, up to another; `ids` as for `files_at`."""
    scan = table.newIncrementalAppendScan().fromSnapshotExclusive(after).toSnapshot(until).includeColumnStats()
    return list(_planned(spark, scan, ids))


def _planned(spark: SparkSession, scan: Any, ids: Sequence[int]) -> Iterator[DataFile]:
    tasks = scan.planFiles()
    identities: dict[int, list[tuple[int, int]]] = {}
    try:
        iterator = tasks.iterator()
        while iterator.hasNext():
            task = iterator.next()
            spec = task.spec()
            if spec.specId() not in identities:
                identities[spec.specId()] = _identities(spec, ids)
            yield _data_file(spark, task, ids[0], identities[spec.specId()])
    finally:
        tasks.close()


def _identities(spec: Any, ids: Sequence[int]) -> list[tuple[int, int]]:
    """The columns (field ids) that a partition spec has as they are, with their places in a partition."""
    return [
        (field.sourceId(), place)
        for place, field in enumerate(spec.fields())
        if field.transform().isIdentity() and field.sourceId() in ids
    ]


def _data_file(spark: SparkSession, task: Any, time_id: int, identities: Sequence[tuple[int, int]]) -> DataFile:
    file = task.file()
    is_cut = task.deletes().size() > 0
    reason = "it has delete files or a deletion vector" if is_cut else ""
    if str(file.format()) != "PARQUET":
        reason = f"it is a file of the format {file.format()}"
    nulls = (file.nullValueCounts() or {}).get(time_id)
    path = file.location()
    return DataFile(
        path,
        file.fileSizeInBytes(),
        file.recordCount(),
        _bound(spark, file.lowerBounds(), time_id),
        _bound(spark, file.upperBounds(), time_id),
        None if is_cut or nulls is None else int(nulls),
        tuple((field_id, _partition_value(spark, task, place)) for field_id, place in identities),
        f"{path}: {reason}" if reason else "",
        file.copy(),
    )


def _partition_value(spark: SparkSession, task: Any, place: int) -> str | int | float | None:
    value = task.partition().get(place, java(spark).java.lang.Class.forName("java.lang.Object"))
    return value if value is None or isinstance(value, str | int | float) else str(value)


def _bound(spark: SparkSession, bounds: Any, time_id: int) -> int | None:
    buffer = bounds.get(time_id) if bounds is not None else None
    if buffer is None:
        return None
    types = iceberg(spark).types
    value = types.Conversions.fromByteBuffer(types.Types.TimestampType.withZone(), buffer)
    return value if isinstance(value, int) else None


FIRST_US = -62_135_596_800_000_000
"""The beginning of the year 1, the first that ISO times have."""


def within(spark: SparkSession, column: str, stretches: Coverage) -> Any:
    """Iceberg's expression for times inside any of the stretches."""
    expressions = iceberg(spark).expressions.Expressions
    found = expressions.alwaysFalse()
    for after, until in stretches:
        begun = expressions.greaterThan(column, iso(after)) if after >= FIRST_US else expressions.alwaysTrue()
        inside = getattr(expressions, "and")(begun, expressions.lessThanOrEqual(column, iso(until)))
        found = getattr(expressions, "or")(found, inside)
    return found


def iso(time_us: int) -> str:
    """A time as Iceberg reads it in expressions."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_us)).isoformat()


def to_data_file(spark: SparkSession, table: Any, path: str, partition: str) -> Any:
    """Iceberg's data file for a Parquet file that a task wrote, with the statistics of its footer."""
    classes = iceberg(spark)
    source = table.io().newInputFile(path)
    metrics = classes.parquet.ParquetUtil.fileMetrics(source, classes.MetricsConfig.forTable(table))
    builder = classes.DataFiles.builder(table.spec()).withInputFile(source).withFormat("PARQUET")
    return builder.withPartitionPath(partition).withMetrics(metrics).build()


def operations_between(table: Any, after: int, until: int) -> Sequence[str]:
    """The operations of the snapshots after one snapshot up to another, newest first.

    Raises BadConfigurationError where the first is no ancestor of the second (expired, or rolled back).
    """
    operations = []
    snapshot: int | None = until
    while snapshot is not None and snapshot != after:
        current = table.snapshot(snapshot)
        if current is None:
            break
        operations.append(current.operation())
        snapshot = current.parentId()
    if snapshot != after:
        raise BadConfigurationError(
            f"{table.name()}: the snapshot {after} that the last batch read is no ancestor of {until} (expired, rolled "
            "back, or of another branch), so late rows can't be told: keep snapshots until they are rolled up, and "
            "roll up into a new table now"
        )
    return operations


def table_statistics(spark: SparkSession, name: str) -> dict[str, Any]:
    """What Iceberg's own metadata says of a table: data files with their sizes (bytes), manifests, snapshots."""
    rows = spark.sql(f"SELECT file_size_in_bytes, partition FROM {name}.files").collect()
    sizes = [row[0] for row in rows]
    table = load(spark, name)
    snapshot = table.currentSnapshot()
    manifests = list(snapshot.allManifests(table.io())) if snapshot is not None else []
    return {
        "files": len(sizes),
        "partitions": len({row[1] for row in rows}),
        "bytes": sum(sizes),
        "median_file_bytes": statistics.median(sizes) if sizes else 0,
        "largest_file_bytes": max(sizes, default=0),
        "manifests": len(manifests),
        "manifest_bytes": sum(each.length() for each in manifests),
        "snapshots": len(list(table.snapshots())),
    }
