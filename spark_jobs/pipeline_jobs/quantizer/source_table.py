"""A raw table as a batch reads it: one snapshot of a table or a branch, its points' columns, its files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.quantizer import iceberg
from pipeline_jobs.quantizer.columns import MAPPING_PROPERTY, Field, PointColumns, fields_of, find_columns
from pipeline_jobs.quantizer.coverage import Coverage

SQL_TYPES = {"long": "bigint", "timestamptz": "timestamp"}
"""Spark's names of Iceberg's types, where they differ."""


@dataclass(frozen=True)
class SourceTable:
    """A raw table at one snapshot."""

    name: str
    """Of the table itself, for Spark SQL: lake.db.table."""
    table: Any
    """Iceberg's Java object."""
    snapshot: int
    columns: PointColumns
    uuid: str

    def fields_at_snapshot(self, spark: SparkSession) -> tuple[Field, ...]:
        """The columns that the table had when the snapshot was made: what Spark's time travel shows."""
        return _fields(spark, iceberg.iceberg(spark).util.SnapshotUtil.schemaFor(self.table, self.snapshot))

    def files_within(self, spark: SparkSession, stretches: Coverage) -> list[iceberg.DataFile]:
        """The snapshot's data files that may hold rows of these times."""
        name = self._time_name(spark)
        always = iceberg.iceberg(spark).expressions.Expressions.alwaysTrue()
        where = always if name is None else iceberg.within(spark, name, stretches)
        return iceberg.files_at(spark, self.table, self.snapshot, where, self._ids)

    def files(self, spark: SparkSession) -> list[iceberg.DataFile]:
        """All data files of the snapshot."""
        always = iceberg.iceberg(spark).expressions.Expressions.alwaysTrue()
        return iceberg.files_at(spark, self.table, self.snapshot, always, self._ids)

    def files_added(self, spark: SparkSession, after: int) -> list[iceberg.DataFile]:
        """The data files that were appended since another snapshot."""
        return iceberg.files_added(spark, self.table, after, self.snapshot, self._ids)

    @property
    def _ids(self) -> list[int]:
        time = self.columns.wall_timestamp.field_id
        return [time, *(each for each in self.columns.ids if each != time)]

    def _time_name(self, spark: SparkSession) -> str | None:
        """The time column's name, for Iceberg's plans; None where there is no single one.

        Iceberg looks for it among the snapshot's columns, and for partitions among those of now: a column that was
        renamed since, or added, can't be planned by.
        """
        time = self.columns.wall_timestamp.field_id
        then = iceberg.iceberg(spark).util.SnapshotUtil.schemaFor(self.table, self.snapshot).findColumnName(time)
        return then if then == self.table.schema().findColumnName(time) else None


def open_source(spark: SparkSession, name: str, snapshot: int | None = None) -> SourceTable:
    """A table (lake.db.table) or a branch of it (lake.db.table.branch_audit), now or as it was at a snapshot.

    The columns are those of the table's schema now; with a `snapshot`, those of the schema then. Raises
    BadConfigurationError where it is missing or empty, no table of Iceberg's, or has no columns for points.
    """
    found = iceberg.spark_table(spark, name)
    table = found.table()
    chosen = snapshot or found.snapshotId()
    if chosen is None:
        raise BadConfigurationError(f"{name} is empty: there is nothing to roll up")
    if snapshot is None and found.branch() is None and chosen != iceberg.current_snapshot(table):
        raise BadConfigurationError(
            f"{name} is a table at a past time, which gets no new rows: name a table or a branch"
        )
    if table.snapshot(chosen) is None:
        raise BadConfigurationError(f"{name} has no snapshot {chosen}: it has expired, or is another table's")
    schema = table.schema() if snapshot is None else iceberg.iceberg(spark).util.SnapshotUtil.schemaFor(table, chosen)
    columns = find_columns(name, _fields(spark, schema), table.properties().get(MAPPING_PROPERTY))
    own_name = name if found.branch() is None else name.rpartition(".")[0]
    return SourceTable(own_name, table, chosen, columns, str(table.uuid()))


def _fields(spark: SparkSession, schema: Any) -> tuple[Field, ...]:
    return fields_of(iceberg.iceberg(spark).SchemaParser.toJson(schema))


def points_at(spark: SparkSession, source: SourceTable) -> DataFrame:
    """The rows at the snapshot as Iceberg's reader for Spark has them, with POINT_COLUMNS, found by their ids.

    The values keep the table's types. Spark's time travel has the schema of its time, so ids lead from there to now.
    """
    rows = spark.sql(f"SELECT * FROM {source.name} VERSION AS OF {source.snapshot}")
    fields = source.fields_at_snapshot(spark)
    by_id = rows.toDF(*(f"_{field.field_id}" for field in fields))
    return by_id.select(*_selected(source.columns, {field.field_id for field in fields}))


def points_added(spark: SparkSession, source: SourceTable, after: int) -> DataFrame:
    """The rows appended since another snapshot, whole, under the names that the table gives to its columns now."""
    options = {"start-snapshot-id": str(after), "end-snapshot-id": str(source.snapshot)}
    return spark.read.options(**options).table(source.name)


def _selected(columns: PointColumns, there: Iterable[int]) -> list[Any]:
    selected = []
    for column in columns.all:
        kind = SQL_TYPES.get(column.type, column.type)
        default = F.lit(column.default)
        if column.type == "timestamptz" and column.default is not None:
            default = F.timestamp_micros(default)
        chosen = F.col(f"_{column.field_id}") if column.field_id in there else default
        selected.append(chosen.cast(kind).alias(column.name))
    return selected
