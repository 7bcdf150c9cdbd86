"""How a goal's figure responds to one parameter: every trial as a dot, and the line through the medians."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt

from pipeline_tuner.charts.look import data, kind_color, plain

WIDE = 30.0
"""Levels that span more than this factor stand on a log axis."""


@dataclass(frozen=True)
class Dot:
    """One trial: the parameter's level (a number, or a name) and the goal's figure."""

    level: float | str
    value: float
    kind: str
    words: str
    href: str = ""


@dataclass(frozen=True)
class _Median:
    level: float | str
    value: float
    kind: str = "other"


def response(dots: Sequence[Dot], *, parameter: str, y: str) -> alt.LayerChart:
    """Trials of all configurations: other parameters differ, too. What is due to this one alone, the effects say."""
    levels = list(dict.fromkeys(dot.level for dot in dots))
    numbers = [level for level in levels if isinstance(level, int | float)]
    up = alt.Y("value:Q", title=plain(y, 60), scale=alt.Scale(zero=False))
    if len(numbers) == len(levels):
        is_log = min(numbers) > 0 and max(numbers) / min(numbers) > WIDE
        scale = alt.Scale(type="log" if is_log else "linear", zero=False, padding=12)
        axis = alt.Axis(values=sorted(numbers), labelOverlap=True, grid=False)
        x = alt.X("level:Q", title=plain(parameter, 60), scale=scale, axis=axis)
    else:
        x = alt.X("level:N", title=plain(parameter, 60), sort=None, axis=alt.Axis(grid=False, labelAngle=0))
    found = [_Median(level, statistics.median(dot.value for dot in dots if dot.level == level)) for level in levels]
    medians = sorted(found, key=lambda one: one.level) if len(numbers) == len(levels) else found
    tip = [alt.Tooltip("words:N", title="trial")]
    layers = [
        alt.Chart(data(medians)).mark_line(opacity=0.6).encode(x=x, y=up, color=kind_color()),
        alt.Chart(data(dots)).mark_point(filled=True, size=45, opacity=0.75).encode(
            x=x, y=up, color=kind_color(), tooltip=tip, href="href:N"
        ),
    ]  # fmt: skip
    return alt.LayerChart(layer=layers).properties(height=260)
