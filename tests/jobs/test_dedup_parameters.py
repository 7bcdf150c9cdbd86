"""Each parameter and each metric of the deduplication: two values and the difference they make; a planted truth.

Generated from the study and the job's description, so that a new one without its test fails.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from dedup_runs import WORKLOAD, config, query, run, write_events
from pyspark.sql import SparkSession
from tests.jobs.query_plans import count_queries, plans_since

from pipeline_jobs import contract
from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.dedup import job
from pipeline_jobs.dedup.options import dedup_options
from pipeline_jobs.dedup.run_once import Outcome
from pipeline_jobs.idle_settings import ALLOCATION, Platform, RunningEnvironment, problems
from pipeline_jobs.session import close_session, open_session, spark_settings
from pipeline_tuner.analysis.glue_sizing import glue_arguments
from pipeline_tuner.jobs import description_of
from pipeline_tuner.jobs.description import HEAP, RESOURCES, SPARK, TIMES
from pipeline_tuner.study import load_study

STUDY = load_study(Path(__file__).parents[2] / "include" / "configs" / "dedup.yaml")
KEYS, EACH = 40, 5
Values = dict[str, Any]


@pytest.fixture(scope="module")
def spark(spark_env: dict[str, str]) -> Iterator[SparkSession]:
    session = open_session("dedup parameters", {"master": "local[2]", "shuffle_partitions": 2, "driver_memory": "1g"})
    yield session
    close_session(session)


@dataclass(frozen=True)
class Run:
    """What one run left."""

    outcome: Outcome
    plans: tuple[str, ...]

    def found(self, pattern: str) -> list[str]:
        """What of the plans a pattern matches."""
        return [each for plan in self.plans for each in re.findall(pattern, plan)]


class Runner:
    """Finds the latest of the same records by any values, each once."""

    def __init__(self, spark: SparkSession, folder: Path) -> None:
        self._spark, self._known = spark, dict[str, Run]()
        for part in range(3):
            rows = [(f"k{n % KEYS}", part * 100 + n // KEYS, n, "x") for n in range(KEYS * EACH)]
            self._source = write_events(folder / "events", rows, f"part-{part}.parquet")

    def __call__(self, **values: Any) -> Run:
        """The run of these values; the same one for the same values."""
        key = json.dumps(values, sort_keys=True)
        if key not in self._known:
            self._known[key] = self._run(values)
        return self._known[key]

    def _run(self, values: Values) -> Run:
        settings = {k: v for k, v in spark_settings(values).items() if k.startswith("spark.sql.")}
        before = {name: self._spark.conf.get(name, None) for name in settings}
        for name, value in settings.items():
            self._spark.conf.set(name, value)
        first = count_queries(self._spark)
        try:
            given = config({"format": "parquet", "path": self._source}, {"kind": "none"}, "", **values)
            outcome = run(self._spark, given)
        finally:
            for name, old in before.items():
                self._spark.conf.unset(name) if old is None else self._spark.conf.set(name, old)
        return Run(outcome, plans_since(self._spark, first))


@pytest.fixture(scope="module")
def runs(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """Runs over three files of forty keys."""
    return Runner(spark, tmp_path_factory.mktemp("parameters"))


def session_setting(name: str, **values: Any) -> str:
    """What a session of these values is started with."""
    return spark_settings(values)[name]


def on_glue(**values: Any) -> dict[str, str]:
    """What Glue is told beside the size."""
    return glue_arguments(values, "bucket")


Check = Callable[[Runner], bool]
WINDOW: Values = {"strategy": "window"}
PARAMETERS: dict[str, Check] = {
    "strategy": lambda runs: (
        bool(runs(**WINDOW).found("Window"))
        and not runs(strategy="max_by").found("Window")
        and bool(runs(strategy="semi_join").found("LeftSemi"))
        and bool(runs(strategy="salted").found("_salt|pmod"))
        and bool(runs(strategy="baseline", window_partitions=3).found("REPARTITION_BY_NUM"))
        and bool(runs(strategy="columnar").found("MapInArrow|MapInBatch"))
        and not runs(strategy="columnar").found("Exchange|Scan parquet")
        and runs(strategy="auto").outcome.choice is not None
        and runs(**WINDOW).outcome.choice is None
    ),
    "group_limit": lambda runs: (
        bool(runs(**WINDOW, group_limit=True).found("WindowGroupLimit"))
        and not runs(**WINDOW, group_limit=False).found("WindowGroupLimit")
    ),
    "window_partitions": lambda runs: all(
        runs(strategy="baseline", window_partitions=n).found(rf"RoundRobinPartitioning\({n}\)") for n in (3, 5)
    ),
    "salts": lambda runs: all(runs(strategy="salted", salts=n).found(rf"pmod\(.*, {n}\)") for n in (4, 16)),
    "shuffle_partitions": lambda runs: all(
        runs(**WINDOW, shuffle_partitions=n).found(rf"hashpartitioning\([^\n]*, {n}\)") for n in (3, 5)
    ),
    "write_partitions": lambda runs: (
        bool(runs(**WINDOW, write_partitions=7).found(r"RoundRobinPartitioning\(7\)"))
        and not runs(**WINDOW, write_partitions=0).found("RoundRobinPartitioning")
    ),
    "counts": lambda runs: (
        bool(runs(**WINDOW, counts="observe").found("CollectMetrics"))
        and len(runs(**WINDOW, counts="count").plans) > len(runs(**WINDOW, counts="none").plans)
        and runs(**WINDOW, counts="none").outcome.counts is None
    ),
    "adaptive": lambda runs: (
        bool(runs(**WINDOW, adaptive=True).found("AdaptiveSparkPlan"))
        and not runs(**WINDOW, adaptive=False).found("AdaptiveSparkPlan")
    ),
    "spark.sql.adaptive.coalescePartitions.enabled": lambda runs: (
        bool(runs(**coalesced(True)).found("coalesced")) and not runs(**coalesced(False)).found("coalesced")
    ),
    "spark.sql.adaptive.skewJoin.enabled": lambda runs: (
        refused(**{SKEW: False}) and not refused(**{SKEW: True}) and not shuffled_joins(runs)
    ),
    "driver_memory": lambda _: (
        [session_setting("spark.driver.memory", driver_memory=size) for size in ("1g", "3g")] == ["1g", "3g"]
    ),
    ALLOCATION: lambda _: (
        [session_setting(ALLOCATION, **{ALLOCATION: on}) for on in (True, False)] == ["true", "false"]
        and [
            bool(problems({ALLOCATION: on}, RunningEnvironment("local[2]", platform=Platform.LOCAL)))
            for on in (True, False)
        ]
        == [True, False]
    ),
    "shuffle_to_s3": lambda _: on_glue(shuffle_to_s3=True) != on_glue(shuffle_to_s3=False),
    "auto_scaling": lambda _: on_glue(auto_scaling=True) != on_glue(auto_scaling=False),
}
SKEW = "spark.sql.adaptive.skewJoin.enabled"
ELSEWHERE = {
    "worker_type": "tests/airflow/test_glue_runner.py",
    "workers": "tests/airflow/test_glue_runner.py",
}
"""Sizes of a run on Glue."""


def refused(**values: Any) -> bool:
    """Whether the job says that values have no effect."""
    try:
        dedup_options(config({"format": "parquet", "path": "x"}, {"kind": "none"}, "", **values))
    except BadConfigurationError as error:
        return "has no effect" in str(error)
    return False


def shuffled_joins(runs: Runner) -> list[str]:
    """What adaptive execution could split, in any strategy."""
    strategies = STUDY.space.parameters["strategy"].values
    return [join for each in strategies for join in runs(strategy=each).found("SortMergeJoin|ShuffledHashJoin")]


def coalesced(is_on: bool) -> Values:
    return WINDOW | {"shuffle_partitions": 9, "spark.sql.adaptive.coalescePartitions.enabled": is_on}


@pytest.mark.parametrize("name", STUDY.space.parameters)
def test_a_parameter_does_something(name: str, runs: Runner) -> None:
    if name in ELSEWHERE:
        pytest.skip(ELSEWHERE[name])
    assert name in PARAMETERS, f"{name} is new in dedup.yaml: show here what it does"
    assert PARAMETERS[name](runs)


def test_each_parameter_is_in_the_table() -> None:
    assert set(STUDY.space.parameters) <= PARAMETERS.keys() | ELSEWHERE.keys()


@pytest.mark.parametrize("name", ["shuffle_to_s3", "auto_scaling"])
def test_a_parameter_of_glue_does_something(name: str) -> None:
    assert PARAMETERS[name](None)  # type: ignore[arg-type]


# Metrics: one whole run over records whose account is known.

RECORDS = [
    ("a", 1, 1, "x"), ("a", 2, 1, "y"), ("a", 2, 1, "y"),  # replaced, and repeated
    ("b", 5, 0, "x"), ("b", 5, 2, "deleted"),  # deleted
    ("c", 1, 1, "z"), ("c", 1, 1, "zz"),  # tied: the same order, another content
    ("d", 7, 1, "new"), ("e", None, 1, "no time"), (None, 3, 1, "no key"), (None, 4, 1, "no key"),
]  # fmt: skip
TRUTH = {
    "rows": 11,
    "dropped": 3,
    "null_timestamps": 1,
    "unique": 4,
    "duplicates": 4,
    "ties": 1,
    "deletes": 1,
    "staged": 4,
    "upserted": 3,
    "deleted": 1,
}
"""Three records are dropped (two without a key, one without a time), four keys stay; `b` is there and goes."""


@pytest.fixture(scope="module")
def measured(
    spark_env: dict[str, str], postgres: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    """The measurement of one run of the whole job."""
    folder = tmp_path_factory.mktemp("metrics")
    uri = postgres.create_database("dedup_metrics")
    query(uri, "CREATE TABLE latest (id text PRIMARY KEY, at bigint, version int, status text)")
    query(uri, "INSERT INTO latest VALUES ('b', 1, 1, 'old'), ('z', 1, 1, 'stays')")
    document = {
        "contract": 1,
        "job": "dedup",
        "trial_id": "t",
        "configuration": {"strategy": "window", "shuffle_partitions": 2, "driver_memory": "1g"},
        "workload": WORKLOAD
        | {"null_timestamps": "drop"}
        | {"source": {"format": "parquet", "path": write_events(folder / "events", RECORDS)}}
        | {"target": {"kind": "postgresql", "table": "latest"}},
        "connections": {"target": "DEDUP_TEST_TARGET"},
        "warmups": 0,
    }
    (folder / "c.json").write_text(json.dumps(document))
    with pytest.MonkeyPatch.context() as variables:
        variables.setenv("DEDUP_TEST_TARGET", uri)
        contract.measure("dedup", job.run, folder / "c.json", folder / "m.json")
    yield json.loads((folder / "m.json").read_text()) | {
        "files": sum(f.stat().st_size for f in folder.glob("events/*"))
    }
    postgres.drop_database("dedup_metrics")


def test_the_account_of_a_run_is_the_truth_that_was_planted(measured: dict[str, Any]) -> None:
    assert measured["status"] == "measured", measured.get("failure")
    assert {name: measured["metrics"].get(name) for name in TRUTH} == TRUTH
    described = description_of("dedup")
    assert described is not None
    assert measured["metrics"].keys() <= {*described.metrics}


OTHERS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "rows_per_s": lambda m: abs(m["metrics"]["rows_per_s"] * m["metrics"]["duration_s"] - TRUTH["rows"]) < 1e-6,
    "bytes": lambda m: 0 < m["metrics"]["bytes"] <= 2 * m["files"],
    "inspection_s": lambda m: 0 < m["metrics"]["inspection_s"] < 60,
    "task_max_s": lambda m: 0 < m["metrics"]["task_max_s"] <= m["metrics"]["duration_s"],
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_metric_follows_from_what_was_planted(name: str, measured: dict[str, Any]) -> None:
    assert OTHERS[name](measured)


def test_each_described_metric_has_its_truth() -> None:
    described = description_of("dedup")
    assert described is not None
    shared = {*TIMES, *RESOURCES, *HEAP, *SPARK}
    assert set(described.metrics) - shared == TRUTH.keys() | OTHERS.keys(), "show here what is true of it"
