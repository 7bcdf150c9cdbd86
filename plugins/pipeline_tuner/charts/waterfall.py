"""Chart: the gain of each stage of a staged sweep, multiplied up to the confirmed total."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt

from pipeline_tuner.charts.style import WORDS, Value, layer, mark, one_line, plain, stacked
from pipeline_tuner.recommendation import Interval

TOTAL = "all, confirmed"


@dataclass(frozen=True)
class _Column(Value):
    start: float = 1.0
    top: float = 1.0


def waterfall(
    stages: Sequence[tuple[str, Interval | None]], *, total: Interval | None = None, title: str = ""
) -> alt.LayerChart:
    """A column per stage, from what was reached before it to what it reaches; None where nothing paid."""
    columns, base = [], 1.0
    for stage, gain in stages:
        kind = "other" if gain is None or gain.low <= 1 <= gain.high else "pick" if gain.low > 1 else "bad"
        columns.append(_column(stage, base, gain, kind))
        base *= gain.value if gain else 1.0
    columns += [_column(TOTAL, 1.0, total, "second")] if total else []
    y, low, top = (
        alt.Y(f"{name}:Q", title="gain over the control").scale(zero=False) for name in ("start", "low", "top")
    )
    bars = mark("bar", {"size": 46, "opacity": 0.8}, y=y, y2="value:Q")
    bounds, words = mark("rule", WORDS, y=low, y2="high:Q"), mark("text", WORDS | {"dy": -10}, y=top, text="words:N")
    x = alt.X("at:N", sort=None, title=None).axis(grid=False, labelAngle=0)
    return stacked(
        one_line(y=alt.Y("value:Q").scale(zero=False)),
        layer(columns, bars, x=x), layer(columns, bounds, words, tinted=False, x=x),
        height=280, title=title, how="green: shown to help; grey: not shown; red: shown to hurt",
    )  # fmt: skip


def _column(stage: str, base: float, gain: Interval | None, kind: str) -> _Column:
    value, low, high = (base * one for one in ((gain.value, gain.low, gain.high) if gain else (1.0, 1.0, 1.0)))
    words = f"{gain.value:.2f}x" if gain else "nothing paid"
    return _Column(plain(stage, 22), value, low, high, kind, words, start=base, top=max(base, value, high))
