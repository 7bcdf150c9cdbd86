"""An independent way to the rollups: pandas for the windows, Python's fractions for the sums. Slow and plain."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import pandas as pd

from pipeline_jobs.quantizer.rollup import MAX_VALUE

Key = tuple[str, str, int, pd.Timestamp]
"""org, metric, resolution in ms, end of the window."""

Point = tuple[str | None, str | None, int, float | None]
"""org, metric, time in us since 1970, value."""


def expected_rows(points: pd.DataFrame, resolutions_ms: tuple[int, ...]) -> dict[Key, dict[str, Any]]:
    """The rows that points (org_id, metric_name, wall_timestamp, value) amount to."""
    points = points.dropna()
    points = points[points["value"].abs() <= MAX_VALUE]
    points = points.drop_duplicates().sort_values(["org_id", "metric_name", "wall_timestamp", "value"], kind="stable")
    rows: dict[Key, dict[str, Any]] = {}
    for (org, metric), series in points.groupby(["org_id", "metric_name"]):
        by_time = series.set_index("wall_timestamp")["value"]
        for resolution_ms in resolutions_ms:
            windows = by_time.resample(f"{resolution_ms}ms", closed="right", label="right", origin="epoch")
            for end, values in windows:
                if len(values):
                    rows[org, metric, resolution_ms, end] = window_row(values)
    return rows


def expected_windows(points: Iterable[Point], resolutions_ms: tuple[int, ...]) -> dict[Key, dict[str, Any]]:
    """The same in whole numbers of us, for times before 1970 and far from now too."""
    usable = {
        (org, metric, time_us, float(value))
        for org, metric, time_us, value in points
        if org is not None and metric is not None and value is not None and abs(value) <= MAX_VALUE
    }
    windows: dict[Key, list[tuple[int, float]]] = {}
    for org, metric, time_us, value in sorted(usable):
        for resolution_ms in resolutions_ms:
            end = time_us + -time_us % (resolution_ms * 1000)
            windows.setdefault((org, metric, resolution_ms, moment(end)), []).append((time_us, value))
    return {key: window_row(pd.Series([v for _, v in w], [moment(t) for t, _ in w])) for key, w in windows.items()}


def moment(time_us: int) -> pd.Timestamp:
    return pd.Timestamp(time_us, unit="us", tz="UTC")


def window_row(values: pd.Series) -> dict[str, Any]:
    """The row of one window: its values by time."""
    numbers = [float(value) for value in values]
    increase, resets = Fraction(0), 0
    for before, after in itertools.pairwise(numbers):
        increase += Fraction(after) - Fraction(before) if after >= before else Fraction(after)
        resets += after < before
    return {
        "count": len(numbers),
        "sum": float(sum(map(Fraction, numbers), Fraction(0))),
        "sum_sq": float(sum((Fraction(number * number) for number in numbers), Fraction(0))),
        "min": min(numbers),
        "max": max(numbers),
        "first": numbers[0],
        "first_ts": values.index[0],
        "last": numbers[-1],
        "last_ts": values.index[-1],
        "increase": float(increase),
        "resets": resets,
        "values": sorted(numbers),
    }


def is_narrow(points: Iterable[Point]) -> bool:
    """Whether all usable values and their squares fit the grids of the engines that group, by Python's fractions."""
    usable = [
        Fraction(value)
        for org, metric, _, value in points
        if org is not None and metric is not None and value is not None and abs(value) <= MAX_VALUE
    ]
    squares = [Fraction(float(value) * float(value)) for value in usable]
    return all(
        abs(value) < 2**63 and (value * 2**106).denominator == 1 and (square * 2**111).denominator == 1
        for value, square in zip(usable, squares, strict=True)
    )


def rows_by_key(rows: pd.DataFrame) -> dict[Key, dict[str, Any]]:
    """Rollup rows under the oracle's keys; raises AssertionError where a window comes twice."""
    listed = rows.to_dict("records")
    found = {(row["org_id"], row["metric_name"], row["resolution_ms"], row["window_end"]): row for row in listed}
    assert len(found) == len(listed), "a window comes twice"
    return found


def assert_same(rows: pd.DataFrame, expected: dict[Key, dict[str, Any]]) -> None:
    """Every figure of every row equals the oracle's to the last bit."""
    found = rows_by_key(rows)
    assert found.keys() == expected.keys()
    for key, wanted in expected.items():
        row = found[key]
        differing = {
            name: (row[name], value) for name, value in wanted.items() if name != "values" and row[name] != value
        }
        assert not differing, (key, "found and expected:", differing)
