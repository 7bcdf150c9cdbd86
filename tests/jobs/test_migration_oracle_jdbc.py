# ruff: noqa: F811 (the fixture `process_zone` is imported, and a parameter)
"""The generated tables by Spark's JDBC source, whose JVM has a zone of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from tests.jobs.migration_oracle import JDBC
from tests.jobs.test_migration_oracle import (  # noqa: F401
    WORLDS,
    Case,
    Databases,
    World,
    differing,
    make_case,
    numbers_of_tables,
    process_zone,
    worlds,
)

from pipeline_jobs.migration import job, metrics
from pipeline_jobs.session import close_session, open_session
from pipeline_tuner.local.postgres import PostgresServer


@pytest.fixture(scope="module")
def spark(spark_env: dict[str, str]) -> Iterator[SparkSession]:
    extra = {"spark.sql.caseSensitive": "true", "spark.locality.wait": "0"}
    session = open_session("migration oracle", {"master": "local[2]", "driver_memory": "1g"}, extra=extra)
    yield session
    close_session(session)


@pytest.fixture
def one_session(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job opens no session of its own: a thousand of them would take an hour."""

    @contextmanager
    def opened(*_: Any) -> Iterator[SparkSession]:
        yield spark

    monkeypatch.setattr(job, "_session", opened)
    # The session's event log is one for all cases: what it says of Spark is not what these cases are about.
    monkeypatch.setattr(metrics, "summarise_event_log", lambda *_, **__: {"stages": []})


@pytest.fixture
def zone(spark: SparkSession, process_zone: Callable[[str], None]) -> Iterator[Callable[[str], None]]:
    """Sets the zone of this process and of its JVM."""
    java = spark._jvm.java.util.TimeZone  # type: ignore[union-attr]
    before = java.getDefault()

    def set_zone(name: str) -> None:
        java.setDefault(java.getTimeZone(name))
        process_zone(name)

    yield set_zone
    java.setDefault(before)


@worlds
@numbers_of_tables(6, 140, seed=3)
def test_generated_tables_arrive_exactly_by_jdbc_or_are_refused(
    postgres: PostgresServer,
    new_database: Databases,
    one_session: None,
    zone: Callable[[str], None],
    tmp_path: Path,
    world: World,
    tables: int,
    seed: int,
) -> None:
    zone(world.zone)
    wrong = differing(make_case(postgres, new_database, world, tmp_path), world, JDBC, tables, seed=seed)
    assert not wrong, "\n".join(wrong)


@pytest.fixture
def case(postgres: PostgresServer, new_database: Databases, one_session: None, tmp_path: Path) -> Case:
    return make_case(postgres, new_database, WORLDS[0], tmp_path)


def test_rows_that_landed_before_spark_failed_at_a_type_of_the_target_are_counted(case: Case) -> None:
    # Spark commits the rows, looks at the target's types, and knows no array of money.
    for side in ("source", "target"):
        case.sql(side, "CREATE TABLE prices (id int PRIMARY KEY, paid money[])")
    case.sql("source", "INSERT INTO prices SELECT i, ARRAY[i::money, NULL] FROM generate_series(1, 17) i")
    measurement = case.run({"method": "jdbc", "partitions": 3}, {"table": "prices", "run_id": "r"})
    assert measurement.failure is None
    assert not measurement.failed_checks
    assert measurement.metrics["rows"] == 17
    assert sum(item["read"] for item in measurement.details["partitions"]) == 17
    assert case.sql("target", "SELECT count(*) FROM prices") == [(17,)]


@pytest.mark.parametrize("run", [{}, {"run_id": "r"}], ids=["trial", "production"])
@pytest.mark.parametrize(
    ("columns", "workload", "reason"),
    [
        ('"quo""te" int', {}, "can't name the columns"),
        ("a int, b int", {"key": ["a", "b"]}, "may be NULL"),
        ("a int", {"key": ["nope"]}, "nope"),
    ],
)
def test_what_is_refused_leaves_no_table_behind(
    case: Case, columns: str, workload: dict[str, Any], reason: str, run: dict[str, str]
) -> None:
    case.sql("source", f"CREATE TABLE odd ({columns})")
    measurement = case.run({"method": "jdbc"}, {"table": "odd"} | workload | run)
    assert measurement.failure is not None
    assert measurement.failure.kind == "bad_configuration"
    assert reason in measurement.failure.reason
    assert case.sql("target", "SELECT to_regclass('odd')") == [(None,)]


def test_an_identity_that_only_copy_can_fill_is_measured_in_trials_and_refused_in_production(case: Case) -> None:
    case.sql("source", "CREATE TABLE odd (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a int)")
    case.sql("source", "INSERT INTO odd (a) VALUES (1), (2)")
    refused = case.run({"method": "jdbc"}, {"table": "odd", "run_id": "r"})
    assert refused.failure is not None
    assert "use method 'copy'" in refused.failure.reason
    assert case.sql("target", "SELECT to_regclass('odd')") == [(None,)]
    assert case.run({"method": "copy"}, {"table": "odd", "run_id": "r"}).metrics["rows"] == 2
    assert case.run({"method": "jdbc"}, {"table": "odd"}).metrics["rows"] == 2
