"""The job as a trial: measurement and checks, refused settings, engines, maintenance."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from tests.jobs.test_quantizer_batch import (
    HOUR,
    START_US,
    Make,
    add,
    make,  # noqa: F401
    same_table,
    some_points,
    spark,  # noqa: F401
    table_of,
)
from tests.jobs.test_quantizer_rollup import in_order, random_points, rolled_up, without_tiny

from pipeline_jobs.contract import BadConfigurationError, MeasurementWriter, TrialConfig, read_config
from pipeline_jobs.quantizer import baseline, maintenance, production
from pipeline_jobs.quantizer.batch import run_batch
from pipeline_jobs.quantizer.job import run
from pipeline_jobs.quantizer.settings import check_name, moment_us, read_settings, read_workload


@pytest.mark.parametrize("engine", ["duckdb", "polars"])
def test_engines_give_the_same_states_to_the_last_bit(engine: str) -> None:
    for seed in range(0, 120, 3):
        points = without_tiny(random_points(seed))
        assert in_order(rolled_up(points, engine=engine)).equals(in_order(rolled_up(points))), seed


REFUSED = [
    ({"spark.driver.extraJavaOptions": "-XX:+UseG1GC -XX:+G1SummarizeConcMark"}, "G1SummarizeConcMark"),
    ({"write_format": "data"}, "names the file format"),
    ({"broadcast_partials": True}, "a hint for joins"),
    ({"spark.executor.memoryOverhead": "25g"}, "no effect with the master local"),
    ({"spark.shuffle.service.index.cache.size": "2048"}, "a size in bytes"),
    ({"driver_memory": "9000g"}, "this machine has"),
    ({"engine": "pandas"}, "must be one of compiled, duckdb, polars"),
    ({"chunk_ms": "5m"}, "chunk_ms is '5m', must be a whole number"),
    ({"chunk_ms": -1}, "chunk_ms is -1, must be 0 or more"),
    ({"rows_per_task": 0}, "rows_per_task is 0, must be 1 or more"),
    ({"delete_after_commit": "yes"}, "delete_after_commit is 'yes', must be true or false"),
    ({"shape": "cube"}, "must be one of tasks, baseline"),
    ({"format_version": 1}, "must be 2 or 3"),
    ({"storage_level": "MEMORY_AND_DISK_SER"}, "there is no level ending in _SER"),
    ({"spark.shuffle.registration.timeout": "120000"}, "no external shuffle service"),
]


@pytest.mark.parametrize(("configuration", "reason"), REFUSED)
def test_settings_that_cannot_work_are_refused_with_the_reason(configuration: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadConfigurationError, match=reason):
        read_settings(TrialConfig("quantizer", "t", configuration))


def test_good_flags_of_java_are_accepted() -> None:
    options = "-XX:+UseG1GC -XX:InitiatingHeapOccupancyPercent=35 -XX:G1HeapRegionSize=16m"
    read_settings(TrialConfig("quantizer", "t", {"spark.driver.extraJavaOptions": options}))


def test_an_unknown_workload_option_is_named() -> None:
    with pytest.raises(BadConfigurationError, match=r"pionts \(did you mean points\?\): no such option"):
        read_workload(TrialConfig("quantizer", "t", {}, workload={"pionts": 5}))


def test_a_late_duplicate_updates_nothing(spark: SparkSession, make: Make, tmp_path: Path) -> None:  # noqa: F811
    points = some_points(30, 600)
    batch = make(points, lateness_ms=10**9)
    run_batch(spark, batch)
    before = table_of(spark, batch.target)
    add(spark, batch.source, points.slice(0, 200), tmp_path)
    result = run_batch(spark, batch)
    assert result.counts.late > 0
    same_table(table_of(spark, batch.target), before)


def test_maintenance_changes_no_row_and_keeps_the_position(spark: SparkSession, make: Make) -> None:  # noqa: F811
    batch = make(some_points(31, 1200))
    for hour in range(3):
        run_batch(spark, replace(batch, end_us=START_US + (hour + 1) * HOUR - 7))
    before = table_of(spark, batch.target)
    packed = maintenance.rewrite_data_files(spark, batch.target)
    assert packed["rewritten_files"] > packed["added_files"] > 0
    maintenance.rewrite_manifests(spark, batch.target)
    expired = maintenance.expire_snapshots(spark, batch.target, keep_last=1, older_than_s=0)
    assert expired["deleted_data_files"] > 0
    maintenance.remove_orphan_files(spark, batch.target, older_than_s=0)
    same_table(table_of(spark, batch.target), before)
    assert run_batch(spark, replace(batch, end_us=START_US + 2 * HOUR)).snapshot is None
    result = run_batch(spark, batch)
    assert result.snapshot is not None
    assert table_of(spark, batch.target)["count"].sum() >= before["count"].sum()


def test_production_catches_up_batch_by_batch_and_then_has_nothing_to_do(spark: SparkSession, make: Make) -> None:  # noqa: F811
    target = make(source="lake.none.raw").target
    options = {"points": 6000, "hours": 2, "target": target, "batch_ms": 3_600_000, "lateness_ms": 60_000}
    work = read_workload(TrialConfig("quantizer", "t", {}, workload=options))
    settings = read_settings(TrialConfig("quantizer", "t", {"shape": "tasks"}))
    done = [production.next_batch(spark, settings, work) for _ in range(3)]
    assert [result.snapshot is None for result in done] == [False, False, True]
    rows = spark.table(target).where("complete AND resolution_ms = 60000")
    assert rows.agg({"count": "sum"}).first()[0] > 0.9 * sum(result.counts.points for result in done[:2])
    assert 0 < done[0].counts.points < 2 * done[1].counts.points
    assert production.maintain(spark, replace(work, maintenance="rewrite_manifests"))["added_manifests"] >= 0
    with pytest.raises(BadConfigurationError, match="maintenance is 'vacuum', must be one of rewrite_data_files"):
        production.maintain(spark, replace(work, maintenance="vacuum"))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"until": "yesterday"}, "until is 'yesterday', must be a time such as"),
        ({"start": "{{ data_interval_start }}"}, "start is '.*', must be a time such as"),
        ({"start": "2026-01-02", "until": "2026-01-01"}, "must be later than start"),
        ({"source": "lake.a.b", "target": "lake.a.b"}, "is both the source and the target"),
        ({"resolutions_ms": []}, "give at least one resolution"),
        ({"resolutions_ms": [60_000, 90_000]}, "must be a multiple of the one before"),
        ({"resolutions_ms": [10**20]}, "a window has a year at most"),
    ],
)
def test_times_and_windows_that_cannot_be_are_refused(options: dict[str, Any], reason: str) -> None:
    """Each ended in a Python error, the resolutions' after the table was made."""
    with pytest.raises(BadConfigurationError, match=reason) as refused:
        read_workload(TrialConfig("quantizer", "t", {}, workload=options))
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    "name", ["rollups", "lake..x", "lake.db.my-rollups", "lake.db.`a.b`", "lake.db.x; DROP TABLE y"]
)
def test_a_target_that_no_table_can_be_called_is_refused(name: str) -> None:
    """Spark's parser said so in six lines, after the namespace was made."""
    with pytest.raises(BadConfigurationError, match="must be names with points between"):
        check_name(name)
    check_name("lake.db.`my-rollups`")


def test_a_moment_keeps_its_microseconds() -> None:
    assert moment_us("until", "9999-12-31T23:59:59.999999") == 253_402_300_799_999_999
    assert moment_us("until", "2026-01-01T01:00+01:00") == 1_767_225_600_000_000
    assert moment_us("until", "") is None


@pytest.mark.parametrize(
    ("options", "reason"), [({"source": "lake.a.b"}, "'target' for its"), ({"maintenance": "x"}, "needs a 'target'")]
)
def test_production_without_a_target_is_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadConfigurationError, match=reason):
        read_workload(TrialConfig("quantizer", "t", {}, workload=options))


def test_the_baseline_counts_the_same_points(spark: SparkSession, make: Make) -> None:  # noqa: F811
    batch = make(some_points(32, 600))
    ours = run_batch(spark, batch)
    theirs = replace(batch, target=batch.target + "_baseline")
    baseline.create_tables(spark, theirs)
    finest = spark.table(theirs.target).where("resolution_ms = 60000")
    shape = baseline.Shape(read_partitions=2, write_partitions=2)
    baseline.run_baseline(spark, replace(theirs, end_us=START_US + 50 * 60_000_000), shape)
    assert finest.count() > 0, "windows of a minute don't wait for the hour"
    baseline.run_baseline(
        spark, replace(theirs, start_us=START_US + 50 * 60_000_000, end_us=START_US + 100 * 60_000_000), shape
    )
    baseline.run_baseline(spark, replace(theirs, start_us=START_US + 100 * 60_000_000), shape)
    keyed = "org_id IS NOT NULL AND metric_name IS NOT NULL"
    counted = spark.sql(f"SELECT sum(count) FROM {theirs.target} WHERE resolution_ms = 60000 AND {keyed}").first()
    assert counted is not None
    assert counted[0] == ours.counts.points + ours.counts.repeated


def test_a_trial_leaves_a_checked_measurement(
    spark_env: dict[str, str],
    postgres,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CATALOG", postgres.create_database("quantizer_trial"))
    config = {
        "contract": 1,
        "job": "quantizer",
        "trial_id": "s/1",
        "configuration": {"shape": "tasks", "shuffle_partitions": 2, "driver_memory": "1g"},
        "workload": {"name": "small", "points": 40_000, "hours": 2, "warehouse": str(tmp_path / "warehouse")},
        "connections": {"catalog": "CATALOG"},
        "warmups": 1,
        "repeats": 2,
    }
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    writer = MeasurementWriter(read_config(path), tmp_path / "measurement.json")
    run(writer.config, writer)
    writer.write()
    measured = json.loads((tmp_path / "measurement.json").read_text())
    assert measured["status"] == "measured"
    assert len(measured["checks"]) == 6
    assert all(check["passed"] for check in measured["checks"]), measured["checks"]
    assert measured["metrics"]["rows"] > 30_000
    sample = measured["details"]["sample"]
    assert len(sample["windows"]["3600000"]) == 1
    assert len(sample["windows"]["60000"]) > 50
    assert sum(window[1] for window in sample["windows"]["60000"]) > 0
    assert all(0 < at <= 3600 for at, _ in sample["points"])
    stages = measured["details"]["stages"]
    assert {"roll_up", "merge"} <= {stage["name"] for stage in stages}
    assert not [stage for stage in stages if stage["shuffle_write_bytes"]]
    assert measured["metrics"]["commit_s"] > 0
    assert measured["details"]["iceberg"]["files"] > 0
    assert not list((tmp_path / "warehouse").rglob("quantizer_trial_*/**/*.parquet"))
