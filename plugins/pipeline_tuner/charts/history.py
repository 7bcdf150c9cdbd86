"""A goal over sweeps, nights and production runs, with what changed and who decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from pipeline_tuner.charts.look import DOT, KINDS, LINE, MARKER, NOTE, layer, mark, plain, stacked

HELD_AGAINST, RUNS = "control", "production runs"


@dataclass(frozen=True)
class Point:
    """One value of one series at a moment (ISO 8601); None breaks the line: nothing was measured then."""

    at: str
    series: str
    value: float | None
    words: str = ""
    href: str = ""


@dataclass(frozen=True)
class Event:
    """Something that happened at a moment: a change of level, a promotion, a roll-back."""

    at: str
    name: str
    words: str


def history(
    points: Sequence[Point], events: Sequence[Event] = (), *, main: str, y: str, title: str = ""
) -> alt.LayerChart:
    """`main` is the series that is looked at, beside it the control; production runs are dots by themselves."""
    shown = [name for name in (main, HELD_AGAINST, RUNS) if any(point.series == name for point in points)]
    # In the order of the themes' colours, as KINDS.
    domain = alt.Scale(domain=[main, KINDS[1], HELD_AGAINST, KINDS[3], RUNS])
    dates = alt.Axis(grid=False, format="%Y-%m-%d", labelOverlap=True)
    places: dict[str, Any] = {
        "x": alt.X("at:T", title=None, scale=alt.Scale(type="utc"), axis=dates),
        "y": alt.Y("value:Q", title=plain(y, 60), scale=alt.Scale(zero=False)),
        "color": alt.Color("series:N", scale=domain, legend=alt.Legend(values=shown)),
    }
    joined = [point for point in points if point.series != RUNS]
    layers = [layer(joined, mark("line", LINE), **places)] if joined else []
    layers += [layer(points, mark("point", DOT | {"size": 35}), tip={"words": "measured"}, **places)]
    if events:
        marks = mark("rule", MARKER | {"strokeDash": [4, 3], "size": 2}), mark("text", NOTE | {"y": 6}, text="name:N")
        layers += [layer(events, *marks, tip={"name": "what", "words": "in words"}, x=places["x"])]
    return stacked(*layers, height=220, title=title)
