"""The best gain that the search has seen after each trial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt

from pipeline_tuner.charts.look import data, kind_color, titled


@dataclass(frozen=True)
class Seen:
    """The best gain so far."""

    trials: int
    gain: float
    kind: str = "tied"
    words: str = ""


def convergence(steps: Sequence[Seen], *, confirmed: Seen | None = None, title: str = "") -> alt.LayerChart:
    """A step a trial; `confirmed` is the value that counts."""
    x = alt.X("trials:Q", title="trials", axis=alt.Axis(tickMinStep=1, grid=False))
    axis = alt.Axis(labelExpr="format(datum.value, '.2f') + 'x'")
    y = alt.Y("gain:Q", title="best gain seen", scale=alt.Scale(zero=False), axis=axis)
    layers = [
        alt.Chart(alt.Data(values=[{"one": 1}])).mark_rule(style="faint").encode(y="one:Q"),
        alt.Chart(data(steps)).mark_line(interpolate="step-after", strokeWidth=2).encode(x=x, y=y, color=kind_color()),
    ]
    if confirmed:
        final = alt.Chart(data([confirmed])).encode(x=x, y=y)
        layers += [
            final.mark_point(filled=True, size=80, shape="diamond", opacity=1).encode(color=kind_color()),
            final.mark_text(style="note", align="right", dx=-9).encode(text="words:N"),
        ]
    how = "single runs flatter the best one: the diamond is the honest value"
    return titled(alt.layer(*layers).properties(height=260), title, how)
