"""Chart: a goal over sweeps, nights and production runs, with what changed and who decided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from pipeline_tuner.charts.style import DOT, KINDS, LINE, MARKER, NOTE, Value, layer, mark, plain, stacked

HELD_AGAINST, RUNS = "control", "production runs"


def history(
    points: Sequence[Value], events: Sequence[Value] = (), *, main: str, y: str, title: str = ""
) -> alt.LayerChart:
    """Values at moments (ISO 8601), their kind the series: `main`, the control, or production runs as dots alone.

    :param events: Changes of level, promotions, roll-backs: moments whose kind is what happened.
    """
    shown = [name for name in (main, HELD_AGAINST, RUNS) if any(point.kind == name for point in points)]
    # In the order of the themes' colours, as KINDS.
    color = alt.Color("kind:N").scale(domain=[main, KINDS[1], HELD_AGAINST, KINDS[3], RUNS]).legend(values=shown)
    x = alt.X("at:T", title=None).scale(type="utc").axis(grid=False, format="%Y-%m-%d", labelOverlap=True)
    places: dict[str, Any] = {"x": x, "y": alt.Y("value:Q", title=plain(y, 60)).scale(zero=False), "color": color}
    joined = [point for point in points if point.kind != RUNS]
    marks = mark("rule", MARKER | {"strokeDash": [4, 3], "size": 2}), mark("text", NOTE | {"y": 6}, text="kind:N")
    layers = [layer(joined, mark("line", LINE), **places)] if joined else []
    layers += [layer(points, mark("point", DOT | {"size": 35}), tip={"words": "measured"}, **places)]
    layers += [layer(events, *marks, tip={"kind": "what", "words": "in words"}, tinted=False, x=x)] if events else []
    return stacked(*layers, height=220, title=title)
