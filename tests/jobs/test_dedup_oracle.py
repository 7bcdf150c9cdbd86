"""Every strategy against plain Python, on 200 generated cases that share a Spark job: the case joins the key."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dedup_oracle import COLUMNS, SCHEMA, Answer, answer, cases
from pyspark.sql import DataFrame, SparkSession

from pipeline_jobs.dedup.columnar import latest_by_columns
from pipeline_jobs.dedup.columnar_source import columnar_plan
from pipeline_jobs.dedup.columns import Names
from pipeline_jobs.dedup.counts import Counter
from pipeline_jobs.dedup.options import Rule, Source, Tuning
from pipeline_jobs.dedup.strategies import eligible, latest
from pipeline_jobs.session import close_session, open_session

CASES = cases(200)
RULE = Rule(("case", "a", "b"), "moment", ("version",), "status = 'deleted'")
STRATEGIES = ("window", "max_by", "salted", "semi_join", "baseline")
ONE_TASK, SEVERAL_TASKS = "columnar", "columnar in several tasks"


@pytest.fixture(scope="module")
def spark(spark_env: dict[str, str]) -> Iterator[SparkSession]:
    session = open_session("dedup tests", {"master": "local[2]", "shuffle_partitions": 2, "driver_memory": "1g"})
    yield session
    close_session(session)


@pytest.fixture(scope="module")
def records(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> DataFrame:
    rows = [(case.number, *row) for case in CASES for row in case.rows]
    random.Random(1).shuffle(rows)
    folder = tmp_path_factory.mktemp("oracle")
    for part in range(3):
        columns = zip(*rows[part::3], strict=True)
        pq.write_table(pa.table(list(map(list, columns)), schema=SCHEMA), folder / f"part-{part}.parquet")
    return spark.read.parquet(str(folder))


def found(records: DataFrame, rule: Rule, tuning: Tuning) -> tuple[dict[int, Answer], Any]:
    counter = Counter(rule)
    rows = counter.on_latest(latest_by(records, rule, tuning, counter))
    columns = ["case", *COLUMNS, "_tied", "_deleted"]
    answers: dict[int, tuple[dict, set, set]] = {case.number: ({}, set(), set()) for case in CASES}
    for number, *row, tied, deleted in rows.select(columns).collect():
        winners, deletes, ties = answers[number]
        row[2] = row[2].astimezone() if row[2] else None
        key = tuple(row[:2])
        assert key not in winners, "a key came out twice"
        winners[key] = tuple(row)
        deletes |= {key} if deleted else set()
        ties |= {key} if tied else set()
    return {n: Answer(w, frozenset(d), frozenset(t), 0) for n, (w, d, t) in answers.items()}, counter.counts()


def latest_by(records: DataFrame, rule: Rule, tuning: Tuning, counter: Counter) -> DataFrame:
    if tuning.strategy not in (ONE_TASK, SEVERAL_TASKS):
        return latest(eligible(counter.on_records(records), rule), rule, tuning, unobserved=eligible(records, rule))
    most = {} if tuning.strategy == ONE_TASK else {"one_task_bytes": 0, "task_bytes": 1}
    plan = columnar_plan(records, Source("parquet", "x"), rule, **most)
    assert len(plan.reduction.tasks) == (1 if tuning.strategy == ONE_TASK else 3)
    seen = counter.in_tasks(records.sparkSession.sparkContext)
    return latest_by_columns(records.sparkSession, plan, records.schema, Names.of(records.columns), rule, seen)


@pytest.mark.parametrize("policy", [("drop", "oldest"), ("group", "oldest"), ("group", "drop")], ids="-".join)
@pytest.mark.parametrize("strategy", [*STRATEGIES, ONE_TASK, SEVERAL_TASKS])
def test_equals_plain_python(records: DataFrame, strategy: str, policy: tuple[str, str]) -> None:
    null_keys, null_timestamps = policy
    rule = Rule(RULE.key, RULE.timestamp, RULE.tie_breakers, RULE.deleted_when, null_keys, null_timestamps)
    answers, counts = found(records, rule, Tuning(strategy=strategy, window_partitions=5, salts=3))
    wanted = {case.number: answer(case, null_keys=null_keys, null_timestamps=null_timestamps) for case in CASES}
    for number, expected in wanted.items():
        got = answers[number]
        assert repr_of(got) == repr_of(expected), f"case {number}"
    assert counts.rows == sum(len(case.rows) for case in CASES)
    assert counts.unique == sum(len(w.latest) for w in wanted.values())
    assert counts.dropped == sum(w.dropped for w in wanted.values())
    assert counts.ties == sum(len(w.tied) for w in wanted.values())
    assert counts.deletes == sum(len(w.deleted) for w in wanted.values())


def repr_of(given: Answer) -> tuple[list[str], list[str], list[str]]:
    """Comparable although NaN is not equal to itself."""
    rows = [repr((*row[:2], row[2].timestamp() if row[2] else None, *row[3:])) for row in given.latest.values()]
    return sorted(rows), sorted(map(repr, given.deleted)), sorted(map(repr, given.tied))


@pytest.fixture(scope="module")
def reference(records: DataFrame) -> dict[int, Answer]:
    """What one strategy finds with the session's two partitions."""
    return found(records, RULE, Tuning(strategy="semi_join"))[0]


@pytest.mark.parametrize("partitions", [1, 7])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_does_not_depend_on_partitions(
    records: DataFrame, reference: dict[int, Answer], strategy: str, partitions: int
) -> None:
    spark = records.sparkSession
    before = spark.conf.get("spark.sql.shuffle.partitions")
    spark.conf.set("spark.sql.shuffle.partitions", str(partitions))
    try:
        answers, _ = found(records.repartition(partitions), RULE, Tuning(strategy=strategy, group_limit=False))
    finally:
        spark.conf.set("spark.sql.shuffle.partitions", before)
    assert {n: repr_of(a) for n, a in answers.items()} == {n: repr_of(a) for n, a in reference.items()}


def test_an_empty_source_gives_nothing(records: DataFrame) -> None:
    for strategy in STRATEGIES:
        _, counts = found(records.where("false"), RULE, Tuning(strategy=strategy))
        assert (counts.rows, counts.unique, counts.ties, counts.deletes) == (0, 0, 0, 0)


def test_columns_that_cannot_be_ordered_do_not_decide_at_random(spark: SparkSession) -> None:
    rows = [(1, 5, {"x": 1}), (1, 5, {"y": 2}), (1, 4, {"z": 3}), (2, 1, None)]
    rule = Rule(("id",), "at")
    winners = set()
    for order in (rows, rows[::-1]):
        for strategy in STRATEGIES:
            records = spark.createDataFrame(order, "id INT, at BIGINT, tags MAP<STRING, INT>").coalesce(1)
            got = latest(eligible(records, rule), rule, Tuning(strategy=strategy)).orderBy("id").collect()
            winners.add(repr([(row.id, row.at, row.tags, row._tied) for row in got]))
    assert len(winners) == 1
    assert "True" in winners.pop()
