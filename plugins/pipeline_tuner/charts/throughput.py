"""Rows per second over the time of one trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import altair as alt

from pipeline_tuner.charts.look import DOT, LINE, layer, mark, stacked
from pipeline_tuner.wording import number


@dataclass(frozen=True)
class Rate:
    """What landed around a moment, seconds after the work began."""

    at_s: float
    rows_per_s: float
    words: str
    kind: str = "tied"


def rates_of(details: Mapping[str, Any]) -> list[Rate]:
    """The rates of a measurement's `details.throughput`: rows landed so far at times since the start."""
    curve = details.get("throughput")
    if not isinstance(curve, Mapping):
        return []
    times, rows = _numbers(curve.get("time_s")), _numbers(curve.get("rows"))
    steps = pairwise(zip(times, rows, strict=False))
    found = [((a[0] + b[0]) / 2, (b[1] - a[1]) / (b[0] - a[0])) for a, b in steps if b[0] > a[0]]
    return [Rate(at, rate, f"{number(rate)} rows/s after {number(at)} s") for at, rate in found]


def _numbers(values: Any) -> list[float]:
    return [float(v) for v in values if isinstance(v, int | float)] if isinstance(values, Sequence) else []


def throughput(rates: Sequence[Rate]) -> alt.LayerChart:
    """A line from the start to the end of the work."""
    x = alt.X("at_s:Q", title="seconds since the work began", axis=alt.Axis(grid=False))
    y = alt.Y("rows_per_s:Q", title="rows/s", scale=alt.Scale(zero=True))
    marks = mark("line", LINE), mark("point", DOT | {"size": 20})
    return stacked(layer(rates, *marks, tip={"words": "landed"}, x=x, y=y), height=220)
