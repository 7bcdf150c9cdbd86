"""The rows that the terminal and the written analysis show, and tables of plain text."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline_tuner.analysis.comparison import values_of
from pipeline_tuner.recommendation import Interval, Recommendation
from pipeline_tuner.space import Configuration
from pipeline_tuner.trial import TrialResult

WIDTH = 60


@dataclass(frozen=True)
class Row:
    """One configuration of a sweep, as a recommendation's evidence tells it."""

    label: str
    configuration: Configuration
    planned: int
    measured: int
    failed: int
    blocks: int
    standing: str
    why_out: str
    ratio: Interval | None
    confirmed: Interval | None
    earlier: Interval | None
    same_as: tuple[str, ...]
    results: tuple[TrialResult, ...] = ()

    def median(self, metric: str) -> float | None:
        """The median of a metric over the measured trials; None where there is none."""
        values = sorted(values_of(self.results, metric))
        middle = len(values) // 2
        return None if not values else values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2


def rows_of(recommendation: Recommendation, results: Sequence[TrialResult]) -> list[Row]:
    """The configurations, the best first; those without a ratio last, in the order of the plan."""
    rows = [_row(label, found, results) for label, found in recommendation.evidence.items()]
    return sorted(rows, key=lambda row: (row.ratio is None, -(row.ratio.value if row.ratio else 0)))


def _row(label: str, found: Mapping[str, Any], results: Sequence[TrialResult]) -> Row:
    return Row(
        label=label,
        configuration=found["configuration"],
        planned=found["planned"],
        measured=found["measured"],
        failed=found["failed"],
        blocks=found["blocks"],
        standing=found["standing"],
        why_out=found["why_out"],
        ratio=_interval(found["ratio"]),
        confirmed=_interval(found["confirmed"]),
        earlier=_interval(found["earlier"]),
        same_as=tuple(found["same_as"]),
        results=tuple(r for r in results if r.plan.label in (label, *found["same_as"])),
    )


def _interval(values: Mapping[str, Any] | None) -> Interval | None:
    return Interval(**values) if values else None


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of plain text with aligned columns; long cells are shortened."""
    shown = [[textwrap.shorten(str(cell), WIDTH, placeholder="…") for cell in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in shown) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in shown]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])
