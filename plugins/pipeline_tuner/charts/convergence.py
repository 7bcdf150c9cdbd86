"""Chart: the best gain that the search has seen after each trial."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from pipeline_tuner.charts.style import DOT, LINE, NOTE, Value, layer, mark, one_line, stacked


def convergence(steps: Sequence[Value], *, confirmed: Value | None = None, title: str = "") -> alt.LayerChart:
    """A step a trial; `confirmed` is the value that counts."""
    x = alt.X("at:Q", title="trials").axis(tickMinStep=1, grid=False)
    y = alt.Y("value:Q", title="best gain seen").scale(zero=False).axis(labelExpr="format(datum.value, '.2f') + 'x'")
    diamond = mark("point", DOT | {"size": 80, "shape": "diamond"}), mark("text", NOTE | RIGHT, text="words:N")
    return stacked(
        one_line(y="value:Q"),
        layer(steps, mark("line", LINE | {"interpolate": "step-after"}), x=x, y=y),
        *(layer([confirmed], one, tinted=one is diamond[0], x=x, y=y) for one in diamond if confirmed),
        height=260, title=title, how="single runs flatter the best one: the diamond is the honest value",
    )  # fmt: skip


RIGHT = {"align": "right", "dx": -9}
