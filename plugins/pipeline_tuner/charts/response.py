"""How a goal's value responds to one parameter: every trial as a dot, and what the model expects, with its band."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt

from pipeline_tuner.charts.look import DOT, LINE, RANGE, layer, mark, plain, stacked

WIDE = 30.0
"""Levels that span more than this factor stand on a log axis."""


@dataclass(frozen=True)
class Dot:
    """One trial: the parameter's level (a number, or a name) and the goal's value."""

    level: float | str
    value: float
    kind: str
    words: str
    href: str = ""


@dataclass(frozen=True)
class Expected:
    """What the model of main effects expects at one level, all else as in one configuration, with its interval."""

    level: float | str
    value: float
    low: float
    high: float
    words: str = ""
    kind: str = "pick"


def response(dots: Sequence[Dot], expected: Sequence[Expected] = (), *, parameter: str, y: str) -> alt.LayerChart:
    """Trials of all configurations: other parameters differ, too. Without a model the line joins the medians."""
    x, is_number = _across(list(dict.fromkeys(dot.level for dot in dots)), parameter)
    ups = {name: alt.Y(f"{name}:Q", title=plain(y, 60), scale=alt.Scale(zero=False)) for name in ("value", "low")}
    band = mark("area", {"opacity": 0.18}) if is_number else mark("rule", RANGE)
    course = mark("line", LINE) if is_number else mark("tick", {"thickness": 2, "size": 16})
    line = expected or _medians(dots)
    layers = [layer(expected, band, x=x, y=ups["low"], y2="high:Q")] if expected else []
    layers += [layer(line, course, tip={"words": "expected"} if expected else {}, x=x, y=ups["value"])]
    shown = mark("point", DOT | {"size": 45, "opacity": 0.75})
    return stacked(*layers, layer(dots, shown, tip={"words": "trial"}, x=x, y=ups["value"]), height=260)


def _across(levels: list[float | str], parameter: str) -> tuple[alt.X, bool]:
    """The axis of the levels, and whether they are numbers."""
    numbers = sorted(level for level in levels if isinstance(level, int | float))
    if len(numbers) < len(levels):
        axis = alt.Axis(grid=False, labelAngle=0)
        return alt.X("level:N", title=plain(parameter, 60), sort=None, axis=axis), False
    is_log = numbers[0] > 0 and numbers[-1] / numbers[0] > WIDE
    scale = alt.Scale(type="log" if is_log else "linear", zero=False, padding=12)
    axis = alt.Axis(values=numbers, labelOverlap=True, grid=False)
    return alt.X("level:Q", title=plain(parameter, 60), scale=scale, axis=axis), True


def _medians(dots: Sequence[Dot]) -> list[Expected]:
    levels = list(dict.fromkeys(dot.level for dot in dots))
    middle = {level: statistics.median(dot.value for dot in dots if dot.level == level) for level in levels}
    return [Expected(level, value, value, value, kind="other") for level, value in middle.items()]
