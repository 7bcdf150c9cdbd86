"""What the dedup tests share: small sources, runs, and a look at the target."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession
from tests.jobs.job_variables import set_variable

from pipeline_jobs.contract import TrialConfig
from pipeline_jobs.dedup.options import dedup_options
from pipeline_jobs.dedup.run_once import Outcome, deduplicate
from pipeline_tuner.local.postgres import PostgresServer

EVENTS = pa.schema({"id": pa.string(), "at": pa.int64(), "version": pa.int32(), "status": pa.string()})
WORKLOAD = {
    "key": ["id"],
    "timestamp": "at",
    "tie_breakers": ["version"],
    "deleted_when": "status = 'deleted'",
}

ODD_NAMES = (
    *("event.name", "with blank", "tick`s", "_deleted", "_tied", "_attempt", "_c1", 'quo"te', "größe"),
    "n" * 63,
)
"""Names of columns that need quotes, are ours inside, or are as long as PostgreSQL takes them."""


@contextmanager
def databases_in_zones(postgres: PostgresServer, zones: Sequence[str]) -> Iterator[dict[str, str]]:
    """A database in each time zone, gone at the end."""
    names = {zone: f"zone_{number}_{uuid.uuid4().hex[:8]}" for number, zone in enumerate(zones)}
    made = {zone: postgres.create_database(name) for zone, name in names.items()}
    for zone, name in names.items():
        query(made[zone], f"ALTER DATABASE {name} SET timezone = '{zone}'")
    yield made
    for name in names.values():
        postgres.drop_database(name)


def write_events(folder: Path, rows: Iterable[tuple[Any, ...]], name: str = "part.parquet") -> str:
    """Append rows (id, at, version, status) to a Parquet folder."""
    folder.mkdir(exist_ok=True)
    columns = list(map(list, zip(*rows, strict=True))) or [[]] * 4
    pq.write_table(pa.table(columns, schema=EVENTS), folder / name)
    return str(folder)


def config(source: dict[str, Any], target: dict[str, Any], uri: str, **more: Any) -> TrialConfig:
    """A run from a source into a target; `uri` is the target database."""
    set_variable("DEDUP_TEST_TARGET", uri)
    workload = {**WORKLOAD, "source": source, "target": target, **more.pop("workload", {})}
    connections = {"target": "DEDUP_TEST_TARGET", "source": "DEDUP_TEST_TARGET"}
    return TrialConfig("dedup", "t", more, workload=workload, connections=connections)


def run(spark: SparkSession, given: TrialConfig) -> Outcome:
    """One run in a session that the tests share."""
    options = dedup_options(given)
    assert options.source is not None
    return deduplicate(spark, options.source, options, given)


def query(uri: str, sql: str) -> list[tuple[Any, ...]]:
    """All rows of a query."""
    with psycopg2.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else []


def staging_tables(uri: str) -> list[str]:
    """Staging tables that are there now."""
    return [name for (name,) in query(uri, r"SELECT relname FROM pg_class WHERE relname LIKE '\_dedup\_%'")]


def latest_of(rows: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Plain Python's answer for rows (id, at, version, status): sorted, deleted keys left out."""
    best: dict[str, tuple[Any, ...]] = {}
    for row in rows:
        if row[0] not in best or row[1:] > best[row[0]][1:]:
            best[row[0]] = row
    return sorted(row for row in best.values() if row[3] != "deleted")
