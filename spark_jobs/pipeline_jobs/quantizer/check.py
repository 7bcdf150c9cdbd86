"""The check of a quantizer's trial: its rollups held against what plain Spark SQL counts in the raw points."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pipeline_jobs.quantizer.baseline import last_window_end
from pipeline_jobs.quantizer.batch import BatchResult
from pipeline_jobs.quantizer.rollup import MAX_VALUE
from pipeline_jobs.quantizer.settings import Settings

Check = tuple[str, bool, str]


@dataclass(frozen=True)
class Expected:
    """What the raw points of a stretch amount to."""

    end_us: int
    rows: int
    usable: int
    points: int
    """Usable rows without repeated ones."""
    low: float
    high: float
    windows: tuple[int, ...]
    """Windows of each resolution that hold points."""


def expected_values(
    spark: SparkSession, source: str, start_us: int, end_us: int, resolutions_ms: Sequence[int]
) -> Expected:
    """The expected values of (start, end], computed once and kept among the raw table's properties."""
    key = f"quantizer.expected.{start_us}.{end_us}.{'.'.join(map(str, resolutions_ms))}"
    found = spark.sql(f"SHOW TBLPROPERTIES {source}").where(f"key = '{key}'").first()
    if found is not None:
        values = json.loads(found["value"])
        return Expected(**{**values, "windows": tuple(values["windows"])})
    with _few_partitions(spark):
        expected = _count(spark, source, start_us, end_us, resolutions_ms)
    spark.sql(f"ALTER TABLE {source} SET TBLPROPERTIES ('{key}'='{json.dumps(asdict(expected))}')")
    return expected


@contextmanager
def _few_partitions(spark: SparkSession) -> Iterator[None]:
    """Counting is no part of what is measured: a trial's 1,000 partitions shall not slow it down."""
    key = "spark.sql.shuffle.partitions"
    before = spark.conf.get(key)
    spark.conf.set(key, str(2 * spark.sparkContext.defaultParallelism))
    try:
        yield
    finally:
        spark.conf.set(key, str(before))


def _count(spark: SparkSession, source: str, start_us: int, end_us: int, resolutions_ms: Sequence[int]) -> Expected:
    inside = f"wall_timestamp > timestamp_micros({start_us}) AND wall_timestamp <= timestamp_micros({end_us})"
    keyed = "org_id IS NOT NULL AND metric_name IS NOT NULL"
    usable = f"{keyed} AND abs(value) <= {MAX_VALUE!r}D"
    totals = spark.sql(f"SELECT count(*), count_if({usable}) FROM {source} WHERE {inside}").first()
    points = spark.sql(
        f"SELECT count(*), min(value), max(value) FROM (SELECT DISTINCT org_id, metric_name, wall_timestamp, value "
        f"FROM {source} WHERE {inside} AND {usable})"
    ).first()
    ends = _windows(spark, f"{source} WHERE {inside} AND {usable}", resolutions_ms)
    assert totals is not None
    assert points is not None
    return Expected(end_us, totals[0], totals[1], points[0], points[1], points[2], ends)


def _windows(spark: SparkSession, rows: str, resolutions_ms: Sequence[int]) -> tuple[int, ...]:
    """How many windows of each resolution hold points; each counted from those of the resolution before."""
    found = f"(SELECT org_id, metric_name, unix_micros(wall_timestamp) AS us FROM {rows})"
    counts = []
    for resolution_ms in resolutions_ms:
        size = resolution_ms * 1000
        found = f"(SELECT DISTINCT org_id, metric_name, us + pmod(-us, {size}) AS us FROM {found})"
        row = spark.sql(f"SELECT count(*) FROM {found}").first()
        assert row is not None
        counts.append(row[0])
    return tuple(counts)


def check_rollups(
    spark: SparkSession, target: str, expected: Expected, results: Sequence[BatchResult], settings: Settings
) -> Iterator[Check]:
    """The checks of a table after all its batches."""
    if settings.shape == "baseline":
        yield from _check_baseline(spark, target, expected)
        return
    listed = spark.sql(
        "SELECT resolution_ms, sum(count) AS points, count(*) AS windows, min(min) AS low, max(max) AS high, "
        f"count(DISTINCT org_id, metric_name, window_end) AS keys FROM {target} GROUP BY 1 ORDER BY 1"
    ).collect()
    yield _equal("points at each resolution", [row["points"] for row in listed], [expected.points] * len(listed))
    yield _equal("windows at each resolution", [row["windows"] for row in listed], list(expected.windows))
    yield _equal("every window once", [row["keys"] for row in listed], [row["windows"] for row in listed])
    yield _equal("lowest and highest", [(r["low"], r["high"]) for r in listed[:1]], [(expected.low, expected.high)])
    counted = sum((result.counts for result in results[1:]), results[0].counts)
    yield _equal("input rows accounted for", counted.rows - counted.null_key, expected.rows)
    yield "the account adds up", counted.add_up, str(counted)


def _check_baseline(spark: SparkSession, target: str, expected: Expected) -> Iterator[Check]:
    """At each resolution, finished windows and the partial points after them must hold every usable row."""
    rows = spark.sql(f"SELECT resolution_ms, sum(count) AS points FROM {target} GROUP BY 1 ORDER BY 1").collect()
    time_us = F.unix_micros("wall_timestamp")
    partials = spark.table(f"{target}_partials")
    found = [
        row["points"] + partials.where(time_us > last_window_end(expected.end_us, row["resolution_ms"])).count()
        for row in rows
    ]
    yield _equal("points at each resolution", found, [expected.usable] * len(expected.windows))


def _equal(name: str, found: object, wanted: object) -> Check:
    return name, found == wanted, f"found {found}, expected {wanted}"
