"""A goal over sweeps, nights and production runs, with what changed and who decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt

from pipeline_tuner.charts.look import data, plain, series_color, titled

HELD_AGAINST = "control"


@dataclass(frozen=True)
class Figure:
    """One figure of one series at a moment (ISO 8601); None breaks the line: nothing was measured then."""

    at: str
    series: str
    value: float | None
    words: str = ""
    href: str = ""


@dataclass(frozen=True)
class Event:
    """Something that happened at a moment."""

    at: str
    name: str
    words: str


def history(
    figures: Sequence[Figure], events: Sequence[Event] = (), *, main: str, y: str, title: str = ""
) -> alt.LayerChart:
    """`main` is the series that is looked at; the other one is the control."""
    x = alt.X(
        "at:T", title=None, scale=alt.Scale(type="utc"), axis=alt.Axis(grid=False, format="%Y-%m-%d", labelOverlap=True)
    )
    up = alt.Y("value:Q", title=plain(y, 60), scale=alt.Scale(zero=False))
    lines = alt.Chart(data(figures)).encode(x=x, y=up, color=series_color(main, HELD_AGAINST))
    layers = [
        lines.mark_line(strokeWidth=2),
        lines.mark_point(filled=True, size=35, opacity=1).encode(
            tooltip=[alt.Tooltip("words:N", title="measured")], href="href:N"
        ),
    ]
    if events:
        marks = alt.Chart(data(events)).encode(x=x)
        tip = [alt.Tooltip("name:N", title="what"), alt.Tooltip("words:N", title="in words")]
        layers += [
            marks.mark_rule(style="marker", strokeDash=[4, 3], size=2).encode(tooltip=tip),
            marks.mark_text(style="note", align="left", dx=4, y=6).encode(text="name:N", tooltip=tip),
        ]
    return titled(alt.layer(*layers).properties(height=220), title)
