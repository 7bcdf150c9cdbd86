# ruff: noqa: F811 (the fixture `spark` is imported, and a parameter)
"""Tables with generated lives: what is rolled up is what plain Python remembers, or a refusal in one line."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from tests.jobs.quantizer_histories import CHANGES, LENGTH, POINTS, History, append, begin
from tests.jobs.quantizer_oracle import assert_same, expected_windows, is_narrow
from tests.jobs.test_quantizer_batch import spark, table_of  # noqa: F401

from pipeline_jobs.contract import JobError
from pipeline_jobs.quantizer import iceberg
from pipeline_jobs.quantizer.batch import run_batch
from pipeline_jobs.quantizer.batch_request import Batch

RESOLUTIONS = (60_000, 300_000, 3_600_000)


def differing(spark: SparkSession, folder: Path, count: int, seed: int) -> list[str]:
    """The histories whose rollups are not what Python remembers, with what differs."""
    space = f"lake.histories_{seed}"
    spark.sql(f"CREATE NAMESPACE IF NOT EXISTS {space}")
    wrong = []
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        place = folder / str(number)
        place.mkdir()
        history = begin(spark, f"{space}.t{number}", place, rng)
        try:
            lived(history)
        except Exception as error:
            wrong.append(f"{number}: {history.said}\n  {type(error).__name__}: {str(error)[:900]}")
        spark.sql(f"DROP TABLE {history.name}")
    return wrong


def lived(history: History) -> None:
    """Change the table, roll it up, change it again and roll up what came late."""
    rng = history.rng
    engine = rng.choice(("compiled", "compiled", "compiled", "duckdb", "polars"))
    target = f"{history.name}_rollups"
    iceberg.create_rollups(history.spark, target)
    batch = Batch(
        history.name,
        target,
        history.start_us,
        history.start_us + LENGTH,
        min_tasks=rng.choice((1, 2)),
        lateness_ms=10**9,
        engine=engine,
    )
    append(history)
    for change in rng.choices(CHANGES, k=rng.randint(1, 6)):
        change(history)
    rolled_up(history, batch)
    if rng.random() < 0.4:
        history.has_rolled_up = True
        for change in rng.choices(CHANGES, k=rng.randint(1, 3)):
            change(history)
        append(history)
        rolled_up(history, batch)
    history.spark.sql(f"DROP TABLE {target}")


def rolled_up(history: History, batch: Batch) -> None:
    """A batch must give what Python remembers, and refuse only what its engine says that it can't."""
    wanted = history.points()
    if batch.engine != "compiled" and not is_narrow(wanted):
        with pytest.raises(JobError, match="use the engine compiled"):
            run_batch(history.spark, batch)
        return
    result = run_batch(history.spark, batch)
    assert result.counts.add_up
    if not history.has_rolled_up:
        assert result.counts.rows >= len(wanted)
        assert (result.read_by_spark > 0) <= history.is_slow, "Spark's reader was used without need"
    expected = expected_windows(wanted, RESOLUTIONS)
    found = table_of(history.spark, batch.target) if expected else None
    if found is not None:
        assert_same(found, expected)
    if history.rng.random() < 0.1:
        assert_spark_reads_it_too(history)


def assert_spark_reads_it_too(history: History) -> None:
    """The memory is held against Spark's reader, now and then: both may not be wrong in the same way."""
    listed = ", ".join(history.column(name).name for name in POINTS[:2])
    rows = history.spark.table(history.name).selectExpr(f"count({listed.split(', ')[0]})", "count(*)").collect()[0]
    org = history.column("org_id")
    assert rows[1] == len(history.rows)
    assert rows[0] == sum(row.get(org.key, org.default) is not None for row in history.rows)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_generated_lives_of_a_table_are_rolled_up_exactly(spark: SparkSession, tmp_path: Path) -> None:
    wrong = differing(spark, tmp_path, 20, seed=1)
    assert not wrong, "\n".join(wrong)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(2, 12))
def test_a_thousand_generated_lives(spark: SparkSession, tmp_path: Path, seed: int) -> None:
    wrong = differing(spark, tmp_path, 100, seed)
    assert not wrong, "\n".join(wrong)
