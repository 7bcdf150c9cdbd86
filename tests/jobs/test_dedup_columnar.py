"""The strategy `columnar`: the same records as Spark's strategies for every type that it takes; the rest is Spark's."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dedup_runs import config, run, write_events
from pyspark import TaskContext
from pyspark.sql import DataFrame, SparkSession

from pipeline_jobs.contract import BadConfigurationError, TrialConfig
from pipeline_jobs.dedup.columnar import latest_by_columns
from pipeline_jobs.dedup.columnar_source import columnar_plan
from pipeline_jobs.dedup.columns import Names
from pipeline_jobs.dedup.counts import Counter
from pipeline_jobs.dedup.failures import explained
from pipeline_jobs.dedup.options import DedupOptions, Rule, Source, Tuning, dedup_options
from pipeline_jobs.dedup.readers import read_source
from pipeline_jobs.dedup.strategies import eligible, latest
from pipeline_jobs.dedup.strategy_choice import plan_for
from pipeline_jobs.session import close_session, open_session

MOMENTS = [
    datetime(1900, 1, 1, tzinfo=UTC),
    datetime(2024, 3, 31, 1, 0, 0, 1, tzinfo=UTC),
    datetime(9999, 12, 31, tzinfo=UTC),
]
TEXTS = ["", "a", "a\0", "a\0b", "B", "é", "e\u0301", "\uffff", "\U0001f600", "a "]
COLUMNS: dict[str, tuple[pa.DataType, list[Any]]] = {
    "yes": (pa.bool_(), [True, False]),
    "tiny": (pa.int8(), [-128, 0, 127]),
    "small": (pa.int16(), [-(2**15), 2**15 - 1]),
    "whole": (pa.int32(), [-(2**31), 2**31 - 1]),
    "long": (pa.int64(), [-(2**63), 2**63 - 1, 0]),
    "text": (pa.string(), TEXTS),
    "large": (pa.large_string(), TEXTS),
    "bytes": (pa.binary(), [b"", b"\0", b"\x7f", b"\x80", b"\xff", b"\xff\0"]),
    "day": (pa.date32(), [date(1582, 10, 15), date(1969, 12, 31), date(9999, 12, 31)]),
    "moment": (pa.timestamp("us", "Europe/Berlin"), MOMENTS),
    "local": (pa.timestamp("us"), [each.replace(tzinfo=None) for each in MOMENTS]),
    "digits": (pa.decimal128(38, 10), [Decimal("-9999999999999999999999999999.9999999999"), Decimal("0.0000000001")]),
    "money": (pa.decimal128(9, 2), [Decimal("-0.01"), Decimal("9999999.99")]),
    "single": (pa.float32(), [float("nan"), float("inf"), float("-inf"), 1e-45]),
    "double": (pa.float64(), [float("nan"), float("inf"), float("-inf"), 5e-324, 0.1]),
}
FLOATS = ("single", "double")
RULES = (
    Rule(("tiny", "text"), "moment", ("yes", "money")),
    Rule(("bytes",), "day", ("text", "large", "digits", "local")),
    Rule(("yes",), "long", ("bytes", "moment"), null_keys="group", null_timestamps="drop"),
    Rule(("digits", "moment"), "local", null_keys="group"),
)


@pytest.fixture(scope="module")
def spark(spark_env: dict[str, str]) -> Iterator[SparkSession]:
    # Most of a small query's time is the compilation of its code: these are interpreted.
    settings = {
        "master": "local[2,3]",
        "shuffle_partitions": 1,
        "adaptive": False,
        "driver_memory": "1g",
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    }
    session = open_session("columnar", settings)
    yield session
    close_session(session)


def write_types(folder: Path, rows: int = 600) -> str:
    """Three files of few values, so that records tie in any column, the same record twice among them."""
    r = random.Random(5)
    folder.mkdir()
    for number in range(3):
        values = {name: [r.choice([*some, None]) for _ in range(rows)] for name, (_, some) in COLUMNS.items()}
        arrays = {name: pa.array([*values[name], *values[name][:50]], kind) for name, (kind, _) in COLUMNS.items()}
        pq.write_table(pa.table(arrays), folder / f"{number}.parquet", row_group_size=250)
    return str(folder)


def by_columns(records: DataFrame, rule: Rule, counter: Counter | None = None, **most: int) -> DataFrame:
    plan = columnar_plan(records, Source("parquet", "x"), rule, **most)
    seen = counter.in_tasks(records.sparkSession.sparkContext) if counter else None
    return latest_by_columns(records.sparkSession, plan, records.schema, Names.of(records.columns), rule, seen)


def shown(rows: DataFrame) -> list[str]:
    """All values, NaN equal to itself."""
    return sorted(repr(row) for row in rows.collect())


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: "-".join(rule.key))
def test_all_types_come_out_as_by_a_window(spark: SparkSession, tmp_path: Path, rule: Rule) -> None:
    records = spark.read.parquet(write_types(tmp_path / "in"))
    wanted = shown(latest(eligible(records, rule), rule, Tuning(strategy="window")))
    assert any("_tied=True" in row for row in wanted)
    assert shown(by_columns(records, rule)) == wanted
    assert shown(by_columns(records, rule, one_task_bytes=0, task_bytes=1)) == wanted


def test_zeros_of_both_signs_are_no_tie(spark: SparkSession, tmp_path: Path) -> None:
    table = pa.table({"id": [1, 1, 2, 2], "at": [1, 1, 1, 1], "x": [0.0, -0.0, -0.0, 0.0], "y": [1, 2, 2, 1]})
    pq.write_table(table, tmp_path / "x.parquet")
    rule = Rule(("id",), "at")
    found = sorted(by_columns(spark.read.parquet(str(tmp_path)), rule).collect())
    assert [(row.id, row.y, row._tied) for row in found] == [(1, 2, True), (2, 2, True)]
    equal = pa.table({"id": [1, 1], "at": [1, 1], "x": [0.0, -0.0], "y": [1, 1]})
    pq.write_table(equal, tmp_path / "x.parquet")
    (row,) = by_columns(spark.read.parquet(str(tmp_path)), rule).collect()
    assert (row.x, row.y, row._tied) == (0.0, 1, False)


EVENTS = {"id": ["a", "b"], "at": [1, 2]}
Writer = Callable[[Path], object]


def _table(options: dict[str, Any] | None = None, **columns: Any) -> Writer:
    return lambda folder: pq.write_table(pa.table({**EVENTS, **columns}), folder / "1.parquet", **(options or {}))


def _two(first: dict[str, Any], second: dict[str, Any]) -> Writer:
    def write(folder: Path) -> None:
        for number, columns in enumerate((first, second)):
            pq.write_table(pa.table(columns), folder / f"{number}.parquet")

    return write


def _in_folders(folder: Path) -> None:
    for day in ("1", "2"):
        (folder / f"day={day}").mkdir()
        pq.write_table(pa.table(EVENTS), folder / f"day={day}" / "1.parquet")


DAY, MOMENT = [date(2024, 1, 1), None], [datetime(2024, 1, 1, tzinfo=UTC), None]
LEFT_TO_SPARK: dict[str, tuple[Writer, str]] = {
    "structures": (_table(x=[{"a": 1}, None]), "the column x is a struct<a:bigint>"),
    "lists": (_table(x=[[1], None]), "the column x is a array<bigint>"),
    "a key of floats": (_table(at=[1.0, float("nan")]), "the column at of key or order is a double"),
    "partition folders": (_in_folders, "the column day is in the folders' names"),
    "INT96": (_table({"use_deprecated_int96_timestamps": True}, x=MOMENT), "has timestamp[ns] in column x"),
    "nanoseconds": (_table(x=pa.array(MOMENT, pa.timestamp("ns", "UTC"))), "has timestamp[ns, tz=UTC] in column x"),
    "milliseconds": (_table(x=pa.array(MOMENT, pa.timestamp("ms", "UTC"))), "has timestamp[ms, tz=UTC] in column x"),
    "unsigned numbers": (_table(x=pa.array([1, 2], pa.uint8())), "has uint8 in column x"),
    "categories": (_table(x=pa.array(["a", "b"]).dictionary_encode()), "in column x"),
    "other columns": (_two(EVENTS, {**EVENTS, "x": [1, 2]}), "has other columns than the source"),
    "another order": (_two(EVENTS, dict(reversed(EVENTS.items()))), "has other columns than the source"),
    "another case": (_two(EVENTS, {"ID": ["c"], "at": [3]}), "has other columns than the source"),
    "old days": (_table(x=[date(1500, 1, 1), None]), "doesn't say that the times in column x are of today's calendar"),
    "days of no statistics": (_table({"write_statistics": False}, x=DAY), "doesn't say that the times in column x"),
    "another packing": (_table({"compression": "brotli"}), "is packed by BROTLI"),
}


@pytest.mark.parametrize("name", LEFT_TO_SPARK)
def test_what_is_not_proven_is_left_to_spark(spark: SparkSession, tmp_path: Path, name: str) -> None:
    write, reason = LEFT_TO_SPARK[name]
    write(tmp_path)
    options = options_of(tmp_path, "auto")
    assert options.source is not None
    records = read_source(spark, options.source, TrialConfig("dedup", "t", {}))
    why = plan_for(records, options.source, options)
    assert isinstance(why, str)
    assert reason in why
    with pytest.raises(BadConfigurationError, match=r"^strategy columnar can't take this source: .*; use auto$"):
        plan_for(records, options.source, options_of(tmp_path, "columnar"))


def options_of(folder: Path, strategy: str) -> DedupOptions:
    """A run that keeps the latest record by `id` and `at`, whatever else the files have."""
    source = {"format": "parquet", "path": str(folder), "options": {"datetimeRebaseMode": "CORRECTED"}}
    return dedup_options(
        TrialConfig("dedup", "t", {"strategy": strategy}, {"key": ["id"], "timestamp": "at", "source": source})
    )


def test_all_null_days_need_no_calendar(spark: SparkSession, tmp_path: Path) -> None:
    _table(x=pa.array([None, None], pa.date32()))(tmp_path)
    assert columnar_plan(spark.read.parquet(str(tmp_path)), Source("parquet", "x"), Rule(("id",), "at")).is_one_task


def test_a_bookmark_and_columnar_are_refused() -> None:
    target = {"kind": "postgresql", "table": "latest", "bookmark": "nightly"}
    with pytest.raises(BadConfigurationError, match=r"strategy columnar and target\.bookmark don't go together"):
        dedup_options(config({"format": "parquet", "path": "x"}, target, "", strategy="columnar"))


def test_auto_takes_it_without_a_sample(spark: SparkSession, tmp_path: Path) -> None:
    path = write_events(tmp_path / "in %7 ü", [("a", 1, 1, "x"), ("a", 2, 1, "y"), (None, 1, 1, "z")])
    outcome = run(spark, config({"format": "parquet", "path": path}, {"kind": "none"}, "", strategy="auto"))
    assert outcome.choice is not None
    assert (outcome.choice.strategy, outcome.choice.probe, outcome.choice.took_s) == ("columnar", None, 0.0)
    assert "no sample was taken" in outcome.choice.reasons[0]
    assert outcome.counts is not None
    assert (outcome.counts.rows, outcome.counts.unique, outcome.counts.dropped) == (3, 1, 1)
    assert outcome.read_bytes == sum(file.stat().st_size for file in Path(path).iterdir())


@pytest.mark.parametrize(
    ("policies", "said"),
    [
        ({"null_keys": "fail"}, "the source holds a record with a NULL in the key (id); set null_keys to allow it"),
        ({"null_timestamps": "fail"}, "the source holds a record with no at; set null_timestamps to allow it"),
    ],
)
def test_a_record_that_the_rule_refuses_ends_the_run(
    spark: SparkSession, tmp_path: Path, policies: dict[str, str], said: str
) -> None:
    path = write_events(tmp_path / "in", [("a", 1, 1, "x"), (None, 1, 1, "y"), ("b", None, 1, "z")])
    given = config({"format": "parquet", "path": path}, {"kind": "none"}, "", workload=policies, strategy="columnar")
    with pytest.raises(Exception, match="RefusedError") as caught:
        run(spark, given)
    told = explained(caught.value, {})
    assert isinstance(told, BadConfigurationError)
    assert str(told) == said


def test_a_damaged_file_is_said_in_one_line(spark: SparkSession, tmp_path: Path) -> None:
    path = write_events(tmp_path / "in", [(f"k{n}", n, 1, "x") for n in range(2000)])
    file = Path(path) / "part.parquet"
    content = bytearray(file.read_bytes())
    content[4:400] = b"\xff" * 396
    file.write_bytes(bytes(content))
    with pytest.raises(Exception, match="RefusedError") as caught:
        run(spark, config({"format": "parquet", "path": path}, {"kind": "none"}, "", strategy="columnar"))
    told = explained(caught.value, {})
    assert str(told) == f"the file {file} can't be read: it is damaged or of another format"


def failing_once() -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """A step of a task that dies at its first attempt, after its first rows. Made here, so that it goes by value."""

    def pass_on(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield batch
            if TaskContext.get().attemptNumber() == 0:  # type: ignore[union-attr]
                raise RuntimeError("killed")

    return pass_on


@pytest.mark.parametrize("most", [{}, {"one_task_bytes": 0, "task_bytes": 1}], ids=["one task", "several tasks"])
def test_a_task_that_is_repeated_leaves_each_record_once(
    spark: SparkSession, tmp_path: Path, most: dict[str, int]
) -> None:
    rows = [(f"k{n % 40}", n, 1, "x") for n in range(400)] + [(None, 1, 1, "x")]
    for number in range(3):
        path = write_events(tmp_path / "in", rows[number::3], f"{number}.parquet")
    rule = Rule(("id",), "at", ("version",), "status = 'deleted'")
    records = spark.read.parquet(path)
    counter = Counter(rule)
    found = counter.on_latest(by_columns(records, rule, counter, **most))
    kept = found.mapInArrow(failing_once(), found.schema).collect()
    assert sorted((row.id, row.at) for row in kept) == sorted((f"k{n % 40}", n) for n in range(360, 400))
    counted = counter.counts()
    assert (counted.rows, counted.dropped, counted.null_timestamps) == (401, 1, 0)


def test_files_beyond_one_tasks_size_are_shared_out_by_row_groups(spark: SparkSession, tmp_path: Path) -> None:
    records = spark.read.parquet(write_types(tmp_path / "in", rows=250))
    whole = columnar_plan(records, Source("parquet", "x"), RULES[0])
    assert [len(task) for task in whole.reduction.tasks] == [3]
    each = columnar_plan(records, Source("parquet", "x"), RULES[0], one_task_bytes=0, task_bytes=1)
    assert [(len(task), task[0].groups) for task in each.reduction.tasks] == [(1, (n,)) for n in range(2)] * 3
    assert sum(part.rows for task in each.reduction.tasks for part in task) == 900
    assert each.reduction.threads == 1
