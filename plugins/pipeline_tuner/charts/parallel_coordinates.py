"""Chart: parallel coordinates, every trial as a line over its parameters to the goal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import altair as alt

from pipeline_tuner.charts.style import DOT, WORDS, Value, layer, mark, plain, stacked
from pipeline_tuner.space import Scalar
from pipeline_tuner.wording import number

MAX_TRIALS, MAX_AXES, MAX_LEVELS = 200, 8, 8


@dataclass(frozen=True)
class Course:
    """One trial: its configuration, the goal's value (above 0), and what a pointer and a click at its end show."""

    configuration: Mapping[str, Scalar]
    value: float
    words: str
    href: str = ""


@dataclass(frozen=True)
class _Point(Value):
    """Where the line of a trial crosses an axis, 0 to 1 from below; where `words` stand, a level's name or a value."""

    trial: int = 0
    score: float = 0.0


def parallel_coordinates(trials: Sequence[Course], parameters: Sequence[str], *, goal: str, up: bool) -> alt.LayerChart:
    """`parameters` in their order from left to right; those that never differ are left out.

    :param up: Whether larger values are better: better ones stand higher.
    """
    shown = trials[:MAX_TRIALS]
    seen = {name: _levels(shown, name) for name in parameters}
    axes = dict([(name, found) for name, found in seen.items() if len(found) > 1][:MAX_AXES])
    scored = sorted(zip(_scores(shown, up), range(len(shown)), shown, strict=True), key=lambda one: one[0])
    points = [
        _Point(axis, place, trial=trial, score=score)
        for score, trial, course in scored
        for axis, place in [*_places(axes, course), (goal, score)]
    ]
    ends = [_Point(goal, score, words=one.words, href=one.href, score=score) for score, _, one in scored]
    extremes = {score: number(one.value) for score, _, one in scored[:1] + scored[-1:]}
    names = [*_names(axes), *(_Point(goal, score, words=value) for score, value in extremes.items())]
    color = alt.Color("score:Q", legend=None).scale(domain=[0, 1])
    line = mark("line", {"opacity": 0.55, "strokeWidth": 1.5}, detail="trial:N")
    x = alt.X("at:N", title=None, sort=None).scale(domain=[*axes, goal])
    return stacked(
        layer(points, line, color=color),
        layer(ends, mark("point", DOT | {"size": 40}), tip={"words": "trial"}, color=color),
        layer(names, mark("text", WORDS | {"align": "left", "dx": 6}, text="words:N"), tinted=False),
        height=300,
    ).encode(
        x=x.axis(grid=True, orient="top", labelAngle=-20, labelAlign="left", labelPadding=8),
        y=alt.Y("value:Q", axis=None).scale(domain=[-0.04, 1.04]),
    )


def _levels(trials: Sequence[Course], name: str) -> list[Scalar]:
    """The values of a parameter, from small to large, numbers first."""
    seen = dict.fromkeys(trial.configuration[name] for trial in trials if name in trial.configuration)
    return sorted(seen, key=lambda value: (0, float(value), "") if _is_number(value) else (1, 0.0, str(value)))


def _is_number(value: Scalar) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _scores(trials: Sequence[Course], up: bool) -> list[float]:
    """0 to 1 by the log of the value, the best at 1."""
    logs = [math.log(trial.value) if up else -math.log(trial.value) for trial in trials]
    span = max(logs, default=0.0) - min(logs, default=0.0)
    return [(log - min(logs)) / span if span else 1.0 for log in logs]


def _places(axes: Mapping[str, Sequence[Scalar]], trial: Course) -> Iterator[tuple[str, float]]:
    """The axes of the parameters that a trial has, with the place of its level."""
    for axis, levels in axes.items():
        if axis in trial.configuration:
            yield axis, levels.index(trial.configuration[axis]) / (len(levels) - 1)


def _names(axes: Mapping[str, Sequence[Scalar]]) -> Iterator[_Point]:
    """The levels of each axis by name, of many the lowest and the highest."""
    for axis, levels in axes.items():
        last = len(levels) - 1
        for place, level in enumerate(levels):
            if last < MAX_LEVELS or place in (0, last):
                name = f"{level:,}" if _is_number(level) else str(level)
                yield _Point(axis, place / last, words=plain(name, 14))
