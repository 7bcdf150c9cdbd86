"""Generated cases through PostgreSQL's side alone: copied as tasks copy, merged file by file, in three time zones.

No Spark here: plain Python picks the latest record of each file, the merges must make of them the latest of all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psycopg2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dedup_case_files import comparable, found, make_target, merge_as_redshift_does
from dedup_generated import ZONES, Case, Change, Fault, cases, with_other_target
from dedup_runs import databases_in_zones, query
from pyspark.sql.types import StructField, StructType
from test_dedup_generated_texts import TYPES

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.dedup.csv_copy import ATTEMPT, _CsvRows
from pipeline_jobs.dedup.options import Rule, Target
from pipeline_jobs.dedup.postgres_target import PostgresTarget
from pipeline_jobs.postgres import connect, identifiers
from pipeline_tuner.local.postgres import PostgresServer

SHORT, LONG = 100, 1000


@pytest.fixture(scope="module")
def databases(postgres: PostgresServer) -> Iterator[dict[str, str]]:
    """A database in each time zone."""
    with databases_in_zones(postgres, ZONES) as made:
        yield made


def copied(case: Case) -> pa.Table:
    """The winners as Spark's tasks have them before they copy: bytes in PostgreSQL's form."""
    columns = list(zip(*case.expected(), strict=True)) or [()] * len(case.columns)
    arrays = []
    for column, values in zip(case.columns, columns, strict=True):
        if column.kind.name == "BINARY":
            arrays.append(pa.array([None if each is None else "\\x" + each.hex() for each in values], pa.string()))
        else:
            arrays.append(pa.array(values, column.kind.arrow))
    return pa.table(arrays, [f"c{number}" for number in range(len(arrays))])


def merge(case: Case, uri: str, table: str) -> None:
    """One night: the winners of a case are staged and merged."""
    schema = StructType([StructField(column.name, TYPES[column.kind.name]) for column in case.columns])
    rule = Rule(case.key, "at", ("v",))
    with PostgresTarget(uri, Target("postgresql", table), rule, schema) as target:
        rows = copied(case).append_column("d", pa.array([False] * len(case.expected()), pa.bool_()))
        names = [*target._names.inner, "_deleted", ATTEMPT]
        statement = f"COPY {target._staging} ({identifiers(names)}) FROM STDIN (FORMAT csv)"
        with closing(connect(uri, "test")) as connection, connection.cursor() as cursor:
            cursor.copy_expert(statement, _CsvRows(iter(rows.to_batches()), 1))
        target.merge([1])


def check(case: Case, uri: str) -> str:
    """`exact` or `refused`; fails where it is neither."""
    table = f"t{case.seed}"
    if case.made:
        make_target(case, uri, table)
    wanted = sorted(comparable(case, row) for row in case.expected())
    if not all(is_merged(replace(case, files=(file,)), uri, table) for file in case.files):
        assert case.made, case
        return "refused"
    assert found(case, uri, table) == wanted, str(case)
    return "exact"


def is_merged(case: Case, uri: str, table: str) -> bool:
    """Whether a night went through; False where it was refused in one line."""
    try:
        merge(case, uri, table)
    except BadConfigurationError as error:
        if len(str(error).splitlines()) > 1:
            raise
        return False
    return True


def checked(databases: dict[str, str], start: int, count: int) -> list[str]:
    """What became of the cases whose target is PostgreSQL, without the faults of files; one file may refuse alone."""
    outcomes = []
    for case in cases(start, count):
        if all(column.kind.postgres != "jsonb" for column in case.columns):
            plain = replace(case, fault=Fault.NONE, change=Change.NONE, target="postgresql")
            outcomes.append(check(with_other_target(plain), databases[case.zone]))
    return outcomes


def test_merges_are_exact_or_refused(databases: dict[str, str]) -> None:
    outcomes = checked(databases, 0, SHORT)
    assert outcomes.count("exact") > SHORT / 3
    assert outcomes.count("refused") > SHORT / 10


@pytest.mark.soak
def test_many_merges_are_exact_or_refused(databases: dict[str, str]) -> None:
    assert len(checked(databases, SHORT, LONG)) > LONG / 2


def staged_for_redshift(case: Case, folder: Path) -> None:
    """The winners as the job stages them: Parquet in the source's order, the delete marker last."""
    columns = list(zip(*case.expected(), strict=True)) or [()] * len(case.columns)
    arrays = [pa.array(values, column.kind.arrow) for column, values in zip(case.columns, columns, strict=True)]
    marker = pa.array([False] * len(case.expected()), pa.bool_())
    (folder / "run-1").mkdir(parents=True)
    names = [column.name for column in case.columns]
    pq.write_table(pa.table([*arrays, marker], [*names, "_deleted"]), folder / "run-1" / "x.parquet")
    (folder / "CURRENT").write_text("run-1")


def test_redshift_takes_files_by_position_and_gets_columns_by_name(databases: dict[str, str], tmp_path: Path) -> None:
    chosen = [case for case in cases(0, LONG) if case.target == "redshift"]
    for case in chosen[:60]:
        uri, table = databases[case.zone], f"r{case.seed}"
        make_target(replace(case, made={}), uri, table)
        for number, file in enumerate(case.files):
            part = replace(case, files=(file,), change=Change.NONE)
            staged_for_redshift(part, tmp_path / f"{case.seed}-{number}")
            merge_as_redshift_does(part, uri, tmp_path / f"{case.seed}-{number}", table)
        whole = replace(case, change=Change.NONE)
        assert found(case, uri, table) == sorted(comparable(case, row) for row in whole.expected()), str(case)


def test_a_refused_merge_leaves_the_target_as_it_was(database: str) -> None:
    with closing(psycopg2.connect(database)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE t0 (id text UNIQUE, at bigint, v int, t varchar(2))")
        cursor.execute("INSERT INTO t0 VALUES ('a', 1, 1, 'x')")
    schema = StructType([StructField(name, TYPES[kind]) for name, kind in
                         (("id", "STRING"), ("at", "BIGINT"), ("v", "INT"), ("t", "STRING"))])  # fmt: skip
    place = (database, Target("postgresql", "t0"), Rule(("id",), "at", ("v",)), schema)
    with PostgresTarget(*place) as target:
        query(
            database, f"INSERT INTO {target._staging} VALUES ('a', 2, 1, 'y', false, 1), ('b', 2, 1, 'z  ', false, 1)"
        )
        with pytest.raises(BadConfigurationError, match="room for 2"):
            target.merge([1])
    assert query(database, "SELECT * FROM t0") == [("a", 1, 1, "x")]
