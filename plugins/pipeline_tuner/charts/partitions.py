"""A trial's partitions from start to end, the slow and the failed ones marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from pipeline_tuner.charts.look import layer, mark, rows_axis, stacked
from pipeline_tuner.measurement import is_usable
from pipeline_tuner.wording import number, second_words

MOST = 200
SLOW = 1.5
"""A partition is slow from this many times the median on."""
STEP = 14


@dataclass(frozen=True)
class Span:
    """One partition in time, in seconds since the work began."""

    label: str
    start_s: float
    end_s: float
    kind: str
    words: str


def spans_of(details: Mapping[str, Any]) -> list[Span]:
    """The partitions of a measurement's `details.partitions`; entries without a time are left out."""
    rows = details.get("partitions")
    if not isinstance(rows, Sequence) or isinstance(rows, str):
        return []
    known = [row for row in rows if isinstance(row, Mapping) and _is_placed(row)][:MOST]
    usual = sorted(row["duration_s"] for row in known)[len(known) // 2] if known else 0.0
    return [_span(row, row.get("number", place), usual) for place, row in enumerate(known, start=1)]


def _span(row: Mapping[str, Any], name: Any, usual: float) -> Span:
    start, took = row["start_s"], row["duration_s"]
    is_good = row.get("state") in (None, "PASS")
    kind = "bad" if not is_good else "second" if took > SLOW * usual else "tied"
    said = {"bad": ", failed", "second": f", slow: {number(took / usual)} times the median" if usual else ""}
    words = f"{second_words(took)} from {number(start)} s on{said.get(kind, '')}"
    return Span(str(name), start, start + took, kind, words)


def _is_placed(row: Mapping[str, Any]) -> bool:
    took = row.get("duration_s")
    return isinstance(row.get("start_s"), int | float) and (is_usable(took) or took == 0)


def partitions(spans: Sequence[Span]) -> alt.LayerChart:
    """Bars along the time of the run."""
    x = alt.X("start_s:Q", title="seconds since the work began")
    bars = mark("bar", {"height": STEP - 4, "cornerRadius": 2, "minBandSize": 1}, x=x, x2="end_s:Q", y=rows_axis())
    return stacked(layer(spans, bars, tip={"label": "partition", "words": "took"}), height=STEP * len(spans) + 4)
