"""Chart: gain over the control by configuration, the search's interval and below it the confirmed one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from pipeline_tuner.charts.style import (
    BAND,
    STEP,
    Value,
    gain_axis,
    layer,
    mark,
    one_line,
    ranges,
    rows_axis,
    stacked,
)

MOST = 24
MIDDLE, BESIDE = STEP / 2, 5.0
TITLE = "gain over the control (right is better)"


@dataclass(frozen=True)
class Bar(Value):
    """One configuration's ratio to the control with its bounds; above 1 it is better. Its place is the row's name."""

    configuration: str = ""
    phase: str = "search"
    offset: float = MIDDLE
    """How far it stands below the top of its row, in pixels: two of one configuration stand one below the other."""


def intervals(bars: Sequence[Bar], *, title: str = "", zone: float = 0.05, bound: Bar | None = None) -> alt.LayerChart:
    """Right is better; inside the grey zone a difference does not matter.

    :param zone: The fraction below which a difference does not matter (the study's indifference).
    :param bound: What `bound_of` gives.
    """
    names = list(dict.fromkeys(bar.at for bar in bars))
    shown = [bar for bar in bars if bar.at in names[:MOST]]
    known = [bound] if bound and bound.at in names[:MOST] else []
    ends = [end for bar in [*shown, *known] for end in (bar.value, bar.low, bar.high) if end is not None]
    x, tip = gain_axis(ends, TITLE), {"at": "configuration", "phase": "from", "words": "gain over the control"}
    rows: dict[str, Any] = {"y": rows_axis().scale(padding=0), "yOffset": alt.YOffset("offset:Q", scale=None)}
    shape = alt.Shape("phase:N", legend=None).scale(domain=["search", "confirmed"], range=["circle", "diamond"])
    reach = mark("rule", {"strokeDash": [3, 3], "strokeWidth": 2}, x=x("value"), x2="high:Q")
    edge = mark("tick", {"thickness": 2, "size": 12}, x=x("high"))
    more = f", {len(names) - MOST} worse ones not shown" if len(names) > MOST else ""
    dashes = "; dashes: where the best may be" if known else ""
    return stacked(
        layer([Value("", None, 1 / (1 + zone), 1 + zone)], mark("rect", BAND, x=x("low"), x2="high:Q"), tinted=False),
        one_line(x=x("value")),
        layer(shown, *ranges(x, shape=shape), tip=tip, **rows),
        *(layer(known, reach, edge, tip={"words": "the best"}, **rows) for _ in known),
        height=alt.Step(STEP), title=title,
        how=f"circle: search; diamond: confirmed in fresh blocks{dashes}{more}",
    )  # fmt: skip
