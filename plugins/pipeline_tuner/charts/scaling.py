"""How a value grows with workers, partitions or cores: levels as measured, and the fitted law with its band."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import altair as alt

from pipeline_tuner.charts.look import DOT, FAINT, LINE, MARKER, NOTE, RANGE, layer, mark, plain, stacked
from pipeline_tuner.wording import number

ROOM = 1.25
"""What is left above the highest value."""


@dataclass(frozen=True)
class Level:
    """A value at one level with its bounds."""

    level: float
    value: float
    low: float
    high: float
    words: str = ""
    kind: str = "pick"


@dataclass(frozen=True)
class Note:
    """A level that is pointed at."""

    level: float
    words: str


def scaling(
    measured: Sequence[Level], law: Sequence[Level] = (), *, x: str, y: str, knee: float | None = None, title: str = ""
) -> alt.LayerChart:
    """Points as measured; the law solid where measured, dashed beyond; dotted what proportional growth would give.

    :param knee: From where on doubling the level adds little.
    """
    highest = max(point.value for point in (*measured, *law)) * ROOM
    up = alt.Scale(domain=[0, highest], clamp=True)
    across = alt.X("level:Q", title=plain(x, 60), scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=10))
    height, low = (alt.Y(f"{name}:Q", title=plain(y, 60), scale=up) for name in ("value", "low"))
    bounds = mark("rule", RANGE, y=low, y2="high:Q"), mark("point", DOT, y=height)
    layers = _law(measured, law, highest, across, height, low) if law else []
    layers += [] if law else [layer(measured, mark("line", LINE | {"opacity": 0.5}, y=height), x=across)]
    layers += [layer(measured, *bounds, tip={"words": x}, x=across)]
    if knee is not None:
        words = mark("text", NOTE | {"dy": -8}, text="words:N", y=alt.value("height"))
        layers += [layer([Note(knee, f"{number(knee)}: more adds little")], mark("rule", MARKER), words, x=across)]
    how = "dotted: in proportion; dashed: beyond what was measured" if law else ""
    return stacked(*layers, height=300, title=title, how=how)


def _law(
    measured: Sequence[Level], law: Sequence[Level], highest: float, across: alt.X, height: alt.Y, low: alt.Y
) -> list[alt.LayerChart]:
    """The law's band and line, and proportional growth."""
    end, first = max(point.level for point in measured), law[0]
    curve = [replace(point, kind="tied") for point in law]
    inside = [point for point in curve if point.level <= end]
    grown = (replace(point, value=first.value * point.level / first.level) for point in curve)
    ideal = [point for point in grown if point.value <= highest]
    line, dashes, dots = LINE | {"clip": True}, {"strokeDash": [5, 4]}, {"strokeDash": [2, 3], "strokeWidth": 1}
    return [
        layer(curve, mark("area", {"opacity": 0.18, "clip": True}, y=low, y2="high:Q"), x=across),
        layer(ideal, mark("line", FAINT | line | dots, y=height), tinted=False, x=across),
        layer(inside, mark("line", line, y=height), x=across),
        layer(curve[max(0, len(inside) - 1) :], mark("line", line | dashes, y=height), x=across),
    ]
