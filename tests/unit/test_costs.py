"""What a sweep may cost: how many more trials there is money for, and which blocks of a plan."""

from __future__ import annotations

import pytest

from pipeline_tuner.analysis.costs import cost_so_far, trial_cost, within_cap
from pipeline_tuner.exceptions import StudyError
from pipeline_tuner.search.rounds import plan_confirmation, plan_round
from pipeline_tuner.study import parse_study
from pipeline_tuner.sweep import sweep_options
from pipeline_tuner.trial import TrialPlan, TrialResult

STUDY = """
study: load
job: load
runner: {kind: process, command: [load, "{level}", "{measurement}"]}
workload: {name: rows}
space: {parameters: {level: {type: integer, low: 1, high: 9, default: 1}}}
presets: {one: {}, two: {level: 2}, three: {level: 3}}
control: one
goals: {cost: {minimize: core_seconds * 0.1}, time: {minimize: duration_s}}
strategy: presets
budget: {trials: 40, blocks: 3, rounds: 2, confirm_blocks: 2}
"""
KNOWN = parse_study(STUDY)


def options(cost=None, prepared=None):
    found = sweep_options(KNOWN, "s1", {"cost": cost} if cost else {})
    return found.model_copy(update={"prepared_cost": prepared})


def trial(number, status="measured", failure=None, *, block=1, **metrics):
    plan = TrialPlan(f"s1.{number}", "s1", "search", 1, block, number, "one", {"level": 1}, True)
    return TrialResult(plan, status, failure=failure, metrics=metrics)


def test_the_metric_cost_goes_before_the_goal_of_that_name():
    assert trial_cost(KNOWN, trial(1, cost=3.0, core_seconds=50.0)) == 3
    assert trial_cost(KNOWN, trial(1, core_seconds=50.0)) == pytest.approx(5)
    assert trial_cost(KNOWN, trial(1, duration_s=2.0)) is None
    assert trial_cost(KNOWN, trial(1, "failed", "error")) is None


def test_without_a_cap_nothing_is_counted():
    assert cost_so_far(KNOWN, options(), [trial(1, cost=3.0)]) is None


def test_before_the_first_trial_the_run_before_it_tells_and_counts():
    found = cost_so_far(KNOWN, options(12, prepared=2.0), [])
    assert (found.spent, found.usual, found.trials) == (2, 2, 5)


def test_failed_trials_count_as_usual_ones_unless_the_infrastructure_failed_them():
    ended = [trial(1, cost=2.0), trial(2, cost=4.0), trial(3, "failed", "error"), trial(4, "failed", "infrastructure")]
    found = cost_so_far(KNOWN, options(12, prepared=1.0), [*ended, trial(5, "running"), trial(6, "planned")])
    assert (found.spent, found.usual, found.trials) == (10, 3, 0)


def test_earlier_sweeps_tell_what_a_trial_costs():
    assert cost_so_far(KNOWN, options(12), [], [trial(1, cost=6.0)]).trials == 2


def test_a_cap_without_a_metric_is_refused():
    with pytest.raises(StudyError, match=r"budget\.cost is 12, and nothing says what a trial costs"):
        cost_so_far(KNOWN, options(12), [])


def test_only_whole_blocks_are_kept():
    plans = [TrialPlan(f"{b}{p}", "s1", "search", 1, b, p, "one", {"level": 1}) for b in (1, 2, 3) for p in (1, 2)]
    assert within_cap(plans, None) == tuple(plans)
    assert [plan.block for plan in within_cap(plans, cost_so_far(KNOWN, options(12, prepared=2.0), []))] == [1, 1, 2, 2]
    assert within_cap(plans, cost_so_far(KNOWN, options(3, prepared=2.0), [])) == ()


def test_rounds_and_the_confirmation_stay_within_the_cap():
    whole = plan_round(KNOWN, options(prepared=1.0), [], 1)
    assert len(whole) == 3
    measured = [TrialResult(plan, "measured", metrics={"cost": 1.0, "duration_s": 1.0, "core_seconds": 10.0 + n})
                for n, plan in enumerate(whole)]  # fmt: skip
    assert len(plan_round(KNOWN, options(prepared=1.0), measured, 2)) > 2
    short = options(5.0, prepared=1.0)
    assert len(plan_round(KNOWN, short, measured, 2)) <= 1
    assert plan_confirmation(KNOWN, short, measured) == ()


def test_minutes_are_shared_by_trials_side_by_side():
    from pipeline_tuner.search.strategy import trials_in_time

    known = sweep_options(KNOWN, "s1", {"minutes": 10})
    timed_out = [trial(1, "failed", "timeout")]
    budget = known.budget.model_copy(update={"trial_timeout_s": 300.0})
    known = known.model_copy(update={"budget": budget})
    assert trials_in_time(known, timed_out) == 1
    assert trials_in_time(known, timed_out, side_by_side=4) == 7
