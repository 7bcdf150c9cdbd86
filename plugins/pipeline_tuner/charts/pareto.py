"""Chart: the trade-off between two goals, with the configurations that none beats in both (Pareto front)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt

from pipeline_tuner.charts.style import DOT, LINE, WORDS, Value, gain_axis, layer, mark, stacked


@dataclass(frozen=True)
class GainPair(Value):
    """One configuration: its gains at `at` and `value`; `name` is empty where there is no room to write it."""

    label: str = ""
    name: str = ""


def pareto(pairs: Sequence[GainPair], *, x: str, y: str, title: str = "") -> alt.LayerChart:
    """Right and up is better; the line joins the Pareto front."""
    across = gain_axis([float(pair.at) for pair in pairs], f"{x}, gain over the control")("at")
    up = gain_axis([pair.value or 0.0 for pair in pairs], f"{y}, gain over the control", alt.Y)("value")
    best = sorted((pair for pair in pairs if pair.kind == "pick"), key=lambda pair: pair.at)
    name = mark("text", WORDS | {"align": "right", "dx": -8, "dy": -5}, text="name:N")
    return stacked(
        layer(best, mark("line", LINE | {"opacity": 0.5})),
        layer(pairs, mark("point", DOT), tip={"label": "configuration", "words": f"{x}, {y}"}),
        layer([pair for pair in pairs if pair.name], name, tinted=False),
        height=340, title=title, how="line: the Pareto front; right and up is better",
    ).encode(x=across, y=up)  # fmt: skip
