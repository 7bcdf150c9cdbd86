"""The record that a written analysis is made from (`ReportData`): the sweep, its answers, its results; what a section
is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline_tuner.analysis.effect_design import Run
from pipeline_tuner.analysis.effects import Effects, effects
from pipeline_tuner.analysis.goals import goal_scores
from pipeline_tuner.analysis.paired_effects import Contrast, contrasts_around
from pipeline_tuner.recommendation import Recommendation
from pipeline_tuner.report.findings import Facts
from pipeline_tuner.report.tables import Row, rows_of
from pipeline_tuner.study import Study
from pipeline_tuner.sweep import SweepOptions
from pipeline_tuner.trial import TrialResult


@dataclass(frozen=True)
class ReportData:
    """One sweep. `results` are settled; `history` are trials of earlier sweeps of the same workload and machine."""

    study: Study
    options: SweepOptions
    results: tuple[TrialResult, ...]
    recommendations: tuple[Recommendation, ...]
    history: tuple[TrialResult, ...]
    environment: Mapping[str, Any]
    workload: Mapping[str, Any]
    folder: Path

    @property
    def main(self) -> Recommendation:
        """The primary goal's recommendation."""
        return self.recommendations[0]

    @cached_property
    def rows(self) -> list[Row]:
        """The configurations, the best for the primary goal first."""
        return rows_of(self.main, self.results)

    @cached_property
    def subject(self) -> Row | None:
        """The configuration that the analysis is about: the primary goal's pick or best guess, else the control."""
        return next((row for row in self.rows if row.label == (self.main.label or self.control_label)), None)

    @property
    def control_label(self) -> str:
        """The label of the control."""
        planned = (result.plan.label for result in self.results if result.plan.is_control)
        return next(planned, self.study.control)

    @property
    def control(self) -> Row | None:
        """The control's row; None where it is not in the sweep."""
        return next((row for row in self.rows if row.label == self.control_label), None)

    @cached_property
    def runs(self) -> list[Run]:
        """The trials on the whole workload with their score for the primary goal."""
        full = [result for result in self.results if result.plan.fraction == 1.0]
        scores = goal_scores(self.study, self.main.goal, full).by_trial
        return [
            Run(r.plan.configuration, (r.plan.phase, r.plan.round, r.plan.block), scores[r.plan.trial_id])
            for r in full
            if r.plan.trial_id in scores
        ]

    @cached_property
    def effects(self) -> Effects:
        """The effects of the parameters on the primary goal."""
        return effects(self.study.space, self.runs, confidence=self.options.budget.confidence)

    @cached_property
    def contrasts(self) -> dict[str, tuple[Contrast, ...]]:
        """What each parameter is worth, all else equal: next to the best configuration, and next to the control."""
        rows = {row.label: row for row in (self.subject, self.control) if row is not None}
        confidence = self.options.budget.confidence
        return {
            label: contrasts_around(self.runs, row.evidence.configuration, confidence=confidence)
            for label, row in rows.items()
        }

    def deciding(self, row: Row) -> tuple[TrialResult, ...]:
        """The trials behind the row's values: the confirmation's where there are any, the search's otherwise."""
        fresh = tuple(r for r in row.results if r.plan.phase == "confirm" and r.status == "measured")
        return fresh or tuple(r for r in row.results if r.plan.fraction == 1.0)

    def facts(self, row: Row) -> Facts:
        """The row's values for findings."""
        return Facts.of(row.label, row.evidence.configuration, self.deciding(row))


@dataclass(frozen=True)
class Section:
    """`write` gives Markdown, or an empty text where there is nothing to say; `after` is the title it comes after."""

    title: str
    write: Callable[[ReportData], str]
    after: str
