"""Odd but ordinary inputs of the deduplication: the right values, or one line before anything is written.

Each folder of tests/jobs/data/dedup is a case: an input, the job's configuration, and what to run before.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from dedup_runs import query, run
from pyspark.sql import SparkSession
from tests.jobs.job_variables import set_variable

from pipeline_jobs.contract import BadConfigurationError, TrialConfig
from pipeline_jobs.dedup.failures import explained
from pipeline_jobs.dedup.options import dedup_options
from pipeline_jobs.dedup.postgres_types import holds
from pipeline_jobs.dedup.run_once import Outcome
from pipeline_jobs.session import close_session, open_session

CASES = Path(__file__).parent / "data" / "dedup"


@pytest.fixture(scope="module")
def spark(spark_env: dict[str, str]) -> Iterator[SparkSession]:
    session = open_session("odd inputs", {"master": "local[2]", "shuffle_partitions": 2, "driver_memory": "1g"})
    yield session
    close_session(session)


def run_case(spark: SparkSession, case: str, uri: str, config: str = "config.json") -> Outcome:
    """One run of a case as its configuration says. Raises what the job says."""
    folder = next(CASES.glob(f"{case}-*"))
    document: dict[str, Any] = json.loads((folder / config).read_text())
    document.pop("contract")
    source = document["workload"]["source"]
    if source["format"] != "jdbc":
        source["path"] = str(CASES / source["path"])
    set_variable("BUGS_URI", uri)
    try:
        return run(spark, TrialConfig(**document))
    except Exception as error:
        raise explained(error, {}) from None


def run_file(spark: SparkSession, uri: str, path: Path, **options: str) -> list[tuple[Any, ...]]:
    """The target after a run over one file of id, at, t."""
    source = {
        "format": path.suffix[1:],
        "path": str(path),
        "options": options,
        "schema": "id STRING, at BIGINT, t STRING",
    }
    set_variable("BUGS_URI", uri)
    workload = {"source": source, "target": {"kind": "postgresql", "table": "latest"}, "key": ["id"], "timestamp": "at"}
    run(spark, TrialConfig("dedup", "t", {}, workload=workload, connections={"target": "BUGS_URI"}))
    return query(uri, "SELECT id, t FROM latest ORDER BY id")


def prepared(case: str, uri: str) -> None:
    query(uri, (next(CASES.glob(f"{case}-*")) / "setup.sql").read_text())


REFUSED = {
    "01": r"x\.csv has the columns .*city.*: give the schema in the file's order",
    "05": r"x\.json has several JSON objects in a line",
    "06": r"x\.json has \w+ where source\.schema has \w+",
    "07": r"tiebreakers \(did you mean tie_breakers\?\), null_key \(did you mean null_keys\?\), delete_when \(did you",
    "13": r"column t of type time .*read from a view with t::text",
    "14": r"column n of type numeric without precision.*n::text",
    "15": r"has -?infinity in column valid_to",
    "16": r"column \w+ of type .*which can't hold every",
    "19": r"the source has nanoseconds in column at, where Spark has microseconds: round them, or write a text",
    "20": r"of 7\d bytes: rename it, postgresql's names have 63",
    "23": r"JSON whose records take several lines needs source\.options\.multiLine true",
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_change_a_value_is_refused_in_one_line(spark: SparkSession, database: str, case: str) -> None:
    if (next(CASES.glob(f"{case}-*")) / "setup.sql").exists():
        prepared(case, database)
    with pytest.raises(BadConfigurationError) as refused:
        run_case(spark, case, database)
    message = str(refused.value)
    assert re.search(REFUSED[case], message), message
    assert len(message.splitlines()) == 1
    tables = query(database, "SELECT relname FROM pg_class WHERE relname = 'latest' AND relkind = 'r'")
    assert not tables or query(database, "SELECT count(*) FROM latest") == [(0,)]


def test_a_column_that_only_later_files_have_is_kept(spark: SparkSession, database: str) -> None:
    run_case(spark, "02", database)
    found = {value for (value,) in query(database, "SELECT extra FROM latest")}
    assert {"new!", "new?"} <= found


def test_names_that_the_job_uses_itself_and_names_with_dots_are_kept(spark: SparkSession, database: str) -> None:
    run_case(spark, "17", database)
    assert query(database, 'SELECT id, at, "_deleted" FROM latest') == [("b", 2, False)]
    query(database, "DROP TABLE latest")
    run_case(spark, "18", database)
    assert query(database, 'SELECT id, at, "event.name" FROM latest') == [("a", 2, "y")]


def test_partition_folders_are_codes_and_not_numbers(spark: SparkSession, database: str) -> None:
    run_case(spark, "03", database)
    assert query(database, "SELECT region FROM latest ORDER BY 1") == [("007",), ("07",), ("7",)]


def test_csv_is_read_by_rfc_4180(spark: SparkSession, database: str) -> None:
    run_case(spark, "04", database)
    values = [value for (value,) in query(database, "SELECT t FROM latest ORDER BY id")]
    assert values[:2] == ['he said "hi"', 'a "b" c']
    assert "C:\\dir\\" in values


def test_quoted_line_breaks_stay_in_their_value(spark: SparkSession, database: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b'id,at,t\n1,1,"two\nlines, ""quoted"""\n2,1,plain\n')
    found = run_file(spark, database, tmp_path / "x.csv", header="true")
    assert found == [("1", 'two\nlines, "quoted"'), ("2", "plain")]


def test_an_empty_text_in_quotes_is_no_null(spark: SparkSession, database: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b'id,at,t\n"",1,""\nb,2,\n')
    assert run_file(spark, database, tmp_path / "x.csv", header="true") == [("", ""), ("b", None)]


@pytest.mark.parametrize("name", ["x.csv", "x.json"])
def test_text_that_is_not_utf8_is_refused_and_the_remedy_works(
    spark: SparkSession, database: str, tmp_path: Path, name: str
) -> None:
    text = "id,at,t\na,1,caf\xe9\n" if name.endswith("csv") else '{"id": "a", "at": 1, "t": "caf\xe9"}\n'
    (tmp_path / name).write_bytes(text.encode("latin-1"))
    options = {"header": "true"} if name.endswith("csv") else {"lineSep": "\n"}
    with pytest.raises(BadConfigurationError, match=r"is not UTF-8: .* set source\.options\.encoding"):
        run_file(spark, database, tmp_path / name, **options)
    assert run_file(spark, database, tmp_path / name, encoding="ISO-8859-1", **options) == [("a", "caf\xe9")]


def test_a_replacement_character_of_ones_own_is_kept(spark: SparkSession, database: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("id,at,t\na,1,\ufffd\n", encoding="utf-8")
    assert run_file(spark, database, tmp_path / "x.csv", header="true") == [("a", "\ufffd")]


def test_a_record_of_the_far_future_hides_nothing_that_comes_later(spark: SparkSession, database: str) -> None:
    run_case(spark, "08", database)
    run_case(spark, "08", database, "config1.json")
    values = {value for row in query(database, "SELECT * FROM latest") for value in row}
    assert {"a2", "c2"} <= values


def test_a_bookmark_ends_with_its_table(spark: SparkSession, database: str) -> None:
    first = run_case(spark, "09", database)
    assert first.started_from is None
    again = run_case(spark, "09", database, "config1.json")
    assert again.started_from is not None, "the bookmark is used while its table is there"
    query(database, "DROP TABLE latest")
    after = run_case(spark, "09", database, "config1.json")
    assert after.started_from is None
    assert query(database, "SELECT count(*) FROM latest") == [(3,)]


def test_keys_that_differ_by_a_microsecond_stay_two(spark: SparkSession, database: str) -> None:
    run_case(spark, "11", database)
    run_case(spark, "11", database, "config1.json")
    assert query(database, "SELECT count(*) FROM latest") == [(2,)]


def test_the_remedy_for_records_over_several_lines_works(spark: SparkSession, database: str) -> None:
    folder = next(CASES.glob("23-*"))
    document = json.loads((folder / "config.json").read_text())
    workload = document["workload"]
    workload["source"] |= {"path": str(CASES / workload["source"]["path"]), "options": {"multiLine": "true"}}
    set_variable("BUGS_URI", database)
    run(spark, TrialConfig("dedup", "t", {}, workload=workload, connections=document["connections"]))
    assert query(database, "SELECT count(*) > 0 FROM latest") == [(True,)]


def test_a_mode_that_loses_records_is_refused(database: str) -> None:
    workload = {"key": ["id"], "timestamp": "at", "target": {"kind": "none"}}
    source = {"format": "json", "path": "x.json", "options": {"MODE": "dropMalformed"}}
    with pytest.raises(BadConfigurationError, match="loses records without counting them"):
        dedup_options(TrialConfig("dedup", "t", {}, workload={**workload, "source": source}))


def test_a_role_that_may_not_create_tables_is_told_what_it_needs(spark: SparkSession, database: str) -> None:
    query(database, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    prepared("25", database)
    writer = re.sub(r"//[^@]+@", "//writer:pw@", database)
    psycopg2.connect(writer).close()
    with pytest.raises(BadConfigurationError, match="GRANT CREATE ON SCHEMA") as refused:
        run_case(spark, "25", writer)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("theirs", "ours", "fits"),
    [
        ("integer", "integer", True), ("bigint", "integer", True), ("integer", "bigint", False),
        ("numeric(10,2)", "numeric(12,2)", False), ("numeric(10,2)", "numeric(9,2)", True),
        ("numeric(10,2)", "numeric(10,3)", False), ("numeric", "numeric(38,18)", True),
        ("real", "double precision", False), ("double precision", "real", True), ("date", "timestamptz", False),
        ("timestamp without time zone", "timestamptz", False), ("timestamp with time zone", "timestamptz", True),
        ("timestamp(3) with time zone", "timestamptz", False), ("character(5)", "text", False),
        ("character varying(5)", "text", True), ("jsonb", "jsonb", True), ("uuid", "text", False),
        ("name", "text", False), ('"char"', "text", False), ("citext", "text", False), ("text", "bigint", False),
        ("money", "numeric(10,2)", False), ("text", "bytea", False), ("json", "jsonb", True), ("text", "jsonb", True),
        ("character varying(5)", "jsonb", False), ("numeric", "integer", True), ("numeric(5,0)", "integer", False),
    ],
)  # fmt: skip
def test_a_narrower_column_is_known(theirs: str, ours: str, fits: bool) -> None:
    assert holds(theirs, ours) is fits
