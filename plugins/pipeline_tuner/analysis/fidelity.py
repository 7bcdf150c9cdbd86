"""Screening on a part of the workload: whether that part ranks configurations as the whole does. No I/O."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from pipeline_tuner.analysis.goals import goal_scores
from pipeline_tuner.space import configuration_id
from pipeline_tuner.study import Study
from pipeline_tuner.sweep import SweepOptions
from pipeline_tuner.trial import TrialResult

CHECKED = 6
"""Configurations measured at both sizes before the small one is trusted, the control among them."""
MIN_CONFIGURATIONS = 5
MIN_AGREEMENT = 0.5
ONE_SIDED_95 = 1.645


@dataclass(frozen=True)
class Agreement:
    """Rank correlation (Spearman, 1904) of the goal at both sizes, with its lower 95% bound (Fieller et al., 1957)."""

    fraction: float
    """The small size as a part of the sweep's own."""
    n: int
    """Configurations that were measured at both."""
    correlation: float
    low: float

    @property
    def holds(self) -> bool:
        """Whether the small size may stand for the whole one."""
        return self.low >= MIN_AGREEMENT


def screening_fraction(study: Study, options: SweepOptions) -> float:
    """The part of the sweep's workload that the study would explore on; 1 where it explores on all of it."""
    name = study.workload.screening
    if name is None or options.strategy != "adaptive" or options.budget.rounds < 3:
        return 1.0
    return min(1.0, study.workload.sizes[name] / study.workload.sizes[options.size])


def agreement(study: Study, options: SweepOptions, results: Sequence[TrialResult]) -> Agreement | None:
    """How the sizes agree on the first goal; None without a small size, or where too few were measured at both."""
    fraction = screening_fraction(study, options)
    if fraction == 1.0:
        return None
    small, whole = (_scores(study, options.primary_goal, results, part) for part in (fraction, 1.0))
    both = [identity for identity in small if identity in whole]
    if len(both) < MIN_CONFIGURATIONS:
        return None
    return Agreement(fraction, len(both), *_correlation([small[i] for i in both], [whole[i] for i in both]))


def _scores(study: Study, goal: str, results: Sequence[TrialResult], fraction: float) -> dict[str, float]:
    """Of each configuration at a size, the mean log score against the control of the same block."""
    search = [r for r in results if r.plan.phase == "search" and r.plan.fraction == fraction]
    scores = goal_scores(study, goal, search).by_trial
    scored = [r for r in search if r.plan.trial_id in scores]
    base = {r.plan.block: scores[r.plan.trial_id] for r in scored if r.plan.is_control}
    found: dict[str, list[float]] = {}
    for r in scored:
        if r.plan.block in base:
            identity = configuration_id(r.plan.configuration)
            found.setdefault(identity, []).append(scores[r.plan.trial_id] - base[r.plan.block])
    return {identity: fmean(values) for identity, values in found.items()}


def _correlation(small: list[float], whole: list[float]) -> tuple[float, float]:
    from scipy.stats import spearmanr  # half a second to import

    if len(set(small)) == 1 or len(set(whole)) == 1:
        return 0.0, -1.0
    found = float(spearmanr(small, whole).statistic)
    spread = 1.03 / math.sqrt(len(small) - 3)
    return found, float(np.tanh(math.atanh(max(-0.99, min(found, 0.99))) - ONE_SIDED_95 * spread))
