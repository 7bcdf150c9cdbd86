"""The best gain that the search has seen after each trial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt

from pipeline_tuner.charts.look import DOT, LINE, NOTE, layer, mark, one_line, stacked


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
    diamond = mark("point", DOT | {"size": 80, "shape": "diamond"})
    words = mark("text", NOTE | {"align": "right", "dx": -9}, text="words:N")
    layers = [one_line(y="one:Q"), layer(steps, mark("line", LINE | {"interpolate": "step-after"}), x=x, y=y)]
    if confirmed:
        layers += [layer([confirmed], diamond, x=x, y=y), layer([confirmed], words, tinted=False, x=x, y=y)]
    how = "single runs flatter the best one: the diamond is the honest value"
    return stacked(*layers, height=260, title=title, how=how)
