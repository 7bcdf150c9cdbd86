"""What earlier sweeps of the same workload and machine say: gains, the best known configuration, presets not to measure
again.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from pipeline_tuner.analysis.block_fit import BlockFit, Observation, Rivals
from pipeline_tuner.analysis.goals import GoalError, check_constraints, goal_scores
from pipeline_tuner.analysis.intervals import log_interval
from pipeline_tuner.recommendation import Interval
from pipeline_tuner.space import configuration_id
from pipeline_tuner.study import Study
from pipeline_tuner.sweep import SweepOptions
from pipeline_tuner.trial import Candidate, TrialResult

HOPELESS = 0.4
"""A configuration this much worse than the best waits: after its first run in a sweep until the noise is known; where
earlier sweeps show it, until they are forgotten."""


def earlier_gains(
    study: Study, goal: str, history: Sequence[TrialResult], confidence: float = 0.95
) -> dict[str, Interval]:
    """By configuration id: the gain over the control (above 1: better) in the blocks of earlier sweeps, from two on."""
    scores = goal_scores(study, goal, (r for r in history if r.plan.fraction == 1.0)).by_trial
    differences = defaultdict(list)
    for block in _blocks(history):
        controls = [scores[r.plan.trial_id] for r in block if r.plan.is_control and r.plan.trial_id in scores]
        for result in block:
            if controls and result.plan.trial_id in scores and not result.plan.is_control:
                identity = Candidate(result.plan.label, result.plan.configuration).configuration_id
                differences[identity].append(scores[result.plan.trial_id] - sum(controls) / len(controls))
    return {identity: log_interval(found, confidence) for identity, found in differences.items() if len(found) > 1}


def not_again(study: Study, options: SweepOptions, history: Sequence[TrialResult]) -> tuple[Candidate, ...]:
    """The presets that an adaptive sweep leaves out: earlier sweeps showed them to be far behind for every goal.

    Not among them is what a sweep always measures: the control, the fallback, and what production runs. Other
    strategies measure what they are told.

    :param history: Trials of earlier sweeps of the same workload on the same machine.
    """
    if options.strategy != "adaptive" or not history:
        return ()
    always = {configuration_id(champion.configuration) for champion in options.champions.values()}
    always |= {study.preset(name).configuration_id for name in (study.control, study.fallback) if name is not None}
    behind = far_behind(study, options.goals, history, options.budget.confidence)
    return tuple(c for c in study.preset_candidates if c.configuration_id in behind - always)


def far_behind(
    study: Study, goals: Sequence[str], history: Sequence[TrialResult], confidence: float = 0.95
) -> frozenset[str]:
    """The configurations that are shown to be more than `HOPELESS` worse than the best one, whatever the goal.

    Shown jointly over all configurations, by one bound below for each: a single run is enough where the others show
    how noisy one is.
    """
    found = [_far_behind(study, goal, history, confidence) for goal in goals]
    return frozenset.intersection(*found) if found else frozenset()


def _far_behind(study: Study, goal: str, history: Sequence[TrialResult], confidence: float) -> frozenset[str]:
    try:
        scores = goal_scores(study, goal, (r for r in history if r.plan.fraction == 1.0)).by_trial
    except GoalError:
        return frozenset()  # what the goal needs was not measured
    fit = BlockFit.of(
        [
            Observation(_identity(result), block, math.exp(-scores[result.plan.trial_id]))
            for block, results in enumerate(_blocks(history))
            for result in results
            if result.plan.trial_id in scores
        ]
    )
    if fit.df <= 0 or len(fit.labels) < 2:
        return frozenset()
    best = min(fit.labels, key=lambda label: fit.effects[fit.index[label]])
    rivals = Rivals.of(fit, best, [label for label in fit.labels if label != best], indifference=0.0)
    critical = stdtrit(rivals.df, 1 - (1 - confidence) / len(rivals.labels))
    is_far: np.ndarray = rivals.worse_by - critical * rivals.se > math.log1p(HOPELESS)
    return frozenset(label for label, is_out in zip(rivals.labels, is_far, strict=True) if is_out)


def _blocks(results: Sequence[TrialResult]) -> list[list[TrialResult]]:
    blocks: dict[tuple[str, str, int, int], list[TrialResult]] = defaultdict(list)
    for result in results:
        plan = result.plan
        blocks[plan.sweep_id, plan.phase, plan.round, plan.block].append(result)
    return list(blocks.values())


@dataclass(frozen=True)
class BestKnown:
    """A configuration with its trials, and its gain over the control of the same blocks."""

    label: str
    """Its newest name."""
    configuration_id: str
    gain: Interval
    trials: tuple[TrialResult, ...]
    """Its measured trials, the newest first."""

    @property
    def sweeps(self) -> int:
        """How many sweeps measured it."""
        return len({result.plan.sweep_id for result in self.trials})


def best_known(study: Study, goal: str, results: Sequence[TrialResult], confidence: float = 0.95) -> BestKnown | None:
    """The configuration whose gain is surest to be large: the largest lower bound; None where nothing is known.

    `results` are of one machine and one workload, in any order. A configuration that failed, or that is not shown to
    keep the goal's constraints, is left out. The control itself is it where no other is sure to be better.
    """
    full = sorted((r for r in results if r.plan.fraction == 1.0), key=_ended, reverse=True)
    trials = _admissible(study, goal, full, confidence)
    gains = {key: gain for key, gain in earlier_gains(study, goal, full, confidence).items() if key in trials}
    control = next((_identity(r) for r in full if r.plan.is_control and _identity(r) in trials), None)
    key, gain = max(gains.items(), key=lambda item: item[1].low, default=("", None))
    if control is not None and (gain is None or gain.low <= 1):
        key, gain = control, Interval(1.0, 1.0, 1.0, confidence, len(trials[control]))
    return BestKnown(trials[key][0].plan.label, key, gain, tuple(trials[key])) if gain is not None else None


def _admissible(
    study: Study, goal: str, results: Sequence[TrialResult], confidence: float
) -> dict[str, list[TrialResult]]:
    """The measured trials by configuration, of those that never failed and keep the goal's constraints."""
    trials: dict[str, list[TrialResult]] = defaultdict(list)
    for result in results:
        if result.status == "measured":
            trials[_identity(result)].append(result)
    broken = {_identity(r) for r in results if r.status == "failed" and r.is_evidence}
    return {key: found for key, found in trials.items() if key not in broken and _keeps(study, goal, found, confidence)}


def _keeps(study: Study, goal: str, trials: Sequence[TrialResult], confidence: float) -> bool:
    try:
        return all(check.holds(confidence) for check in check_constraints(study, goal, trials))
    except GoalError:
        return False  # what a constraint needs was not measured


def _ended(result: TrialResult) -> float:
    return result.measurement.ended_at.timestamp() if result.measurement else 0.0


def _identity(result: TrialResult) -> str:
    return Candidate(result.plan.label, result.plan.configuration).configuration_id
