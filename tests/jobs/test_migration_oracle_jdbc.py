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
@numbers_of_tables(10, 140, seed=3)
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
