"""From a sweep's results to one decision per goal. No I/O.

The search phase decides *which* configuration (analysis/selection.py); the confirmation alone says *how good* it
is, because the data that chose a winner flatter it. Where it contradicts the choice, or nothing
can be named best, the decision rests on what the confirmation says of the pick and of the reference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from pipeline_tuner.analysis.block_fit import MIN_BLOCKS
from pipeline_tuner.analysis.estimates import block_cap, finalists
from pipeline_tuner.analysis.evidence import Evidence, settled
from pipeline_tuner.analysis.goals import goal_unit, goal_value
from pipeline_tuner.analysis.history import earlier_gains
from pipeline_tuner.analysis.intervals import exponential, log_interval
from pipeline_tuner.analysis.preference import by_preference
from pipeline_tuner.analysis.selection import Selection, confirmed_gain, regret_bound, select
from pipeline_tuner.analysis.validity import measured_envelope
from pipeline_tuner.exceptions import NoRecommendationError
from pipeline_tuner.reasons import reason_of
from pipeline_tuner.recommendation import DecisionStatus, Interval, Recommendation
from pipeline_tuner.space import configuration_id
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
    reasons = {f"{label}: {why}" for answer in answers for label, why in answer.evidence.out.items()}
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
            reason = f"Nothing to recommend: {'; '.join(f'{k}: {v}' for k, v in evidence.out.items()) or 'no trials'}."
            return Recommendation(
                goal,
                DecisionStatus.UNDECIDED,
                None,
                None,
                unit=unit,
                reason=reason,
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
        """The preferred one of the interchangeable ties (of those confirmed, if any was); the best guess otherwise."""
        if self.selection.status == "undecided":
            return self.selection.best
        equal = [self.evidence.candidates[label] for label in self.selection.interchangeable]
        confirmed = [candidate for candidate in equal if self._confirmed(candidate.label)]
        return by_preference(self.evidence.study, confirmed or equal)[0].label

    @cached_property
    def gain(self) -> Interval | None:
        """What to run against the control, from the confirmation; None where the goal is not about its kind."""
        return self._confirmed(self.label) if self.label and not self.evidence.is_control_of_another_kind else None

    @cached_property
    def _pick_gain(self) -> Interval | None:
        return self._confirmed(self.pick) if self.pick and not self.evidence.is_control_of_another_kind else None

    def _confirmed(self, label: str) -> Interval | None:
        control = self.evidence.control
        if control is None:
            return None
        observations = self.evidence.observations("confirm")
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
            for result in self.evidence.trials(self.label, "confirm")
            if result.plan.trial_id in self.evidence.scores.by_trial
        ]
        return log_interval(values, self.evidence.options.budget.confidence) if len(values) > 1 else None

    @cached_property
    def reference(self) -> str | None:
        """The label of what production ran with when the sweep began; the control where the sweep does not know.

        None where production's configuration was not measured in this sweep, or can't be compared for this goal.
        """
        champion = self.evidence.options.champions.get(self.evidence.goal)
        if champion is None:
            return None if self.evidence.is_control_of_another_kind else self.evidence.control
        identity = configuration_id(champion.configuration)
        same = (label for label, c in self.evidence.candidates.items() if c.configuration_id == identity)
        label = next(same, None)
        kind_differs = self.evidence.is_control_of_another_kind and label == self.evidence.control
        return None if label is None or kind_differs else self.evidence.namesakes[label]

    @cached_property
    def reference_gain(self) -> Interval | None:
        """The pick against the reference, from fresh blocks that hold both."""
        if self.reference is None or self.pick is None:
            return None
        confidence = self.evidence.options.budget.confidence
        first = self.evidence.namesakes[self.pick]
        return confirmed_gain(self.evidence.observations("confirm"), first, self.reference, confidence=confidence)

    @cached_property
    def contradicts(self) -> bool:
        """Whether the confirmation found the pick to be worse than the control or the reference."""
        return any(gain is not None and gain.high < 1.0 for gain in (self._pick_gain, self.reference_gain))

    @property
    def is_alone(self) -> bool:
        """Whether there is nothing to compare the only configuration with."""
        return len(self.evidence.candidates) < 2

    @cached_property
    def status(self) -> DecisionStatus:
        """The selection's answer unless the confirmation contradicts it; else what is known against the reference."""
        declared = self.selection.status != "undecided" and not self.contradicts and not self.is_alone
        if declared:
            return DecisionStatus.BEST if len(self.ties) == 1 else DecisionStatus.TIED
        if self._is_confirmed_better:
            return DecisionStatus.BETTER
        return DecisionStatus.KEEP if self._is_reference_bounded else DecisionStatus.UNDECIDED

    @property
    def _is_confirmed_better(self) -> bool:
        gain = self.reference_gain
        return self.pick != self.reference and gain is not None and gain.n >= MIN_BLOCKS and gain.low > 1.0

    @property
    def _is_reference_bounded(self) -> bool:
        """Whether reference and pick were compared in fresh blocks (or are one), and the regret is bounded."""
        if self.reference is None or self.reference not in self.evidence.running or self.is_alone:
            return False
        gain = self.reference_gain
        compared = self.evidence.namesakes[self.pick or ""] == self.reference or (gain and gain.n >= MIN_BLOCKS)
        measured = sum(o.label == self.reference for o in self.evidence.observations("search"))
        return bool(compared) and measured >= MIN_BLOCKS and math.isfinite(self._regret_of(self.reference))

    @cached_property
    def label(self) -> str | None:
        """What to run: the reference where nothing is shown better, the pick otherwise."""
        return self.reference if self.status is DecisionStatus.KEEP else self.pick

    @cached_property
    def regret_bound(self) -> float | None:
        """The fraction by which the best of the finalists may be better than `label`; None where it isn't known."""
        if self.label is None:
            return None
        bound = self._regret_of(self.evidence.namesakes[self.label])
        return bound if math.isfinite(bound) else None

    def _regret_of(self, label: str) -> float:
        budget = self.evidence.options.budget
        return regret_bound(
            self.evidence.observations("search"),
            label,
            finalists(self.evidence.options, self.evidence.running, self.evidence.results),
            indifference=budget.indifference,
            confidence=budget.confidence,
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

    def _by_label(self) -> dict[str, Any]:
        standings = {standing.label: standing for standing in self.selection.standings}
        earlier = earlier_gains(self.evidence.study, self.evidence.goal, self.history)
        shown = {}
        for label, candidate in self.evidence.candidates.items():
            standing = standings.get(self.evidence.namesakes[label])
            trials = self.evidence.trials(label)
            shown[label] = {
                "configuration": dict(candidate.configuration),
                "planned": len(trials),
                "measured": sum(r.status == "measured" for r in trials),
                "failed": sum(r.status == "failed" for r in trials),
                "blocks": standing.n if standing else 0,
                "ratio": _as_dict(standing.to_control if standing else self._explored_gain(label)),
                "confirmed": _as_dict(self._confirmed(label)),
                "same_as": [name for name in self.evidence.names_of(label) if name != label],
                "standing": self._standing_word(label),
                "why_out": self.evidence.out.get(label, ""),
                "constraints": [str(check) for check in self.evidence.constraints(label)],
                "earlier": _as_dict(earlier.get(candidate.configuration_id)),
            }
        return shown

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

    def _standing_word(self, label: str) -> str:
        if label in self.evidence.out:
            return "out"
        if label == self.label:
            return "pick"
        standing = next((s for s in self.selection.standings if s.label == self.evidence.namesakes[label]), None)
        if standing is None:
            return "explored"
        if standing.is_tied or not standing.is_settled:
            declared = self.status in (DecisionStatus.BEST, DecisionStatus.TIED)
            return "tied" if declared else "open"
        return "worse"


def _as_dict(interval: Interval | None) -> Mapping[str, Any] | None:
    return asdict(interval) if interval else None
