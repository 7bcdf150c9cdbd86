"""From a sweep's results to one decision per goal: evidence, decision and alternatives put together. No I/O.

The search phase decides *which* configuration (analysis/selection.py); the confirmation alone says *how good* it
is, because the data that chose a winner flatter it. Where it contradicts the choice, or nothing
can be named best, the decision rests on what the confirmation says of the pick and of the reference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from pipeline_tuner.analysis.decision import Decision
from pipeline_tuner.analysis.earlier_sweeps import earlier_gains
from pipeline_tuner.analysis.evidence import Evidence, settled
from pipeline_tuner.analysis.goals import goal_unit, goal_value
from pipeline_tuner.analysis.interim_selection import block_cap, finalists
from pipeline_tuner.analysis.intervals import exponential, log_interval
from pipeline_tuner.analysis.reference import reference_of
from pipeline_tuner.analysis.selection import Selection, Standing
from pipeline_tuner.analysis.tie_breaking import by_preference
from pipeline_tuner.exceptions import NoRecommendationError
from pipeline_tuner.monitoring.validity import measured_envelope
from pipeline_tuner.reasons import nothing_to_recommend, reason_of
from pipeline_tuner.recommendation import (
    ConfigurationEvidence,
    DecisionStatus,
    Interval,
    Recommendation,
    StandingKind,
)
from pipeline_tuner.study import Study
from pipeline_tuner.sweep import SweepOptions
from pipeline_tuner.trial import TrialResult
from pipeline_tuner.wording import counted

NORMAL_95 = 1.96


def recommend(
    study: Study, options: SweepOptions, results: Sequence[TrialResult], history: Sequence[TrialResult] = ()
) -> tuple[Recommendation, ...]:
    """One recommendation for each goal of the sweep, in the order of `options.goals`.

    `results` is the whole plan: a trial still `planned` or `running` counts as lost. `history` are trials of
    earlier sweeps of the same workload and environment: shown as evidence, they decide nothing.
    Raises NoRecommendationError, with the reasons, where no goal has a single configuration in the running.
    """
    whole = settled(results)
    answers = [Answer(Evidence(study, options, goal, whole), tuple(history)) for goal in options.goals]
    if not any(answer.evidence.running for answer in answers):
        raise NoRecommendationError(_why_nothing(answers, whole))
    return tuple(answer.recommendation() for answer in answers)


def _why_nothing(answers: Sequence[Answer], results: Sequence[TrialResult]) -> str:
    reasons = {f"{label}: {why}" for answer in answers for label, why in answer.evidence.excluded.items()}
    measured = sum(result.status == "measured" for result in results)
    head = f"no configuration can be recommended ({measured} of {counted(len(results), 'trial')} measured)"
    return "\n  ".join([head, *sorted(reasons)]) if reasons else f"{head}: nothing was planned"


@dataclass(frozen=True)
class Answer:
    """How one goal's evidence becomes its recommendation."""

    evidence: Evidence
    history: tuple[TrialResult, ...] = ()

    @cached_property
    def decision(self) -> Decision:
        """What the observations say, each configuration under its first name."""
        evidence, budget = self.evidence, self.evidence.options.budget
        return Decision(
            search=evidence.observations("search"),
            confirmation=evidence.observations("confirm"),
            finalists=finalists(evidence.options, evidence.running, evidence.results),
            control=evidence.control,
            reference=self.reference,
            is_control_comparable=not evidence.is_control_of_another_kind,
            is_reference_excluded=self.reference is not None and evidence.is_unfit(self.reference),
            may_keep=self.reference in evidence.running and not self.is_alone,
            prefer=self._preferred,
            indifference=budget.indifference,
            confidence=budget.confidence,
            cap=block_cap(evidence.options),
        )

    def _preferred(self, labels: Sequence[str]) -> str:
        return by_preference(self.evidence.study, [self.evidence.candidates[label] for label in labels])[0].label

    @cached_property
    def selection(self) -> Selection:
        """What the search phase says about the configurations in the running."""
        return self.decision.selection

    def recommendation(self) -> Recommendation:
        """The goal's answer: undecided where nothing is in the running."""
        evidence, goal = self.evidence, self.evidence.goal
        unit = goal_unit(evidence.study, goal)
        validity = measured_envelope(evidence.results).to_dict()
        decision = self.decision
        if not evidence.running or decision.pick is None or self.label is None:
            return Recommendation(
                goal,
                DecisionStatus.UNDECIDED,
                None,
                None,
                unit=unit,
                reason=nothing_to_recommend(evidence),
                evidence=self._by_label(),
                validity=validity,
            )
        return Recommendation(
            goal=goal,
            status=self.status,
            label=self.label,
            configuration=dict(evidence.candidates[self.label].configuration),
            estimate=self.estimate,
            gain=decision.gain,
            unit=unit,
            confidence=decision.sureness,
            ties=self.ties if self.status is not DecisionStatus.BEST else (),
            runner_up=self.runner_up,
            reference=self.reference,
            reference_gain=decision.reference_gain,
            is_reference_excluded=decision.is_reference_excluded,
            regret_bound=decision.regret_bound,
            more_trials=self.selection.more_trials if self.status is not DecisionStatus.BEST else None,
            reason=self.reason,
            evidence=self._by_label(),
            validity=validity,
        )

    @cached_property
    def ties(self) -> tuple[str, ...]:
        """The labels that can't be told apart from the pick, best estimate first, with all their names."""
        return tuple(name for label in self.decision.ties for name in self.evidence.names_of(label))

    @cached_property
    def estimate(self) -> Interval | None:
        """The pick's value in the goal's unit, from the confirmation; for a balanced goal, the gain."""

        study, goal = self.evidence.study, self.evidence.goal
        if study.goals[goal].balance or self.label is None:
            return self.decision.gain
        values = [
            math.log(goal_value(study, goal, result))
            for result in self.evidence.trials(self.label, None if self.selection.is_exact else "confirm")
            if result.plan.trial_id in self.evidence.scores.by_trial
        ]
        return log_interval(values, self.evidence.options.budget.confidence) if len(values) > 1 else None

    @cached_property
    def reference(self) -> str | None:
        """The label of what production ran with when the sweep began; None where this sweep did not plan it."""
        found = reference_of(self.evidence.study, self.evidence.options, self.evidence.goal)
        planned = self.evidence.candidates.items()
        return next((label for label, c in planned if c.configuration_id == found.configuration_id), None)

    @property
    def is_alone(self) -> bool:
        """Whether there is nothing to compare the only configuration with."""
        return len(self.evidence.candidates) < 2

    @property
    def status(self) -> DecisionStatus:
        """The decision. Two names of one configuration tie."""
        status = self.decision.status
        return DecisionStatus.TIED if status is DecisionStatus.BEST and len(self.ties) > 1 else status

    @property
    def label(self) -> str | None:
        """What to run; the best guess where that is undecided."""
        return self.decision.label

    @cached_property
    def runner_up(self) -> str | None:
        """The best estimate after the pick's."""
        standings = [standing.label for standing in self.selection.standings]
        return next((label for label in standings if label != self.label), None)

    @cached_property
    def reason(self) -> str:
        """At most a few short sentences for people."""
        return reason_of(self)

    def _by_label(self) -> dict[str, ConfigurationEvidence]:
        earlier = earlier_gains(self.evidence.study, self.evidence.goal, self.history)
        return {label: self._of_configuration(label, earlier) for label in self.evidence.candidates}

    def _of_configuration(self, label: str, earlier: Mapping[str, Interval]) -> ConfigurationEvidence:
        candidate, trials = self.evidence.candidates[label], self.evidence.trials(label)
        standing = self._standings.get(self.evidence.namesakes[label])
        return ConfigurationEvidence(
            configuration=dict(candidate.configuration),
            standing=self._standing(label),
            planned=len(trials),
            measured=sum(r.status == "measured" for r in trials),
            failed=sum(r.status == "failed" for r in trials),
            blocks=standing.n if standing else 0,
            ratio=self._ratio(label, standing),
            confirmed=self.decision.confirmed(self.evidence.namesakes[label]),
            earlier=earlier.get(candidate.configuration_id),
            same_as=tuple(name for name in self.evidence.names_of(label) if name != label),
            exclusion=self.evidence.excluded.get(label),
            constraints=tuple(str(check) for check in self.evidence.constraints(label)),
        )

    @cached_property
    def _standings(self) -> dict[str, Standing]:
        return {standing.label: standing for standing in self.selection.standings}

    def _explored_gain(self, label: str) -> Interval | None:
        """The gain of a configuration that did not come to the final, as sure as one run's noise allows."""
        score = {(o.label, o.block): -math.log(o.value) for o in self.evidence.observations("search")}
        first, control = self.evidence.namesakes[label], self.evidence.control or ""
        gains = [s - score[control, b] for (name, b), s in score.items() if name == first and (control, b) in score]
        if not gains or not math.isfinite(self.selection.noise):
            return None
        half = NORMAL_95 * self.selection.noise * math.sqrt(2 / len(gains))
        center = math.fsum(gains) / len(gains)
        return exponential(Interval(center, center - half, center + half, 0.95, len(gains)))

    def _ratio(self, label: str, standing: Standing | None) -> Interval | None:
        if standing is None:
            return self._explored_gain(label)
        # A search of one block knows nothing of its noise; the confirmation does.
        return standing.to_control or self.decision.gains.get(self.evidence.namesakes[label])

    def _standing(self, label: str) -> StandingKind:
        if label in self.evidence.excluded:
            return StandingKind.EXCLUDED
        if label == self.label:
            return StandingKind.PICK
        standing = self._standings.get(self.evidence.namesakes[label])
        if standing is None:
            return StandingKind.EXPLORED
        if not standing.is_tied and standing.is_settled:
            return StandingKind.WORSE
        if self.selection.status != "undecided":
            return StandingKind.TIED
        return StandingKind.OPEN if label in self.ties else StandingKind.WORSE
