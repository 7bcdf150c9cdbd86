"""What each parameter is worth: from its worst to its best measured value, all else equal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt

from pipeline_tuner.charts.look import STEP, gain_axis, gain_words, layer, one_line, plain, ranges, rows_axis, stacked
from pipeline_tuner.recommendation import Interval

MOST = 12
TITLE = "change of the goal, all else equal (right is better)"
HIGHEST = 100.0
"""A bound beyond this ratio is drawn here: it says that little is known, not how much is gained."""


@dataclass(frozen=True)
class EffectBar:
    """One parameter with its gain."""

    label: str
    value: float
    low: float
    high: float
    kind: str
    words: str


def effect_bar(parameter: str, levels: str, gain: Interval, *, is_shown: bool) -> EffectBar:
    """The bar of a parameter; `levels` are its worst and its best value in words."""
    high = min(gain.high, HIGHEST)
    words = f"{gain_words(gain.value, gain.low, high)}, {'shown' if is_shown else 'not shown'}"
    name, kind = plain(f"{parameter}: {levels}"), "pick" if is_shown else "other"
    return EffectBar(name, gain.value, gain.low, high, kind, words)


def effects(bars: Sequence[EffectBar], *, title: str = "") -> alt.LayerChart:
    """The parameters, the most important first."""
    shown = list(bars)[:MOST]
    x = gain_axis([end for bar in shown for end in (bar.value, bar.low, bar.high)], TITLE)
    parameters = layer(shown, *ranges(x), tip={"label": "parameter", "words": "gain"}, y=rows_axis())
    how = "green: shown to matter; grey: not shown"
    return stacked(one_line(x=x("one")), parameters, height=STEP * len(shown) + 6, title=title, how=how)
