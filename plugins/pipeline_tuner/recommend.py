"""From a sweep's results to one decision per goal. No I/O.

The search phase decides *which* configuration (analysis/selection.py); the confirmation alone says *how good* it
is, because the data that chose a winner flatter it. Where it contradicts the choice, or nothing
can be named best, the decision rests on what the confirmation says of the pick and of the reference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from pipeline_tuner.analysis.block_fit import Observation
from pipeline_tuner.analysis.estimates import block_cap, finalists
from pipeline_tuner.analysis.evidence import Evidence, settled
from pipeline_tuner.analysis.goals import goal_unit, goal_value
from pipeline_tuner.analysis.history import earlier_gains
from pipeline_tuner.analysis.intervals import exponential, log_interval
from pipeline_tuner.analysis.preference import by_preference
from pipeline_tuner.analysis.reference import reference_of
from pipeline_tuner.analysis.selection import Selection, Standing, confirmed_gain, regret_bound, select
from pipeline_tuner.analysis.validity import measured_envelope
from pipeline_tuner.exceptions import NoRecommendationError
from pipeline_tuner.reasons import nothing_to_recommend, reason_of
from pipeline_tuner.recommendation import (
    MIN_BLOCKS,
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
    def selection(self) -> Selection:
        """What the search phase says about the configurations in the running."""
        budget = self.evidence.options.budget
        return select(
            self.evidence.observations("search"),
            control=self.evidence.control,
            candidates=finalists(self.evidence.options, self.evidence.running, self.evidence.results),
            indifference=budget.indifference,
            confidence=budget.confidence,
            cap=block_cap(self.evidence.options),
        )

    def recommendation(self) -> Recommendation:
        """The goal's answer. It abstains where nothing is in the running."""
        evidence, goal = self.evidence, self.evidence.goal
        unit = goal_unit(evidence.study, goal)
        validity = measured_envelope(evidence.results).to_dict()
        if not evidence.running or self.pick is None:
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
            configuration=dict(evidence.candidates[self.label or self.pick].configuration),
            estimate=self.estimate,
            gain=self.gain,
            unit=unit,
            confidence=self.confidence,
            ties=self.ties if self.status is not DecisionStatus.BEST else (),
            runner_up=self.runner_up,
            reference=self.reference,
            reference_gain=self.reference_gain,
            is_reference_excluded=self.is_reference_excluded,
            regret_bound=self.regret_bound,
            more_trials=self.selection.more_trials if self.status is not DecisionStatus.BEST else None,
            reason=self.reason,
            evidence=self._by_label(),
            validity=validity,
        )

    @cached_property
    def ties(self) -> tuple[str, ...]:
        """The labels that can't be told apart from the best, best estimate first, with all their names."""
        return tuple(name for label in self.selection.ties for name in self.evidence.names_of(label))

    @cached_property
    def pick(self) -> str | None:
        """What would replace the reference: the preferred one of the certified ties, else the best guess.

        Of what fresh blocks measured, if they measured any candidate: the rest can't be confirmed any more.
        """
        certified = [self.evidence.candidates[label] for label in self._certified]
        confirmed = [candidate for candidate in certified if self._is_fresh(candidate.label)]
        if confirmed or (certified and not self._fresh_standings):
            return by_preference(self.evidence.study, confirmed or certified)[0].label
        return next(iter(self._fresh_standings), self.selection.best)

    @property
    def _certified(self) -> tuple[str, ...]:
        return self.selection.interchangeable if self.selection.status != "undecided" else ()

    @cached_property
    def _fresh_standings(self) -> list[str]:
        """Those in the running that fresh blocks measured beside the reference, best estimate of the search first."""
        standings = (standing.label for standing in self.selection.standings)
        return [label for label in standings if label != self.reference and self._is_fresh(label)]

    def _is_fresh(self, label: str) -> bool:
        first = self.evidence.namesakes[label]
        blocks = {o.block for o in self._fresh if o.label == first}
        held = {o.block for o in self._fresh if o.label == self.reference}
        shared = blocks if self.is_reference_excluded else blocks & held
        return len(shared) >= (2 if self.selection.is_exact else MIN_BLOCKS)

    @cached_property
    def gain(self) -> Interval | None:
        """What to run against the control, from the confirmation; None where the goal is not about its kind."""
        return self._confirmed(self.label) if self.label and not self.evidence.is_control_of_another_kind else None

    @cached_property
    def _pick_gain(self) -> Interval | None:
        return self._confirmed(self.pick) if self.pick and not self.evidence.is_control_of_another_kind else None

    @cached_property
    def _fresh(self) -> list[Observation]:
        """What says how good a configuration is: the confirmation; all trials of a metric that never varies.

        The search flatters what it chose by the noise that it chose it by. Where there is none, it flatters nothing.
        """
        return self.evidence.observations(None if self.selection.is_exact else "confirm")

    def _confirmed(self, label: str) -> Interval | None:
        control = self.evidence.control
        if control is None:
            return None
        observations = self._fresh
        first, confidence = self.evidence.namesakes[label], self.evidence.options.budget.confidence
        return confirmed_gain(observations, first, control, confidence=confidence)

    @cached_property
    def estimate(self) -> Interval | None:
        """The pick's figure in the goal's unit, from the confirmation; for a balanced goal, the gain."""

        study, goal = self.evidence.study, self.evidence.goal
        if study.goals[goal].balance or self.label is None:
            return self.gain
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

    @cached_property
    def reference_gain(self) -> Interval | None:
        """The pick against the reference, from fresh blocks that hold both."""
        return self._confirmed_over_reference(self.pick) if self.pick and not self.is_reference_excluded else None

    def _confirmed_over_reference(self, label: str) -> Interval | None:
        if self.reference is None:
            return None
        observations = self._fresh
        first, confidence = self.evidence.namesakes[label], self.evidence.options.budget.confidence
        return confirmed_gain(observations, first, self.reference, confidence=confidence)

    @cached_property
    def contradicts(self) -> bool:
        """Whether the confirmation found the pick to be worse than the control or the reference."""
        return any(gain is not None and gain.high < 1.0 for gain in (self._pick_gain, self.reference_gain))

    @property
    def is_alone(self) -> bool:
        """Whether there is nothing to compare the only configuration with."""
        return len(self.evidence.candidates) < 2

    @cached_property
    def is_reference_excluded(self) -> bool:
        """Whether what runs now can't serve the goal: it fails or breaks a constraint in most of its trials."""
        return self.reference is not None and self.evidence.is_unfit(self.reference)

    @cached_property
    def status(self) -> DecisionStatus:
        """A change only where fresh blocks confirm that it is better than the reference."""
        if self.pick is None or self.is_alone:
            return DecisionStatus.UNDECIDED
        if self.evidence.namesakes[self.pick] != self.reference and self._is_change_confirmed:
            return self._change
        return DecisionStatus.KEEP if self._is_reference_bounded else DecisionStatus.UNDECIDED

    @property
    def _change(self) -> DecisionStatus:
        is_certified = self.selection.status != "undecided" and self.pick in self._certified
        if not is_certified or self.contradicts:
            return DecisionStatus.BETTER
        return DecisionStatus.BEST if len(self.ties) == 1 else DecisionStatus.TIED

    @property
    def _is_change_confirmed(self) -> bool:
        if self.reference_gain is not None and self.reference_gain.shows_gain:
            return True
        # Against something that fails there is no ratio: it is enough that the pick works.
        return self.is_reference_excluded and self._is_fresh(self.pick or "") and math.isfinite(self._regret_of_pick)

    @property
    def _is_reference_bounded(self) -> bool:
        """Whether reference and pick were compared in fresh blocks (or are one), and the regret is bounded."""
        if self.reference is None or self.reference not in self.evidence.running:
            return False
        gain = self.reference_gain
        is_one = self.evidence.namesakes[self.pick or ""] == self.reference
        return (is_one or (gain is not None and gain.is_enough)) and math.isfinite(self._regret_of_reference)

    @cached_property
    def label(self) -> str | None:
        """What to run: the reference where nothing is shown better, the pick otherwise."""
        return self.reference if self.status is DecisionStatus.KEEP else self.pick

    @cached_property
    def regret_bound(self) -> float | None:
        """The fraction by which the best of the finalists may be better than `label`; None where it isn't known."""
        bound = self._regret_of_reference if self.status is DecisionStatus.KEEP else self._regret_of_pick
        return bound if math.isfinite(bound) else None

    @cached_property
    def _regret_of_pick(self) -> float:
        return self._regret_of(self.pick, self._error) if self.pick else math.inf

    @property
    def _error(self) -> float:
        return 1.0 - self.evidence.options.budget.confidence

    @cached_property
    def _regret_of_reference(self) -> float:
        """From the search where it measured the reference; else over the pick, each step with half of the error."""
        if self.reference is None:
            return math.inf
        searched = sum(o.label == self.reference for o in self.evidence.observations("search"))
        if searched >= (2 if self.selection.is_exact else MIN_BLOCKS):
            return self._regret_of(self.reference, self._error)
        observations = self._fresh
        first = self.evidence.namesakes[self.pick or ""]
        step = confirmed_gain(observations, first, self.reference, confidence=1.0 - self._error / 2)
        return math.inf if step is None else (1.0 + self._regret_of(first, self._error / 2)) * step.high - 1.0

    def _regret_of(self, label: str, error: float) -> float:
        return regret_bound(
            self.evidence.observations("search"),
            self.evidence.namesakes[label],
            finalists(self.evidence.options, self.evidence.running, self.evidence.results),
            indifference=self.evidence.options.budget.indifference,
            confidence=1.0 - error,
            cap=block_cap(self.evidence.options),
        )

    @property
    def confidence(self) -> float:
        """1 - the probability that the decision is wrong, jointly over candidates and looks."""
        promised = self.evidence.options.budget.confidence
        return (
            promised
            if self.status is not DecisionStatus.UNDECIDED
            else min(promised, 1.0 - self.selection.error_probability)
        )

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
            ratio=standing.to_control if standing else self._explored_gain(label),
            confirmed=self._confirmed(label),
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

    def _standing(self, label: str) -> StandingKind:
        if label in self.evidence.excluded:
            return StandingKind.EXCLUDED
        if label == self.label:
            return StandingKind.PICK
        standing = self._standings.get(self.evidence.namesakes[label])
        if standing is None:
            return StandingKind.EXPLORED
        if standing.is_tied or not standing.is_settled:
            return StandingKind.TIED if self.selection.status != "undecided" else StandingKind.OPEN
        return StandingKind.WORSE
