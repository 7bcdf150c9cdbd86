"""The PostgreSQL target: incremental runs, exactly once, one writer, and every type."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from dedup_runs import config, latest_of, query, run, staging_tables, write_events
from pyspark.sql import SparkSession

from pipeline_jobs.contract import BadConfigurationError, JobError
from pipeline_jobs.dedup import postgres_target
from pipeline_jobs.dedup.options import Rule, Target
from pipeline_jobs.dedup.postgres_target import PostgresTarget
from pipeline_jobs.dedup.strategies import DELETED
from pipeline_jobs.session import close_session, open_session

TARGET = {"kind": "postgresql", "table": "latest", "bookmark": "nightly", "look_back_s": 10}


@pytest.fixture(scope="module")
def spark(spark_env: dict[str, str]) -> Iterator[SparkSession]:
    session = open_session("dedup tests", {"master": "local[2]", "shuffle_partitions": 2, "driver_memory": "1g"})
    yield session
    close_session(session)


def test_incremental_runs_equal_one_run_over_everything(spark: SparkSession, database: str, tmp_path: Path) -> None:
    r = random.Random(5)
    rows: list[tuple] = []
    for night in range(4):
        # Up to 9 units late, within the look-back of 10.
        start = night * 100
        new = [
            (f"k{r.randrange(12)}", start + r.randrange(-9, 60), r.randrange(3), r.choice(("active", "deleted")))
            for _ in range(40)
        ]
        rows += new
        source = write_events(tmp_path / "events", new, f"night-{night}.parquet")
        outcome = run(spark, config({"format": "parquet", "path": source}, TARGET, database, strategy="auto"))
        found = query(database, "SELECT id, at, version, status FROM latest ORDER BY 1")
        assert found == latest_of(rows), f"night {night}"
        assert query(database, "SELECT newest FROM pipeline_tuner_bookmarks") == [(str(max(row[1] for row in rows)),)]
    assert outcome.started_from is not None
    assert outcome.counts is not None
    assert outcome.counts.rows < len(rows), "the last run read what the first had done"
    assert staging_tables(database) == []


def test_an_older_record_does_not_replace_a_newer_one(spark: SparkSession, database: str, tmp_path: Path) -> None:
    """The source keeps only the last delivery: the target alone knows the newer record."""
    target = {"kind": "postgresql", "table": "latest"}
    for number, row in enumerate([("a", 10, 1, "x"), ("a", 9, 5, "old"), ("a", 10, 0, "older version")]):
        source = write_events(tmp_path / f"delivery-{number}", [row])
        run(spark, config({"format": "parquet", "path": source}, target, database, strategy="window"))
    assert query(database, "SELECT at, version, status FROM latest") == [(10, 1, "x")]
    source = write_events(tmp_path / "delivery-deleted", [("a", 9, 9, "deleted")])
    run(spark, config({"format": "parquet", "path": source}, target, database, strategy="window"))
    assert query(database, "SELECT count(*) FROM latest") == [(1,)], "an old delete marker deletes nothing newer"


def test_replace_leaves_this_runs_result_only(spark: SparkSession, database: str, tmp_path: Path) -> None:
    target = {"kind": "postgresql", "table": "latest", "mode": "replace"}
    for number, name in enumerate("ab"):
        source = write_events(tmp_path / f"delivery-{number}", [(name, 1, 1, "x"), (name, 1, 1, "x")])
        outcome = run(spark, config({"format": "parquet", "path": source}, target, database, strategy="max_by"))
    assert query(database, "SELECT id FROM latest") == [("b",)]
    assert outcome.counts is not None
    assert outcome.counts.ties == 0, "equal records are no tie"


def test_attempts_that_do_not_count_leave_no_row(spark: SparkSession, database: str, tmp_path: Path) -> None:
    """A task that ran twice (speculation, a lost executor) has staged its rows twice."""
    records = spark.read.parquet(write_events(tmp_path / "events", [("a", 1, 1, "x"), ("b", 1, 1, "x")]))
    rows = records.selectExpr("*", f"false AS {DELETED}")
    with PostgresTarget(database, Target("postgresql", "latest"), Rule(("id",), "at"), records.schema) as target:
        target.stage(rows.where("id = 'a'"))
        counted = target.stage(rows)
        merged = target.merge(counted)
    assert (merged.staged, merged.upserted) == (2, 2)
    assert query(database, "SELECT id FROM latest ORDER BY 1") == [("a",), ("b",)]


def test_two_runs_do_not_write_at_once(
    spark: SparkSession, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_target, "LOCK_TIMEOUT_S", 1)
    records = spark.read.parquet(write_events(tmp_path / "events", [("a", 1, 1, "x")]))
    place = (database, Target("postgresql", "latest"), Rule(("id",), "at"), records.schema)
    with PostgresTarget(*place), pytest.raises(JobError, match="another run writes to latest"), PostgresTarget(*place):
        pass
    with PostgresTarget(*place):
        assert len(staging_tables(database)) == 1, "the first run's staging table is removed by the next"


def test_grouped_null_keys_are_one_row_through_merges(spark: SparkSession, database: str, tmp_path: Path) -> None:
    target = {"kind": "postgresql", "table": "latest"}
    for number, rows in enumerate(([(None, 1, 1, "x"), (None, 2, 1, "y")], [(None, 3, 1, "z")])):
        source = {"format": "parquet", "path": write_events(tmp_path / f"d{number}", rows)}
        given = config(source, target, database, strategy="window", workload={"null_keys": "group"})
        run(spark, given)
    assert query(database, "SELECT id, at, status FROM latest") == [(None, 3, "z")]
    gone = {"format": "parquet", "path": write_events(tmp_path / "d9", [(None, 4, 1, "deleted")])}
    assert run(spark, config(gone, target, database, strategy="window", workload={"null_keys": "group"})).merged.deleted
    assert query(database, "SELECT count(*) FROM latest") == [(0,)]


def test_every_type_arrives(spark: SparkSession, database: str, tmp_path: Path) -> None:
    path = str(tmp_path / "types")
    spark.sql("""
        SELECT 1 AS id, TIMESTAMP '2024-03-31 00:30:00.000001Z' AS at, DATE '0001-01-01' AS d, true AS flag,
            12.30BD AS amount, double('NaN') AS nan, double('-Infinity') AS low, X'00FF' AS bin, '' AS empty,
            string(NULL) AS nothing, 'a "quoted",\nline \\\\ backslash' AS text, array(1, NULL) AS list,
            struct(1 AS a, 'x' AS b) AS part, map('k', 1) AS tags, TIMESTAMP_NTZ '2024-01-01 00:00:00' AS local
    """).write.parquet(path)
    rule = {"key": ["id"], "timestamp": "at", "tie_breakers": [], "deleted_when": "NOT flag"}
    target = {"kind": "postgresql", "table": "types"}
    run(spark, config({"format": "parquet", "path": path}, target, database, strategy="max_by", workload=rule))
    assert query(
        database,
        """
        SELECT at = '2024-03-31 00:30:00.000001Z', d = '0001-01-01', flag, amount = 12.3, nan = 'NaN',
            low = '-Infinity', bin = '\\x00ff', empty = '', nothing IS NULL,
            text = E'a "quoted",\nline \\\\ backslash',
            list = '[1, null]', part = '{"a": 1, "b": "x"}', tags = '{"k": 1}',
            local = '2024-01-01' FROM types
    """,
    ) == [(True,) * 14]


def test_a_target_without_what_it_needs_is_refused(spark: SparkSession, database: str, tmp_path: Path) -> None:
    source = {"format": "parquet", "path": write_events(tmp_path / "events", [("a", 1, 1, "x")])}
    target = {"kind": "postgresql", "table": "latest"}
    query(database, "CREATE TABLE latest (id text, at bigint, version int)")
    with pytest.raises(BadConfigurationError, match="latest has no column status"):
        run(spark, config(source, target, database))
    query(database, "ALTER TABLE latest ADD status text")
    with pytest.raises(BadConfigurationError, match=r"needs a unique index on \(id\)"):
        run(spark, config(source, target, database))
    assert query(database, "SELECT count(*) FROM latest") == [(0,)]
    query(database, "CREATE UNIQUE INDEX ON latest (id)")
    run(spark, config(source, target, database))
    assert query(database, "SELECT count(*) FROM latest") == [(1,)]


def test_the_bookmark_is_of_one_transaction_with_the_rows(spark: SparkSession, database: str, tmp_path: Path) -> None:
    source = {"format": "parquet", "path": write_events(tmp_path / "events", [("a", 7, 1, "x")])}
    query(database, "CREATE TABLE latest (id text UNIQUE, at bigint, version int, status text CHECK (status <> 'x'))")
    with pytest.raises(BadConfigurationError, match=r"refused the rows for table latest: .* violates check constraint"):
        run(spark, config(source, TARGET, database, strategy="window"))
    assert query(database, "SELECT count(*) FROM latest") == [(0,)]
    assert query(database, "SELECT count(*) FROM pipeline_tuner_bookmarks") == [(0,)]


def test_source_options_are_checked(database: str) -> None:
    given = config({"format": "parquet", "path": "x"}, {"kind": "postgresql"}, database)
    with pytest.raises(BadConfigurationError, match=r"target\.table is missing"):
        run(None, given)  # type: ignore[arg-type]
    with pytest.raises(BadConfigurationError, match="strategy is 'fast', must be one of auto"):
        run(None, replace(given, workload={**given.workload, "target": {}}, configuration={"strategy": "fast"}))  # type: ignore[arg-type]
