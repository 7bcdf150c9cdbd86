"""What each parameter is worth: from its worst to its best measured value, all else equal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt

from pipeline_tuner.charts.look import STEP, data, gain_scale, gain_words, kind_color, plain, rows_axis, titled
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
    return EffectBar(
        plain(f"{parameter}: {levels}"), gain.value, gain.low, high, "pick" if is_shown else "other", words
    )


def effects(bars: Sequence[EffectBar], *, title: str = "") -> alt.LayerChart:
    """The parameters, the most important first."""
    shown = list(bars)[:MOST]
    scale, axis = gain_scale([bound for bar in shown for bound in (bar.value, bar.low, bar.high)])
    base = alt.Chart(data(shown)).encode(
        y=rows_axis(),
        color=kind_color(),
        tooltip=[alt.Tooltip("label:N", title="parameter"), alt.Tooltip("words:N", title="gain")],
    )
    x = alt.X("low:Q", scale=scale, axis=axis, title=TITLE)
    one = alt.Chart(alt.Data(values=[{"one": 1}]))
    layers = alt.layer(
        one.mark_rule(style="faint").encode(x=alt.X("one:Q", scale=scale, axis=axis, title=TITLE)),
        base.mark_rule(strokeWidth=4, opacity=0.45, strokeCap="round").encode(x=x, x2="high:Q"),
        base.mark_point(filled=True, size=60, opacity=1).encode(x=alt.X("value:Q", scale=scale, title=TITLE)),
    )
    return titled(layers.properties(height=STEP * len(shown) + 6), title, "green: shown to matter; grey: not shown")
