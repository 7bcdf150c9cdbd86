"""The best configuration that is known on one machine, from all its sweeps. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline_tuner.analysis.history import earlier_gains
from pipeline_tuner.recommendation import Interval
from pipeline_tuner.study import Study
from pipeline_tuner.trial import Candidate, TrialResult


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

    `results` are of one machine and one workload, in any order. A configuration with a failure that is evidence is
    left out. The control itself is it where no other is sure to be better.
    """
    full = sorted((r for r in results if r.plan.fraction == 1.0), key=_ended, reverse=True)
    broken = {_identity(r) for r in full if r.status == "failed" and r.is_evidence}
    gains = {key: gain for key, gain in earlier_gains(study, goal, full, confidence).items() if key not in broken}
    key, gain = max(gains.items(), key=lambda item: item[1].low, default=("", None))
    if gain is None or gain.low <= 1:
        controls = [r for r in full if r.plan.is_control and r.status == "measured"]
        if not controls:
            return None
        key, gain = _identity(controls[0]), Interval(1.0, 1.0, 1.0, confidence, len(controls))
    trials = tuple(r for r in full if _identity(r) == key and r.status == "measured")
    return BestKnown(trials[0].plan.label, key, gain, trials) if trials and math.isfinite(gain.value) else None


def _ended(result: TrialResult) -> float:
    return result.measurement.ended_at.timestamp() if result.measurement else 0.0


def _identity(result: TrialResult) -> str:
    return Candidate(result.plan.label, result.plan.configuration).configuration_id
