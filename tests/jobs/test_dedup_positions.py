"""Bookmarks: a position belongs to one source, one rule and one target's content, and nothing later is hidden by it.

No Spark here: the rows are put into the staging table as tasks would copy them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from dedup_runs import query
from pyspark.sql.types import (
    DataType,
    DateType,
    IntegerType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampNTZType,
    TimestampType,
)

from pipeline_jobs.dedup.options import Rule, Source, Target
from pipeline_jobs.dedup.postgres_target import PostgresTarget
from pipeline_jobs.dedup.source_identity import postgres_identity

SOURCE = Source("parquet", "lake/events")
RULE = Rule(("id",), "at")
TARGET = Target("postgresql", "latest", bookmark="nightly")
BIGINT = LongType()
BIGGEST = 2**63 - 1
NOW = datetime.now(UTC)


@dataclass(frozen=True)
class Job:
    """A job with a bookmark; each night stages rows (id, at, deleted)."""

    uri: str
    kind: DataType = BIGINT
    target: Target = TARGET
    source: Source = SOURCE
    rule: Rule = RULE
    identity: str = ""

    def opened(self) -> PostgresTarget:
        """The target, with key and timestamp and no other columns."""
        schema = StructType([StructField("id", StringType()), StructField("at", self.kind)])
        return PostgresTarget(self.uri, self.target, self.rule, schema, source=self.source, identity=self.identity)

    def night(self, *rows: tuple[Any, ...]) -> str | None:
        """Where the night started from."""
        with self.opened() as target:
            started_from = target.bookmark()
            for number, at, *deleted in rows:
                values = f"('{number}', '{at}', {bool(deleted)}, 1)"
                query(self.uri, f"INSERT INTO {target._staging} VALUES {values}")
            target.merge([1])
        return started_from


def test_a_bookmark_holds_from_night_to_night(database: str) -> None:
    job = Job(database)
    assert job.night(("a", 5), ("b", 6)) is None
    assert job.night(("a", 7), ("b", 6)) == "6"
    assert job.night() == "7"
    assert job.night() == "7", "a night without records leaves it where it is"


REPLACED = {
    "dropped": "DROP TABLE latest",
    "truncated": "TRUNCATE latest",
    "emptied": "DELETE FROM latest",
    "newest deleted": "DELETE FROM latest WHERE at = (SELECT max(at) FROM latest)",
    "put back": "UPDATE latest SET at = 3 WHERE at = (SELECT max(at) FROM latest)",
    "made anew": "ALTER TABLE latest RENAME TO old; CREATE TABLE latest (LIKE old INCLUDING ALL)",
}


@pytest.mark.parametrize("statement", REPLACED.values(), ids=REPLACED)
def test_a_bookmark_ends_with_the_content_that_it_speaks_about(database: str, statement: str) -> None:
    job = Job(database)
    job.night(("a", 5), ("b", 6))
    query(database, statement)
    assert job.night(("a", 5), ("b", 6)) is None
    assert query(database, "SELECT id, at FROM latest ORDER BY 1") == [("a", 5), ("b", 6)]
    assert job.night() == "6"


def test_a_partitioned_target_has_no_file_and_keeps_its_bookmark(database: str) -> None:
    query(database, "CREATE TABLE latest (id text UNIQUE, at bigint) PARTITION BY HASH (id)")
    query(database, "CREATE TABLE part PARTITION OF latest FOR VALUES WITH (MODULUS 1, REMAINDER 0)")
    job = Job(database)
    job.night(("a", 5))
    assert job.night() == "5"
    query(database, "TRUNCATE latest")
    assert job.night() is None


OTHERS = {
    "path": {"source": Source("parquet", "lake/other")},
    "format": {"source": Source("json", "lake/events")},
    "policy": {"rule": Rule(("id",), "at", null_keys="group")},
    "condition": {"rule": Rule(("id",), "at", deleted_when="id = 'x'")},
}


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS)
def test_a_bookmark_is_of_one_source_and_rule(database: str, change: dict[str, Any]) -> None:
    job = Job(database)
    job.night(("a", 5))
    assert replace(job, **change).night(("a", 5)) is None


ANOTHER = {
    "dropped and made anew": "DROP TABLE raw CASCADE; CREATE TABLE raw (id text, at bigint); "
    "CREATE VIEW seen AS TABLE raw",
    "truncated": "TRUNCATE raw",
    "replaced by rename": "ALTER TABLE raw RENAME TO old; CREATE TABLE raw (LIKE old)",
}


@pytest.mark.parametrize("path", ["raw", "public.raw", "(SELECT id, at FROM raw WHERE at > 0) q", "(TABLE seen) q"])
@pytest.mark.parametrize("statement", ANOTHER.values(), ids=ANOTHER)
def test_a_bookmark_is_of_one_table_of_the_source(database: str, path: str, statement: str) -> None:
    """Records of a restored source may all be older than the bookmark of the one before."""
    query(database, "CREATE TABLE raw (id text, at bigint); CREATE VIEW seen AS SELECT * FROM raw")

    def job() -> Job:
        return Job(database, source=Source("jdbc", path), identity=postgres_identity(database, path))

    job().night(("a", 5))
    query(database, "INSERT INTO raw VALUES ('b', 6); ANALYZE raw; CREATE INDEX ON raw (at)")
    assert job().night() == "5"
    query(database, statement)
    is_followed = "seen" in path and "rename" in statement.lower()
    assert job().night() == ("5" if is_followed else None), "a view goes on with the table that it was made of"


def test_a_bookmark_outlives_new_partitions_and_a_refresh(database: str) -> None:
    query(
        database,
        "CREATE TABLE raw (id text, at bigint) PARTITION BY LIST (at); "
        "CREATE TABLE raw_1 PARTITION OF raw FOR VALUES IN (1); CREATE MATERIALIZED VIEW seen AS SELECT * FROM raw",
    )
    before = [postgres_identity(database, path) for path in ("raw", "seen")]
    query(database, "CREATE TABLE raw_2 PARTITION OF raw FOR VALUES IN (2); REFRESH MATERIALIZED VIEW seen")
    assert [postgres_identity(database, path) for path in ("raw", "seen")] == before


def test_a_view_that_says_something_else_is_another_source(database: str) -> None:
    query(database, "CREATE TABLE raw (id text, at bigint); CREATE VIEW seen AS SELECT * FROM raw WHERE at > 3")
    before = postgres_identity(database, "seen")
    query(database, "CREATE OR REPLACE VIEW seen AS SELECT * FROM raw WHERE at < 3")
    assert postgres_identity(database, "seen") != before


def test_a_bookmark_is_of_one_database(database: str, new_database: Callable[[], str]) -> None:
    other = new_database()
    for uri in (database, other):
        query(uri, "CREATE TABLE raw (id text, at bigint)")
    assert postgres_identity(database, "raw") != postgres_identity(other, "raw")


def test_a_deleted_witness_costs_one_night_at_most(database: str) -> None:
    job = Job(database)
    job.night(("a", 5), ("b", 6))
    job.night(("b", 7, "deleted"))
    assert query(database, "SELECT id FROM latest") == [("a",)]
    assert job.night() == "7"
    job.night(("a", 8, "deleted"))
    assert job.night() == "8", "all keys are deleted: there is nothing that could have got lost"


def test_a_bookmark_of_an_older_version_is_read_from_anew(database: str) -> None:
    query(database, "CREATE TABLE latest (id text UNIQUE, at bigint)")
    query(
        database,
        "CREATE TABLE pipeline_tuner_bookmarks (job text PRIMARY KEY, target text NOT NULL, newest text NOT NULL, "
        "moved_at timestamptz NOT NULL DEFAULT now()); "
        "INSERT INTO pipeline_tuner_bookmarks VALUES ('nightly', 'latest', '99')",
    )
    job = Job(database)
    assert job.night(("a", 5)) is None
    assert job.night() == "5"


def test_the_documented_reset_works(database: str) -> None:
    job = Job(database)
    job.night(("a", 5))
    query(database, "DELETE FROM pipeline_tuner_bookmarks WHERE job = 'nightly'")
    assert job.night() is None


EPOCH = int(NOW.timestamp())
AHEAD = NOW + timedelta(days=400)
HIDING = {
    "largest bigint": (BIGINT, [1, 2, 3], BIGGEST, "3"),
    "nearly the largest bigint": (BIGINT, [1, 2, 3], BIGGEST - 1, "3"),
    "largest int": (IntegerType(), [1, 2, 3], 2**31 - 1, "3"),
    "a far number": (BIGINT, [1, 2, 3], 10**6, "3"),
    "seconds": (BIGINT, [EPOCH - 9, EPOCH - 5], EPOCH + 86_400, str(EPOCH - 5)),
    "milliseconds": (BIGINT, [EPOCH * 1000 - 9, EPOCH * 1000], EPOCH * 1000 + 86_400_000, str(EPOCH * 1000)),
    "nanoseconds": (BIGINT, [EPOCH * 10**9 - 9, EPOCH * 10**9], EPOCH * 10**9 + 86_400 * 10**9, str(EPOCH * 10**9)),
    "seconds of the year 9999": (BIGINT, [EPOCH - 9, EPOCH - 5], 253_402_300_799, str(EPOCH - 5)),
    "timestamp": (
        TimestampType(),
        ["2024-01-01T00:00:00.000001Z"],
        "9999-12-31T00:00:00Z",
        "2024-01-01T00:00:00.000001Z",
    ),
    "tomorrow": (TimestampType(), ["2024-01-01T05:00:00Z"], AHEAD.isoformat(), "2024-01-01T05:00:00.000000Z"),
    "without zone": (TimestampNTZType(), ["2024-01-01T05:00:00"], "9999-12-31", "2024-01-01T05:00:00.000000"),
    "date": (DateType(), ["2024-01-01"], "9999-12-31", "2024-01-01"),
}


@pytest.mark.parametrize(("kind", "ordinary", "far", "position"), HIDING.values(), ids=HIDING)
def test_one_record_far_ahead_hides_nothing(
    database: str, kind: DataType, ordinary: Sequence[Any], far: Any, position: str
) -> None:
    job = Job(database, kind)
    job.night(*((f"k{number}", at) for number, at in enumerate(ordinary)), ("far", far))
    started_from = job.night()
    assert started_from == position
    assert query(database, "SELECT count(*) FROM latest") == [(len(ordinary) + 1,)], "the record itself is there"


def test_one_record_alone_at_the_largest_number_sets_no_bookmark(database: str) -> None:
    job = Job(database)
    job.night(("far", BIGGEST))
    assert job.night() is None


def test_a_declared_unit_is_the_bound(database: str) -> None:
    job = Job(database, target=replace(TARGET, timestamp_unit="milliseconds"))
    job.night(("a", 0), ("b", EPOCH * 1000), ("far", EPOCH * 1000 + 86_400_000))
    assert job.night() == str(EPOCH * 1000)
    free = replace(job, target=replace(TARGET, bookmark="free", timestamp_unit="number"))
    free.night(("a", 0), ("b", 10**15))
    assert free.night() == str(10**15)
