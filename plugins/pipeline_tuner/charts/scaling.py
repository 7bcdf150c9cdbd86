"""How a figure grows with workers, partitions or cores: levels as measured, and the fitted law with its band."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import altair as alt

from pipeline_tuner.charts.look import data, kind_color, plain, titled
from pipeline_tuner.wording import number

ROOM = 1.25
"""What is left above the highest figure."""


@dataclass(frozen=True)
class Level:
    """A figure at one level with its bounds."""

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
    up = alt.Scale(domain=[0, max(point.value for point in (*measured, *law)) * ROOM], clamp=True)
    across = alt.X("level:Q", title=plain(x, 60), scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=10))
    figure = alt.Y("value:Q", title=plain(y, 60), scale=up)
    low = alt.Y("low:Q", title=plain(y, 60), scale=up)
    points = alt.Chart(data(measured)).encode(
        x=across, color=kind_color(), tooltip=[alt.Tooltip("words:N", title=plain(x, 60))]
    )
    layers = _law(measured, law, across, figure, low) if law else [points.mark_line(opacity=0.5).encode(y=figure)]
    layers += [
        points.mark_rule(strokeWidth=3, opacity=0.5).encode(y=low, y2="high:Q"),
        points.mark_point(filled=True, size=70, opacity=1).encode(y=figure),
    ]
    if knee is not None:
        at = alt.Chart(data([Note(knee, f"{number(knee)}: more adds little")])).encode(x=across)
        layers += [
            at.mark_rule(style="marker"),
            at.mark_text(style="note", align="left", dx=5, y="height", dy=-8).encode(text="words:N"),
        ]
    how = "dotted: in proportion; dashed: beyond what was measured" if law else ""
    return titled(alt.layer(*layers).properties(height=300), title, how)


def _law(measured: Sequence[Level], law: Sequence[Level], across: alt.X, figure: alt.Y, low: alt.Y) -> list[alt.Chart]:
    """The law's band and line, and proportional growth."""
    end, first = max(point.level for point in measured), law[0]
    curve = [replace(point, kind="tied") for point in law]
    inside, outside = [p for p in curve if p.level <= end], curve[max(0, sum(p.level <= end for p in curve) - 1) :]
    top = max(point.value for point in (*measured, *law)) * ROOM
    grown = (replace(p, value=first.value * p.level / first.level) for p in curve)
    ideal = [point for point in grown if point.value <= top]
    return [
        alt.Chart(data(curve))
        .mark_area(opacity=0.18, clip=True)
        .encode(x=across, y=low, y2="high:Q", color=kind_color()),
        alt.Chart(data(ideal))
        .mark_line(style="faint", strokeDash=[2, 3], strokeWidth=1, clip=True)
        .encode(x=across, y=figure),
        alt.Chart(data(inside)).mark_line(strokeWidth=2, clip=True).encode(x=across, y=figure, color=kind_color()),
        alt.Chart(data(outside))
        .mark_line(strokeWidth=2, clip=True, strokeDash=[5, 4])
        .encode(x=across, y=figure, color=kind_color()),
    ]
