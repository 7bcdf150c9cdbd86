"""What a sweep has cost, and how many more trials its cost cap pays for. No I/O."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline_tuner.analysis.goals import GoalError, goal_value
from pipeline_tuner.exceptions import StudyError
from pipeline_tuner.study import Study
from pipeline_tuner.sweep import SweepOptions
from pipeline_tuner.trial import TrialPlan, TrialResult

COST = "cost"
"""The metric, or else the goal, that says what a trial cost."""


@dataclass(frozen=True)
class CostSoFar:
    """A sweep's cap, in the unit of its trials' cost, and what is known of the spending."""

    cap: float
    spent: float
    """By the trials that ended and the run before them. A trial that does not say it counts as a usual one, unless the
    infrastructure failed it."""
    usual: float
    """Of one trial: the mean of this sweep's, else of earlier sweeps', else the run before the trials."""

    @property
    def trials(self) -> int:
        """How many more usual trials there is money for."""
        return math.floor(max(self.cap - self.spent, 0.0) / self.usual + 1e-9)


def trial_cost(study: Study, result: TrialResult) -> float | None:
    """What a trial cost by its metric `cost`, else by the study's goal of that name; None where neither says it."""
    if COST in result.metrics:
        return result.metrics[COST]
    if result.status != "measured" or COST not in study.goals or study.goals[COST].minimize is None:
        return None
    try:
        return goal_value(study, COST, result)
    except GoalError:
        return None


def cost_so_far(
    study: Study, options: SweepOptions, results: Iterable[TrialResult], history: Iterable[TrialResult] = ()
) -> CostSoFar | None:
    """The cap and the spending of a sweep just before its next trials; None for a sweep without a cap.

    Raises StudyError where there is a cap and nothing says what a trial costs.
    """
    cap, first = options.budget.cost, options.prepared_cost
    if cap is None:
        return None
    ended = [
        result for result in results if result.status in ("measured", "failed") and result.failure != "infrastructure"
    ]
    known = [cost for result in ended if (cost := trial_cost(study, result))]
    usual = known or [cost for result in history if (cost := trial_cost(study, result))] or [first or 0.0]
    mean = math.fsum(usual) / len(usual)
    if mean <= 0:
        raise StudyError(
            f"budget.cost is {cap:g}, and nothing says what a trial costs: it needs a metric `{COST}`, or a goal "
            f"`{COST}` that is minimised"
        )
    return CostSoFar(cap, (first or 0.0) + math.fsum(known) + mean * (len(ended) - len(known)), mean)


def within_cap(plans: Sequence[TrialPlan], cost: CostSoFar | None) -> tuple[TrialPlan, ...]:
    """The whole blocks of a plan that there is money for, the first ones first; all of them without a cap."""
    if cost is None:
        return tuple(plans)
    kept: list[TrialPlan] = []
    for block in sorted({plan.block for plan in plans}):
        members = [plan for plan in plans if plan.block == block]
        if len(kept) + len(members) > cost.trials:
            break
        kept += members
    return tuple(kept)
