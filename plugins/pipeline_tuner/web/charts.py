"""Charts as plain figures for the templates, which draw them as SVG in the page's own colours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline_tuner.measurement import is_usable

ROW_HEIGHT = 26
CHART_WIDTH = 760
LABEL_WIDTH = 230
MARGIN = 24


@dataclass(frozen=True)
class Bar:
    """One configuration's ratio to the control with its interval; x positions in the chart's units."""

    label: str
    kind: str
    y: float
    x: float
    x_low: float
    x_high: float
    words: str


@dataclass(frozen=True)
class IntervalChart:
    """Intervals by configuration on a log axis of ratios to the control."""

    bars: tuple[Bar, ...]
    ticks: tuple[tuple[float, str], ...]
    control_x: float
    height: float
    width: float = CHART_WIDTH


def interval_chart(evidence: Mapping[str, Mapping[str, Any]]) -> IntervalChart | None:
    """The chart of a recommendation's evidence, best first; None where nothing has a ratio."""
    rows = [(label, entry, entry.get("ratio") or {}) for label, entry in evidence.items()]
    shown = sorted((row for row in rows if _is_drawable(row[2])), key=lambda row: -row[2]["value"])
    if not shown:
        return None
    low = min(1.0, *(ratio["low"] for _, _, ratio in shown)) / 1.02
    high = max(1.0, *(ratio["high"] for _, _, ratio in shown)) * 1.02

    def x(ratio: float) -> float:
        return LABEL_WIDTH + (CHART_WIDTH - LABEL_WIDTH - MARGIN) * math.log(ratio / low) / math.log(high / low)

    bars = tuple(
        Bar(
            label=label,
            kind={"pick": "pick", "tied": "tied"}.get(entry.get("standing", ""), ""),
            y=ROW_HEIGHT * (row + 0.5),
            x=x(ratio["value"]),
            x_low=x(ratio["low"]),
            x_high=x(ratio["high"]),
            words=f"{ratio['value']:.2f} x ({ratio['low']:.2f} to {ratio['high']:.2f})",
        )
        for row, (label, entry, ratio) in enumerate(shown)
    )
    ticks = tuple((x(tick), f"{tick:g} x") for tick in _ticks(low, high))
    return IntervalChart(bars, ticks, x(1.0), ROW_HEIGHT * len(bars) + MARGIN)


def _is_drawable(ratio: Mapping[str, float]) -> bool:
    return all(is_usable(ratio.get(key)) for key in ("value", "low", "high"))


def _ticks(low: float, high: float) -> list[float]:
    """Four to eight round ratios between the bounds."""
    for step in (0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 50, 100):
        first = math.ceil(low / step)
        ticks = [round(step * k, 4) for k in range(first, math.floor(high / step) + 1)]
        if len(ticks) <= 8:
            return ticks
    return [low, high]


def polyline(values: Sequence[float], *, width: float = 720, height: float = 120) -> str:
    """Points of an SVG line from left to right, 0 at the bottom; empty for fewer than two values."""
    if len(values) < 2:
        return ""
    top = max(values) or 1.0
    step = width / (len(values) - 1)
    return " ".join(f"{index * step:.1f},{height - value / top * height:.1f}" for index, value in enumerate(values))
