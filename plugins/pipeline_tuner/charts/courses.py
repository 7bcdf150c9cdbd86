"""Parallel coordinates: every trial as a line over its parameters to the goal, the better the stronger its colour."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from pipeline_tuner.charts.look import DOT, WORDS, layer, mark, plain, stacked
from pipeline_tuner.space import Scalar
from pipeline_tuner.wording import number

MOST_TRIALS, MOST_AXES, MOST_LEVELS = 200, 8, 8


@dataclass(frozen=True)
class Course:
    """One trial: its configuration, the goal's figure (above 0), and what a pointer and a click at its end show."""

    configuration: Mapping[str, Scalar]
    value: float
    words: str
    href: str = ""


@dataclass(frozen=True)
class _Point:
    trial: int
    number: int
    axis: str
    place: float
    score: float


@dataclass(frozen=True)
class _End:
    axis: str
    place: float
    score: float
    words: str
    href: str


@dataclass(frozen=True)
class _Level:
    axis: str
    place: float
    name: str


def courses(trials: Sequence[Course], parameters: Sequence[str], *, goal: str, up: bool) -> alt.LayerChart:
    """`parameters` in their order from left to right; those that never differ are left out.

    :param up: Whether larger figures are better: better ones stand higher.
    """
    shown = trials[:MOST_TRIALS]
    seen = {name: _levels(shown, name) for name in parameters}
    levels = {name: found for name, found in seen.items() if len(found) > 1}
    axes = {name: levels[name] for name in list(levels)[:MOST_AXES]}
    scores = _scores([trial.value for trial in shown], up)
    order = alt.X("axis:N", title=None, sort=None, scale=alt.Scale(domain=[*axes, goal]), axis=_AXIS)
    places: dict[str, Any] = {"x": order, "y": alt.Y("place:Q", axis=None, scale=alt.Scale(domain=[-0.04, 1.04]))}
    color = alt.Color("score:Q", scale=alt.Scale(domain=[0, 1]), legend=None)
    points = [
        p for n, (t, score) in enumerate(zip(shown, scores, strict=True)) for p in _points(n, t, score, axes, goal)
    ]
    ends = [_End(goal, score, score, t.words, t.href) for t, score in zip(shown, scores, strict=True)]
    line = mark("line", {"opacity": 0.55, "strokeWidth": 1.5}, detail="trial:N", order="number:Q")
    names = [*_names(axes), *_figures(shown, scores, goal)]
    return stacked(
        layer(sorted(points, key=lambda point: point.score), line, color=color, **places),
        layer(ends, mark("point", DOT | {"size": 40}), tip={"words": "trial"}, color=color, **places),
        layer(names, mark("text", WORDS | {"align": "left", "dx": 6}, text="name:N"), **places),
        height=300,
    )  # fmt: skip


_AXIS = alt.Axis(grid=True, orient="top", labelAngle=-20, labelAlign="left", labelPadding=8)


def _levels(trials: Sequence[Course], name: str) -> list[Scalar]:
    """The values of a parameter, from small to large, numbers first."""
    seen = dict.fromkeys(trial.configuration[name] for trial in trials if name in trial.configuration)
    return sorted(seen, key=lambda value: (0, float(value), "") if _is_number(value) else (1, 0.0, str(value)))


def _is_number(value: Scalar) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _scores(values: Sequence[float], up: bool) -> list[float]:
    """0 to 1 by the log of the figure, the best at 1."""
    logs = [math.log(value) if up else -math.log(value) for value in values]
    span = max(logs, default=0.0) - min(logs, default=0.0)
    return [(log - min(logs)) / span if span else 1.0 for log in logs]


def _points(
    trial: int, course: Course, score: float, axes: Mapping[str, Sequence[Scalar]], goal: str
) -> Iterator[_Point]:
    for order, (name, levels) in enumerate(axes.items()):
        if name in course.configuration:
            place = levels.index(course.configuration[name]) / (len(levels) - 1)
            yield _Point(trial, order, name, place, score)
    yield _Point(trial, len(axes), goal, score, score)


def _names(axes: Mapping[str, Sequence[Scalar]]) -> Iterator[_Level]:
    """The levels of each axis by name, of many the lowest and the highest."""
    for axis, levels in axes.items():
        last = len(levels) - 1
        for place, level in enumerate(levels):
            if last < MOST_LEVELS or place in (0, last):
                yield _Level(axis, place / last, plain(f"{level:,}" if _is_number(level) else str(level), 14))


def _figures(trials: Sequence[Course], scores: Sequence[float], goal: str) -> Iterator[_Level]:
    """The best and the worst figure at the goal's axis."""
    ends = sorted(zip(scores, (trial.value for trial in trials), strict=True))
    for score, value in dict([*ends[:1], *ends[-1:]]).items():
        yield _Level(goal, score, number(value))
