"""The nights of a study as a chart: what production and the control reached, where the level changed, who decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline_tuner.web.charts import round_ticks
from pipeline_tuner.wording import number

WIDTH, HEIGHT = 760, 190
LEFT, RIGHT, TOP, BOTTOM = 84, 16, 14, 44


@dataclass(frozen=True)
class Dot:
    """One night's figure of one configuration."""

    x: float
    y: float
    role: str
    words: str


@dataclass(frozen=True)
class Mark:
    """Something that happened in a night."""

    x: float
    kind: str
    words: str
    is_named: bool = True


@dataclass(frozen=True)
class NightChart:
    """Positions in the chart's own units; `lines` are points of SVG lines by role, broken at missed nights."""

    dots: tuple[Dot, ...]
    lines: tuple[tuple[str, str], ...]
    marks: tuple[Mark, ...]
    y_ticks: tuple[tuple[float, str], ...]
    x_ticks: tuple[tuple[float, str], ...]
    unit: str
    width: float = WIDTH
    height: float = HEIGHT
    floor: float = HEIGHT - BOTTOM


def night_chart(
    goal: str, unit: str, nights: Sequence[Mapping[str, Any]], figures: Sequence[Mapping[str, Any]],
    alerts: Sequence[Mapping[str, Any]],
) -> NightChart | None:  # fmt: skip
    """The chart of one goal over the nights (oldest first); None where nothing was measured for it."""
    found = {(f["night_id"], f["role"]): f for f in figures if f["goal"] == goal}
    if not found:
        return None
    values = [f["value"] for f in found.values()]
    low, high = min(values), max(values)
    margin = (high - low) * 0.1 or abs(high) * 0.1 or 1.0
    low, high = low - margin, high + margin
    step = (WIDTH - LEFT - RIGHT) / max(len(nights) - 1, 1)

    def x(index: int) -> float:
        return LEFT + (step * index if len(nights) > 1 else (WIDTH - LEFT - RIGHT) / 2)

    def y(value: float) -> float:
        return float(HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM))

    dots, lines = [], []
    for role in ("control", "champion"):
        run: list[str] = []
        for index, night in enumerate(nights):
            entry = found.get((night["night_id"], role))
            if entry is None:
                lines += _line(role, run)
                run = []
                continue
            words = f"{night['due_at']:%Y-%m-%d} {role} {entry['label']}: {number(entry['value'])} {unit}"
            dots.append(Dot(x(index), y(entry["value"]), role, words))
            run.append(f"{x(index):.1f},{y(entry['value']):.1f}")
        lines += _line(role, run)
    places = {night["night_id"]: index for index, night in enumerate(nights)}
    marks = [
        Mark(x(places[item["night_id"]]), item["kind"], item["words"])
        for item in alerts
        if item["goal"] in (goal, "") and item["night_id"] in places
    ]
    marks += [
        Mark(x(index), night["status"], f"{night['due_at']:%Y-%m-%d}: {night['summary']}")
        for index, night in enumerate(nights)
        if night["status"] in ("missed", "failed")
    ]
    marks.sort(key=lambda mark: mark.x)
    named = [
        mark for mark, before in zip(marks, [None, *marks], strict=False) if before is None or mark.x - before.x > 60
    ]
    marks = [replace(mark, is_named=mark in named) for mark in marks]
    y_ticks = tuple((y(tick), number(tick)) for tick in round_ticks(low, high))
    shown = dict.fromkeys((0, len(nights) // 2, len(nights) - 1))
    x_ticks = tuple((x(index), f"{nights[index]['due_at']:%Y-%m-%d}") for index in shown)
    return NightChart(tuple(dots), tuple(lines), tuple(marks), y_ticks, x_ticks, unit)


def _line(role: str, points: Sequence[str]) -> list[tuple[str, str]]:
    return [(role, " ".join(points))] if len(points) > 1 else []
