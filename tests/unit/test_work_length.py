"""How much work a trial measures where the study leaves it open."""

from __future__ import annotations

import math
from datetime import timedelta

import numpy as np
import pytest
from tests.unit.planted import START, measured, planted_options, planted_study

from pipeline_tuner.search.rounds import plan_confirmation, plan_round
from pipeline_tuner.search.work_length import START_WORK_S, work_length
from pipeline_tuner.trial import TrialPlan, TrialResult

OVERHEAD_S, REPEAT_S = 3.0, 0.3


def sweep_of(*, within: float, between: float, blocks: int = 8, repeats: int = 6) -> list[TrialResult]:
    """Trials of three equal configurations, one after another, whose noise has these two parts."""
    generator, found, clock = np.random.default_rng(1), [], START
    for block in range(blocks):
        for position, label in enumerate("abc"):
            shared = between * generator.standard_normal()
            times = REPEAT_S * np.exp(shared + within * generator.standard_normal(repeats))
            plan = TrialPlan(f"{block}.{position}", "sweep-1", "search", 1, block, position, label, {"method": label})
            end = clock + timedelta(seconds=OVERHEAD_S - 1 + float(times.sum()))
            times_s = {"samples": [{"duration_s": float(t)} for t in times], "started_at": clock, "ended_at": end}
            found.append(measured(plan, {"duration_s": float(np.median(times))}, **times_s))
            clock = end + timedelta(seconds=1)
    return found


@pytest.mark.parametrize(("within", "between"), [(0.06, 0.1), (0.1, 0.05), (0.2, 0.1)])
def test_the_parts_of_the_noise_are_found_again(within: float, between: float):
    length = work_length(sweep_of(within=within, between=between, blocks=40))
    assert length.overhead_s == pytest.approx(OVERHEAD_S, abs=0.01)
    assert length.within == pytest.approx(within, rel=0.15)
    assert length.between == pytest.approx(between, rel=0.3)
    best = math.sqrt(OVERHEAD_S * REPEAT_S * math.pi / 2) * within / between
    assert length.seconds == pytest.approx(best, rel=0.4)


def test_repeats_that_share_their_noise_are_few():
    """The median of many neighbours in time has nearly the spread of one: several short visits beat one long one."""
    shared = work_length(sweep_of(within=0.03, between=0.1))
    apart = work_length(sweep_of(within=0.1, between=0.02))
    assert shared.seconds < 2 * REPEAT_S
    assert 3 * shared.seconds < apart.seconds <= 10


def test_one_block_tells_of_repeats_only():
    length = work_length(sweep_of(within=0.1, between=0.1, blocks=1))
    assert length.between is None
    assert 0 < length.seconds < START_WORK_S
    assert work_length(sweep_of(within=0.1, between=0.1, repeats=1)) is None
    assert work_length([]) is None


def test_values_that_never_vary_are_measured_once():
    assert work_length(sweep_of(within=0.0, between=0.0)).seconds == 0.0


def test_a_study_may_leave_it_open():
    study = planted_study(budget={"trials": 40, "blocks": 3, "min_work_s": None})
    options = planted_options(study, strategy="presets")
    assert {plan.min_work_s for plan in plan_round(study, options, [], 1)} == {START_WORK_S}
    history = sweep_of(within=0.03, between=0.1)
    chosen = {plan.min_work_s for plan in plan_round(study, options, [], 1, history)}
    assert chosen == {work_length(history).seconds}
    fixed = planted_study(budget={"trials": 40, "blocks": 3, "min_work_s": 1.5})
    assert {p.min_work_s for p in plan_round(fixed, planted_options(fixed, strategy="presets"), [], 1, history)} == {
        1.5
    }


def test_the_confirmation_uses_what_the_search_found():
    study = planted_study(budget={"trials": 40, "blocks": 3, "min_work_s": None})
    options = planted_options(study, strategy="presets")
    truth, results = {"balanced": 10.0, "wide": 5.0, "copy": 5.1}, []
    for plan in plan_round(study, options, [], 1):
        times = truth[plan.label] * np.array([1.0, 1.02, 0.98])
        metrics = {"duration_s": float(np.median(times)), "core_seconds": 1.0, "rows": 1e5}
        results.append(measured(plan, metrics, samples=[{"duration_s": float(t)} for t in times]))
    assert {plan.min_work_s for plan in plan_confirmation(study, options, results)} == {work_length(results).seconds}
