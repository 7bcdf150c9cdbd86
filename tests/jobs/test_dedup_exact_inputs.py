"""What people have: odd names, nanoseconds, folders, encodings, queries. Exact, or one line before the work."""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dedup_runs import ODD_NAMES, query, run
from pyspark.sql import SparkSession
from tests.jobs.job_variables import set_variable

from pipeline_jobs.contract import BadConfigurationError, JobError, TrialConfig, measure
from pipeline_jobs.dedup.failures import explained
from pipeline_jobs.dedup.job import run as run_job
from pipeline_jobs.dedup.options import Source
from pipeline_jobs.dedup.run_once import check_all_read
from pipeline_jobs.dedup.source_inspection import inspect_source
from pipeline_jobs.session import close_session, open_session

LATEST = {"kind": "postgresql", "table": "latest"}
TYPES = "id STRING, at BIGINT, t STRING"
SETTINGS = {"master": "local[2]", "shuffle_partitions": 2, "driver_memory": "1g"}


@pytest.fixture(scope="module")
def spark(spark_env: dict[str, str]) -> Iterator[SparkSession]:
    session = open_session("exact inputs", SETTINGS)
    yield session
    close_session(session)


def config(uri: str, source: dict[str, Any], target: dict[str, Any] = LATEST, **workload: Any) -> TrialConfig:
    set_variable("DEDUP_EXACT_URI", uri)
    connections = {"target": "DEDUP_EXACT_URI", "source": "DEDUP_EXACT_URI"}
    rule = {"key": ["id"], "timestamp": "at"}
    return TrialConfig("dedup", "t", {}, {**rule, "source": source, "target": target, **workload}, connections)


def refusal(spark: SparkSession, given: TrialConfig) -> str:
    """The one line of a run that is refused before anything is written."""
    try:
        run(spark, given)
    except Exception as error:
        told = explained(error, {})
        assert isinstance(told, BadConfigurationError), told
        assert len(str(told).splitlines()) == 1
        return str(told)
    raise AssertionError("the run was not refused")


NAMES = [*ODD_NAMES, "a*b"]


@pytest.mark.parametrize("strategy", ["window", "max_by", "salted", "semi_join", "columnar"])
def test_any_name_goes_all_the_way(spark: SparkSession, database: str, tmp_path: Path, strategy: str) -> None:
    values = [[f"{name[:9]} {row}" for row in range(3)] for name in NAMES]
    table = pa.table([["a", "a", "b"], [1, 2, 3], *values], names=["my key", "at.ms", *NAMES])
    pq.write_table(table, tmp_path / "x.parquet")
    given = config(
        database, {"format": "parquet", "path": str(tmp_path)}, key=["my key", "_c1"][:1], timestamp="at.ms",
        tie_breakers=["_tied"], deleted_when="`event.name` = 'event.nam 2'",
    )  # fmt: skip
    given.configuration["strategy"] = strategy  # type: ignore[index]
    run(spark, given)
    columns = ", ".join('"' + name.replace('"', '""') + '"' for name in ["my key", "at.ms", *NAMES])
    assert query(database, f"SELECT {columns} FROM latest") == [("a", 2, *(column[1] for column in values))]


def test_names_too_long_for_postgresql_go_to_parquet(spark: SparkSession, database: str, tmp_path: Path) -> None:
    name = "n" * 200
    pq.write_table(pa.table({"id": ["a"], "at": [1], name: [5]}), tmp_path / "x.parquet")
    source = {"format": "parquet", "path": str(tmp_path / "x.parquet")}
    assert "200 bytes: rename it, postgresql's names have 63 at most" in refusal(spark, config(database, source))
    out = tmp_path / "out"
    run(spark, config(database, source, {"kind": "parquet", "path": str(out)}))
    current = (out / "CURRENT").read_text()
    assert pq.read_table(out / current).to_pylist() == [{"id": "a", "at": 1, name: 5}]
    assert json.loads((out / f"columns-{current}.json").read_text()) == {"columns": ["id", "at", name]}


def test_nanoseconds_of_whole_microseconds_are_read(spark: SparkSession, database: str, tmp_path: Path) -> None:
    moments = [1_700_000_000_123_456_000, None, -1_000, 0]
    for part, ids in enumerate((["a", "b", "c", "d"], ["e", "f", "g", "h"])):
        zoned, local = pa.array(moments, pa.timestamp("ns", "UTC")), pa.array(moments, pa.timestamp("ns"))
        columns = {"id": pa.array(ids), "at": zoned, "local": local, "n": pa.array([1, 2, 3, None])}
        pq.write_table(pa.table(columns), tmp_path / f"{part}.parquet")
    run(spark, config(database, {"format": "parquet", "path": str(tmp_path)}))
    found = query(
        database,
        "SELECT (extract(epoch FROM at) * 1000000)::bigint, (extract(epoch FROM local) * 1000000)::bigint, n "
        "FROM latest ORDER BY id",
    )
    micros = [1_700_000_000_123_456, None, -1, 0]
    assert found == [(each, each, n) for each, n in zip(micros * 2, [1, 2, 3, None] * 2, strict=True)]


def test_dates_of_an_unknown_calendar_are_refused_and_the_remedy_works(
    spark: SparkSession, database: str, tmp_path: Path
) -> None:
    pq.write_table(pa.table({"id": ["a"], "at": [1], "day": [date(1500, 3, 1)]}), tmp_path / "x.parquet")
    source = {"format": "parquet", "path": str(tmp_path)}
    assert "datetimeRebaseMode" in refusal(spark, config(database, source))
    run(spark, config(database, {**source, "options": {"datetimeRebaseMode": "CORRECTED"}}))
    assert query(database, "SELECT day FROM latest") == [(date(1500, 3, 1),)]


def test_packed_files_of_one_value_are_read(spark: SparkSession, database: str, tmp_path: Path) -> None:
    text = json.dumps([{"id": "a", "at": 1, "t": "caf\xe9"}], indent=1)
    (tmp_path / "x.json.gz").write_bytes(gzip.compress(text.encode()))
    source = {"format": "json", "path": str(tmp_path), "schema": TYPES, "options": {"multiLine": True}}
    run(spark, config(database, source))
    assert query(database, "SELECT t FROM latest") == [("caf\xe9",)]
    (tmp_path / "x.json.gz").write_bytes(gzip.compress(text.encode())[:-9])
    assert "can't be unpacked" in refusal(spark, config(database, source))


def test_files_that_disagree_on_nanoseconds_are_refused(spark: SparkSession, database: str, tmp_path: Path) -> None:
    for part, kind in enumerate((pa.timestamp("ns", "UTC"), pa.int64())):
        pq.write_table(pa.table({"id": ["a"], "at": pa.array([5], kind)}), tmp_path / f"{part}.parquet")
    assert "one type per column" in refusal(spark, config(database, {"format": "parquet", "path": str(tmp_path)}))


def test_folders_without_partition_names_are_not_left_out(spark: SparkSession, database: str, tmp_path: Path) -> None:
    for number, folder in enumerate(("", "2024/01")):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"id": [f"k{number}"], "at": [1]}), tmp_path / folder / "x.parquet")
    source = {"format": "parquet", "path": str(tmp_path)}
    assert re.search(
        r"2024/01/x\.parquet is below source\.path .*recursiveFileLookup true", refusal(spark, config(database, source))
    )
    run(spark, config(database, {**source, "options": {"recursiveFileLookup": True}}))
    assert query(database, "SELECT id FROM latest ORDER BY 1") == [("k0",), ("k1",)]


@pytest.mark.parametrize("format", ["parquet", "json", "csv"])
def test_a_column_of_files_and_folders_is_refused_and_the_remedy_works(
    spark: SparkSession, database: str, tmp_path: Path, format: str
) -> None:
    folder = tmp_path / "in" / "t=7"
    folder.mkdir(parents=True)
    if format == "parquet":
        pq.write_table(pa.table({"id": ["a"], "at": [1], "t": ["x"]}), folder / "x.parquet")
    else:
        text = "id,at,t\na,1,x\n" if format == "csv" else JSON_T % '"x"'
        (folder / f"x.{format}").write_text(text)
    source = {"format": format, "path": str(tmp_path / "in"), "options": HEAD if format == "csv" else {}}
    source |= {} if format == "parquet" else {"schema": TYPES}
    assert "the column t, and so have their folders" in refusal(spark, config(database, source))
    run(spark, config(database, {**source, "options": {**source["options"], "recursiveFileLookup": True}}))
    assert query(database, "SELECT t FROM latest") == [("x",)]


def test_a_declared_column_that_no_file_has_is_refused(spark: SparkSession, database: str, tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a"], "at": [1], "status": ["x"]}), tmp_path / "x.parquet")
    source = {"format": "parquet", "path": str(tmp_path), "schema": "id STRING, at BIGINT, statsu STRING"}
    assert "source.schema has statsu, which no file has: fix the name" in refusal(spark, config(database, source))
    run(spark, config(database, {**source, "schema": source["schema"].replace("statsu", "status")}))
    assert query(database, "SELECT status FROM latest") == [("x",)]


@pytest.mark.parametrize("encoding", ["windows-1252", "ISO-8859-15", "UTF-16"])
def test_text_in_a_named_encoding_is_read(spark: SparkSession, database: str, tmp_path: Path, encoding: str) -> None:
    (tmp_path / "x.csv").write_bytes('id,at,t\na,1,"5 €, caf\xe9"\n'.encode(encoding))
    options = {"header": True, "encoding": encoding}
    run(spark, config(database, {"format": "csv", "path": str(tmp_path), "schema": TYPES, "options": options}))
    assert query(database, "SELECT t FROM latest") == [("5 €, caf\xe9",)]


def test_the_whole_of_a_text_source_is_looked_at(spark: SparkSession, database: str, tmp_path: Path) -> None:
    lines = [json.dumps({"id": f"}}{{ {n}", "at": n, "t": "x"}) for n in range(5000)]
    (tmp_path / "x.json").write_text("\n".join([*lines, lines[0] + lines[1]]))
    source = {"format": "json", "path": str(tmp_path), "schema": TYPES}
    assert "several JSON objects in a line" in refusal(spark, config(database, source))
    (tmp_path / "x.json").write_text("\n".join([*lines, '{"ID": "z", "at": 1}']))
    assert "has ID where source.schema has id" in refusal(spark, config(database, source))
    (tmp_path / "x.json").write_text("\n".join(lines))
    assert run(spark, config(database, source)).counts.rows == 5000  # type: ignore[union-attr]


def test_whole_numbers_that_a_guessed_type_would_round_are_refused(
    spark: SparkSession, database: str, tmp_path: Path
) -> None:
    (tmp_path / "x.json").write_text('{"id": 1.5, "at": 1}\n{"id": 9007199254740993, "at": 2}')
    source = {"format": "json", "path": str(tmp_path)}
    assert re.search(
        r"9007199254740993 in column id, .*DOUBLE.*source\.schema", refusal(spark, config(database, source))
    )
    run(spark, config(database, {**source, "schema": "id STRING, at BIGINT"}))
    assert query(database, "SELECT id FROM latest ORDER BY 1") == [("1.5",), ("9007199254740993",)]


def test_a_query_is_looked_at_as_a_table_is(spark: SparkSession, database: str) -> None:
    query(database, "CREATE TABLE events AS SELECT 'a'::text AS id, 1::bigint AS at, 1.5::numeric AS n")
    asked = {"format": "jdbc", "path": "(SELECT * FROM events) e"}
    assert "column n of type numeric without precision" in refusal(spark, config(database, asked))
    mended = {"format": "jdbc", "path": "(SELECT id, at, n::numeric(20, 5) FROM events) e"}
    run(spark, config(database, mended))
    assert query(database, "SELECT n FROM latest") == [(1.5,)]


@pytest.mark.parametrize(("kind", "value"), [("numeric(50,2)", "1.5"), ("timestamp[]", "'{2024-01-01}'")])
def test_a_type_that_jdbc_would_change_goes_as_text(spark: SparkSession, database: str, kind: str, value: str) -> None:
    query(database, f"CREATE TABLE events (id text, at bigint, x {kind}); INSERT INTO events VALUES ('a', 1, {value})")
    assert "read from a view with x::text" in refusal(spark, config(database, {"format": "jdbc", "path": "events"}))
    query(database, "CREATE VIEW mended AS SELECT id, at, x::text FROM events")
    run(spark, config(database, {"format": "jdbc", "path": "mended"}))
    assert query(database, "SELECT l.x = e.x::text FROM latest l, events e") == [(True,)]


def test_redshift_gets_no_key_that_it_takes_for_another(spark: SparkSession, database: str, tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a", "a "], "at": [1, 2]}), tmp_path / "x.parquet")
    target = {"kind": "redshift", "path": str(tmp_path / "out")}
    given = config(database, {"format": "parquet", "path": str(tmp_path / "x.parquet")}, target)
    assert "ends with a blank, which Redshift ignores" in refusal(spark, given)
    assert not (tmp_path / "out" / "CURRENT").exists()
    grouped = config(database, {"format": "parquet", "path": str(tmp_path / "x.parquet")}, target, null_keys="group")
    assert "null_keys 'group' and a redshift target" in refusal(spark, grouped)


def test_records_that_spark_did_not_read_are_an_error() -> None:
    check_all_read(5, 5)
    check_all_read(6, 5)
    with pytest.raises(JobError, match="read 4 of the 5 records"):
        check_all_read(4, 5)


def test_a_source_is_looked_at_once_for_each_state(spark: SparkSession, database: str, tmp_path: Path) -> None:
    file = tmp_path / "in" / "x.csv"
    file.parent.mkdir()
    file.write_text("a,1,x\n")
    source = Source("csv", str(file.parent), schema=TYPES)
    given = config(database, {})
    looks = [inspect_source(spark, source, given, tmp_path / "notes") for _ in range(2)]
    assert [(each.records, each.is_from_note) for each in looks] == [(1, False), (1, True)]
    file.write_text("a,1,x\nb,2,y\n")
    again = inspect_source(spark, source, given, tmp_path / "notes")
    assert (again.records, again.is_from_note) == (2, False)
    os.utime(file, (0, 0))
    assert not inspect_source(spark, source, given, tmp_path / "notes").is_from_note
    other = Source("csv", str(file.parent), schema=TYPES.replace("BIGINT", "INT"))
    assert not inspect_source(spark, other, given, tmp_path / "notes").is_from_note


def test_a_timestamp_keeps_its_microseconds_whatever_the_zone(
    spark: SparkSession, database: str, tmp_path: Path
) -> None:
    (tmp_path / "x.csv").write_text("a,2024-03-10T02:30:00.000001,x\n")
    source = {"format": "csv", "path": str(tmp_path), "schema": TYPES.replace("BIGINT", "TIMESTAMP_NTZ")}
    run(spark, config(database, source))
    assert query(database, "SELECT at FROM latest") == [(datetime(2024, 3, 10, 2, 30, 0, 1),)]


@dataclass(frozen=True)
class Remedy:
    """A text file that is refused, and what the refusal advises: what isn't given stays as it was."""

    text: str
    schema: str
    words: str
    options: dict[str, Any] = field(default_factory=dict)
    mended_text: str = ""
    mended_schema: str = ""
    mended_options: dict[str, Any] = field(default_factory=dict)
    format: str = "csv"
    mended: tuple[Any, ...] = ()
    """The columns beside key and timestamp, afterwards."""


HEAD = {"header": True}
JSON_T = '{"id": "a", "at": 1, "t": %s}'
REMEDIES = {
    "header order": Remedy(
        "t,id,at\nx,a,1\n", TYPES, "give the schema in the file's order", HEAD,
        mended_schema="t STRING, id STRING, at BIGINT", mended=("x",),
    ),
    "no header": Remedy("id,at,t\na,1,x\n", TYPES.replace("BIGINT", "STRING"), "header true", mended_options=HEAD,
                        mended_schema=TYPES, mended=("x",)),
    "columns twice": Remedy("id,at,t,T\na,1,x,y\n", f"{TYPES}, u STRING", "name each once", HEAD,
                            mended_text="id,at,t,u\na,1,x,y\n", mended=("x", "y")),
    "line breaks": Remedy('a,1,"x\ny"\n', TYPES, "multiLine true", {"multiLine": False},
                          mended_options={"multiLine": True}, mended=("x\ny",)),
    "byte-order mark in quotes": Remedy('"\ufeffa",1,x\n', TYPES, "write the file without it", mended_text='"a",1,x\n',
                                        mended=("x",)),
    "open quote": Remedy('a,1,"x\n', TYPES, "fix the record", mended_text='a,1,"x"\n', mended=("x",)),
    "too few values": Remedy("a,1\n", TYPES, "2 values for 3 columns", mended_text="a,1,\n", mended=(None,)),
    "line ends": Remedy("a,1,x\r\nb,2,y\nc,3,z\n", TYPES, "write them alike", mended_text="a,1,x\r\n", mended=("x",)),
    "character 1": Remedy('a,1,"\x01"\n', TYPES, "set source.options.nullValue", mended_options={"nullValue": "NULL"},
                          mended=("\x01",)),
    "decimal comma": Remedy('a,1,"1,5"\n', TYPES.replace("t STRING", "t DOUBLE"), "declare t STRING",
                            mended_schema=TYPES, mended=("1,5",)),
    "too many digits": Remedy("a,1,9007199254740993\n", TYPES.replace("t STRING", "t DOUBLE"), "declare t STRING",
                              mended_schema=TYPES, mended=("9007199254740993",)),
    "date without dashes": Remedy("a,1,20240131\n", TYPES.replace("t STRING", "t DATE"), "not exactly DATE",
                                  mended_options={"dateFormat": "yyyyMMdd"}, mended=(date(2024, 1, 31),)),
    "nanoseconds": Remedy("a,1,2024-01-31T00:00:00.000000001\n", TYPES.replace("t STRING", "t TIMESTAMP_NTZ"),
                          "declare t STRING", mended_schema=TYPES, mended=("2024-01-31T00:00:00.000000001",)),
    "two objects": Remedy(JSON_T % '"x"' + JSON_T % '"y"', TYPES, "write one object per line", format="json",
                          mended_text=JSON_T % '"x"' + "\n" + JSON_T % '"x"', mended=("x",)),
    "two objects in a file": Remedy(JSON_T % '"x"' + "\n" + JSON_T % '"x"', TYPES, "without multiLine",
                                    {"multiLine": True}, format="json", mended_options={"multiLine": False},
                                    mended=("x",)),
    "other case": Remedy('{"ID": "a", "at": 1, "t": "x"}', TYPES, "write the schema's names as the file has them",
                         format="json", mended_text=JSON_T % '"x"', mended=("x",)),
    "single quotes": Remedy("{'id': 'a', 'at': 1}", TYPES, "fix the record", format="json",
                            mended_text=JSON_T % '"x"', mended=("x",)),
    "a text for a number": Remedy(JSON_T % '"5"', TYPES.replace("t STRING", "t INT"), "such as STRING", format="json",
                                  mended_schema=TYPES, mended=("5",)),
    "several lines": Remedy(json.dumps([{"id": "a", "at": 1, "t": "x"}], indent=1), TYPES, "multiLine true",
                            format="json", mended_options={"multiLine": True}, mended=("x",)),
}  # fmt: skip


@pytest.mark.parametrize("name", REMEDIES)
def test_what_a_refusal_of_a_text_file_advises_works(
    spark: SparkSession, database: str, tmp_path: Path, name: str
) -> None:
    case = REMEDIES[name]
    file = tmp_path / f"x.{case.format}"
    file.write_bytes(case.text.encode())
    source = {"format": case.format, "path": str(file), "schema": case.schema, "options": case.options}
    assert case.words in refusal(spark, config(database, source))
    made = query(database, "SELECT relname FROM pg_class WHERE relname = 'latest'")
    assert not made or query(database, "SELECT count(*) FROM latest") == [(0,)]
    file.write_bytes((case.mended_text or case.text).encode())
    mended = {"schema": case.mended_schema or case.schema, "options": {**case.options, **case.mended_options}}
    run(spark, config(database, {**source, **mended}))
    others = query(database, "SELECT * FROM latest")[0]
    names = [part.split()[0] for part in mended["schema"].split(", ")]
    assert tuple(value for name, value in zip(names, others, strict=True) if name not in ("id", "at")) == case.mended


@pytest.mark.parametrize(("text", "options"), [("\ufeffa,1,x\n", {}), ("\ufeffid,at,t\na,1,x\n", HEAD)])
def test_a_byte_order_mark_is_no_part_of_a_value(
    spark: SparkSession, database: str, tmp_path: Path, text: str, options: dict[str, Any]
) -> None:
    (tmp_path / "x.csv").write_bytes(text.encode())
    source = {"format": "csv", "path": str(tmp_path / "x.csv"), "schema": TYPES, "options": options}
    run(spark, config(database, source))
    assert query(database, "SELECT * FROM latest") == [("a", 1, "x")]


def test_a_measurement_has_the_look_apart_from_the_clock(spark: SparkSession, database: str, tmp_path: Path) -> None:
    """The last of this file: the job opens a session of its own in the same JVM, which ends the tests'."""
    (tmp_path / "x.csv").write_text("a,1,x\nb,2,y\n")
    source = {"format": "csv", "path": str(tmp_path / "x.csv"), "schema": TYPES}
    given = config(database, source, folder=str(tmp_path / "notes"))
    document = {"contract": 1, "job": "dedup", "trial_id": "t", "configuration": SETTINGS, "workload": given.workload}
    path = tmp_path / "c.json"
    path.write_text(json.dumps({**document, "connections": given.connections, "warmups": 0, "repeats": 2}))
    assert measure("dedup", run_job, path, tmp_path / "m.json") == 0
    measured = json.loads((tmp_path / "m.json").read_text())
    assert measured["status"] == "measured", measured
    assert measured["metrics"]["inspection_s"] > 0
    assert [sample["metrics"]["rows"] for sample in measured["samples"]] == [2.0, 2.0]
    assert len(list((tmp_path / "notes").glob("inspected-*.json"))) == 1
