"""The Iceberg side: tables, and plans of files, through Iceberg's own Java classes.

The rollups' table has one row a series, resolution and window, complete windows and partials alike, partitioned by
resolution, completeness and day. One table, so that one commit replaces partials, adds windows and moves the position.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
from pyspark.sql import SparkSession

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.quantizer.coverage import Coverage
from pipeline_jobs.quantizer.rollup import ROWS_SCHEMA

FIELD_ID = b"PARQUET:field_id"
SQL_TYPES = {
    pa.string(): "string",
    pa.int64(): "bigint",
    pa.float64(): "double",
    pa.bool_(): "boolean",
    pa.timestamp("us", tz="UTC"): "timestamp",
    ROWS_SCHEMA.field("sketch").type: "map<int, bigint>",
}
PARTITIONING = "resolution_ms, complete, days(window_end)"
PROPERTIES = {
    "format-version": "2",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "10",
    "write.parquet.compression-codec": "zstd",
}


@dataclass(frozen=True)
class DataFile:
    """A Parquet file of a table with the range of its times (us; None where unknown) and Iceberg's own object."""

    path: str
    size_bytes: int
    rows: int
    low_us: int | None = None
    high_us: int | None = None
    null_times: int = 0
    java: Any = None


def java(spark: SparkSession) -> Any:
    """The session's JVM."""
    return spark.sparkContext._jvm


def iceberg(spark: SparkSession) -> Any:
    """Iceberg's Java packages."""
    return java(spark).org.apache.iceberg


def load(spark: SparkSession, name: str) -> Any:
    """A table as Iceberg's Java object. `name`: lake.db.table. Raises BadConfigurationError where there is none."""
    try:
        return iceberg(spark).spark.Spark3Util.loadIcebergTable(spark._jsparkSession, name)
    except Exception as error:
        if "NoSuchTable" in str(error) or "TABLE_OR_VIEW_NOT_FOUND" in str(error):
            raise BadConfigurationError(f"there is no Iceberg table {name}") from None
        raise


def create_rollups(spark: SparkSession, name: str, properties: Mapping[str, str] | None = None) -> None:
    """Make the rollups' table where it is not there yet; set the properties either way."""
    columns = ", ".join(f"{each.name} {SQL_TYPES[each.type]} NOT NULL" for each in ROWS_SCHEMA)
    spark.sql(f"CREATE NAMESPACE IF NOT EXISTS {name.rpartition('.')[0]}")
    listed = ", ".join(f"'{key}'='{value}'" for key, value in (PROPERTIES | dict(properties or {})).items())
    spark.sql(
        f"CREATE TABLE IF NOT EXISTS {name} ({columns}) USING iceberg "
        f"PARTITIONED BY ({PARTITIONING}) TBLPROPERTIES ({listed})"
    )
    if properties:
        spark.sql(f"ALTER TABLE {name} SET TBLPROPERTIES ({listed})")


def arrow_schema(spark: SparkSession, table: Any) -> pa.Schema:
    """ROWS_SCHEMA with the table's field ids, as Iceberg wants them in its Parquet files."""
    fields = {each["name"]: each for each in json.loads(iceberg(spark).SchemaParser.toJson(table.schema()))["fields"]}
    return pa.schema([_with_id(each, fields[each.name]) for each in ROWS_SCHEMA])


def _with_id(field: pa.Field, iceberg_field: Mapping[str, Any]) -> pa.Field:
    kind = iceberg_field["type"]
    if isinstance(kind, dict):
        key, value = kind["key-id"], kind["value-id"]
        key_field = pa.field("key", field.type.key_type, nullable=False, metadata={FIELD_ID: str(key)})
        value_field = pa.field("value", field.type.item_type, nullable=False, metadata={FIELD_ID: str(value)})
        field = field.with_type(pa.map_(key_field, value_field))
    return field.with_metadata({FIELD_ID: str(iceberg_field["id"])})


def current_snapshot(table: Any) -> int | None:
    """The id of a table's current snapshot; None while it is empty."""
    snapshot = table.currentSnapshot()
    return None if snapshot is None else snapshot.snapshotId()


def files_at(spark: SparkSession, table: Any, snapshot: int, where: Any, time_column: str) -> list[DataFile]:
    """The data files of a snapshot that may hold rows of a filter (an Iceberg expression)."""
    scan = table.newScan().useSnapshot(snapshot).includeColumnStats().filter(where)
    return list(_planned(spark, table, scan, time_column))


def files_added(spark: SparkSession, table: Any, after: int, until: int, time_column: str) -> list[DataFile]:
    """The data files that were appended after one snapshot, up to another."""
    scan = table.newIncrementalAppendScan().fromSnapshotExclusive(after).toSnapshot(until).includeColumnStats()
    return list(_planned(spark, table, scan, time_column))


def _planned(spark: SparkSession, table: Any, scan: Any, time_column: str) -> Iterator[DataFile]:
    conversions = iceberg(spark).types.Conversions
    field = table.schema().findField(time_column)
    tasks = scan.planFiles()
    try:
        iterator = tasks.iterator()
        while iterator.hasNext():
            task = iterator.next()
            if task.deletes().size():
                raise BadConfigurationError(
                    f"{table.name()} has delete files, which only Spark applies: run the "
                    "maintenance task rewrite_data_files with remove-dangling-deletes first"
                )
            file = task.file()
            low, high = _bound(file.lowerBounds(), field, conversions), _bound(file.upperBounds(), field, conversions)
            nulls = (file.nullValueCounts() or {}).get(field.fieldId()) or 0
            yield DataFile(
                file.location(), file.fileSizeInBytes(), file.recordCount(), low, high, int(nulls), file.copy()
            )
    finally:
        tasks.close()


def _bound(bounds: Any, field: Any, conversions: Any) -> int | None:
    buffer = bounds.get(field.fieldId()) if bounds is not None else None
    value = conversions.fromByteBuffer(field.type(), buffer) if buffer is not None else None
    return value if isinstance(value, int) else None


def within(spark: SparkSession, column: str, stretches: Coverage) -> Any:
    """Iceberg's expression for times inside any of the stretches."""
    expressions = iceberg(spark).expressions.Expressions
    found = expressions.alwaysFalse()
    for after, until in stretches:
        inside = getattr(expressions, "and")(
            expressions.greaterThan(column, iso(after)), expressions.lessThanOrEqual(column, iso(until))
        )
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
            f"{table.name()} no longer has the snapshot {after} that the last batch read (expired or rolled back), so "
            "late rows can't be told: keep snapshots until they are rolled up, and roll up into a new table now"
        )
    return operations


def table_figures(spark: SparkSession, name: str) -> dict[str, Any]:
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
