"""Chart: how a configuration's threads spend their time, and how busy its source is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import altair as alt

from pipeline_tuner.charts.style import DOT, KINDS, STEP, Value, layer, mark, plain, rows_axis, stacked

PARTS, SOURCE = ("workers transform", "load", "wait"), "source busy"


@dataclass(frozen=True)
class Threads:
    """Parts of one configuration's time, 0 to 1: of its source, and of its workers in the order of `PARTS`."""

    label: str
    source: float
    workers: Sequence[float]


def thread_time(rows: Sequence[Threads], *, title: str = "") -> alt.LayerChart:
    """A bar a configuration; the diamond is its source."""
    ends = [(row, tuple(accumulate(row.workers))) for row in rows]
    bars = [
        Value(plain(row.label, 34), part, end - part, end, name, f"{part:.0%}")
        for row, found in ends
        for name, part, end in zip(PARTS, row.workers, found, strict=True)
    ]
    sources = [Value(plain(row.label, 34), row.source, kind=SOURCE, words=f"{row.source:.0%}") for row in rows]
    color = alt.Color("kind:N").scale(domain=[*PARTS, KINDS[3], SOURCE]).legend(values=[*PARTS, SOURCE])
    x = alt.X("low:Q", title="part of the time").scale(domain=[0, 1]).axis(format=".0%")
    tip = {"at": "configuration", "kind": "what", "words": "its part"}
    shared: dict[str, Any] = {"y": rows_axis(), "color": color, "tip": tip}
    return stacked(
        layer(bars, mark("bar", {"height": STEP - 8}, x=x, x2="high:Q"), **shared),
        layer(sources, mark("point", DOT | {"shape": "diamond"}, x="value:Q"), **shared),
        height=STEP * len(rows), title=title,
        how="a source at 100% brings no more; workers that wait have too little to do",
    )  # fmt: skip
