"""The runs that the search's model learns from: this sweep's and earlier ones', with their noise. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from pipeline_tuner.analysis.goals import GoalError, check_constraints, goal_scores, larger_is_better
from pipeline_tuner.search.strategy import SweepSoFar
from pipeline_tuner.space import Configuration, Scalar
from pipeline_tuner.trial import TrialResult

MAX_HISTORY = 60
"""Runs of earlier sweeps that are looked at, the latest."""
HISTORY_NOISE = 4.0
"""A run of an earlier sweep counts as this many times noisier (plus one) than one of this sweep."""
MAX_RELATED = 40
RELATED_NOISE = 9.0
"""The same for a run on other data: gains over the control carry over only in part."""
SCREENING_NOISE = 1.0


@dataclass(frozen=True)
class TrainingData:
    """Runs with their outcome for the primary goal. `scores` are logs in which larger is better, 0 the control's."""

    configurations: tuple[Configuration, ...]
    """Of every run that is evidence: measured or failed by its own fault."""
    scores: np.ndarray
    """nan where the run failed, broke a constraint or has no value."""
    blocks: np.ndarray
    extra_noise: np.ndarray
    larger_is_better: bool

    @classmethod
    def of(cls, sweep: SweepSoFar, goal: str | None = None) -> TrainingData:
        """Everything known before the round, on the first goal by default."""
        past = _usable(sweep, sweep.history)[:MAX_HISTORY]
        related = _usable(sweep, sweep.related)[:MAX_RELATED]
        here = [r for r in sweep.earlier if r.is_evidence]
        results = [*related, *past, *here]
        goal = goal or sweep.options.primary_goal
        numbers: dict[tuple[str, int], int] = {}
        blocks = [numbers.setdefault((r.plan.sweep_id, r.plan.block), len(numbers)) for r in results]
        return cls(
            tuple(r.plan.configuration for r in results),
            _scores(sweep, goal, results),
            np.array(blocks, dtype=int),
            np.array(
                [RELATED_NOISE] * len(related) + [HISTORY_NOISE] * len(past) + [_extra_noise(sweep, r) for r in here]
            ),
            larger_is_better(sweep.study, goal),
        )

    @property
    def works(self) -> np.ndarray:
        """Which runs gave a value that counts."""
        found: np.ndarray = np.isfinite(self.scores)
        return found

    def transforms(self) -> list[np.ndarray]:
        """Three transforms of the working runs' losses, smaller is better, of mean 0 and standard deviation 1."""
        scores = self.scores[self.works]
        raw = -np.exp(scores) if self.larger_is_better else np.exp(-scores)
        ranks = np.argsort(np.argsort(-scores, kind="stable"), kind="stable")
        normal = ndtri((ranks + 0.5) / len(scores))
        return [_standard(_fenced(-scores)), _standard(_fenced(raw)), _standard(normal)]

    def leaders(self, count: int) -> list[Configuration]:
        """The configurations with the best mean scores, best first."""
        means: dict[tuple[tuple[str, Scalar], ...], list[float]] = {}
        for configuration, score in zip(self.configurations, self.scores, strict=True):
            if np.isfinite(score):
                means.setdefault(tuple(configuration.items()), []).append(float(score))
        best = sorted(means, key=lambda key: -np.mean(means[key]))
        return [dict(key) for key in best[:count]]


def _usable(sweep: SweepSoFar, results: Sequence[TrialResult]) -> list[TrialResult]:
    """The evidence among them that the study's space still describes, in their order."""
    parameters = set(sweep.study.space.parameters)
    return [r for r in results if r.is_evidence and set(r.plan.configuration) <= parameters]


def _extra_noise(sweep: SweepSoFar, result: TrialResult) -> float:
    """A run on a part of the workload counts as an earlier sweep's once that part is found to mislead."""
    if result.plan.fraction == 1.0:
        return 0.0
    return SCREENING_NOISE if sweep.fraction < 1.0 else HISTORY_NOISE


def _scores(sweep: SweepSoFar, goal: str, results: Sequence[TrialResult]) -> np.ndarray:
    """Scores against the control's mean of the same sweep and size, so that other sizes can be compared."""
    by_trial = goal_scores(sweep.study, goal, results).by_trial
    raw = np.array([by_trial.get(r.plan.trial_id, np.nan) for r in results])
    sweeps = np.array([f"{r.plan.sweep_id} {r.plan.fraction}" for r in results])
    control = np.array([r.plan.is_control for r in results], dtype=bool)
    for name in np.unique(sweeps):
        here = sweeps == name
        reference = raw[here & control & np.isfinite(raw)]
        reference = reference if len(reference) else raw[here & np.isfinite(raw)]
        raw[here] -= reference.mean() if len(reference) else 0.0
    return np.where([_is_allowed(sweep, goal, r) for r in results], raw, np.nan)


def _is_allowed(sweep: SweepSoFar, goal: str, result: TrialResult) -> bool:
    if result.status != "measured":
        return False
    try:
        return all(check.kept == check.trials for check in check_constraints(sweep.study, goal, [result]))
    except GoalError:
        return False


def _fenced(losses: np.ndarray) -> np.ndarray:
    """Losses above Tukey's fence are cut off: how bad the bad ones are must not hide differences among the good."""
    low, high = np.quantile(losses, [0.25, 0.75])
    return np.minimum(losses, high + 1.5 * (high - low)) if high > low else losses


def _standard(values: np.ndarray) -> np.ndarray:
    spread = values.std()
    return (values - values.mean()) / spread if spread > 0 else np.zeros(len(values))
