"""Chart: raw points of the quantizer, and the windows of several resolutions made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import altair as alt

from pipeline_tuner.charts.style import FAINT, LINE, Value, layer, mark, plain, stacked
from pipeline_tuner.wording import number

MS_PER_MINUTE = 60_000


@dataclass(frozen=True)
class _Window(Value):
    end: float = 0.0


def rollups(
    points: Sequence[Sequence[float]], windows: Mapping[str, Sequence[Sequence[float]]], *, title: str, start: str
) -> alt.LayerChart:
    """Raw points (seconds, value); windows by resolution (ms): (end in seconds, mean, lowest, highest)."""
    raw = [Value(point[0] / 60, point[1]) for point in points]
    spans = {
        f"mean of {number(float(name) / MS_PER_MINUTE)} min": (float(name), rows) for name, rows in windows.items()
    }
    made = [
        _Window(row[0] / 60 - span / MS_PER_MINUTE, row[1], row[2], row[3], name, end=row[0] / 60)
        for name, (span, rows) in spans.items()
        for row in rows
    ]
    color = alt.Color("kind:N").scale(domain=list(spans)).legend(symbolOpacity=1)
    x = alt.X("at:Q", title=f"minutes after {plain(start)}").scale(zero=False)
    y = alt.Y("value:Q", title=None).scale(zero=False)
    boxes = mark("rect", {"opacity": 0.1}, y="low:Q", y2="high:Q"), mark("rule", LINE, y="value:Q")
    dots = mark("point", FAINT | {"filled": True, "size": 8, "opacity": 0.5}, x=x, y=y)
    return stacked(
        layer(raw, dots, tinted=False),
        layer(made, *boxes, x=x, x2="end:Q", color=color),
        height=300, title=title, how="dots: raw points; lines: means of windows; shaded: their lowest to highest",
    )  # fmt: skip
