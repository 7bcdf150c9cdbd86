"""What a PostgreSQL target refuses before the first record is read, and that each remedy works. No Spark here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg2
import pytest
from dedup_runs import ODD_NAMES, query
from pyspark.sql.types import (
    ArrayType,
    DataType,
    DateType,
    DayTimeIntervalType,
    IntegerType,
    LongType,
    MapType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.dedup.columns import Names, check_names
from pipeline_jobs.dedup.options import Rule, Target
from pipeline_jobs.dedup.postgres_target import PostgresTarget
from pipeline_jobs.dedup.postgres_types import check_types

TYPES = StructType([StructField("id", StringType()), StructField("at", LongType()), StructField("t", StringType())])
LATEST = Target("postgresql", "latest")


def merge(uri: str, rows: str = "('a', 1, 'x', false, 1)", target: Target = LATEST) -> None:
    """Stage a row of id, at, t and merge it."""
    with PostgresTarget(uri, target, Rule(("id",), "at"), TYPES) as opened:
        query(uri, f"INSERT INTO {opened._staging} VALUES {rows}")
        opened.merge([1])


@dataclass(frozen=True)
class Refusal:
    """A target as it is, the words of the refusal, and what they advise."""

    made: str
    words: str
    remedy: str


REFUSALS = {
    "no column": Refusal(
        "CREATE TABLE latest (id text UNIQUE, at bigint)", "no column t: add it", "ALTER TABLE latest ADD t text"
    ),
    "narrower": Refusal(
        "CREATE TABLE latest (id text UNIQUE, at integer, t text)",
        "ALTER its type to bigint",
        "ALTER TABLE latest ALTER at TYPE bigint",
    ),
    "cut by blanks": Refusal(
        "CREATE TABLE latest (id text UNIQUE, at bigint, t char(3))",
        "ALTER its type to text",
        "ALTER TABLE latest ALTER t TYPE text",
    ),
    "cut to a name": Refusal(
        "CREATE TABLE latest (id text UNIQUE, at bigint, t name)",
        "ALTER its type to text",
        "ALTER TABLE latest ALTER t TYPE text",
    ),
    "cut to a character": Refusal(
        'CREATE TABLE latest (id text UNIQUE, at bigint, t "char")',
        "ALTER its type to text",
        "ALTER TABLE latest ALTER t TYPE text",
    ),
    "order of numbers as texts": Refusal(
        "CREATE TABLE latest (id text UNIQUE, at text, t text)",
        "ALTER its type to bigint",
        "ALTER TABLE latest ALTER at TYPE bigint USING at::bigint",
    ),
    "another type": Refusal(
        "CREATE TABLE latest (id text UNIQUE, at bigint, t uuid)",
        "ALTER its type to text",
        "ALTER TABLE latest ALTER t TYPE text",
    ),
    "domain": Refusal(
        "CREATE DOMAIN code AS char(3); CREATE TABLE latest (id text UNIQUE, at bigint, t code)",
        "of type character\\(3\\).* ALTER its type to text",
        "ALTER TABLE latest ALTER t TYPE text",
    ),
    "vague collation": Refusal(
        "CREATE COLLATION vague (provider = icu, locale = 'und-u-ks-level2', deterministic = false); "
        "CREATE TABLE latest (id text COLLATE vague UNIQUE, at bigint, t text)",
        'ALTER its type to text COLLATE "C"',
        'ALTER TABLE latest ALTER id TYPE text COLLATE "C"',
    ),
    "no index": Refusal(
        "CREATE TABLE latest (id text, at bigint, t text)",
        r"needs a unique index on \(id\)",
        'CREATE UNIQUE INDEX ON "latest" ("id")',
    ),
    "index on another": Refusal(
        "CREATE TABLE latest (id text, at bigint UNIQUE, t text)",
        r"needs a unique index on \(id\)",
        'CREATE UNIQUE INDEX ON "latest" ("id")',
    ),
    "no schema": Refusal("SELECT 1", 'schema "gone" does not exist: make the schema', "CREATE SCHEMA gone"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_target_is_refused_before_the_first_record_and_the_remedy_works(database: str, name: str) -> None:
    case = REFUSALS[name]
    try:
        query(database, case.made)
    except psycopg2.errors.FeatureNotSupported:
        pytest.skip("this PostgreSQL was built without ICU, so it has no such collation")
    target = Target("postgresql", "gone.latest" if name == "no schema" else "latest")
    with pytest.raises(BadConfigurationError, match=case.words) as refused:
        merge(database, target=target)
    assert len(str(refused.value).splitlines()) == 1
    assert query(database, r"SELECT relname FROM pg_class WHERE relname LIKE '\_dedup\_%'") == []
    query(database, case.remedy)
    merge(database, target=target)
    assert query(database, f"SELECT id FROM {target.table}") == [("a",)]


def test_a_column_with_a_length_takes_what_fits_and_nothing_is_cut(database: str) -> None:
    query(database, "CREATE TABLE latest (id varchar(3) UNIQUE, at bigint, t varchar(3))")
    merge(database, "('abc', 1, 'ab ', false, 1)")
    with pytest.raises(BadConfigurationError, match=r"5 characters in column t, .* room for 3: ALTER its type to text"):
        merge(database, "('x', 1, 'ab   ', false, 1)")
    with pytest.raises(BadConfigurationError, match="5 characters in column id"):
        merge(database, "('ab   ', 1, 'x', false, 1)")
    assert query(database, "SELECT id, t FROM latest") == [("abc", "ab ")]
    query(database, "ALTER TABLE latest ALTER t TYPE text")
    merge(database, "('x', 1, 'ab   ', false, 1)")
    assert query(database, "SELECT t FROM latest WHERE id = 'x'") == [("ab   ",)]


def test_a_domain_keeps_its_own_rules(database: str) -> None:
    query(database, "CREATE DOMAIN code AS text CHECK (VALUE <> 'bad')")
    query(database, "CREATE TABLE latest (id text UNIQUE, at bigint, t code)")
    merge(database)
    with pytest.raises(BadConfigurationError, match="violates check constraint"):
        merge(database, "('b', 1, 'bad', false, 1)")
    assert query(database, "SELECT id FROM latest") == [("a",)]


@pytest.fixture
def writer(database: str) -> Iterator[str]:
    """A role that may do nothing but connect and use the schema, as a URI."""
    query(database, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    name = "w" + database.rsplit("/", 1)[1].split("?")[0].replace("-", "_")
    query(database, f"CREATE ROLE {name} LOGIN PASSWORD 'pw'; GRANT USAGE ON SCHEMA public TO {name}")
    yield re.sub(r"//[^@]+@", f"//{name}:pw@", database)
    query(database, f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}")


def test_a_role_without_create_is_told_both_ways_out_and_each_works(database: str, writer: str) -> None:
    role = writer.split("//")[1].split(":")[0]
    query(database, f"CREATE TABLE latest (id text UNIQUE, at bigint, t text); GRANT ALL ON latest TO {role}")
    with pytest.raises(BadConfigurationError, match=r"GRANT CREATE ON SCHEMA public .* or set target\.work_schema"):
        merge(writer)
    query(database, f"CREATE SCHEMA work AUTHORIZATION {role}")
    elsewhere = Target("postgresql", "latest", bookmark="nightly", work_schema="work")
    merge(writer, target=elsewhere)
    assert query(database, "SELECT newest FROM work.pipeline_tuner_bookmarks") == [("1",)]
    query(database, f"GRANT CREATE ON SCHEMA public TO {role}")
    merge(writer)
    assert query(database, "SELECT id FROM latest") == [("a",)]


@pytest.mark.parametrize("missing", ["SELECT", "INSERT", "UPDATE", "DELETE"])
def test_a_role_that_may_not_write_is_told_before_the_work(database: str, writer: str, missing: str) -> None:
    role = writer.split("//")[1].split(":")[0]
    query(database, f"CREATE TABLE latest (id text UNIQUE, at bigint, t text); GRANT CREATE ON SCHEMA public TO {role}")
    query(database, f"GRANT SELECT, INSERT, UPDATE, DELETE ON latest TO {role}; REVOKE {missing} ON latest FROM {role}")
    with pytest.raises(BadConfigurationError, match=r"permission denied.*GRANT SELECT, INSERT, UPDATE, DELETE"):
        merge(writer)
    query(database, f'GRANT SELECT, INSERT, UPDATE, DELETE ON "latest" TO {role}')
    merge(writer)


def test_staging_tables_of_a_killed_run_go_with_the_next(database: str) -> None:
    query(database, "CREATE SCHEMA work")
    target = Target("postgresql", "latest", work_schema="work")
    place = (database, target, Rule(("id",), "at"), TYPES)
    killed = PostgresTarget(*place).__enter__()
    killed._connection.close()
    merge(database, target=target)
    assert query(database, r"SELECT relname FROM pg_class WHERE relname LIKE '\_dedup\_%'") == []


NAMES = [*ODD_NAMES, "id", "at"]


def test_any_name_is_kept_and_none_is_taken_twice(database: str) -> None:
    names = Names.of(NAMES)
    assert len(set(names.inner)) == len(NAMES)
    assert not [name for name in names.inner if "." in name or "`" in name]
    rule = names.rule(Rule(("event.name", "_deleted"), "at", ("tick`s",)))
    assert (rule.key, rule.tie_breakers) == ((names.inner[0], names.inner[3]), (names.inner[2],))
    check_names(NAMES, "postgresql")


@pytest.mark.parametrize(
    ("name", "target", "words"),
    [
        ("n" * 64, "postgresql", "of 64 bytes: rename it, postgresql's names have 63"),
        ("n" * 128, "redshift", "of 128 bytes"),
        ("ctid", "postgresql", "column ctid, a name that a postgresql target has for itself"),
        ("_deleted", "redshift", "column _deleted, a name that a redshift target has for itself"),
        ("", "parquet", "a column without a name"),
    ],
)
def test_a_name_that_a_target_cannot_have_is_refused(name: str, target: str, words: str) -> None:
    with pytest.raises(BadConfigurationError, match=words):
        check_names(["id", name], target)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (DayTimeIntervalType(), "column x of type interval day to second, which has no exact"),
        (MapType(DateType(), IntegerType()), "a map whose keys are of type date"),
        (
            ArrayType(StructType([StructField("a", MapType(TimestampType(), IntegerType()))])),
            "a map whose keys are of type timestamp",
        ),
    ],
)
def test_a_type_without_a_counterpart_is_refused(kind: DataType, words: str) -> None:
    with pytest.raises(BadConfigurationError, match=words):
        check_types(StructType([StructField("x", kind)]))
