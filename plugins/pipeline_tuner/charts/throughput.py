"""Chart: rows per second over the time of one trial."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from pipeline_tuner.charts.style import DOT, LINE, Value, layer, mark, stacked


def throughput(rates: Sequence[Value]) -> alt.LayerChart:
    """A line from the start to the end of the work."""
    x = alt.X("at:Q", title="seconds since the work began").axis(grid=False)
    y = alt.Y("value:Q", title="rows/s").scale(zero=True)
    marks = mark("line", LINE), mark("point", DOT | {"size": 20})
    return stacked(layer(rates, *marks, tip={"words": "landed"}, x=x, y=y), height=220)
