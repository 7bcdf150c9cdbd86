"""Odd but ordinary inputs of the deduplication: the right values, or one line before anything is written.

Each folder of tests/jobs/data/dedup is a case: an input, the job's configuration, and what to run before.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dedup_runs import query, run
from pyspark.sql import SparkSession
from tests.jobs.job_variables import set_variable

from pipeline_jobs.contract import BadConfigurationError, TrialConfig
from pipeline_jobs.dedup.failures import explained
from pipeline_jobs.dedup.options import dedup_options
from pipeline_jobs.dedup.postgres_types import holds
from pipeline_jobs.dedup.run_once import Outcome
from pipeline_jobs.postgres import identifier
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


def run_source(spark: SparkSession, uri: str, source: dict[str, Any], **workload: Any) -> list[tuple[Any, ...]]:
    """The target after a run over a source. Raises what the job says."""
    set_variable("BUGS_URI", uri)
    target = {"kind": "postgresql", "table": "latest"}
    rule = {"key": ["id"], "timestamp": "at", "source": source, "target": target, **workload}
    try:
        run(spark, TrialConfig("dedup", "t", {}, workload=rule, connections={"target": "BUGS_URI"}))
    except Exception as error:
        raise explained(error, {}) from None
    return query(uri, f"SELECT * FROM {identifier(rule['target']['table'])} ORDER BY 1")


def refused_source(spark: SparkSession, uri: str, source: dict[str, Any], **workload: Any) -> str:
    """The one line of a source that is refused, with nothing written."""
    with pytest.raises(BadConfigurationError) as refused:
        run_source(spark, uri, source, **workload)
    assert len(str(refused.value).splitlines()) == 1
    tables = query(uri, "SELECT relname FROM pg_class WHERE relname = 'latest' AND relkind = 'r'")
    assert not tables or query(uri, "SELECT count(*) FROM latest") == [(0,)]
    return str(refused.value)


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


def parquet(folder: Path, names: Sequence[str]) -> dict[str, Any]:
    """A source of a record per file, with the file's place as its key."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"id": [f"k{number}"], "at": [number]}), folder / name)
    return {"format": "parquet", "path": str(folder)}


@pytest.mark.parametrize("hidden", ["_late.parquet", ".late.parquet", "_late/x.parquet"])
def test_a_file_that_spark_takes_for_hidden_is_not_left_out(
    spark: SparkSession, database: str, tmp_path: Path, hidden: str
) -> None:
    """Its records were lost without a word."""
    source = parquet(tmp_path, ["a.parquet", hidden])
    assert "would not be read, because Spark takes names that begin with _" in refused_source(spark, database, source)
    assert run_source(spark, database, {**source, "options": {"pathGlobFilter": "a*"}}) == [("k0", 0)]
    query(database, "DROP TABLE latest")
    (tmp_path / hidden).rename(tmp_path / "late.parquet")
    assert run_source(spark, database, source) == [("k0", 0), ("k1", 1)]


def test_what_programs_leave_beside_data_is_no_data(spark: SparkSession, database: str, tmp_path: Path) -> None:
    source = parquet(tmp_path, ["r=1/a.parquet"])
    for name in ("_SUCCESS", "r=1/_committed_1", "r=1/.b.parquet.crc", "_temporary/0/b.parquet", ".DS_Store"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert run_source(spark, database, source) == [("k0", 0, "1")]


@pytest.mark.parametrize("log", ["_delta_log/00000000000000000000.json", ".hoodie/hoodie.properties"])
def test_a_table_of_another_format_is_more_than_its_files(
    spark: SparkSession, database: str, tmp_path: Path, log: str
) -> None:
    """Rows that were deleted from it came back."""
    source = parquet(tmp_path, ["old.parquet", "new.parquet"])
    (tmp_path / log).parent.mkdir()
    (tmp_path / log).write_text("{}")
    assert "whose files also hold rows that are no longer in it" in refused_source(spark, database, source)


def test_a_packed_file_of_which_a_part_would_be_left_out_is_refused(
    spark: SparkSession, database: str, tmp_path: Path
) -> None:
    """Hadoop reads snappy in frames of its own, and of a file without them nothing."""
    source = {"format": "csv", "path": str(tmp_path), "schema": "id STRING, at BIGINT"}
    (tmp_path / "x.csv.snappy").write_bytes(pa.compress(b"a,1\n", codec="snappy", asbytes=True))
    assert "pack it as .gz, .bz2 or .zst" in refused_source(spark, database, source)
    (tmp_path / "x.csv.snappy").unlink()
    (tmp_path / "x.csv.zst").write_bytes(pa.compress(b"a,1\n", codec="zstd", asbytes=True))
    assert run_source(spark, database, source) == [("a", 1)]


@pytest.mark.parametrize("name", ["x.csv", "x.json"])
def test_a_column_called_as_spark_calls_bad_records_is_a_column(
    spark: SparkSession, database: str, tmp_path: Path, name: str
) -> None:
    """It was NULL in JSON, and no record of CSV could be read."""
    (tmp_path / name).write_text("a,1,x\n" if name == "x.csv" else '{"id": "a", "at": 1, "_corrupt_record": "x"}\n')
    schema = "id STRING, at BIGINT, _corrupt_record STRING"
    source = {"format": name[2:], "path": str(tmp_path / name), "schema": schema}
    assert run_source(spark, database, source) == [("a", 1, "x")]


def test_texts_and_numbers_of_any_length_are_json(spark: SparkSession, database: str, tmp_path: Path) -> None:
    number, text = "1" * 1500, "x" * 20_000_001
    (tmp_path / "x.json").write_text(f'{{"id": "a", "at": 1, "t": {number}}}\n{{"id": "b", "at": 1, "t": "{text}"}}\n')
    source = {"format": "json", "path": str(tmp_path / "x.json"), "schema": "id STRING, at BIGINT, t STRING"}
    assert run_source(spark, database, source) == [("a", 1, number), ("b", 1, text)]


@pytest.mark.parametrize(
    ("encoding", "words"), [("latin-1", "write 'iso8859-1'"), ("utf-8-sig", "there are UTF-8"), ("hex", "no such")]
)
def test_an_encoding_that_only_one_parser_knows_is_refused(
    spark: SparkSession, database: str, tmp_path: Path, encoding: str, words: str
) -> None:
    (tmp_path / "x.csv").write_bytes("é,1\n".encode("latin-1"))
    source = {"format": "csv", "path": str(tmp_path), "schema": "id STRING, at BIGINT"}
    assert words in refused_source(spark, database, {**source, "options": {"encoding": encoding}})
    assert run_source(spark, database, {**source, "options": {"encoding": "iso8859-1"}}) == [("é", 1)]


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("rand() < 0.5", "is another each time"),
        ("input_file_name() LIKE '%x%'", "is another each time"),
        ("count(*) > 1", "aggregate functions"),
        ("row_number() OVER (ORDER BY id) = 1", "window functions"),
        ("CAST(id AS INT) = 1", "deleted_when can't be computed for a record: .*'k0'"),
    ],
)
def test_a_condition_is_of_one_record_and_always_the_same(
    spark: SparkSession, database: str, tmp_path: Path, condition: str, words: str
) -> None:
    """A window or a random number deleted keys that nobody meant, another each time."""
    source = parquet(tmp_path, ["a.parquet"])
    assert re.search(words, refused_source(spark, database, source, deleted_when=condition))


def test_names_with_a_percent_sign_go_all_the_way(spark: SparkSession, database: str, tmp_path: Path) -> None:
    """The driver took them for parameters."""
    pq.write_table(pa.table({"id%": ["a", "a"], "at%s": [1, 2], "100%": ["x", "y"]}), tmp_path / "x.parquet")
    source = {"format": "parquet", "path": str(tmp_path)}
    target = {"kind": "postgresql", "table": "la%st", "bookmark": "b%s", "look_back_s": 5}
    for _ in range(2):
        found = run_source(spark, database, source, target=target, key=["id%"], timestamp="at%s")
        assert found == [("a", 2, "y")]


def test_what_one_run_writes_is_not_what_the_next_one_reads(spark: SparkSession, database: str, tmp_path: Path) -> None:
    source = parquet(tmp_path, ["a.parquet"])
    for path in (tmp_path, tmp_path / "out", tmp_path.parent):
        target = {"kind": "parquet", "path": str(path)}
        assert "lie in each other" in refused_source(spark, database, source, target=target)
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


def test_a_table_is_not_merged_into_itself(spark: SparkSession, database: str) -> None:
    """In mode `replace` it lost what its own query left out."""
    query(database, "CREATE TABLE latest (id text UNIQUE, at bigint); INSERT INTO latest VALUES ('a', 1), ('b', 2)")
    set_variable("BUGS_URI", database)
    target = {"kind": "postgresql", "table": "latest", "mode": "replace"}
    source = {"format": "jdbc", "path": "(SELECT * FROM latest WHERE at > 1) l"}
    rule = {"key": ["id"], "timestamp": "at", "source": source, "target": target}
    uris = {"source": "BUGS_URI", "target": "BUGS_URI"}
    with pytest.raises(BadConfigurationError, match="is the target's own table: name another"):
        run(spark, TrialConfig("dedup", "t", {}, workload=rule, connections=uris))
    assert query(database, "SELECT count(*) FROM latest") == [(2,)]


def test_rows_that_a_policy_hides_are_an_error(spark: SparkSession, database: str) -> None:
    """A role that sees a part of the source took it for all of it."""
    query(database, "CREATE TABLE events (id text, at bigint); INSERT INTO events VALUES ('a', 1), ('b', 2)")
    query(database, "ALTER TABLE events ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON events USING (at > 1)")
    with other_role(database) as uri:
        query(database, "GRANT SELECT ON events TO odd_reader; GRANT ALL ON SCHEMA public TO odd_reader")
        set_variable("BUGS_SOURCE_URI", uri)
        set_variable("BUGS_URI", database)
        source = {"format": "jdbc", "path": "events"}
        rule = {"key": ["id"], "timestamp": "at", "source": source, "target": {"kind": "postgresql", "table": "latest"}}
        uris = {"source": "BUGS_SOURCE_URI", "target": "BUGS_URI"}
        with pytest.raises(BadConfigurationError, match="affected by row-level security policy") as refused:
            run(spark, TrialConfig("dedup", "t", {}, workload=rule, connections=uris))
        assert len(str(refused.value).splitlines()) == 1


@contextmanager
def other_role(database: str) -> Iterator[str]:
    """The database as another role sees it, which is gone at the end."""
    query(database, "CREATE ROLE odd_reader LOGIN PASSWORD 'pw'")
    yield re.sub(r"//[^@]+@", "//odd_reader:pw@", database)
    query(database, "DROP OWNED BY odd_reader; DROP ROLE odd_reader")


def test_a_target_with_policies_is_refused(spark: SparkSession, database: str, tmp_path: Path) -> None:
    """A delete marker would not reach the rows that they hide."""
    query(database, "CREATE TABLE latest (id text UNIQUE, at bigint); ALTER TABLE latest ENABLE ROW LEVEL SECURITY")
    with other_role(database) as uri:
        query(database, "GRANT ALL ON latest TO odd_reader; GRANT ALL ON SCHEMA public TO odd_reader")
        with pytest.raises(BadConfigurationError, match=r"table latest has policies \(row level security\)"):
            run_source(spark, uri, parquet(tmp_path, ["a.parquet"]))


def test_more_columns_than_a_table_has_are_refused_in_one_line(
    spark: SparkSession, database: str, tmp_path: Path
) -> None:
    pq.write_table(pa.table({"id": ["a"], "at": [1], **{f"c{n}": [n] for n in range(1599)}}), tmp_path / "x.parquet")
    assert "at most 1600 columns" in refused_source(spark, database, {"format": "parquet", "path": str(tmp_path)})
