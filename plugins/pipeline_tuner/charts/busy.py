"""How the threads of a configuration spend their time, and how busy its source is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from pipeline_tuner.charts.look import DOT, KINDS, STEP, layer, mark, plain, rows_axis, stacked

PARTS, SOURCE = ("workers transform", "load", "wait"), "source busy"


@dataclass(frozen=True)
class Threads:
    """Parts of one configuration's time, 0 to 1."""

    label: str
    source: float
    transform: float
    load: float
    wait: float


@dataclass(frozen=True)
class _Part:
    label: str
    part: str
    start: float
    end: float
    words: str


def busy(rows: Sequence[Threads], *, title: str = "") -> alt.LayerChart:
    """A bar a configuration; the diamond is its source."""
    domain = alt.Scale(domain=[*PARTS, KINDS[3], SOURCE])
    color = alt.Color("part:N", scale=domain, legend=alt.Legend(values=[*PARTS, SOURCE]))
    x = alt.X("start:Q", title="part of the time", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format=".0%"))
    shared: dict[str, Any] = {
        "y": rows_axis(),
        "color": color,
        "tip": {"label": "configuration", "part": "what", "words": "its part"},
    }
    bars, sources = [part for row in rows for part in _parts(row)], [_source(row) for row in rows]
    return stacked(
        layer(bars, mark("bar", {"height": STEP - 8}, x=x, x2="end:Q"), **shared),
        layer(sources, mark("point", DOT | {"shape": "diamond"}, x="end:Q"), **shared),
        height=STEP * len(rows), title=title,
        how="a source at 100% brings no more; workers that wait have too little to do",
    )  # fmt: skip


def _parts(row: Threads) -> Iterator[_Part]:
    end = 0.0
    for name, part in zip(PARTS, (row.transform, row.load, row.wait), strict=True):
        yield _Part(plain(row.label, 34), name, end, end + part, f"{part:.0%}")
        end += part


def _source(row: Threads) -> _Part:
    return _Part(plain(row.label, 34), SOURCE, 0.0, row.source, f"{row.source:.0%}")
