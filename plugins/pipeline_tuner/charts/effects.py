"""Chart: what each parameter is worth, from its worst to its best measured value, all else equal."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from pipeline_tuner.charts.style import (
    STEP,
    Value,
    gain_axis,
    layer,
    one_line,
    ranges,
    rows_axis,
    stacked,
)

MOST = 12
TITLE = "change of the goal, all else equal (right is better)"


def effects(bars: Sequence[Value], *, title: str = "") -> alt.LayerChart:
    """The parameters, the most important first."""
    shown = list(bars)[:MOST]
    x = gain_axis([end for bar in shown for end in (bar.value, bar.low, bar.high) if end is not None], TITLE)
    parameters = layer(shown, *ranges(x), tip={"at": "parameter", "words": "gain"}, y=rows_axis())
    how = "green: shown to matter; grey: not shown"
    return stacked(one_line(x=x("value")), parameters, height=STEP * len(shown) + 6, title=title, how=how)
