"""A piece of what the quantizer makes: raw points, and the windows of several resolutions made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import altair as alt

from pipeline_tuner.charts.look import FAINT, LINE, layer, mark, plain, stacked
from pipeline_tuner.wording import number

MS_PER_MINUTE = 60_000


@dataclass(frozen=True)
class _Raw:
    minute: float
    value: float


@dataclass(frozen=True)
class _Window:
    start: float
    end: float
    mean: float
    low: float
    high: float
    name: str


def rollups(
    points: Sequence[Sequence[float]], windows: Mapping[str, Sequence[Sequence[float]]], *, title: str, start: str
) -> alt.LayerChart:
    """Raw points (seconds, value); windows by resolution (ms): (end in seconds, mean, lowest, highest)."""
    raw = [_Raw(point[0] / 60, point[1]) for point in points]
    made = [window for resolution, rows in windows.items() for window in _windows(float(resolution), rows)]
    names = list(dict.fromkeys(window.name for window in made))
    color = alt.Color("name:N", scale=alt.Scale(domain=names), legend=alt.Legend(symbolOpacity=1))
    x = alt.X("start:Q", title=f"minutes after {plain(start)}", scale=alt.Scale(zero=False))
    y = alt.Y("value:Q", title=None, scale=alt.Scale(zero=False))
    boxes = mark("rect", {"opacity": 0.1}, y="low:Q", y2="high:Q"), mark("rule", LINE, y="mean:Q")
    return stacked(
        layer(raw, mark("point", FAINT | {"filled": True, "size": 8, "opacity": 0.5}, x="minute:Q", y=y)),
        layer(made, *boxes, x=x, x2="end:Q", color=color),
        height=300, title=title, how="dots: raw points; lines: means of windows; shaded: their lowest to highest",
    )  # fmt: skip


def _windows(resolution_ms: float, rows: Sequence[Sequence[float]]) -> list[_Window]:
    minutes = resolution_ms / MS_PER_MINUTE
    name = f"mean of {number(minutes)} min"
    return [_Window(row[0] / 60 - minutes, row[0] / 60, row[1], row[2], row[3], name) for row in rows]
