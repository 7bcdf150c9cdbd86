"""Earlier sweeps of a study: what each configuration was worth against the control of the same block."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from pipeline_tuner.analysis.goals import goal_scores
from pipeline_tuner.analysis.intervals import log_interval
from pipeline_tuner.recommendation import Interval
from pipeline_tuner.study import Study
from pipeline_tuner.trial import Candidate, TrialResult


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


def _blocks(results: Sequence[TrialResult]) -> list[list[TrialResult]]:
    blocks: dict[tuple[str, str, int, int], list[TrialResult]] = defaultdict(list)
    for result in results:
        plan = result.plan
        blocks[plan.sweep_id, plan.phase, plan.round, plan.block].append(result)
    return list(blocks.values())
