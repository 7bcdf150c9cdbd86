"""Chart: how a goal's value responds to one parameter, trials as dots and the model's expectation with its band."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import altair as alt

from pipeline_tuner.charts.style import DOT, LINE, RANGE, Value, layer, mark, plain, stacked

WIDE = 30.0
"""Levels that span more than this factor stand on a log axis."""


def parameter_response(
    dots: Sequence[Value], expected: Sequence[Value] = (), *, parameter: str, y: str
) -> alt.LayerChart:
    """Trials of all configurations at their level: other parameters differ, too.

    :param expected: What the model of main effects expects at each level, all else as in one configuration; without
        it the line joins the medians.
    """
    x, is_number = _across(list(dict.fromkeys(dot.at for dot in dots)), plain(parameter, 60))
    up, low = (alt.Y(f"{name}:Q", title=plain(y, 60)).scale(zero=False) for name in ("value", "low"))
    band = mark("area", {"opacity": 0.18}) if is_number else mark("rule", RANGE)
    course = mark("line", LINE) if is_number else mark("tick", {"thickness": 2, "size": 16})
    layers = [layer(expected, band, x=x, y=low, y2="high:Q")] if expected else []
    layers += [layer(expected or _medians(dots), course, tip={"words": "expected"} if expected else {}, x=x, y=up)]
    shown = mark("point", DOT | {"size": 45, "opacity": 0.75})
    return stacked(*layers, layer(dots, shown, tip={"words": "trial"}, x=x, y=up), height=260)


def _across(levels: list[float | str], title: str) -> tuple[alt.X, bool]:
    """The axis of the levels, and whether they are numbers."""
    numbers = sorted(level for level in levels if isinstance(level, int | float))
    if len(numbers) < len(levels):
        return alt.X("at:N", title=title, sort=None).axis(grid=False, labelAngle=0), False
    is_log = numbers[0] > 0 and numbers[-1] / numbers[0] > WIDE
    x = alt.X("at:Q", title=title).scale(type="log" if is_log else "linear", zero=False, padding=12)
    return x.axis(values=numbers, labelOverlap=True, grid=False), True


def _medians(dots: Sequence[Value]) -> list[Value]:
    levels = dict.fromkeys(dot.at for dot in dots)
    middle = {
        at: statistics.median(dot.value for dot in dots if dot.at == at and dot.value is not None) for at in levels
    }
    return [Value(level, value, kind="other") for level, value in middle.items()]
