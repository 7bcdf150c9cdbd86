"""A trial's own evidence as charts: throughput over time, its partitions and its stages in time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from pipeline_tuner.measurement import is_usable
from pipeline_tuner.web.charts import PointChart, point_chart
from pipeline_tuner.wording import number, second_words

WIDTH, LEFT, RIGHT, ROW = 760, 90, 20, 16
MAX_ROWS = 200
SLOW = 1.5


@dataclass(frozen=True)
class Span:
    """One partition from its start to its end, in the chart's units."""

    x: float
    y: float
    width: float
    kind: str
    label: str
    words: str


@dataclass(frozen=True)
class SpanChart:
    """Partitions one under the other along the time of the run."""

    spans: tuple[Span, ...]
    ticks: tuple[tuple[float, str], ...]
    height: float
    width: float = WIDTH
    row: float = ROW - 4


def throughput_chart(details: Mapping[str, Any]) -> PointChart | None:
    """Rows a second over time, from `details.throughput`: rows landed so far at times since the start."""
    curve = details.get("throughput")
    if not isinstance(curve, Mapping):
        return None
    times, rows = _numbers(curve.get("time_s")), _numbers(curve.get("rows"))
    points = [
        ((before[0] + after[0]) / 2, (after[1] - before[1]) / (after[0] - before[0]))
        for before, after in pairwise(zip(times, rows, strict=False))
        if after[0] > before[0]
    ]
    if len(points) < 3:
        return None
    return point_chart(
        [("", time, rate, "") for time, rate in points],
        x_name="seconds since the work began",
        y_name="rows/s",
        line=points,
        from_zero=True,
    )


def span_chart(details: Mapping[str, Any]) -> SpanChart | None:
    """The partitions from start to end; slow ones (1.5 times the median) and failed ones are marked."""
    rows = details.get("partitions")
    if not isinstance(rows, Sequence) or isinstance(rows, str):
        return None
    known = [row for row in rows if isinstance(row, Mapping) and _is_placed(row)][:MAX_ROWS]
    if len(known) < 2:
        return None
    end = max(row["start_s"] + row["duration_s"] for row in known) or 1.0
    usual = sorted(row["duration_s"] for row in known)[len(known) // 2]
    scale = (WIDTH - LEFT - RIGHT) / end
    numbers = [row.get("number", index) for index, row in enumerate(known, start=1)]
    spans = tuple(
        Span(
            x=LEFT + row["start_s"] * scale,
            y=index * ROW,
            width=max(1.0, row["duration_s"] * scale),
            kind=_kind(row, usual),
            label=str(numbers[index]),
            words=f"{numbers[index]}: {second_words(row['duration_s'])}, from {number(row['start_s'])} s on",
        )
        for index, row in enumerate(known)
    )
    ticks = tuple((LEFT + end * part / 4 * scale, second_words(end * part / 4) if part else "0") for part in range(5))
    return SpanChart(spans, ticks, len(known) * ROW + 26)


def _is_placed(row: Mapping[str, Any]) -> bool:
    return isinstance(row.get("start_s"), int | float) and (
        is_usable(row.get("duration_s")) or row.get("duration_s") == 0
    )


def _kind(row: Mapping[str, Any], usual: float) -> str:
    if row.get("state") not in (None, "PASS"):
        return "failed"
    return "slow" if row["duration_s"] > SLOW * usual else ""


def _numbers(values: Any) -> list[float]:
    return [float(v) for v in values if isinstance(v, int | float)] if isinstance(values, Sequence) else []
