"""Chart: how a value grows with workers, partitions or cores, levels as measured and the fitted law with its band."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import altair as alt

from pipeline_tuner.charts.style import DOT, FAINT, LINE, MARKER, NOTE, RANGE, Value, layer, mark, plain, stacked
from pipeline_tuner.wording import number

ROOM = 1.25
"""What is left above the highest value."""
CURVE = LINE | {"clip": True}
DASHED, DOTTED = {"strokeDash": [5, 4]}, {"strokeDash": [2, 3], "strokeWidth": 1}


def scaling(
    measured: Sequence[Value], law: Sequence[Value] = (), *, x: str, y: str, knee: float | None = None, title: str = ""
) -> alt.LayerChart:
    """Points as measured; the law solid where measured, dashed beyond; dotted what proportional growth would give.

    :param knee: From where on doubling the level adds little.
    """
    highest = max(point.value or 0.0 for point in (*measured, *law)) * ROOM
    height, low = (alt.Y(f"{name}:Q", title=plain(y, 60)) for name in ("value", "low"))
    up, down = (one.scale(domain=[0, highest], clamp=True) for one in (height, low))
    bounds = mark("rule", RANGE, y=down, y2="high:Q"), mark("point", DOT, y=up)
    words = mark("text", NOTE | {"dy": -8}, text="words:N", y=alt.value("height"))
    note = [Value(knee, None, words=f"{number(knee)}: more adds little")] if knee is not None else []
    between = [] if law else [layer(measured, mark("line", LINE | {"opacity": 0.5}, y=up))]
    return stacked(
        *_law(law, float(measured[-1].at), highest, up, down), *between,
        layer(measured, *bounds, tip={"words": x}),
        *(layer(note, mark("rule", MARKER), words, tinted=False) for _ in note),
        height=300, title=title, how="dotted: in proportion; dashed: beyond what was measured" if law else "",
    ).encode(x=alt.X("at:Q", title=plain(x, 60)).scale(zero=False).axis(tickCount=10))  # fmt: skip


def _law(law: Sequence[Value], end: float, highest: float, up: alt.Y, down: alt.Y) -> list[alt.LayerChart]:
    """The law's band and line, and proportional growth."""
    curve = [replace(point, kind="tied") for point in law]
    inside = [point for point in curve if float(point.at) <= end]
    slope = (law[0].value or 0.0) / float(law[0].at) if law else 0.0
    ideal = [replace(point, value=slope * float(point.at)) for point in curve if slope * float(point.at) <= highest]
    layers = [
        layer(curve, mark("area", {"opacity": 0.18, "clip": True}, y=down, y2="high:Q")),
        layer(ideal, mark("line", FAINT | CURVE | DOTTED, y=up), tinted=False),
        layer(inside, mark("line", CURVE, y=up)),
        layer(curve[max(0, len(inside) - 1) :], mark("line", CURVE | DASHED, y=up)),
    ]
    return layers if law else []
