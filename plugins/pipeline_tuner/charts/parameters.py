"""Charts of parameters: response of a goal, scaling with its law, parallel coordinates of every trial."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import altair as alt

from pipeline_tuner.charts.style import COLUMNS, Chart, Value, layer, mark, plain, stack
from pipeline_tuner.space import Scalar
from pipeline_tuner.wording import number

MAX_TRIALS, MAX_AXES, MAX_LEVELS = 200, 8, 8
MEDIAN = "median(value)"
WIDE = 30.0
"""Levels that span more than this factor stand on a log axis."""


def parameter_response(dots: Sequence[Value], expected: Sequence[Value] = (), *, parameter: str, y: str) -> Chart:
    """Trials of all configurations at their level of a parameter, others differ, too; and what the model expects.

    :param expected: What the model of main effects expects at each level, all else as in one configuration; without
        it the medians are shown.
    """
    title, numbers = plain(parameter, 60), sorted({dot.at for dot in dots if isinstance(dot.at, int | float)})
    is_number = all(dot.at in numbers for dot in dots)
    up, low, usual = (alt.Y(f"{name}:Q", title=plain(y, 60)).scale(zero=False) for name in ("value", "low", MEDIAN))
    band, course = (("area",), ("line",)) if is_number else (("rule", "interval"), ("tick", "edge"))
    is_log = 0 < min(numbers, default=0) < max(numbers, default=0) / WIDE
    scale = alt.Scale(type="log" if is_log else "linear", zero=False, padding=12)
    across = alt.X("at:Q", title=title, scale=scale).axis(values=numbers, grid=False)
    return stack(
        layer(expected, mark(*band, y=low, y2="high:Q"), mark(*course, y=up), tip={"words": "expected"}),
        layer([] if expected else dots, mark(*course, "faint", "wide", y=usual), tinted=False),
        layer(dots, mark("point", "trial", y=up), tip={"words": "trial"}),
        height=260,
    ).encode(x=across if is_number else COLUMNS.title(title))  # fmt: skip


def scaling(
    measured: Sequence[Value], law: Sequence[Value] = (), *, x: str, y: str, knee: float | None = None, title: str = ""
) -> Chart:
    """Growth with workers, partitions or cores: points as measured; the law solid where measured, dashed beyond.

    :param law: From the first level on; dotted what growth in proportion would give.
    :param knee: From where on doubling the level adds little.
    """
    highest = 1.25 * max(point.value or 0.0 for point in (*measured, *law))
    scale = alt.Scale(domain=[0, highest], clamp=True)
    up, low = (alt.Y(f"{name}:Q", title=plain(y, 60), scale=scale) for name in ("value", "low"))
    curve = [replace(point, kind="tied") for point in law]
    inside = sum(float(point.at) <= float(measured[-1].at) for point in curve)
    slope = (law[0].value or 0.0) / float(law[0].at) if law else 0.0
    even = [replace(point, value=slope * float(point.at)) for point in curve if slope * float(point.at) <= highest]
    note = [Value(knee, None, words=f"{number(knee)}: more adds little")] if knee is not None else []
    return stack(
        layer(curve, mark("area", y=low, y2="high:Q")),
        layer(even, mark("line", "faint", "dotted", y=up), tinted=False),
        layer(curve[:inside], mark("line", y=up)),
        layer(curve[max(0, inside - 1) :], mark("line", "dashed", y=up)),
        layer([] if law else measured, mark("line", "weak", y=up)),
        layer(measured, mark("rule", "interval", y=low, y2="high:Q"), mark("point", y=up), tip={"words": x}),
        layer(note, mark("rule", "note"), mark("text", "note", text="words:N", y=alt.YValue(6)), tinted=False),
        height=300, title=title, how="dotted: in proportion; dashed: beyond what was measured" if law else "",
    ).encode(x=alt.X("at:Q", title=plain(x, 60)).scale(zero=False))  # fmt: skip


@dataclass(frozen=True)
class Course:
    """One trial: its configuration, the goal's value (above 0), and what a pointer and a click at its end show."""

    configuration: Mapping[str, Scalar]
    value: float
    words: str
    href: str = ""


def parallel_coordinates(trials: Sequence[Course], parameters: Sequence[str], *, goal: str, up: bool) -> Chart:
    """Parallel coordinates: every trial as a line over its parameters to the goal, the better the stronger its colour.

    `parameters` are in their order from left to right; those that never differ are left out.

    :param up: Whether larger values are better: better ones stand higher.
    """
    shown = sorted(trials[:MAX_TRIALS], key=lambda trial: trial.value if up else -trial.value)
    logs = [math.log(trial.value / shown[0].value) for trial in shown]
    scores = [log / logs[-1] if logs[-1] else 1.0 for log in logs]
    ends = [
        Value(goal, score, words=trial.words, href=trial.href, label=str(n), other=score)
        for n, (trial, score) in enumerate(zip(shown, scores, strict=True))
    ]
    found = {name: _places([trial.configuration.get(name) for trial in shown]) for name in parameters}
    axes = dict([(name, places) for name, places in found.items() if len(places) > 1][:MAX_AXES])
    points = [
        replace(end, at=axis, value=places[trial.configuration[axis]])
        for end, trial in zip(ends, shown, strict=True)
        for axis, places in axes.items()
        if axis in trial.configuration
    ]
    named = [
        Value(axis, place, words=plain(str(level) if isinstance(level, str | bool) else f"{level:,}", 14))
        for axis, places in axes.items()
        for level, place in places.items()
        if len(places) <= MAX_LEVELS or place in (0, 1)
    ] + [Value(goal, scores[n], words=number(shown[n].value)) for n in (0, -1)]
    x = COLUMNS.scale(domain=[*axes, goal]).axis(grid=True, orient="top", labelAngle=-20, labelAlign="left")
    color = alt.Color("other:Q", legend=None).scale(domain=[0, 1])
    return stack(
        layer(points + ends, mark("line", "course", detail="label:N"), color=color),
        layer(ends, mark("point", "small"), tip={"words": "trial"}, color=color),
        layer(named, mark("text", "after", text="words:N"), tinted=False),
        height=300,
    ).encode(x=x, y=alt.Y("value:Q", axis=None).scale(domain=[-0.04, 1.04]))  # fmt: skip


def _places(levels: Sequence[Scalar | None]) -> dict[Scalar, float]:
    """The levels of a parameter from small to large, numbers first, each with its place on the axis, 0 to 1."""
    seen = dict.fromkeys(level for level in levels if level is not None)
    order = sorted(seen, key=lambda level: (1, 0.0, level) if isinstance(level, str) else (0, level, ""))
    return {level: place / max(len(order) - 1, 1) for place, level in enumerate(order)}
