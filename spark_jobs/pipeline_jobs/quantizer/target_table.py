"""The rollups' table as a batch finds it: its columns by their ids, its files, and when it can't be written to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyspark.sql import SparkSession

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.quantizer import iceberg
from pipeline_jobs.quantizer.coverage import Coverage
from pipeline_jobs.quantizer.points_reader import FIELD_ID
from pipeline_jobs.quantizer.rollup import ROWS_SCHEMA

ICEBERG_TYPES = {
    pa.string(): "string",
    pa.int64(): "long",
    pa.float64(): "double",
    pa.bool_(): "boolean",
    pa.timestamp("us", tz="UTC"): "timestamptz",
    ROWS_SCHEMA.field("sketch").type: "map",
}
PARTITION_FIELDS = (("resolution_ms", "identity"), ("complete", "identity"), ("window_end", "day"))


@dataclass(frozen=True)
class OldFile:
    """A file of the rollups that a commit replaces: partials, or complete windows of which some are done anew."""

    path: str
    is_partial: bool
    java: Any


def written_schema(spark: SparkSession, table: Any) -> pa.Schema:
    """ROWS_SCHEMA with the table's field ids, as Iceberg wants them in its Parquet files.

    Raises BadConfigurationError where somebody gave the table other columns or another partitioning.
    """
    document = json.loads(iceberg.iceberg(spark).SchemaParser.toJson(table.schema()))
    fields = {each["name"]: each for each in document["fields"]}
    _refuse_other_columns(table, fields)
    _refuse_other_partitioning(table)
    return pa.schema([_with_id(each, fields[each.name]) for each in ROWS_SCHEMA])


def _refuse_other_columns(table: Any, fields: Mapping[str, Mapping[str, Any]]) -> None:
    wanted = {each.name: ICEBERG_TYPES[each.type] for each in ROWS_SCHEMA}
    found = {
        name: each["type"] if isinstance(each["type"], str) else each["type"]["type"] for name, each in fields.items()
    }
    other = sorted(f"{name} {kind}" for name, kind in found.items() - wanted.items())
    missing = sorted(f"{name} {kind}" for name, kind in wanted.items() - found.items())
    if other or missing:
        raise BadConfigurationError(
            f"{table.name()} is no table of rollups as this job writes it: it has {', '.join(other) or 'nothing'} "
            f"instead of {', '.join(missing) or 'nothing'}. Change that back, or roll up into a new table"
        )


def _refuse_other_partitioning(table: Any) -> None:
    schema = table.schema()
    found = tuple(
        (str(schema.findColumnName(each.sourceId())), str(each.transform())) for each in table.spec().fields()
    )
    if found != PARTITION_FIELDS:
        raise BadConfigurationError(
            f"{table.name()} is partitioned by {found}, rollups by {PARTITION_FIELDS}: change that back, or roll up "
            "into a new table"
        )


def _with_id(field: pa.Field, iceberg_field: Mapping[str, Any]) -> pa.Field:
    kind = iceberg_field["type"]
    if isinstance(kind, dict):
        key, value = kind["key-id"], kind["value-id"]
        key_field = pa.field("key", field.type.key_type, nullable=False, metadata={FIELD_ID: str(key)})
        value_field = pa.field("value", field.type.item_type, nullable=False, metadata={FIELD_ID: str(value)})
        field = field.with_type(pa.map_(key_field, value_field))
    return field.with_metadata({FIELD_ID: str(iceberg_field["id"])})


def replaced_files(spark: SparkSession, target: Any, redone: Coverage) -> list[OldFile]:
    """The files that the commit replaces: all partials, and those with windows that are done anew.

    Raises BadConfigurationError for a file that only Spark can read.
    """
    snapshot = iceberg.current_snapshot(target)
    if snapshot is None:
        return []
    expressions = iceberg.iceberg(spark).expressions.Expressions
    is_partial = expressions.equal("complete", False)
    where = getattr(expressions, "or")(is_partial, iceberg.within(spark, "window_end", redone))
    ids = [target.schema().findField(name).fieldId() for name in ("window_end", "complete")]
    return [_old_file(target, file, ids[1]) for file in iceberg.files_at(spark, target, snapshot, where, ids)]


def _old_file(target: Any, file: iceberg.DataFile, complete_id: int) -> OldFile:
    complete = dict(file.constants).get(complete_id)
    if complete is None or not file.path.endswith(".parquet"):
        raise BadConfigurationError(
            f"{target.name()} has the file {file.path}, which is no Parquet file of one partition: roll up into "
            "a new table"
        )
    if file.needs_spark:
        raise BadConfigurationError(
            f"{target.name()}: {file.needs_spark}, which only Spark applies: run the maintenance task "
            "rewrite_data_files on it first"
        )
    return OldFile(file.path, not complete, file.java)
