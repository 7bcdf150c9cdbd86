# ruff: noqa: F811 (the fixture `spark` is imported, and a parameter)
"""The raw table after all that Iceberg lets its owner do: our reader against Spark's own, row for row."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession
from tests.jobs.quantizer_oracle import assert_same, expected_rows
from tests.jobs.test_quantizer_batch import HOUR, MINUTE, START_US, spark, table_of  # noqa: F401

from pipeline_jobs.contract import JobError
from pipeline_jobs.quantizer import iceberg, maintenance
from pipeline_jobs.quantizer.batch import BatchResult, run_batch
from pipeline_jobs.quantizer.batch_request import Batch
from pipeline_jobs.quantizer.rollup import POINT_COLUMNS, TIME

Scenario = Callable[[SparkSession, str, Path], None]
COLUMNS = "org_id string, metric_name string, wall_timestamp timestamp, value double"
PROPERTIES = {
    "format_version": "format-version",
    "delete_mode": "write.delete.mode",
    "metrics": "write.metadata.metrics.default",
    "file_format": "write.format.default",
}


def sql_time(minute: float) -> str:
    return f"timestamp_micros({START_US + round(minute * MINUTE)})"


def create(spark: SparkSession, name: str, columns: str = COLUMNS, partition: str = "", **properties: str) -> None:
    wanted = {"format_version": "2"} | properties
    listed = ", ".join(f"'{PROPERTIES[key]}'='{value}'" for key, value in wanted.items())
    by = f"PARTITIONED BY ({partition})" if partition else ""
    spark.sql(f"CREATE TABLE {name} ({columns}) USING iceberg {by} TBLPROPERTIES ({listed})")


def insert(
    spark: SparkSession, name: str, first: int = 0, *, names: str = ", ".join(POINT_COLUMNS), org: str = "'a'"
) -> None:
    """Six points of one series, a minute apart, the values from 1 on."""
    rows = ", ".join(f"({org}, 'm', {sql_time(first + each + 0.5)}, {each + 1})" for each in range(6))
    spark.sql(f"INSERT INTO {name} ({names}) VALUES {rows}")


def alter(spark: SparkSession, name: str, *changes: str) -> None:
    for change in changes:
        spark.sql(f"ALTER TABLE {name} {change}")


def points(names: tuple[str, ...] = POINT_COLUMNS, *, unit: str = "us", zone: str | None = "UTC") -> pa.Table:
    times = pa.array([START_US + (each + 20) * MINUTE for each in range(6)], pa.int64()).cast(TIME)
    times = times.cast(pa.timestamp(unit, tz="UTC")).cast(pa.timestamp(unit, tz=zone))
    columns = [pa.array(["b"] * 6), pa.array(["m"] * 6), times, pa.array([each + 0.25 for each in range(6)])]
    return pa.table(dict(zip(names, columns, strict=True)))


def add_file(spark: SparkSession, name: str, folder: Path, table: pa.Table, **options: Any) -> None:
    place = folder / "added"
    place.mkdir(exist_ok=True)
    pq.write_table(table, place / "a.parquet", **options)
    spark.sql(f"CALL lake.system.add_files(table => '{name}', source_table => '`parquet`.`{place}`')")


def dropped_and_added_again(spark: SparkSession, name: str, folder: Path) -> None:
    create(spark, name)
    insert(spark, name)
    alter(spark, name, "DROP COLUMN value", "ADD COLUMN value double")
    insert(spark, name, 10)


def dropped_and_added_again_without_a_new_row(spark: SparkSession, name: str, folder: Path) -> None:
    create(spark, name)
    insert(spark, name)
    alter(spark, name, "DROP COLUMN metric_name", "ADD COLUMN metric_name string")


def renamed_away(spark: SparkSession, name: str, folder: Path) -> None:
    create(spark, name)
    insert(spark, name)
    alter(spark, name, "RENAME COLUMN value TO old_value", "ADD COLUMN value double")
    insert(spark, name, 10)


def two_swapped(spark: SparkSession, name: str, folder: Path) -> None:
    create(spark, name, f"{COLUMNS}, other double")
    spark.sql(f"INSERT INTO {name} VALUES ('a', 'm', {sql_time(0.5)}, 1.0, 100.0)")
    alter(spark, name, "RENAME COLUMN value TO x", "RENAME COLUMN other TO value", "RENAME COLUMN x TO other")
    insert(spark, name, 10)


def renamed_to_ours(spark: SparkSession, name: str, folder: Path) -> None:
    create(spark, name, "customer string, metric_name string, at timestamp, value double")
    insert(spark, name, names="customer, metric_name, at, value")
    alter(spark, name, "RENAME COLUMN customer TO org_id", "RENAME COLUMN at TO wall_timestamp")
    insert(spark, name, 10)


def the_time_renamed_after_the_last_row(spark: SparkSession, name: str, folder: Path) -> None:
    create(spark, name, COLUMNS.replace("wall_timestamp", "at"), partition="hours(at)")
    insert(spark, name, names="org_id, metric_name, at, value")
    alter(spark, name, "RENAME COLUMN at TO wall_timestamp")


def the_time_dropped_and_added_again(spark: SparkSession, name: str, folder: Path) -> None:
    create(spark, name)
    insert(spark, name)
    alter(spark, name, "DROP COLUMN wall_timestamp", "ADD COLUMN wall_timestamp timestamp")
    insert(spark, name, 10)


def upper_case_and_nested(spark: SparkSession, name: str, folder: Path) -> None:
    columns = "labels struct<value: double, org_id: string>, ORG_ID string, Metric_Name string, "
    create(spark, name, f"{columns} wall_timestamp timestamp, `VALUE` double, `a.value` double")
    for minute in (0.5, 1.5):
        row = f"named_struct('value', 7e0, 'org_id', 'z'), 'A', 'm', {sql_time(minute)}, {minute}, 9e0"
        spark.sql(f"INSERT INTO {name} VALUES ({row})")


def promoted(spark: SparkSession, name: str, folder: Path) -> None:
    create(spark, name, "org_id int, metric_name string, wall_timestamp timestamp, value float")
    insert(spark, name, org="7")
    alter(spark, name, "ALTER COLUMN value TYPE double", "ALTER COLUMN org_id TYPE bigint")
    insert(spark, name, 10, org="8000000000")


def whole_numbers(spark: SparkSession, name: str, folder: Path) -> None:
    create(spark, name, COLUMNS.replace("double", "int"))
    insert(spark, name)
    alter(spark, name, "ALTER COLUMN value TYPE bigint")
    insert(spark, name, 10)


def partitioning_changed(spark: SparkSession, name: str, folder: Path) -> None:
    create(spark, name, partition="hours(wall_timestamp)")
    insert(spark, name)
    alter(spark, name, "ADD PARTITION FIELD org_id", "DROP PARTITION FIELD hours(wall_timestamp)")
    insert(spark, name, 10)
    alter(spark, name, "ADD PARTITION FIELD bucket(4, metric_name)")
    insert(spark, name, 70)


def added_from_folders_of_partitions(spark: SparkSession, name: str, folder: Path) -> None:
    create(spark, name, partition="org_id")
    for org in ("x", "__HIVE_DEFAULT_PARTITION__"):
        place = folder / "hive" / f"org_id={org}"
        place.mkdir(parents=True)
        pq.write_table(points().drop(["org_id"]), place / "a.parquet")
    source = f"`parquet`.`{folder / 'hive'}`"
    spark.sql(f"CALL lake.system.add_files(table => '{name}', source_table => '{source}')")
    insert(spark, name)


def added_by_name(spark: SparkSession, name: str, folder: Path) -> None:
    create(spark, name)
    add_file(spark, name, folder, points().append_column("Value", pa.array([9.0] * 6)))
    insert(spark, name)


def added_then_renamed(spark: SparkSession, name: str, folder: Path) -> None:
    create(spark, name, COLUMNS.replace("org_id", "tenant"))
    add_file(spark, name, folder, points(("tenant", *POINT_COLUMNS[1:])))
    alter(spark, name, "RENAME COLUMN tenant TO org_id")
    insert(spark, name)


def default_of_a_value(spark: SparkSession, name: str, folder: Path) -> None:
    create(spark, name, COLUMNS.replace(", value double", ", x double"), format_version="3")
    insert(spark, name, names="org_id, metric_name, wall_timestamp, x")
    add_with_default(spark, name, "value", "double", 7.5)
    insert(spark, name, 10)


def defaults_of_the_key(spark: SparkSession, name: str, folder: Path) -> None:
    create(spark, name, "value double, at timestamp, x string", format_version="3")
    spark.sql(f"INSERT INTO {name} VALUES (1.0, {sql_time(1)}, ''), (2.0, {sql_time(2)}, '')")
    add_with_default(spark, name, "org_id", "string", "nobody")
    add_with_default(spark, name, "metric_name", "long", 4)
    add_with_default(spark, name, "wall_timestamp", "timestamptz", START_US + 5000)
    spark.sql(f"INSERT INTO {name} VALUES (3.0, {sql_time(3)}, '', 'a', 5, {sql_time(3)})")


def add_with_default(spark: SparkSession, name: str, column: str, kind: str, value: Any) -> None:
    types = iceberg.iceberg(spark).types.Types
    java_type, literal = types.fromPrimitiveString(kind), iceberg.iceberg(spark).expressions.Expressions.lit(value)
    if kind == "timestamptz":
        literal = iceberg.iceberg(spark).expressions.Expressions.millis(value // 1000)
    iceberg.load(spark, name).updateSchema().addColumn(column, java_type, "", literal.to(java_type)).commit()


def without_statistics(spark: SparkSession, name: str, folder: Path) -> None:
    create(spark, name, metrics="none")
    insert(spark, name)
    spark.sql(f"INSERT INTO {name} VALUES ('a', 'm', NULL, 5.0)")


def deleted_by_position(spark: SparkSession, name: str, folder: Path) -> None:
    create(spark, name, format_version="2", delete_mode="merge-on-read")
    insert(spark, name)
    insert(spark, name, 90)
    spark.sql(f"DELETE FROM {name} WHERE value = 2 AND wall_timestamp < {sql_time(60)}")


def deleted_by_vector(spark: SparkSession, name: str, folder: Path) -> None:
    create(spark, name, format_version="3", delete_mode="merge-on-read")
    insert(spark, name)
    spark.sql(f"INSERT INTO {name} VALUES ('a', 'm', NULL, 5.0), ('b', 'm', NULL, 5.0)")
    spark.sql(f"DELETE FROM {name} WHERE value = 2 OR org_id = 'b'")
    alter(spark, name, "DROP COLUMN value", "ADD COLUMN value double")
    insert(spark, name, 10)


def orc(spark: SparkSession, name: str, folder: Path) -> None:
    create(spark, name, file_format="orc")
    insert(spark, name)


def avro_then_parquet(spark: SparkSession, name: str, folder: Path) -> None:
    create(spark, name, file_format="avro")
    insert(spark, name)
    alter(spark, name, "SET TBLPROPERTIES ('write.format.default'='parquet')")
    insert(spark, name, 10)


def int96(spark: SparkSession, name: str, folder: Path) -> None:
    create(spark, name)
    add_file(spark, name, folder, points(), use_deprecated_int96_timestamps=True)
    insert(spark, name)


def local_times(spark: SparkSession, name: str, folder: Path) -> None:
    create(spark, name)
    add_file(spark, name, folder, points(zone=None))
    insert(spark, name)


def milliseconds(spark: SparkSession, name: str, folder: Path) -> None:
    create(spark, name)
    add_file(spark, name, folder, points(unit="ms"))


def milliseconds_and_deletes(spark: SparkSession, name: str, folder: Path) -> None:
    create(spark, name, delete_mode="merge-on-read")
    insert(spark, name, 15)
    spark.sql(f"DELETE FROM {name} WHERE value = 2")
    add_file(spark, name, folder, points(unit="ms"))


FAST = [
    dropped_and_added_again,
    dropped_and_added_again_without_a_new_row,
    renamed_away,
    two_swapped,
    renamed_to_ours,
    the_time_renamed_after_the_last_row,
    the_time_dropped_and_added_again,
    upper_case_and_nested,
    promoted,
    whole_numbers,
    partitioning_changed,
    added_from_folders_of_partitions,
    added_by_name,
    added_then_renamed,
    default_of_a_value,
    defaults_of_the_key,
    without_statistics,
]
SLOW = [deleted_by_position, deleted_by_vector, orc, avro_then_parquet, int96, local_times]


@pytest.fixture
def source(spark: SparkSession, tmp_path: Path) -> str:
    space = f"lake.{tmp_path.name.replace('-', '_').lower()}"
    spark.sql(f"CREATE NAMESPACE {space}")
    return f"{space}.raw"


def roll_up(spark: SparkSession, source: str, start_us: int = START_US) -> BatchResult:
    target = f"{source.split('.branch_')[0]}_rollups"
    iceberg.create_rollups(spark, target)
    return run_batch(spark, Batch(source, target, start_us, START_US + 2 * HOUR, min_tasks=2))


def what_spark_reads(spark: SparkSession, source: str) -> pd.DataFrame:
    rows = spark.table(source)
    chosen = [rows[f"`{next(each for each in rows.columns if each.lower() == name)}`"] for name in POINT_COLUMNS]
    kinds = ("string", "string", "timestamp", "double")
    casts = [column.cast(kind).alias(name) for column, kind, name in zip(chosen, kinds, POINT_COLUMNS, strict=True)]
    frame = rows.select(*casts).toPandas()
    frame["wall_timestamp"] = pd.to_datetime(frame["wall_timestamp"], utc=True)
    return frame


def assert_as_spark_reads_it(spark: SparkSession, source: str, result: BatchResult) -> None:
    wanted = what_spark_reads(spark, source)
    found = table_of(spark, f"{source.split('.branch_')[0]}_rollups")
    assert_same(found, expected_rows(wanted, (60_000, 300_000, 3_600_000)))
    assert result.counts.rows == len(wanted)
    assert result.counts.add_up
    assert result.counts.null_key == wanted[list(POINT_COLUMNS[:3])].isna().any(axis=1).sum()


@pytest.mark.parametrize("scenario", FAST, ids=lambda each: each.__name__)
def test_columns_are_told_by_their_ids(spark: SparkSession, source: str, tmp_path: Path, scenario: Scenario) -> None:
    scenario(spark, source, tmp_path)
    result = roll_up(spark, source)
    assert_as_spark_reads_it(spark, source, result)
    assert result.read_by_spark == 0


@pytest.mark.parametrize("scenario", SLOW, ids=lambda each: each.__name__)
def test_what_arrow_cannot_read_spark_reads_and_the_log_says_so(
    spark: SparkSession,
    source: str,
    tmp_path: Path,
    scenario: Scenario,
    caplog: pytest.LogCaptureFixture,
) -> None:
    scenario(spark, source, tmp_path)
    with caplog.at_level(logging.WARNING):
        result = roll_up(spark, source)
    assert_as_spark_reads_it(spark, source, result)
    assert result.read_by_spark > 0
    assert "Spark's reader, which is slower" in caplog.text


def test_a_branch_is_read_and_not_the_main_one(spark: SparkSession, source: str) -> None:
    create(spark, source)
    insert(spark, source)
    alter(spark, source, "CREATE BRANCH audit")
    insert(spark, f"{source}.branch_audit", 10)
    assert_as_spark_reads_it(spark, f"{source}.branch_audit", roll_up(spark, f"{source}.branch_audit"))
    insert(spark, f"{source}.branch_audit", 70)
    late = roll_up(spark, f"{source}.branch_audit")
    assert late.counts.late == 6
    found = table_of(spark, f"{source}_rollups")
    assert_same(found, expected_rows(what_spark_reads(spark, f"{source}.branch_audit"), (60_000, 300_000, 3_600_000)))


def test_a_past_snapshot_has_the_columns_of_its_time(spark: SparkSession, source: str) -> None:
    create(spark, source)
    insert(spark, source)
    past = iceberg.current_snapshot(iceberg.load(spark, source))
    wanted = what_spark_reads(spark, source)
    alter(spark, source, "RENAME COLUMN value TO old_value", "ADD COLUMN value double")
    insert(spark, source, 10)
    target = f"{source}_past"
    iceberg.create_rollups(spark, target)
    run_batch(spark, Batch(source, target, START_US, START_US + 2 * HOUR, source_snapshot=past))
    assert_same(table_of(spark, target), expected_rows(wanted, (60_000, 300_000, 3_600_000)))


def without_a_mapping(spark: SparkSession, name: str, folder: Path) -> None:
    create(spark, name)
    add_file(spark, name, folder, points())
    alter(spark, name, "UNSET TBLPROPERTIES ('schema.name-mapping.default')")


def with_column(column: str, rows: str = "") -> Scenario:
    """A table with this instead of one of the usual columns."""

    def scenario(spark: SparkSession, name: str, folder: Path) -> None:
        usual = [each for each in COLUMNS.split(", ") if each.split()[0] != column.split()[0]]
        create(spark, name, ", ".join([*usual, column]))
        spark.sql(f"INSERT INTO {name} VALUES ({rows or ', '.join(['NULL'] * 4)})")

    return scenario


HUGE = with_column("value bigint", f"'a', 'm', {sql_time(1)}, {2**53 + 1}")


def huge_in_orc(spark: SparkSession, name: str, folder: Path) -> None:
    create(spark, name, COLUMNS.replace("double", "bigint"), file_format="orc")
    spark.sql(f"INSERT INTO {name} VALUES ('a', 'm', {sql_time(1)}, {2**53 + 1})")


def renamed(spark: SparkSession, name: str, folder: Path) -> None:
    create(spark, name)
    insert(spark, name)
    alter(spark, name, "RENAME COLUMN value TO reading")


REFUSED = {
    "has no column value; it has org_id, metric_name, wall_timestamp, reading": renamed,
    "wall_timestamp is timestamp in Iceberg's words: it has no zone": with_column("wall_timestamp timestamp_ntz"),
    "wall_timestamp is long in Iceberg's words; wall_timestamp must be timestamp": with_column("wall_timestamp bigint"),
    "wall_timestamp is string": with_column("wall_timestamp string"),
    r"value is decimal\(10, 2\)": with_column("value decimal(10, 2)"),
    "org_id is struct": with_column("org_id struct<a: int>"),
    "a value that no double holds: Integer value 9007199254740993": HUGE,
    "a value that no double holds: Integer": huge_in_orc,
    "no field ids and the table no name mapping": without_a_mapping,
    "times in wall_timestamp are in ms, which Iceberg's readers take for us": milliseconds,
    "times in wall_timestamp are in ms, which": milliseconds_and_deletes,
}


@pytest.mark.parametrize(("reason", "scenario"), REFUSED.items(), ids=range(len(REFUSED)))
def test_what_would_be_a_guess_or_change_a_value_is_refused_in_one_line(
    spark: SparkSession, source: str, tmp_path: Path, reason: str, scenario: Scenario
) -> None:
    scenario(spark, source, tmp_path)
    with pytest.raises(JobError, match=reason) as caught:
        roll_up(spark, source, start_us=0)
    assert "\n" not in str(caught.value)
    assert iceberg.current_snapshot(iceberg.load(spark, f"{source}_rollups")) is None


def test_rollups_go_to_a_table_that_holds_rollups_and_nothing_else(spark: SparkSession, source: str) -> None:
    create(spark, source)
    insert(spark, source)
    target = f"{source}_rollups"
    roll_up(spark, source)
    batch = Batch(source, target, START_US, START_US + 3 * HOUR)
    alter(spark, target, "ADD COLUMN note string")
    with pytest.raises(JobError, match="it has note string instead of nothing"):
        run_batch(spark, batch)
    alter(spark, target, "DROP COLUMN note", "ADD PARTITION FIELD org_id")
    with pytest.raises(JobError, match="is partitioned by"):
        run_batch(spark, batch)
    alter(spark, target, "DROP PARTITION FIELD org_id", "CREATE BRANCH b")
    for name, reason in ((f"{target}.branch_b", "is a branch"), (f"{target}.files", "no table of Iceberg's")):
        with pytest.raises(JobError, match=reason):
            run_batch(spark, Batch(source, name, START_US, START_US + 3 * HOUR))
    assert run_batch(spark, batch).snapshot is not None


def test_rollups_that_were_dropped_and_added_again_do_not_come_back(spark: SparkSession, source: str) -> None:
    create(spark, source)
    insert(spark, source, 58)
    target = f"{source}_rollups"
    iceberg.create_rollups(spark, target)
    run_batch(spark, Batch(source, target, START_US, START_US + 61 * MINUTE))
    alter(spark, target, "DROP COLUMN max", "ADD COLUMN max double")
    insert(spark, source, 60)
    with pytest.raises(JobError, match="columns max were dropped and added again"):
        run_batch(spark, Batch(source, target, START_US, START_US + 2 * HOUR))


def test_deletes_on_the_rollups_are_refused_and_the_remedy_works(spark: SparkSession, source: str) -> None:
    create(spark, source)
    insert(spark, source)
    target = f"{source}_rollups"
    iceberg.create_rollups(spark, target, {"write.delete.mode": "merge-on-read"})
    batch = Batch(source, target, START_US, START_US + 90 * MINUTE)
    run_batch(spark, batch)
    spark.sql(f"DELETE FROM {target} WHERE resolution_ms = 60000 AND window_end = {sql_time(1)}")
    insert(spark, source)
    with pytest.raises(JobError, match="run the maintenance task rewrite_data_files"):
        run_batch(spark, batch)
    maintenance.rewrite_data_files(spark, target)
    assert run_batch(spark, batch).counts.late == 6


def test_partials_are_told_by_their_partition_and_not_by_their_path(spark: SparkSession, source: str) -> None:
    create(spark, source)
    insert(spark, source, 58)
    target = f"{source}_rollups"
    layout = {"write.object-storage.enabled": "true", "write.object-storage.partitioned-paths": "false"}
    iceberg.create_rollups(spark, target, layout)
    run_batch(spark, Batch(source, target, START_US, START_US + 60 * MINUTE + 5))
    maintenance.rewrite_data_files(spark, target, target_bytes=1 << 20)
    run_batch(spark, Batch(source, target, START_US, START_US + 2 * HOUR))
    assert_same(table_of(spark, target), expected_rows(what_spark_reads(spark, source), (60_000, 300_000, 3_600_000)))
    assert table_of(spark, target, complete=False).empty
