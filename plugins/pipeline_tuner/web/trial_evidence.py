"""The values of the charts on a trial's page: throughput over time, and partitions in time."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from pipeline_tuner.charts.style import Value
from pipeline_tuner.measurement_details import Details, Partition
from pipeline_tuner.wording import number, second_words

MAX_PARTITIONS = 200
SLOW = 1.5
"""A partition is slow from this many times the median on."""


def rates_of(details: Mapping[str, Any]) -> list[Value]:
    """What landed around a moment, in rows per second, seconds after the work began.

    `details.throughput` of a measurement has the rows that landed so far at times since the start.
    """
    words = [(at, rate, f"{number(rate)} rows/s after {number(at)} s") for at, rate in Details.of(details).rates]
    return [Value(at, rate, kind="tied", words=text) for at, rate, text in words]


def spans_of(details: Mapping[str, Any]) -> list[Value]:
    """The partitions of a measurement's `details.partitions`, each between the seconds since the work began.

    Entries without a time are left out.
    """
    known = [(part, part.start_s) for part in Details.of(details).partitions if part.start_s is not None][
        :MAX_PARTITIONS
    ]
    usual = statistics.median_high([part.duration_s for part, _ in known]) if known else 0.0
    return [_span(part, start, usual) for part, start in known]


def _span(part: Partition, start: float, usual: float) -> Value:
    took = part.duration_s
    kind = "bad" if part.has_failed else "second" if took > SLOW * usual else "tied"
    suffix = {"bad": ", failed", "second": f", slow: {number(took / usual)} times the median" if usual else ""}
    words = f"{second_words(took)} from {number(start)} s on{suffix.get(kind, '')}"
    return Value(part.name, took, start, start + took, kind, words)
