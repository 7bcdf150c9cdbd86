"""From a sweep's results to one recommendation a goal. No I/O.

The search phase decides *which* configuration (analysis/selection.py); the confirmation alone says *how good* it
is, because the data that chose a winner flatter it. Where it contradicts the choice, the answer is an abstention.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

from pipeline_tuner.analysis.block_fit import MIN_BLOCKS
from pipeline_tuner.analysis.estimates import block_cap, finalists
from pipeline_tuner.analysis.evidence import Evidence, settled
from pipeline_tuner.analysis.goals import goal_unit, goal_value
from pipeline_tuner.analysis.history import earlier_gains
from pipeline_tuner.analysis.intervals import exponential, log_interval
from pipeline_tuner.analysis.preference import by_preference
from pipeline_tuner.analysis.selection import Selection, confirmed_gain, select
from pipeline_tuner.analysis.validity import measured_envelope
from pipeline_tuner.exceptions import NoRecommendationError
from pipeline_tuner.recommendation import Interval, Recommendation
from pipeline_tuner.study import Study
from pipeline_tuner.sweep import SweepOptions
from pipeline_tuner.trial import TrialResult
from pipeline_tuner.wording import counted, gain_words, listed, percent

Status = Literal["winner", "tied", "abstained"]
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
                goal, "abstained", None, None, unit=unit, reason=reason, evidence=self._by_label(), validity=validity
            )
        return Recommendation(
            goal=goal,
            status=self.status,
            label=self.pick,
            configuration=dict(evidence.candidates[self.pick].configuration),
            estimate=self.estimate,
            gain=self.gain,
            unit=unit,
            confidence=self._confidence,
            ties=self.ties if self.status != "winner" else (),
            runner_up=self.runner_up,
            more_trials=self.selection.more_trials if self.status != "winner" else None,
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
        if self.selection.status == "abstained":
            return self.selection.best
        equal = [self.evidence.candidates[label] for label in self.selection.interchangeable]
        confirmed = [candidate for candidate in equal if self._confirmed(candidate.label)]
        return by_preference(self.evidence.study, confirmed or equal)[0].label

    @cached_property
    def gain(self) -> Interval | None:
        """The pick against the control, from the confirmation; None where the goal is not about the control's kind."""
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
        if study.goals[goal].balance or self.pick is None:
            return self.gain
        values = [
            math.log(goal_value(study, goal, result))
            for result in self.evidence.trials(self.pick, "confirm")
            if result.plan.trial_id in self.evidence.scores.by_trial
        ]
        return log_interval(values, self.evidence.options.budget.confidence) if len(values) > 1 else None

    @cached_property
    def contradiction(self) -> str:
        """Why nothing is declared although the selection would; empty where nothing stands against it."""
        if len(self.evidence.candidates) < 2:
            return "only one configuration was planned, there is nothing to compare it with"
        if self.gain is not None and self.gain.high < 1.0:
            return f"{self.pick} led the search, but the confirmation found {gain_words(self.gain)}, which is worse"
        return ""

    @cached_property
    def status(self) -> Status:
        """The selection's answer, unless something contradicts it; two names of the winner tie."""
        if self.selection.status == "abstained" or self.contradiction:
            return "abstained"
        return "winner" if len(self.ties) == 1 else "tied"

    @property
    def _confidence(self) -> float:
        promised = self.evidence.options.budget.confidence
        return promised if self.status != "abstained" else min(promised, 1.0 - self.selection.error_probability)

    @cached_property
    def runner_up(self) -> str | None:
        """The best estimate after the pick's."""
        standings = [standing.label for standing in self.selection.standings]
        return next((label for label in standings if label != self.pick), None)

    @cached_property
    def reason(self) -> str:
        """One or two sentences for people."""
        evidence, zone = self.evidence, percent(self.evidence.options.budget.indifference)
        said = {"winner": self._winner_words, "tied": self._tied_words, "abstained": self._abstained_words}
        parts = [said[self.status](zone), self._gain_words()]
        explored = len(evidence.running) - len(self.selection.standings)
        if explored > 0:
            parts.append(f"{counted(explored, 'more configuration')} measured in exploring did not come to the final.")
        missing = [label for label, why in evidence.out.items() if why.startswith("never measured")]
        if missing:
            parts.append(f"Nothing is known of {listed(missing)}.")
        return " ".join(part for part in parts if part)

    def _winner_words(self, _zone: str) -> str:
        rivals = len(self.selection.standings) - 1
        if not rivals:
            return f"{self.pick} is the only configuration left in the running."
        others = "the other one" if rivals == 1 else f"all {rivals} others"
        return f"{self.pick} is better than {others} in the running ({percent(self._confidence)} sure)."

    def _tied_words(self, zone: str) -> str:
        same, sure = self.evidence.names_of(self.pick or ""), f"{percent(self._confidence)} sure"
        if len(self.selection.ties) == 1:
            return f"{listed(same)} are the same configuration, and it is the best ({sure})."
        words = f"{listed(self.ties)} tie: they can't be told apart"
        words += f"; {listed(same)} are the same configuration" if len(same) > 1 else ""
        how = "the study's preference" if self.evidence.study.prefer else "the smallest change to the control"
        if len(self.selection.interchangeable) == 1:
            how = "the estimate, as the only one that is sure enough"
        return f"{words}. {self.pick} is picked by {how} (at most {zone} from the best, {sure})."

    def _abstained_words(self, zone: str) -> str:
        if self.contradiction:
            return f"No answer: {self.contradiction}."
        standing = self.selection.standing(self.pick or "")
        if standing.n < MIN_BLOCKS:
            return f"No answer yet: {self.pick} has {counted(standing.n, 'block')}, at least {MIN_BLOCKS} are needed."
        more = self.selection.more_trials
        hint = f"; about {counted(more, 'more trial')} would tell" if more else ""
        open_ones = [s.label for s in self.selection.standings if not s.is_settled and s.label != self.pick]
        words = f"No answer: {self.pick} leads, but {listed(open_ones)} may be better by {zone} or more{hint}."
        # Where no single one can be named, what is out is the answer that people can act on.
        worse = [s.label for s in self.selection.standings if s.is_settled and not s.is_tied]
        return f"{words} Shown to be worse: {listed(worse)}." if worse else words

    def _gain_words(self) -> str:
        if self.pick == self.evidence.control:
            return "It is the control: nothing needs to change."
        if self.evidence.is_control_of_another_kind:
            return f"The control {self.evidence.control} is no candidate for this goal: no gain over it is stated."
        if self.gain is None:
            return "It was not confirmed in fresh blocks, so no gain is stated."
        return f"Confirmed at {gain_words(self.gain)} in {counted(self.gain.n, 'fresh block')}."

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
        if label == self.pick:
            return "pick"
        standing = next((s for s in self.selection.standings if s.label == self.evidence.namesakes[label]), None)
        if standing is None:
            return "explored"
        if standing.is_tied or not standing.is_settled:
            return "tied" if self.status != "abstained" else "open"
        return "worse"


def _as_dict(interval: Interval | None) -> Mapping[str, Any] | None:
    return asdict(interval) if interval else None
