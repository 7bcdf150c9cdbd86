"""The values of the charts on a trial's page: throughput over time, and partitions in time."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from pipeline_tuner.charts.style import Value
from pipeline_tuner.measurement import is_usable
from pipeline_tuner.wording import number, second_words

MOST = 200
SLOW = 1.5
"""A partition is slow from this many times the median on."""


def rates_of(details: Mapping[str, Any]) -> list[Value]:
    """What landed around a moment, in rows per second, seconds after the work began.

    `details.throughput` of a measurement has the rows that landed so far at times since the start.
    """
    curve = details.get("throughput")
    times, rows = (_numbers(curve.get(name)) if isinstance(curve, Mapping) else [] for name in ("time_s", "rows"))
    steps = pairwise(zip(times, rows, strict=False))
    found = [((a[0] + b[0]) / 2, (b[1] - a[1]) / (b[0] - a[0])) for a, b in steps if b[0] > a[0]]
    return [Value(at, rate, kind="tied", words=f"{number(rate)} rows/s after {number(at)} s") for at, rate in found]


def _numbers(values: Any) -> list[float]:
    return [float(v) for v in values if isinstance(v, int | float)] if isinstance(values, Sequence) else []


def spans_of(details: Mapping[str, Any]) -> list[Value]:
    """The partitions of a measurement's `details.partitions`, each between the seconds since the work began.

    Entries without a time are left out.
    """
    rows = details.get("partitions")
    listed = rows if isinstance(rows, Sequence) and not isinstance(rows, str) else ()
    known = [row for row in listed if isinstance(row, Mapping) and _is_placed(row)][:MOST]
    usual = statistics.median_high([row["duration_s"] for row in known]) if known else 0.0
    return [_span(row, row.get("number", place), usual) for place, row in enumerate(known, start=1)]


def _is_placed(row: Mapping[str, Any]) -> bool:
    took = row.get("duration_s")
    return isinstance(row.get("start_s"), int | float) and (is_usable(took) or took == 0)


def _span(row: Mapping[str, Any], name: Any, usual: float) -> Value:
    start, took = row["start_s"], row["duration_s"]
    kind = "bad" if row.get("state") not in (None, "PASS") else "second" if took > SLOW * usual else "tied"
    suffix = {"bad": ", failed", "second": f", slow: {number(took / usual)} times the median" if usual else ""}
    words = f"{second_words(took)} from {number(start)} s on{suffix.get(kind, '')}"
    return Value(str(name), took, start, start + took, kind, words)
