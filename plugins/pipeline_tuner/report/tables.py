"""Rows of a sweep's configurations for terminal and analysis, and tables of plain text."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline_tuner.analysis.comparison import values_of
from pipeline_tuner.recommendation import ConfigurationEvidence, ExclusionKind, Recommendation
from pipeline_tuner.trial import TrialResult

WIDTH = 60


@dataclass(frozen=True)
class Row:
    """One configuration of a sweep: what is known of it for a goal, and its trials."""

    label: str
    evidence: ConfigurationEvidence
    results: tuple[TrialResult, ...] = ()

    @property
    def breaks_constraint(self) -> bool:
        """Whether it is excluded because a constraint of the goal isn't shown to hold."""
        return self.evidence.exclusion is not None and self.evidence.exclusion.kind is ExclusionKind.CONSTRAINT

    def median(self, metric: str) -> float | None:
        """The median of a metric over the measured trials; None where there is none."""
        values = sorted(values_of(self.results, metric))
        middle = len(values) // 2
        return None if not values else values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2


def rows_of(recommendation: Recommendation, results: Sequence[TrialResult]) -> list[Row]:
    """The configurations, the best first; those without a ratio last, in the order of the plan."""
    rows = [
        Row(label, found, tuple(r for r in results if r.plan.label in (label, *found.same_as)))
        for label, found in recommendation.evidence.items()
    ]
    return sorted(rows, key=lambda row: -row.evidence.ratio.value if row.evidence.ratio else math.inf)


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of plain text with aligned columns; long cells are shortened."""
    shown = [[textwrap.shorten(str(cell), WIDTH, placeholder="…") for cell in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in shown) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in shown]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])
