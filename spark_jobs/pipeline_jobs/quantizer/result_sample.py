"""A sample of the result for the analysis: one series over one of the largest windows, raw points and rollups."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pyspark.sql import SparkSession

MAX_POINTS = 1000


def series_sample(spark: SparkSession, source: str, target: str) -> dict[str, Any]:
    """Points as [seconds, value] and windows by resolution (ms) as [end in seconds, mean, lowest, highest].

    The series is the busiest gauge: one whose value goes up and down. Seconds count from `start`. Empty where no
    window is complete.
    """
    row = spark.sql(
        f"SELECT org_id, metric_name, resolution_ms, unix_micros(window_end) AS end_us FROM {target} WHERE complete "
        "ORDER BY resolution_ms DESC, increase > 2 * (max - min) DESC, count DESC, org_id, metric_name, window_end "
        "LIMIT 1"
    ).first()
    if row is None:
        return {}
    start_us = row["end_us"] - row["resolution_ms"] * 1000
    series = {"org": row["org_id"], "metric": row["metric_name"]}
    return {
        **series,
        "start": datetime.fromtimestamp(start_us / 1e6, UTC).isoformat(),
        "points": _points(spark, source, series, start_us, row["end_us"]),
        "windows": _windows(spark, target, series, start_us, row["end_us"]),
    }


def _points(spark: SparkSession, source: str, series: dict[str, str], start_us: int, end_us: int) -> list[list[float]]:
    rows = spark.sql(
        f"SELECT (unix_micros(wall_timestamp) - {start_us}) / 1e6 AS at, value FROM {source} "
        "WHERE org_id = :org AND metric_name = :metric AND abs(value) < double('infinity') "
        f"AND wall_timestamp > timestamp_micros({start_us}) AND wall_timestamp <= timestamp_micros({end_us}) "
        "ORDER BY 1, 2",
        args=series,
    ).collect()
    return [[float(row["at"]), row["value"]] for row in rows[:: max(1, -(-len(rows) // MAX_POINTS))]]


def _windows(
    spark: SparkSession, target: str, series: dict[str, str], start_us: int, end_us: int
) -> dict[str, list[list[float]]]:
    rows = spark.sql(
        f"SELECT resolution_ms, (unix_micros(window_end) - {start_us}) / 1e6 AS at, sum / count AS mean, min, max "
        f"FROM {target} WHERE org_id = :org AND metric_name = :metric AND complete "
        f"AND window_end > timestamp_micros({start_us}) AND window_end <= timestamp_micros({end_us}) ORDER BY 1, 2",
        args=series,
    ).collect()
    found: dict[str, list[list[float]]] = {}
    for row in rows[:MAX_POINTS]:
        found.setdefault(str(row["resolution_ms"]), []).append([float(row["at"]), row["mean"], row["min"], row["max"]])
    return found
