"""A goal's evidence from a sweep's trials: which configurations compete, which are excluded and why, and the
observations.

A configuration is excluded when one of its trials gave a wrong result or failed by its own fault, when it was never
measured, or when a constraint of the goal isn't shown to hold. Lost trials count as missing, not against it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import median

from pipeline_tuner.analysis.block_fit import Observation
from pipeline_tuner.analysis.goals import ConstraintCheck, GoalError, Scores, check_constraints, goal_scores
from pipeline_tuner.analysis.reference import admits
from pipeline_tuner.recommendation import Exclusion, ExclusionKind
from pipeline_tuner.study import Study
from pipeline_tuner.sweep import SweepOptions
from pipeline_tuner.trial import Candidate, Phase, TrialResult
from pipeline_tuner.wording import counted

FAILURE_WORDS: Mapping[str | None, str] = {
    "out_of_memory": "ran out of memory",
    "timeout": "ran out of time",
    "check_failed": "gave a wrong result",
    "bad_configuration": "can't work here",
    "error": "ended with an error",
    "invalid_measurement": "left no valid measurement",
    "infrastructure": "was stopped by something around the job",
    "lost": "was lost",
}


def settled(results: Iterable[TrialResult]) -> tuple[TrialResult, ...]:
    """The results of a sweep that has ended: what was planned and never came back is a failed trial, lost."""
    return tuple(_lost(result) if result.status in ("planned", "running") else result for result in results)


def _lost(result: TrialResult) -> TrialResult:
    return replace(result, status="failed", failure="lost", reason=f"still {result.status}: nothing came back")


@dataclass(frozen=True)
class Evidence:
    """One sweep's evidence on one goal. `results` are settled."""

    study: Study
    options: SweepOptions
    goal: str
    results: tuple[TrialResult, ...]

    @cached_property
    def candidates(self) -> dict[str, Candidate]:
        """The planned configurations by label: the control, then the study's presets, then in the order of the plan.

        So a configuration with two names goes by the first one that the study gives it.
        """
        places = {preset.label: place for place, preset in enumerate(self.study.preset_candidates)}
        ordered = sorted(self.results, key=lambda r: (not r.plan.is_control, places.get(r.plan.label, len(places))))
        return {r.plan.label: Candidate(r.plan.label, r.plan.configuration) for r in ordered}

    @cached_property
    def control(self) -> str | None:
        """The control's label; None where the plan holds none."""
        return next((r.plan.label for r in self.results if r.plan.is_control), None)

    @cached_property
    def namesakes(self) -> dict[str, str]:
        """Each label with the first label of the same configuration: two names of one thing are one candidate."""
        first: dict[str, str] = {}
        return {label: first.setdefault(c.configuration_id, label) for label, c in self.candidates.items()}

    @cached_property
    def is_control_of_another_kind(self) -> bool:
        """Whether the control's own parameters put it outside the goal, whatever is measured: no baseline for it."""
        if self.control is None:
            return False
        return not admits(self.study, self.goal, self.candidates[self.control].configuration)

    def names_of(self, label: str) -> tuple[str, ...]:
        """All labels of the label's configuration, itself among them."""
        return tuple(name for name, first in self.namesakes.items() if first == self.namesakes[label])

    @cached_property
    def scores(self) -> Scores:
        """The goal's scores of the trials on the whole workload."""
        return goal_scores(self.study, self.goal, (r for r in self.results if r.plan.fraction == 1.0))

    @property
    def usual_trial_s(self) -> float | None:
        """The median time of a trial, start-up and tear-down included; None where none left a measurement."""
        spans = [r.measurement.ended_at - r.measurement.started_at for r in self.results if r.measurement]
        return median(span.total_seconds() for span in spans) if spans else None

    def trials(self, label: str, phase: Phase | None = None) -> list[TrialResult]:
        """All trials of the label's configuration, under any of its names."""
        names = self.names_of(label)
        return [r for r in self.results if r.plan.label in names and phase in (None, r.plan.phase)]

    def observations(self, phase: Phase | None = None) -> list[Observation]:
        """A phase's trials (or all) with a score, for selection: values above 0, smaller is better."""
        scored = [r for r in self.results if phase in (None, r.plan.phase)]
        scored = [r for r in scored if r.plan.trial_id in self.scores.by_trial]
        blocks = {key: i for i, key in enumerate(sorted({(r.plan.round, r.plan.block) for r in scored}))}
        return [
            Observation(
                self.namesakes[r.plan.label],
                blocks[r.plan.round, r.plan.block],
                math.exp(-self.scores.by_trial[r.plan.trial_id]),
            )
            for r in scored
        ]

    @cached_property
    def excluded(self) -> dict[str, Exclusion]:
        """The labels that can't win, each with the reason."""
        found = {label: self._exclusion(label) for label in self.candidates}
        return {label: exclusion for label, exclusion in found.items() if exclusion}

    def is_unfit(self, label: str) -> bool:
        """Whether a configuration fails by its own fault, or breaks a constraint of the goal, in most trials."""
        if not admits(self.study, self.goal, self.candidates[label].configuration):
            return True
        known = [r for r in self.trials(label) if r.is_evidence]
        faults = sum(r.status == "failed" for r in known)
        return 2 * faults > len(known) or any(2 * c.kept < c.trials for c in self.constraints(label))

    @property
    def unmeasured(self) -> tuple[str, ...]:
        """The labels of which nothing is known: every trial of theirs failed without being evidence."""
        return tuple(label for label in self.candidates if self._is_unknown(label))

    def _is_unknown(self, label: str) -> bool:
        trials = self.trials(label)
        known = any(r.is_evidence or r.plan.trial_id in self.scores.problems for r in trials)
        return not known and any(r.status == "failed" for r in trials)

    @property
    def running(self) -> tuple[str, ...]:
        """The configurations that may win, each under its first label."""
        return tuple(label for label, first in self.namesakes.items() if label == first and label not in self.excluded)

    def _exclusion(self, label: str) -> Exclusion | None:
        trials = self.trials(label)
        faults = [r for r in trials if r.status == "failed" and r.is_evidence]
        if faults:
            return Exclusion(ExclusionKind.FAILED, described_failures(faults, of=len(trials)))
        scored = [r for r in trials if r.plan.phase == "search" and r.plan.trial_id in self.scores.by_trial]
        if not scored:
            return Exclusion(ExclusionKind.UNMEASURED, self._why_unmeasured(trials))
        broken = [str(check) for check in self.constraints(label) if not check.holds(self.options.budget.confidence)]
        if not broken:
            return None
        return Exclusion(ExclusionKind.CONSTRAINT, f"a constraint isn't shown to hold: {'; '.join(broken)}")

    def _why_unmeasured(self, trials: Sequence[TrialResult]) -> str:
        problems = [self.scores.problems[r.plan.trial_id] for r in trials if r.plan.trial_id in self.scores.problems]
        if problems:
            return problems[0]
        failed = [r for r in trials if r.status == "failed"]
        if failed:
            return f"never measured: {described_failures(failed, of=len(trials))}"
        if any(r.plan.fraction == 1.0 for r in trials):
            return "measured in the confirmation only"
        return "explored on a part of the data only"

    def constraints(self, label: str) -> tuple[ConstraintCheck, ...]:
        """The goal's constraints against all full trials of the configuration, under any of its names."""
        full = [r for r in self.trials(label) if r.plan.fraction == 1.0]
        try:
            return check_constraints(self.study, self.goal, full)
        except GoalError as error:
            return (ConstraintCheck(str(error), 0, 0, 0.0),)


def described_failures(failed: Sequence[TrialResult], *, of: int) -> str:
    """Failed trials in words, by kind, with the first reason: `2 of 5 trials ran out of memory (GC overhead ...)`."""
    kinds = Counter(r.failure for r in failed)
    parts = []
    for kind, count in kinds.most_common():
        reason = next((r.reason for r in failed if r.failure == kind and r.reason), "")
        counted_failures = f"{count} of {counted(of, 'trial')} {FAILURE_WORDS.get(kind, 'failed')}"
        parts.append(f"{counted_failures} ({shortened(reason)})" if reason else counted_failures)
    return "; ".join(parts)


def shortened(text: str, length: int = 160) -> str:
    """One line of at most `length` characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[: length - 1]}…"
