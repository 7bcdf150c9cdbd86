# ruff: noqa: F811 (the fixture `spark` is imported, and a parameter)
"""A position speaks about one source and one target, and what becomes of them shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from pyspark.sql import SparkSession
from tests.jobs.quantizer_oracle import assert_same, expected_rows
from tests.jobs.test_quantizer_batch import HOUR, MINUTE, START_US, spark, table_of  # noqa: F401
from tests.jobs.test_quantizer_identity import alter, create, insert, source, sql_time, what_spark_reads  # noqa: F401

from pipeline_jobs.contract import JobError, TrialConfig
from pipeline_jobs.quantizer import iceberg, maintenance, production
from pipeline_jobs.quantizer.batch import run_batch
from pipeline_jobs.quantizer.batch_request import Batch
from pipeline_jobs.quantizer.position import Position, read_position
from pipeline_jobs.quantizer.settings import read_settings, read_workload

RESOLUTIONS = (60_000, 300_000, 3_600_000)
Change = Callable[[SparkSession, str], None]


@pytest.fixture
def batch(spark: SparkSession, source: str) -> Batch:
    """A batch of an hour that was rolled up."""
    create(spark, source)
    insert(spark, source)
    iceberg.create_rollups(spark, f"{source}_rollups")
    first = Batch(source, f"{source}_rollups", START_US, START_US + HOUR)
    run_batch(spark, first)
    return first


def dropped_and_made_anew(spark: SparkSession, name: str) -> None:
    spark.sql(f"DROP TABLE {name} PURGE")
    create(spark, name)
    insert(spark, name, 10)


def replaced(spark: SparkSession, name: str) -> None:
    rows = f"SELECT 'z' AS org_id, 'm' AS metric_name, {sql_time(61)} AS wall_timestamp, 1e0 AS value"
    spark.sql(f"CREATE OR REPLACE TABLE {name} USING iceberg AS {rows}")


def rolled_back_and_continued(spark: SparkSession, name: str) -> None:
    first = spark.sql(f"SELECT snapshot_id FROM {name}.snapshots ORDER BY committed_at").first()
    assert first is not None
    spark.sql(f"CALL lake.system.rollback_to_snapshot('{name}', {first[0]})")
    insert(spark, name, 61)


def expired(spark: SparkSession, name: str) -> None:
    for minute in (61, 71, 81):
        insert(spark, name, minute)
    forget_all_but_the_newest(spark, name)


def forget_all_but_the_newest(spark: SparkSession, name: str) -> None:
    before = "TIMESTAMP '2100-01-01'"
    spark.sql(f"CALL lake.system.expire_snapshots(table => '{name}', older_than => {before}, retain_last => 1)")


def value_dropped_and_added_again(spark: SparkSession, name: str) -> None:
    alter(spark, name, "DROP COLUMN value", "ADD COLUMN value double")
    insert(spark, name, 61)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (dropped_and_made_anew, "was dropped and made anew"),
        (replaced, "is no ancestor of|dropped and added again"),
        (rolled_back_and_continued, "is no ancestor of"),
        (expired, "is no ancestor of"),
        (value_dropped_and_added_again, "columns of .* were dropped and added again"),
    ],
)
def test_another_source_than_the_one_rolled_up_so_far_is_refused(
    spark: SparkSession, batch: Batch, change: Change, reason: str
) -> None:
    insert(spark, batch.source, 20)
    run_batch(spark, batch)
    change(spark, batch.source)
    before = table_of(spark, batch.target)
    with pytest.raises(JobError, match=reason) as caught:
        run_batch(spark, replace(batch, end_us=batch.end_us + HOUR))
    assert "\n" not in str(caught.value)
    assert table_of(spark, batch.target).equals(before)


def test_another_table_under_the_same_option_is_refused(spark: SparkSession, batch: Batch) -> None:
    create(spark, f"{batch.source}_other")
    insert(spark, f"{batch.source}_other", 61)
    with pytest.raises(JobError, match="another one was named"):
        run_batch(spark, replace(batch, source=f"{batch.source}_other", end_us=batch.end_us + HOUR))


def assert_complete(spark: SparkSession, batch: Batch) -> None:
    assert_same(table_of(spark, batch.target), expected_rows(what_spark_reads(spark, batch.source), RESOLUTIONS))


def test_a_target_that_was_rolled_back_is_rolled_up_again(spark: SparkSession, batch: Batch) -> None:
    past = read_position(iceberg.load(spark, batch.target))
    snapshot = iceberg.current_snapshot(iceberg.load(spark, batch.target))
    insert(spark, batch.source, 20)
    insert(spark, batch.source, 70)
    whole = replace(batch, end_us=batch.end_us + HOUR)
    run_batch(spark, whole)
    maintenance.keep_position(spark, batch.target)
    spark.sql(f"CALL lake.system.rollback_to_snapshot('{batch.target}', {snapshot})")
    assert read_position(iceberg.load(spark, batch.target)) == past
    assert run_batch(spark, whole).counts.late == 6
    assert_complete(spark, whole)


def test_a_target_without_its_snapshots_that_was_rolled_back_never_takes_the_tags_position(
    spark: SparkSession, batch: Batch
) -> None:
    insert(spark, batch.source, 61)
    run_batch(spark, replace(batch, end_us=batch.end_us + HOUR // 2))
    assert maintenance.rewrite_data_files(spark, batch.target)["rewritten_files"] > 0
    compacted = iceberg.current_snapshot(iceberg.load(spark, batch.target))
    insert(spark, batch.source, 95)
    run_batch(spark, replace(batch, end_us=batch.end_us + HOUR))
    maintenance.keep_position(spark, batch.target)
    spark.sql(f"CALL lake.system.rollback_to_snapshot('{batch.target}', {compacted})")
    forget_all_but_the_newest(spark, batch.target)
    with pytest.raises(JobError, match="has snapshots but no position"):
        read_position(iceberg.load(spark, batch.target))


@pytest.mark.parametrize("how", ["emptied", "filled"])
def test_a_target_that_was_replaced_never_takes_the_tags_position(spark: SparkSession, batch: Batch, how: str) -> None:
    maintenance.keep_position(spark, batch.target)
    rows = f"SELECT * FROM {batch.target} WHERE complete"
    if how == "filled":
        spark.sql(f"CREATE OR REPLACE TABLE {batch.target} USING iceberg AS {rows}")
        with pytest.raises(JobError, match="has snapshots but no position"):
            read_position(iceberg.load(spark, batch.target))
        return
    columns = ", ".join(f"{row['col_name']} {row['data_type']} NOT NULL" for row in columns_of(spark, batch.target))
    spark.sql(
        f"CREATE OR REPLACE TABLE {batch.target} ({columns}) USING iceberg PARTITIONED BY ({iceberg.PARTITIONING}) "
        f"TBLPROPERTIES ('format-version'='2')"
    )
    assert read_position(iceberg.load(spark, batch.target)) == Position()
    assert run_batch(spark, batch).counts.points == 6
    assert_complete(spark, batch)


def columns_of(spark: SparkSession, name: str) -> list:
    rows = spark.sql(f"DESCRIBE TABLE {name}").collect()
    return rows[: next(place for place, row in enumerate(rows) if row["col_name"][:1] in ("", "#"))]


def test_too_late_rows_are_those_of_this_target_alone(spark: SparkSession, batch: Batch) -> None:
    strict = replace(batch, lateness_ms=0)
    insert(spark, batch.source, 20)
    assert run_batch(spark, strict).counts.too_late == 6
    aside = f"{batch.target}_too_late"
    assert spark.table(aside).count() == 6
    spark.sql(f"DROP TABLE {batch.target} PURGE")
    iceberg.create_rollups(spark, batch.target)
    assert run_batch(spark, strict).counts.points == 12
    alter(spark, batch.source, "ADD COLUMN note string")
    insert(spark, batch.source, 30)
    assert run_batch(spark, strict).counts.too_late == 6
    assert spark.table(aside).count() == 6
    assert "note" in spark.table(aside).columns


def test_rows_too_late_of_batches_that_were_rolled_back_are_kept_once(spark: SparkSession, batch: Batch) -> None:
    strict = replace(batch, lateness_ms=0)
    snapshot = iceberg.current_snapshot(iceberg.load(spark, batch.target))
    for minute in (20, 30):
        insert(spark, batch.source, minute)
        run_batch(spark, strict)
    spark.sql(f"CALL lake.system.rollback_to_snapshot('{batch.target}', {snapshot})")
    assert run_batch(spark, strict).counts.too_late == 12
    assert spark.table(f"{batch.target}_too_late").count() == 12


def test_a_row_from_before_the_first_one_is_late_and_not_lost(spark: SparkSession, source: str) -> None:
    create(spark, source)
    insert(spark, source, 20)
    options = {"source": source, "target": f"{source}_rollups", "until": "2026-01-01T01:00:00Z", "lateness_ms": 10**9}
    work = read_workload(TrialConfig("quantizer", "t", {}, workload=options))
    settings = read_settings(TrialConfig("quantizer", "t", {"shape": "tasks"}))
    production.next_batch(spark, settings, work)
    insert(spark, source)
    second = production.next_batch(spark, settings, replace(work, until="2026-01-01T02:00:00Z"))
    assert second.counts.late == 6
    assert_same(table_of(spark, work.target), expected_rows(what_spark_reads(spark, source), RESOLUTIONS))


def test_a_time_in_the_future_covers_nothing_that_is_not_over(spark: SparkSession, source: str) -> None:
    """Rows that came later would all have been late, and most of them too late."""
    create(spark, source)
    insert(spark, source)
    options = {"source": source, "target": f"{source}_rollups", "until": "2999-01-01T00:00:00Z"}
    work = read_workload(TrialConfig("quantizer", "t", {}, workload=options))
    production.next_batch(spark, read_settings(TrialConfig("quantizer", "t", {"shape": "tasks"})), work)
    covered = read_position(iceberg.load(spark, work.target)).watermark_us
    assert covered <= datetime.now(UTC).timestamp() * 1e6


def test_production_writes_nothing_where_it_refuses(spark: SparkSession, source: str) -> None:
    create(spark, source)
    create(spark, f"{source}_other")
    insert(spark, source)
    settings = read_settings(TrialConfig("quantizer", "t", {"shape": "tasks"}))
    before = dict(iceberg.load(spark, source).properties())
    for options, reason in (
        ({"source": f"{source}_none", "target": f"{source}_new"}, "there is no Iceberg table"),
        ({"source": source, "target": f"{source}_other"}, "is no table of rollups"),
    ):
        work = read_workload(TrialConfig("quantizer", "t", {}, workload=options))
        with pytest.raises(JobError, match=reason):
            production.next_batch(spark, settings, work)
    assert not spark.catalog.tableExists(f"{source}_new")
    assert dict(iceberg.load(spark, source).properties()) == before


def test_a_position_of_an_earlier_version_is_read() -> None:
    text = '{"batch":1,"covered":[[1,2]],"source_snapshot":3,"resolutions_ms":[1000],"counts":{}}'
    assert Position.from_json(text) == Position(1, ((1, 2),), 3, (1000,), {})
    newer = Position(1, ((1, 2),), 3, (1000,), {}, "uuid", (1, 2, 3, 4))
    assert Position.from_json(newer.to_json()) == newer
