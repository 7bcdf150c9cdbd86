"""Charts as plain figures for the templates, which draw them as SVG in the page's own colours."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from pipeline_tuner.measurement import is_usable
from pipeline_tuner.recommendation import Interval
from pipeline_tuner.wording import number

ROW_HEIGHT = 32
LINE_HEIGHT = 13
CHART_WIDTH = 760
LABEL_WIDTH = 230
LABEL_LETTERS = 34
MARGIN = 24
TICK_WIDTH = 36
"""Figures on an axis that are nearer run into one another."""


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

    @property
    def lines(self) -> tuple[tuple[float, str], ...]:
        """The label in at most two lines, each with its y position: configurations often differ in their last words."""
        lines = textwrap.wrap(self.label, LABEL_LETTERS, max_lines=2, placeholder="…")
        first = self.y + 4 - LINE_HEIGHT / 2 * (len(lines) - 1)
        return tuple((first + LINE_HEIGHT * number, line) for number, line in enumerate(lines))


@dataclass(frozen=True)
class IntervalChart:
    """Intervals by configuration on a log axis of ratios to the control."""

    bars: tuple[Bar, ...]
    ticks: tuple[tuple[float, str], ...]
    control_x: float
    height: float
    width: float = CHART_WIDTH


def interval_chart(rows: Iterable[tuple[str, Interval | None, str]]) -> IntervalChart | None:
    """Rows of (label, ratio, kind of mark), best first; None where nothing has a ratio."""
    shown = [(label, ratio, kind) for label, ratio, kind in rows if ratio and _is_drawable(ratio)]
    shown.sort(key=lambda row: -row[1].value)
    if not shown:
        return None
    low = min(1.0, *(ratio.low for _, ratio, _ in shown)) / 1.02
    high = max(1.0, *(ratio.high for _, ratio, _ in shown)) * 1.02

    def x(ratio: float) -> float:
        return LABEL_WIDTH + (CHART_WIDTH - LABEL_WIDTH - MARGIN) * math.log(ratio / low) / math.log(high / low)

    bars = tuple(
        Bar(
            label=label,
            kind=kind if kind in ("pick", "tied") else "",
            y=ROW_HEIGHT * (row + 0.5),
            x=x(ratio.value),
            x_low=x(ratio.low),
            x_high=x(ratio.high),
            words=f"{ratio.value:.2f} x ({ratio.low:.2f} to {ratio.high:.2f})",
        )
        for row, (label, ratio, kind) in enumerate(shown)
    )
    ticks = _readable([(x(tick), f"{tick:g} x") for tick in _ticks(low, high)])
    return IntervalChart(bars, ticks, x(1.0), ROW_HEIGHT * len(bars) + MARGIN)


@dataclass(frozen=True)
class EffectChart:
    """What each parameter is worth, all else equal: the chart of intervals with the parameters as rows."""

    bars: tuple[Bar, ...]
    ticks: tuple[tuple[float, str], ...]
    control_x: float
    height: float
    width: float = CHART_WIDTH


def effect_chart(rows: Sequence[tuple[str, Interval, bool]]) -> EffectChart | None:
    """Rows of (parameter with its levels, gain from worst to best, whether it is shown); None without any."""
    chart = interval_chart((label, gain, "pick" if shown else "") for label, gain, shown in rows)
    return EffectChart(chart.bars, chart.ticks, chart.control_x, chart.height) if chart else None


@dataclass(frozen=True)
class Point:
    """One point of a chart, in the chart's units."""

    x: float
    y: float
    kind: str
    label: str
    words: str
    is_named: bool


@dataclass(frozen=True)
class PointChart:
    """Points with a line through some of them: a Pareto front, or a figure by the level of a parameter."""

    points: tuple[Point, ...]
    line: str
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    x_name: str
    y_name: str
    width: float = CHART_WIDTH
    height: float = 300
    left: float = 70
    floor: float = 256


def point_chart(
    rows: Sequence[tuple[str, float, float, str]], *, x_name: str, y_name: str,
    line: Sequence[tuple[float, float]] = (), suffix: str = "", from_zero: bool = False,
) -> PointChart | None:  # fmt: skip
    """Rows of (label, x, y, kind) on linear axes; None where a figure can't be drawn."""
    if not rows or not all(math.isfinite(x) and math.isfinite(y) for _, x, y, _ in rows):
        return None
    x_low, x_high = _padded([x for _, x, _, _ in rows], from_zero=False)
    y_low, y_high = _padded([y for _, _, y, _ in rows], from_zero=from_zero)
    frame = PointChart((), "", (), (), x_name, y_name)

    def place_x(value: float) -> float:
        return frame.left + (frame.width - frame.left - MARGIN) * (value - x_low) / (x_high - x_low)

    def place_y(value: float) -> float:
        return frame.floor - (frame.floor - 26) * (value - y_low) / (y_high - y_low)

    points: list[Point] = []
    taken: list[tuple[float, float]] = []
    for label, x, y, kind in sorted(rows, key=lambda row: row[3] == ""):
        place = (place_x(x), place_y(y))
        is_named = kind != "" and all(abs(place[0] - a) > 90 or abs(place[1] - b) > 14 for a, b in taken)
        taken += [place] * is_named
        words = f"{label} {number(x)}{suffix}, {number(y)}{suffix}"
        points.append(Point(*place, kind, label, words, is_named))
    return replace(
        frame,
        points=tuple(points),
        line=" ".join(f"{place_x(x):.1f},{place_y(y):.1f}" for x, y in line) if len(line) > 1 else "",
        x_ticks=tuple((place_x(tick), f"{number(tick)}{suffix}") for tick in round_ticks(x_low, x_high)),
        y_ticks=tuple((place_y(tick), f"{number(tick)}{suffix}") for tick in round_ticks(y_low, y_high)),
    )


def _padded(values: Sequence[float], *, from_zero: bool) -> tuple[float, float]:
    low, high = min(values), max(values)
    margin = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    return (0.0 if from_zero and low >= 0 else low - margin), high + margin


def round_ticks(low: float, high: float) -> list[float]:
    """Three to seven round figures between the bounds."""
    size = 10 ** math.floor(math.log10((high - low) / 3))
    step = next(size * k for k in (1, 2, 5, 10) if (high - low) / (size * k) <= 7)
    return [step * k for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _is_drawable(ratio: Interval) -> bool:
    return all(is_usable(value) for value in (ratio.value, ratio.low, ratio.high))


def _ticks(low: float, high: float) -> list[float]:
    """Four to eight round ratios between the bounds."""
    for step in (0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 50, 100):
        first = math.ceil(low / step)
        ticks = [round(step * k, 4) for k in range(first, math.floor(high / step) + 1)]
        if len(ticks) <= 8:
            return ticks
    return [low, high]


def _readable(ticks: Sequence[tuple[float, str]]) -> tuple[tuple[float, str], ...]:
    """The ticks that have room beside those before them: round ratios crowd towards the end of a log axis."""
    kept: list[tuple[float, str]] = []
    for place, words in ticks:
        if not kept or place - kept[-1][0] >= TICK_WIDTH:
            kept.append((place, words))
    return tuple(kept)


def polyline(values: Sequence[float], *, width: float = 720, height: float = 120) -> str:
    """Points of an SVG line from left to right, 0 at the bottom; empty for fewer than two values."""
    if len(values) < 2:
        return ""
    top = max(values) or 1.0
    step = width / (len(values) - 1)
    return " ".join(f"{index * step:.1f},{height - value / top * height:.1f}" for index, value in enumerate(values))
