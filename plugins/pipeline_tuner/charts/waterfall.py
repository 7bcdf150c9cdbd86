"""The gain of each stage of a staged sweep, multiplied up to the confirmed total."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt

from pipeline_tuner.charts.look import WORDS, layer, mark, one_line, plain, stacked

TOTAL = "all, confirmed"


@dataclass(frozen=True)
class StageGain:
    """What a stage gave against the stage before it; all three are 1 where nothing paid."""

    stage: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class _Column:
    stage: str
    start: float
    end: float
    low: float
    high: float
    top: float
    kind: str
    words: str


def waterfall(stages: Sequence[StageGain], *, total: StageGain | None = None, title: str = "") -> alt.LayerChart:
    """A column a stage, from what was reached before it to what it reaches."""
    columns, base = [], 1.0
    for stage in stages:
        kind = "pick" if stage.low > 1 else "bad" if stage.high < 1 else "other"
        columns.append(_column(stage, base, kind, f"{stage.value:.2f}x" if stage.value != 1 else "nothing paid"))
        base *= stage.value
    if total:
        columns.append(_column(total, 1.0, "second", f"{total.value:.2f}x"))
    up = alt.Scale(zero=False)
    y = alt.Y("start:Q", scale=up, title="gain over the control")
    bars = mark("bar", {"size": 46, "opacity": 0.8}, y=y, y2="end:Q")
    bounds = mark("rule", WORDS, y=alt.Y("low:Q", scale=up), y2="high:Q")
    words = mark("text", WORDS | {"dy": -10}, y=alt.Y("top:Q", scale=up), text="words:N")
    x = alt.X("stage:N", sort=None, title=None, axis=alt.Axis(grid=False, labelAngle=0))
    how = "green: shown to help; grey: not shown; red: shown to hurt"
    layers = [layer(columns, bars, x=x), layer(columns, bounds, words, tinted=False, x=x)]
    return stacked(one_line(y=alt.Y("one:Q", scale=up)), *layers, height=280, title=title, how=how)


def _column(stage: StageGain, base: float, kind: str, words: str) -> _Column:
    end, low, high = base * stage.value, base * stage.low, base * stage.high
    return _Column(plain(stage.stage, 22), base, end, low, high, max(base, end, high), kind, words)
