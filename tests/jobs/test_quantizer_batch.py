"""Whole batches on a real Iceberg table with a PostgreSQL catalog: splits, lateness, repeats, kills, two writers."""

from __future__ import annotations

import itertools
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession
from tests.jobs.quantizer_oracle import assert_same, expected_rows
from tests.jobs.test_quantizer_rollup import random_points, without_tiny

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.quantizer import batch as batch_module
from pipeline_jobs.quantizer import catalogs, generated_points, iceberg
from pipeline_jobs.quantizer.batch import ConflictError, run_batch
from pipeline_jobs.quantizer.batch_request import Batch
from pipeline_jobs.quantizer.generated_points import START_US
from pipeline_jobs.quantizer.position import read_position
from pipeline_jobs.quantizer.rollup import POINT_COLUMNS, TIME, Counts, warm_up
from pipeline_jobs.session import close_session, open_session

MINUTE = 60_000_000
HOUR = 60 * MINUTE
KEYS = ["resolution_ms", "org_id", "metric_name", "window_end"]


@pytest.fixture(scope="module")
def spark(spark_env: dict[str, str], postgres) -> Iterator[SparkSession]:
    warm_up()
    uri = postgres.create_database("quantizer_lake")
    folder = Path(tempfile.mkdtemp(prefix="quantizer-warehouse-"))
    settings = catalogs.catalog_settings("jdbc", folder.as_uri(), uri) | {"spark.sql.shuffle.partitions": "2"}
    session = open_session("quantizer tests", {"driver_memory": "1g"}, extra=settings)
    catalogs.use_password(session, uri)
    try:
        yield session
    finally:
        catalogs.forget_password(session)
        close_session(session)
        postgres.drop_database("quantizer_lake")
        shutil.rmtree(folder, ignore_errors=True)


Make = Callable[..., Batch]


@pytest.fixture
def make(spark: SparkSession, tmp_path: Path) -> Make:
    """A function that fills a new raw table and returns the batch over all of its time."""
    numbers = iter(range(100))

    def fill(points: pa.Table | None = None, *, source: str | None = None, **options) -> Batch:
        name = f"lake.{tmp_path.name.replace('-', '_').lower()}_{next(numbers)}"
        if source is None:
            source = f"{name}.raw"
            generated_points.create_source(spark, source)
        if points is not None:
            add(spark, source, points, tmp_path)
        iceberg.create_rollups(spark, f"{name}.rollups")
        return Batch(source, f"{name}.rollups", START_US, START_US + 3 * HOUR, **options)

    return fill


def add(spark: SparkSession, source: str, points: pa.Table, folder: Path) -> None:
    if "source" not in points.column_names:
        points = points.append_column("source", pa.array(["test"] * len(points), pa.string()))
    generated_points.append(spark, source, points, folder)


def some_points(seed: int = 1, size: int = 4000) -> pa.Table:
    """Points of three hours, with every kind of odd input."""
    tables = [random_points(each) for each in range(seed * 1000, seed * 1000 + size // 60)]
    points = pa.concat_tables(tables)
    times = points["wall_timestamp"].cast(pa.int64())
    shifted = [None if time is None else START_US + 1 + time % (3 * HOUR) for time in times.to_pylist()]
    return without_tiny(points.set_column(2, "wall_timestamp", pa.array(shifted, pa.int64()).cast(TIME)))


def table_of(spark: SparkSession, name: str, *, complete: bool = True) -> pd.DataFrame:
    """The rows of a rollups' table in a fixed order, without what differs between histories."""
    rows = spark.table(name).where(f"complete = {complete}").drop("source_snapshot")
    frame = rows.toPandas().sort_values(KEYS, ignore_index=True)
    for column in ("window_end", "first_ts", "last_ts"):
        frame[column] = pd.to_datetime(frame[column], utc=True)
    return frame


def same_table(one: pd.DataFrame, other: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(one, other, check_exact=True)


def counts_of(spark: SparkSession, batch: Batch) -> Counts:
    return Counts(**read_position(iceberg.load(spark, batch.target)).counts)


def test_a_batch_equals_the_oracle_and_accounts_for_every_row(spark: SparkSession, make: Make) -> None:
    points = some_points()
    batch = make(points)
    result = run_batch(spark, batch)
    rows = table_of(spark, batch.target)
    assert_same(rows, expected_rows(points.to_pandas(), batch.resolutions_ms))
    assert result.counts.add_up
    assert result.counts.rows == len(points)
    assert result.counts.points == rows.query("resolution_ms == 60000")["count"].sum()
    assert set(spark.table(batch.target).select("source_snapshot").distinct().toPandas()["source_snapshot"]) == {
        result.source_snapshot
    }


@pytest.mark.parametrize("seeds", [range(1), pytest.param(range(1, 4), marks=pytest.mark.soak)])
def test_any_batches_and_chunks_in_any_order_give_the_same_table(spark: SparkSession, make: Make, seeds: range) -> None:
    whole = make(some_points(2))
    run_batch(spark, whole)
    wanted = table_of(spark, whole.target)
    for seed in seeds:
        rng = random.Random(seed)
        borders = sorted(
            {whole.start_us, whole.end_us, *(rng.randrange(whole.start_us, whole.end_us) for _ in "12345")}
        )
        pieces = list(itertools.pairwise(borders))
        rng.shuffle(pieces)
        target = make(source=whole.source).target
        counts = Counts()
        for start, end in pieces:
            options = {"chunk_ms": rng.choice([0, 300_000, 420_000]), "min_tasks": rng.choice([1, 2, 3])}
            counts += run_batch(spark, replace(whole, target=target, start_us=start, end_us=end, **options)).counts
        same_table(table_of(spark, target), wanted)
        assert counts.add_up
        assert counts.rows == spark.table(whole.source).count()
        assert spark.table(target).where("NOT complete").count() == 0


def test_partials_are_one_small_file_a_resolution_and_are_merged(spark: SparkSession, make: Make) -> None:
    batch = make(some_points(3))
    first = run_batch(spark, replace(batch, end_us=START_US + 90 * MINUTE + 17))
    partials = spark.table(batch.target).where("NOT complete")
    files = spark.table(f"{batch.target}.files").where("NOT partition.complete")
    assert first.partial_files == 3 == files.count()
    assert partials.count() > 3
    run_batch(spark, batch)
    same_table(table_of(spark, batch.target), table_of(spark, run_whole(spark, batch, make)))


def run_whole(spark: SparkSession, batch: Batch, make: Make) -> str:
    target = make(source=batch.source).target
    run_batch(spark, replace(batch, target=target))
    return target


def test_repeating_a_batch_changes_nothing(spark: SparkSession, make: Make) -> None:
    batch = make(some_points(4, 1200))
    run_batch(spark, batch)
    before = table_of(spark, batch.target)
    again = run_batch(spark, replace(batch, start_us=batch.start_us + HOUR))
    assert again.snapshot is None
    same_table(table_of(spark, batch.target), before)


def test_late_rows_update_and_those_too_late_are_kept_aside(spark: SparkSession, make: Make, tmp_path: Path) -> None:
    points = some_points(5)
    times = points["wall_timestamp"].cast(pa.int64()).to_pandas()
    is_late = (times.notna() & (times % 7 == 0)).to_numpy()
    early = points.filter(pa.array(~is_late))
    batch = make(early, lateness_ms=3_600_000)
    first = run_batch(spark, replace(batch, end_us=START_US + 150 * MINUTE))
    assert first.counts.add_up
    late = points.filter(pa.array(is_late))
    add(spark, batch.source, late, tmp_path)
    second = run_batch(spark, batch)
    closed = START_US + HOUR
    late_times = late["wall_timestamp"].cast(pa.int64()).to_pandas()
    assert second.counts.too_late == (late_times <= closed).sum() > 0
    assert second.counts.late == ((late_times > closed) & (late_times <= START_US + 150 * MINUTE)).sum() > 0
    assert counts_of(spark, batch).rows == len(points)
    assert counts_of(spark, batch).add_up
    kept = pa.array(~(is_late & (times <= closed).to_numpy()))
    assert_same(table_of(spark, batch.target), expected_rows(points.filter(kept).to_pandas(), batch.resolutions_ms))
    aside = spark.table(f"{batch.target}_too_late").select(*POINT_COLUMNS)
    assert aside.count() == second.counts.too_late


def test_time_travel_to_the_source_snapshot_reproduces_a_past_rollup(
    spark: SparkSession, make: Make, tmp_path: Path
) -> None:
    batch = make(some_points(6, 1200))
    past = run_batch(spark, batch)
    before = table_of(spark, batch.target)
    add(spark, batch.source, some_points(7, 1200), tmp_path)
    run_batch(spark, replace(batch, lateness_ms=10**9))
    assert len(table_of(spark, batch.target)) > len(before)
    again = make(source=batch.source)
    run_batch(spark, replace(batch, target=again.target, source_snapshot=past.source_snapshot))
    same_table(table_of(spark, again.target), before)
    travelled = spark.sql(f"SELECT count(*) FROM {batch.target} VERSION AS OF {past.snapshot}").first()
    assert travelled is not None
    assert travelled[0] == len(before)


def test_of_two_writers_one_is_refused_and_nothing_doubles(
    spark: SparkSession, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = make(some_points(8, 1200))
    commit = batch_module.commit

    def other_first(*arguments):
        monkeypatch.setattr(batch_module, "commit", commit)
        run_batch(spark, batch)
        return commit(*arguments)

    monkeypatch.setattr(batch_module, "commit", other_first)
    with pytest.raises(ConflictError, match="another writer committed"):
        run_batch(spark, batch)
    same_table(table_of(spark, batch.target), table_of(spark, run_whole(spark, batch, make)))
    assert run_batch(spark, batch).snapshot is None


def test_a_source_whose_rows_were_changed_is_refused(spark: SparkSession, make: Make) -> None:
    batch = make(some_points(9, 600))
    run_batch(spark, batch)
    spark.sql(f"DELETE FROM {batch.source} WHERE metric_name = 'x'")
    with pytest.raises(BadConfigurationError, match="were changed"):
        run_batch(spark, replace(batch, end_us=batch.end_us + HOUR))


def test_an_empty_or_missing_source_says_so(spark: SparkSession, make: Make) -> None:
    batch = make()
    with pytest.raises(BadConfigurationError, match="is empty"):
        run_batch(spark, batch)
    with pytest.raises(BadConfigurationError, match=r"no Iceberg table lake\.nowhere\.raw"):
        run_batch(spark, replace(batch, source="lake.nowhere.raw"))


def test_the_password_is_in_no_setting(spark: SparkSession, postgres) -> None:
    from urllib.parse import urlsplit

    password = urlsplit(postgres.uri("quantizer_lake")).password
    assert password
    assert not any(password in value for _, value in spark.sparkContext.getConf().getAll())
