"""Sources of every format, and one clear message for each way that they can be wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dedup_runs import config, latest_of, query, run, write_events
from pyspark.sql import SparkSession
from tests.jobs.job_variables import set_variable

from pipeline_jobs.contract import BadConfigurationError, InfrastructureError, JobError, TrialConfig
from pipeline_jobs.dedup.failures import explained
from pipeline_jobs.session import close_session, open_session

ROWS = [("a", 1, 1, "x"), ("a", 2, 1, "y"), ("b", 5, 0, "x"), ("b", 5, 2, "deleted"), ("c", 1, 1, "z")]
TYPES = "id STRING, at BIGINT, version INT, status STRING"
NONE = {"kind": "none"}
LAKE = {
    "spark.sql.catalog.lake": "org.apache.iceberg.spark.SparkCatalog",
    "spark.sql.catalog.lake.type": "hadoop",
    "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
}


@pytest.fixture(scope="module")
def spark(spark_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    warehouse = {"spark.sql.catalog.lake.warehouse": str(tmp_path_factory.mktemp("lake"))}
    settings = {"master": "local[2]", "shuffle_partitions": 2, "driver_memory": "1g", **LAKE, **warehouse}
    session = open_session("dedup tests", settings)
    yield session
    close_session(session)


def source_of(kind: str, folder: Path, spark: SparkSession, uri: str) -> dict:
    if kind == "parquet":
        return {"format": "parquet", "path": write_events(folder / "events", ROWS)}
    if kind == "json":
        lines = [json.dumps(dict(zip(("id", "at", "version", "status"), row, strict=True))) for row in ROWS]
        (folder / "events.json").write_text("\n".join(lines))
        return {"format": "json", "path": str(folder / "events.json"), "schema": TYPES}
    if kind == "csv":
        (folder / "events.csv").write_text("id,at,version,status\n" + "\n".join(",".join(map(str, r)) for r in ROWS))
        options = {"header": "true"}
        return {"format": "csv", "path": str(folder / "events.csv"), "schema": TYPES, "options": options}
    if kind == "iceberg":
        parquet = spark.read.parquet(write_events(folder / "events", ROWS))
        parquet.writeTo("lake.db.events").createOrReplace()
        return {"format": "iceberg", "path": "lake.db.events"}
    with psycopg2.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE events (id text, at bigint, version int, status text)")
        cursor.executemany("INSERT INTO events VALUES (%s, %s, %s, %s)", ROWS)
    return {"format": "jdbc", "path": "events"}


@pytest.mark.parametrize("kind", ["parquet", "json", "csv", "jdbc", "iceberg"])
def test_every_format_gives_the_same(spark: SparkSession, database: str, tmp_path: Path, kind: str) -> None:
    source = source_of(kind, tmp_path, spark, database)
    outcome = run(spark, config(source, {"kind": "postgresql", "table": "latest"}, database, strategy="auto"))
    assert query(database, "SELECT id, at, version, status FROM latest ORDER BY 1") == latest_of(ROWS)
    assert outcome.choice is not None
    assert outcome.counts is not None
    assert (outcome.counts.unique, outcome.counts.deletes, outcome.counts.duplicates) == (3, 1, 2)


def test_parquet_output_is_switched_at_once(spark: SparkSession, database: str, tmp_path: Path) -> None:
    source = {"format": "parquet", "path": write_events(tmp_path / "events", ROWS)}
    out = tmp_path / "out"
    for _ in range(2):
        run(spark, config(source, {"kind": "parquet", "path": str(out)}, database, strategy="window"))
        current = (out / "CURRENT").read_text()
        found = spark.read.parquet(str(out / current)).orderBy("id").collect()
        assert [tuple(row) for row in found] == latest_of(ROWS)
        assert [path.name for path in out.glob("run-*")] == [current], "what isn't current is removed"


@pytest.mark.parametrize(
    ("files", "source", "message"),
    [
        ({}, {"format": "parquet", "path": "gone"}, "gone: .PATH_NOT_FOUND"),
        (
            {"x.json": '{"id": "a", "at": 1\nnot json'},
            {"format": "json", "path": "x.json"},
            r"file \S+x\.json has a record that can't be read",
        ),
        ({"x.csv": "a,one,1,x\n"}, {"format": "csv", "path": "x.csv"}, r"x\.csv has a record with 'one' in column at"),
        ({"x.parquet": "PAR1 not at all"}, {"format": "parquet", "path": "x.parquet"}, "damaged|not Parquet"),
        ({"x.json": "{}"}, {"format": "json", "path": "x.json", "schema": "id STRING"}, "no column at, version"),
        (
            {"x.json": "{}"},
            {"format": "json", "path": "x.json", "schema": TYPES.replace("at BIGINT", "at STRING")},
            "column at is a string, the timestamp must be",
        ),
        ({"x.json": "{}"}, {"format": "json", "path": "x.json", "schema": "id WHAT"}, "source .*x.json.*WHAT"),
        ({"x.json": "{}"}, {"format": "xml", "path": "x.json"}, "source: format is 'xml', must be one of parquet"),
    ],
)
def test_a_wrong_source_gets_one_message(
    spark: SparkSession, database: str, tmp_path: Path, files: dict, source: dict, message: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    given = {"schema": TYPES if source["format"] in ("json", "csv") else "", **source}
    given["path"] = str(tmp_path / given["path"])
    error = error_of(spark, config(given, NONE, database, strategy="window"))
    assert isinstance(error, BadConfigurationError)
    assert re.search(message, str(error))
    assert len(str(error).splitlines()) == 1


def test_a_wrong_type_and_a_database_that_refuses_get_one_message(
    spark: SparkSession, database: str, tmp_path: Path
) -> None:
    events = write_events(tmp_path / "events", ROWS)
    mistyped = {"format": "parquet", "path": events, "schema": TYPES.replace("at BIGINT", "at TIMESTAMP")}
    locked_out = re.sub(r"://([^:]+):[^@]+@", r"://\1:hunter2@", database)
    target = {"kind": "postgresql", "table": "latest"}
    query(database, "CREATE TABLE latest (id text UNIQUE, at text, version int, status text)")
    cases = [
        (
            config(mistyped, NONE, database),
            BadConfigurationError,
            r"part\.parquet has INT64 in column at, where",
        ),
        (config({"format": "jdbc", "path": "gone"}, NONE, database), BadConfigurationError, 'relation "gone" does not'),
        (config({"format": "jdbc", "path": "x"}, NONE, locked_out), InfrastructureError, "password authentication"),
        (config({"format": "parquet", "path": events}, target, locked_out), InfrastructureError, "password authentic"),
        (
            config({"format": "parquet", "path": events}, target, database),
            BadConfigurationError,
            "column at of type text, which can't hold every bigint",
        ),
    ]
    for given, kind, message in cases:
        set_variable("DEDUP_TEST_TARGET", locked_out if kind is InfrastructureError else database)
        error = error_of(spark, replace(given, configuration={"strategy": "window"}))
        assert isinstance(error, kind), message
        assert re.search(message, str(error)), str(error)
        assert len(str(error).splitlines()) == 1
        assert "hunter2" not in str(error)


def error_of(spark: SparkSession, given: TrialConfig) -> Exception:
    """What the job says of a run that must fail."""
    try:
        run(spark, given)
    except Exception as error:
        return explained(error, {})
    raise AssertionError("the run did not fail")


def test_policies_that_fail_say_so(spark: SparkSession, database: str, tmp_path: Path) -> None:
    rows = [(None, 1, 1, "x"), ("a", None, 1, "x")]
    source = {"format": "parquet", "path": write_events(tmp_path / "events", rows)}
    target = {"kind": "postgresql", "table": "latest"}
    for policy, message in ({"null_keys": "fail"}, "NULL in the key"), ({"null_timestamps": "fail"}, "no at"):
        error = error_of(spark, config(source, target, database, strategy="window", workload=policy))
        assert isinstance(error, JobError)
        assert message in str(error)
    assert query(database, "SELECT count(*) FROM latest") == [(0,)]


def test_times_that_iceberg_would_misread_are_refused(spark: SparkSession, database: str, tmp_path: Path) -> None:
    """Milliseconds in a file that was added became days of January 1970."""
    for unit, is_right in (("us", True), ("ms", False)):
        table, folder = f"lake.db.added_{unit}", tmp_path / unit
        folder.mkdir()
        moment = pa.array([1_767_229_323_000], pa.timestamp("ms", "UTC")).cast(pa.timestamp(unit, "UTC"))
        pq.write_table(pa.table({"id": ["a"], "at": moment}), folder / "x.parquet")
        spark.sql(f"CREATE OR REPLACE TABLE {table} (id string, at timestamp) USING iceberg")
        spark.sql(f"CALL lake.system.add_files(table => '{table}', source_table => '`parquet`.`{folder}`')")
        rule = {"tie_breakers": [], "deleted_when": ""}
        target = {"kind": "postgresql", "table": "latest"}
        given = config({"format": "iceberg", "path": table}, target, database, workload=rule)
        if is_right:
            run(spark, given)
            assert query(database, "SELECT extract(epoch FROM at)::bigint FROM latest") == [(1_767_229_323,)]
        else:
            assert "was added to" in str(error_of(spark, given))


@pytest.mark.parametrize("option", ["snapshot-id", "tag", "branch", "as-of-timestamp"])
def test_a_past_state_of_an_iceberg_table_is_read(spark: SparkSession, database: str, option: str) -> None:
    """Spark refused three of these four: Iceberg's own names for them are gone."""
    table = f"lake.db.past_{option.replace('-', '_')}"
    spark.sql(f"CREATE OR REPLACE TABLE {table} (id string, at bigint) USING iceberg")
    spark.sql(f"INSERT INTO {table} VALUES ('a', 1)")
    first = spark.sql(f"SELECT snapshot_id, unix_millis(committed_at) FROM {table}.snapshots").head()
    assert first is not None
    spark.sql(f"ALTER TABLE {table} CREATE TAG t")
    spark.sql(f"ALTER TABLE {table} CREATE BRANCH b")
    spark.sql(f"INSERT INTO {table} VALUES ('b', 2)")
    value = {"snapshot-id": first[0], "tag": "t", "branch": "b", "as-of-timestamp": first[1]}[option]
    source = {"format": "iceberg", "path": table, "options": {option: value}}
    rule = {"tie_breakers": [], "deleted_when": ""}
    run(spark, config(source, {"kind": "postgresql", "table": "latest"}, database, workload=rule))
    assert query(database, "SELECT id FROM latest") == [("a",)]
