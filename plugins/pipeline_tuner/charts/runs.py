"""Charts of runs: history of a goal; throughput, partitions, threads' time and rollups of one trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt

from pipeline_tuner.charts.style import KINDS, ROWS, STEP, Chart, Value, layer, mark, plain, stack
from pipeline_tuner.wording import number

HELD_AGAINST, RUNS = "control", "production runs"
PARTS, SOURCE = ("workers transform", "load", "wait"), "source busy"


def history(points: Sequence[Value], events: Sequence[Value] = (), *, main: str, y: str, title: str = "") -> Chart:
    """Values at moments (ISO 8601), their kind the series: `main`, the control, or production runs as dots alone.

    :param events: Changes of level, promotions, roll-backs: moments whose kind is what happened.
    """
    shown = [name for name in (main, HELD_AGAINST, RUNS) if any(point.kind == name for point in points)]
    # In the order of the themes' colours, as KINDS.
    color = alt.Color("kind:N").scale(domain=[main, KINDS[1], HELD_AGAINST, KINDS[3], RUNS]).legend(values=shown)
    x = alt.X("at:T", title=None).scale(type="utc").axis(grid=False, format="%Y-%m-%d", labelOverlap=True)
    up = alt.Y("value:Q", title=plain(y, 60)).scale(zero=False)
    signs = mark("rule", "note", "wide", "dashed"), mark("text", "note", text="kind:N", y=alt.YValue(6))
    return stack(
        layer([point for point in points if point.kind != RUNS], mark("line"), y=up, color=color),
        layer(points, mark("point", "small"), tip={"words": "measured"}, y=up, color=color),
        layer(events, *signs, tip={"kind": "what", "words": "in words"}, tinted=False),
        height=220, title=title,
    ).encode(x=x)  # fmt: skip


def throughput(rates: Sequence[Value]) -> Chart:
    """Rows per second over the time of one trial, from the start to the end of the work."""
    x, y = alt.X("at:Q", title="seconds since the work began").axis(grid=False), alt.Y("value:Q", title="rows/s")
    return stack(layer(rates, mark("line"), mark("point", "small"), tip={"words": "landed"}, x=x, y=y), height=220)


def partitions(spans: Sequence[Value]) -> Chart:
    """A trial's partitions from start to end, along the time of the run; the slow and the failed ones marked."""
    bars = mark("bar", "bar", x=alt.X("low:Q", title="seconds since the work began"), x2="high:Q", y=ROWS)
    return stack(layer(spans, bars, tip={"at": "partition", "words": "took"}), height=14 * len(spans) + 4)


def thread_time(parts: Sequence[Value], sources: Sequence[Value], *, title: str = "") -> Chart:
    """How each configuration's threads spend their time, from `low` to `high` (0 to 1), and how busy its source is.

    :param parts: Their kinds are `PARTS`.
    :param sources: Their kind is `SOURCE`.
    """
    color = alt.Color("kind:N").scale(domain=[*PARTS, KINDS[3], SOURCE]).legend(values=[*PARTS, SOURCE])
    x = alt.X("low:Q", title="part of the time").scale(domain=[0, 1]).axis(format=".0%")
    tip = {"at": "configuration", "kind": "what", "words": "its part"}
    return stack(
        layer(parts, mark("bar", "row", x=x, x2="high:Q"), tip=tip, color=color),
        layer(sources, mark("point", shape=alt.ShapeValue("diamond"), x="value:Q"), tip=tip, color=color),
        height=STEP * len(sources), title=title,
        how="a source at 100% brings no more; workers that wait have too little to do",
    ).encode(y=ROWS)  # fmt: skip


def rollups(
    points: Sequence[Sequence[float]], windows: Mapping[str, Sequence[Sequence[float]]], *, title: str, start: str
) -> Chart:
    """Raw points (seconds, value) and windows made of them, by resolution (ms): (end in s, mean, lowest, highest)."""
    minutes = {name: float(name) / 60_000 for name in windows}
    made = [
        Value(end / 60 - minutes[name], mean, low, high, f"mean of {number(minutes[name])} min", other=end / 60)
        for name, rows in windows.items()
        for end, mean, low, high, *_ in rows
    ]
    color = alt.Color("kind:N").scale(domain=list(dict.fromkeys(one.kind for one in made))).legend(symbolOpacity=1)
    y = alt.Y("value:Q", title=None).scale(zero=False)
    boxes = mark("rect", y="low:Q", y2="high:Q"), mark("rule", "wide", y="value:Q")
    return stack(
        layer([Value(point[0] / 60, point[1]) for point in points], mark("point", "weak", "raw", y=y), tinted=False),
        layer(made, *boxes, x2=alt.X2("other:Q"), color=color),
        height=300, title=title, how="dots: raw points; lines: means of windows; shaded: their lowest to highest",
    ).encode(x=alt.X("at:Q", title=f"minutes after {plain(start)}").scale(zero=False))  # fmt: skip
