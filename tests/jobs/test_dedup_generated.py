"""Generated cases against plain Python: types, formats, targets, time zones, files that differ. Exact, or refused.

The cases share a Spark session, each has tables of its own. `make soak` runs 1,000.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dedup_case_files import comparable, found, into_table, make_target, merge_as_redshift_does, write
from dedup_generated import FORMATS, ZONES, Case, Change, Fault, Outcome, cases
from dedup_runs import databases_in_zones, run
from pyspark.sql import SparkSession
from tests.jobs.job_variables import set_variable

from pipeline_jobs.contract import BadConfigurationError, TrialConfig
from pipeline_jobs.dedup.failures import explained
from pipeline_jobs.session import close_session, open_session
from pipeline_tuner.local.postgres import PostgresServer

STRATEGIES = ("window", "max_by", "salted", "semi_join", "baseline", "auto")
"""`auto` takes the columnar engine, for which `columnar` itself would refuse the cases that it can't take."""
SHORT, LONG, PART = 24, 1000, 100


@pytest.fixture(scope="module")
def spark(spark_env: dict[str, str]) -> Iterator[SparkSession]:
    settings = {
        "master": "local[2]",
        "shuffle_partitions": 1,
        "adaptive": False,
        "driver_memory": "1g",
    }
    session = open_session("generated", settings)
    zone = session._jvm.java.util.TimeZone.getDefault()  # type: ignore[union-attr]
    yield session
    session._jvm.java.util.TimeZone.setDefault(zone)  # type: ignore[union-attr]
    close_session(session)


@pytest.fixture(scope="module")
def databases(postgres: PostgresServer) -> Iterator[dict[str, str]]:
    """A database in each time zone."""
    with databases_in_zones(postgres, ZONES) as made:
        yield made


def outcome_of(spark: SparkSession, case: Case, uri: str, folder: Path) -> str:
    """`exact` or `refused`. Raises AssertionError where it is neither."""
    spark._jvm.java.util.TimeZone.setDefault(spark._jvm.java.util.TimeZone.getTimeZone(case.zone))  # type: ignore[union-attr]
    # Most of a small case's time is the compilation of its code: every fifth has that, the others are interpreted.
    is_compiled = case.seed // 5 % 5 == 0
    spark.conf.set("spark.sql.codegen.wholeStage", str(is_compiled).lower())
    spark.conf.set("spark.sql.codegen.factoryMode", "FALLBACK" if is_compiled else "NO_CODEGEN")
    table = f"t{case.seed}"
    if case.made or case.target == "redshift":
        make_target(case, uri, table)
    try:
        run(spark, _config(case, uri, folder, table))
    except Exception as error:
        told = explained(error, {})
        assert isinstance(told, BadConfigurationError), f"{case}: {told!r}"
        assert len(str(told).splitlines()) == 1, f"{case}: {told}"
        assert found(case, uri, table) == [], f"{case}: refused, and yet written"
        assert case.may_be is not Outcome.EXACT, f"{case}: {told}"
        return "refused"
    if case.target == "redshift":
        merge_as_redshift_does(case, uri, folder / "out", table)
    wanted = sorted(comparable(case, row) for row in case.expected())
    got = found(case, uri, table)
    assert got == wanted, f"{case}\nfound    {got}\nexpected {wanted}"
    assert case.may_be is not Outcome.REFUSED, f"{case}: taken, and it has no exact place"
    return "exact"


def _config(case: Case, uri: str, folder: Path, table: str) -> TrialConfig:
    set_variable("DEDUP_GENERATED", uri)
    source: dict[str, Any] = {"format": case.format, "path": str(folder / "in")}
    if case.format == "jdbc":
        into_table(case, uri, f"s{case.seed}")
        source["path"] = f"s{case.seed}"
    else:
        (folder / "in").mkdir()
        write(case, folder / "in")
    if case.format == "parquet":
        source["options"] = {"datetimeRebaseMode": "CORRECTED"}
    if case.format in ("csv", "json"):
        encoding = "UTF-16" if case.encoding == "utf-16" else "UTF-8"
        options = {"header": True, "encoding": encoding} if case.format == "csv" else {"multiLine": case.is_multi_line}
        options |= {"multiLine": False} if case.is_marked else {}
        source |= {"schema": case.schema, "options": options}
    to = {"kind": "redshift", "path": str(folder / "out")}
    target = to if case.target == "redshift" else {"kind": "postgresql", "table": table}
    workload = {"source": source, "target": target, "key": list(case.key), "timestamp": "at", "tie_breakers": ["v"]}
    connections = {"source": "DEDUP_GENERATED", "target": "DEDUP_GENERATED"}
    return TrialConfig("dedup", "t", {"strategy": STRATEGIES[case.seed % len(STRATEGIES)]}, workload, connections)


def run_cases(spark: SparkSession, databases: dict[str, str], folder: Path, start: int, count: int) -> Counter[str]:
    """How many were exact and refused; all that were neither, in one AssertionError."""
    counted: Counter[str] = Counter()
    wrong = []
    for case in cases(start, count):
        (folder / str(case.seed)).mkdir()
        try:
            counted[outcome_of(spark, case, databases[case.zone], folder / str(case.seed))] += 1
        except Exception as error:
            error = error if isinstance(error, AssertionError) else AssertionError(f"{case}: {error!r}")
            wrong.append(str(error))
    assert not wrong, f"{len(wrong)} of {count} cases\n" + "\n".join(wrong)
    return counted


def test_the_cases_are_of_all_sorts() -> None:
    made = list(cases(0, LONG))
    for each in Fault:
        assert any(case.fault is each for case in made), each
    for change in Change:
        assert any(case.change is change for case in made), change
    assert {(case.format, case.zone) for case in made} == {(format, zone) for format in FORMATS for zone in ZONES}
    assert sum(case.may_be is Outcome.EXACT for case in made) > LONG / 3


def test_cases_are_exact_or_refused(spark: SparkSession, databases: dict[str, str], tmp_path: Path) -> None:
    counted = run_cases(spark, databases, tmp_path, 0, SHORT)
    assert counted["exact"] > SHORT / 3
    assert counted["refused"] > SHORT / 10


@pytest.mark.soak
@pytest.mark.parametrize("start", range(SHORT, LONG, PART))
def test_many_cases_are_exact_or_refused(
    spark: SparkSession, databases: dict[str, str], tmp_path: Path, start: int
) -> None:
    run_cases(spark, databases, tmp_path, start, min(PART, LONG - start))
