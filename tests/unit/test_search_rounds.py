"""The rounds of a sweep, driven as the DAG drives them, with a made-up machine underneath."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from pipeline_tuner.analysis.interim_selection import search_selection, search_trials
from pipeline_tuner.analysis.stages import steps
from pipeline_tuner.exceptions import StudyError
from pipeline_tuner.measurement import Measurement, Sample
from pipeline_tuner.recommend import recommend
from pipeline_tuner.recommendation import MIN_BLOCKS
from pipeline_tuner.search.one_at_a_time import variations
from pipeline_tuner.search.rounds import least_trials, plan_confirmation, plan_round
from pipeline_tuner.study import Study, parse_study
from pipeline_tuner.sweep import SweepOptions, sweep_options
from pipeline_tuner.trial import TrialPlan, TrialResult

STUDY = """
study: made_up
job: made_up
workload: {name: none}
control: balanced
presets:
  balanced: {}
  big: {batch: 1000}
  many: {workers: 8}
  same: {}
space:
  parameters:
    workers: {type: integer, values: [1, 2, 4, 8], default: 4}
    batch: {type: integer, low: 10, high: 1000, log: true, default: 100}
    method: {type: categorical, values: [copy, insert], default: copy}
    page: {type: integer, low: 1, high: 100, default: 10, when: method == 'insert'}
  constraints: [workers * batch <= 8000]
stages: {code: [method], tuning: [workers, batch]}
goals:
  throughput: {maximize: rows_per_s, unit: rows/s}
  safe: {maximize: rows_per_s, constraints: [not memory_fraction > 0.8]}
  latency: {minimize: latency_p95_s, unit: s, constraints: [memory_fraction < 0.8]}
budget: {trials: 60, rounds: 6, blocks: 3, confirm_blocks: 5}
"""


@pytest.fixture
def study() -> Study:
    return parse_study(STUDY)


def options_of(study: Study, strategy: str, **chosen) -> SweepOptions:
    return sweep_options(study, "night-1", {"strategy": strategy, "seed": 1, **chosen})


def rate(configuration) -> float:
    speed = 1000 * math.sqrt(configuration["workers"]) * (1.3 if configuration["method"] == "copy" else 1.0)
    return speed * (1 - 0.1 * abs(math.log10(configuration["batch"] / 200)))


class Machine:
    """Measures with noise and block drift; configurations in `broken` fail."""

    def __init__(self, noise: float = 0.03, broken=lambda configuration: None, seed: int = 0):
        self.noise, self.broken, self.generator = noise, broken, np.random.default_rng(seed)
        self.drift: dict[int, float] = {}

    def run(self, plan: TrialPlan) -> TrialResult:
        failure = self.broken(plan.configuration)
        if failure:
            return TrialResult(plan, "failed", failure=failure, reason="made up")
        drift = self.drift.setdefault(plan.block, math.exp(self.generator.normal(0, 0.07)))
        value = rate(plan.configuration) * drift * math.exp(self.generator.normal(0, self.noise))
        metrics = {"rows_per_s": value, "latency_p95_s": 1 / value, "memory_fraction": 0.5}
        return TrialResult(plan, "measured", metrics=metrics)


def sweep(study: Study, options: SweepOptions, machine: Machine) -> list[TrialResult]:
    results: list[TrialResult] = []
    for number in range(1, options.budget.rounds + 1):
        results += [machine.run(plan) for plan in plan_round(study, options, results, number)]
    return results + [machine.run(plan) for plan in plan_confirmation(study, options, results)]


@pytest.mark.parametrize("strategy", ["presets", "one_at_a_time", "grid", "sobol", "adaptive", "staged"])
def test_every_block_holds_the_control_in_random_places_and_the_budget_is_kept(study, strategy):
    options = options_of(study, strategy)
    results = sweep(study, options, Machine())
    blocks: dict[int, list[TrialPlan]] = {}
    for result in results:
        blocks.setdefault(result.plan.block, []).append(result.plan)
    assert len(results) <= options.budget.trials
    assert len({result.plan.trial_id for result in results}) == len(results)
    for plans in blocks.values():
        assert sum(plan.is_control for plan in plans) == 1
        assert [plan.position for plan in plans] == list(range(1, len(plans) + 1))
    if len(blocks) > 4:
        assert len({next(p.position for p in plans if p.is_control) for plans in blocks.values()}) > 1
    assert all(study.space.problem(result.plan.configuration) is None for result in results)


def test_planning_a_round_again_gives_the_same_trials_whatever_else_is_known(study):
    options = options_of(study, "grid")
    results = sweep(study, options, Machine())
    for number in (1, 2, 3):
        before = [r for r in results if r.plan.round < number]
        assert plan_round(study, options, results, number) == plan_round(study, options, before, number)
    assert plan_confirmation(study, options, results) == tuple(r.plan for r in results if r.plan.phase == "confirm")


def test_named_twins_are_kept_and_generated_ones_are_not(study):
    presets = plan_round(study, options_of(study, "presets"), [], 1)
    assert {plan.label for plan in presets} == {"balanced", "big", "many", "same"}
    grid = plan_round(study, options_of(study, "grid", trials=200), [], 1)
    seen = [tuple(sorted(plan.configuration.items())) for plan in grid]
    assert len(seen) == len(set(seen))


def test_a_winner_is_found_and_confirmed(study):
    options = options_of(study, "presets")
    results = sweep(study, options, Machine())
    selection = search_selection(study, options, "throughput", results)
    assert (selection.status, selection.best) == ("best", "many")
    confirmed = [r.plan for r in results if r.plan.phase == "confirm"]
    assert {plan.label for plan in confirmed} == {"many", "balanced"}
    assert len(confirmed) == 2 * options.budget.confirm_blocks


def test_a_certified_leader_is_repeated_until_its_constraint_is_shown_to_hold(study):
    runs = {}
    for goal in ("throughput", "safe"):
        options = options_of(study, "presets", goals=[goal])
        results = sweep(study, options, Machine())
        runs[goal] = sum(r.plan.label == "many" and r.plan.phase == "search" for r in results)
    assert runs["throughput"] == 3
    assert runs["safe"] >= 5


def test_hopeless_candidates_are_measured_once(study):
    options = options_of(study, "one_at_a_time", trials=100)
    results = sweep(study, options, Machine(noise=0.02))
    assert sum(r.plan.label == "workers=1" for r in results) == 1
    assert sum(r.plan.label == "many" for r in results) >= 3


class Lucky(Machine):
    """The first run of one preset is twice as fast as it really is, which puts it far ahead of everybody."""

    lucky = "many"

    def run(self, plan: TrialPlan) -> TrialResult:
        result = super().run(plan)
        if plan.label != self.lucky or plan.block > 1:
            return result
        value = 2 * result.metrics["rows_per_s"]
        return TrialResult(plan, "measured", metrics={**result.metrics, "rows_per_s": value})


def test_one_lucky_run_does_not_decide_who_is_in_the_final(study):
    options = options_of(study, "adaptive", goals=["throughput"])
    results = sweep(study, options, Lucky())
    runs: dict[str, int] = {}
    for r in results:
        if r.plan.phase == "search" and not r.plan.is_control:
            runs[r.plan.label] = runs.get(r.plan.label, 0) + 1
    assert sum(count > 1 for count in runs.values()) >= 3, runs


def test_failed_configurations_are_not_asked_again_and_lost_ones_once_more(study):
    options = options_of(study, "one_at_a_time", trials=100)
    attempts: dict[str, int] = {}

    def broken(configuration):
        if configuration["workers"] == 8:
            return "out_of_memory"
        return "lost" if configuration["workers"] == 2 else None

    for result in sweep(study, options, Machine(broken=broken)):
        attempts[result.plan.label] = attempts.get(result.plan.label, 0) + 1
    assert attempts["many"] == 1
    assert attempts["workers=2"] == 2


def test_a_failing_control_does_not_stop_the_sweep(study):
    options = options_of(study, "presets")
    machine = Machine(broken=lambda c: "timeout" if c["workers"] == 4 and c["batch"] == 100 else None)
    results = sweep(study, options, machine)
    assert search_selection(study, options, "throughput", results).best == "many"


def test_one_round_measures_all_blocks_at_once(study):
    plans = plan_round(study, options_of(study, "presets", rounds=1), [], 1)
    assert {plan.block for plan in plans} == {1, 2, 3}


def test_a_short_budget_touches_every_parameter_and_a_stage_starts_with_its_first(study):
    base = study.control_candidate.configuration
    found = list(variations(study.space, 3, base, ["method", "batch", "workers"]))
    changed = [[name for name in ("method", "batch", "workers") if one[name] != base[name]] for one in found]
    assert changed[:3] == [["method"], ["batch"], ["workers"]]
    assert all(len(names) == 1 for names in changed)


def test_a_preset_keeps_its_name_whichever_strategy_finds_it(study):
    plans = plan_round(study, options_of(study, "one_at_a_time", trials=100), [], 1)
    assert "many" in {plan.label for plan in plans}
    assert "workers=8" not in {plan.label for plan in plans}


def test_a_staged_sweep_keeps_what_pays(study):
    options = options_of(study, "staged", trials=100).model_copy(update={"sweep_id": "staged"})
    slow = study.model_copy(update={"presets": {"slow": {"method": "insert", "workers": 1}}, "control": "slow"})
    results = sweep(slow, options, Machine())
    found = steps(slow, options, results)
    assert [step.stage for step in found] == ["code", "tuning"]
    assert found[0].after.configuration["method"] == "copy"
    assert found[1].before == found[0].after
    assert found[1].after.configuration["workers"] == 8
    assert all(step.gain.low > 1.0 for step in found)


def test_an_unknown_strategy_is_refused_with_the_known_ones(study):
    with pytest.raises(StudyError, match="one_at_a_time"):
        plan_round(study, options_of(study, "presets").model_copy(update={"strategy": "magic"}), [], 1)


def test_the_minutes_are_kept_with_time_left_to_confirm(study):
    options = options_of(study, "presets", minutes=20.0)

    def a_minute(plan: TrialPlan) -> TrialResult:
        start = datetime(2026, 1, 1, tzinfo=UTC)
        metrics = {"rows_per_s": rate(plan.configuration) * (1 + 0.001 * plan.position)}
        measurement = Measurement(
            contract=1, job="made_up", trial_id=plan.trial_id, status="measured", samples=(Sample(duration_s=100),),
            started_at=start, ended_at=start + timedelta(minutes=1), metrics=metrics,
        )  # fmt: skip
        return TrialResult.of(plan, measurement)

    results: list[TrialResult] = []
    for number in range(1, options.budget.rounds + 1):
        results += [a_minute(plan) for plan in plan_round(study, options, results, number)]
    confirming = plan_confirmation(study, options, results)
    assert confirming
    assert len(results) + len(confirming) <= 20


def test_tiny_budgets_still_plan_something(study):
    for trials in range(1, 12):
        options = options_of(study, "grid", trials=trials)
        results = sweep(study, options, Machine())
        assert 1 <= len(results) <= trials
        assert sum(r.plan.phase == "search" for r in results) <= search_trials(options)


class RepeatableMachine(Machine):
    """The same trial gives the same figure whenever it runs, so that only what is planned and kept can differ."""

    def run(self, plan: TrialPlan) -> TrialResult:
        generator = np.random.default_rng([plan.block, plan.position])
        drift = math.exp(np.random.default_rng(plan.block).normal(0, 0.07))
        value = rate(plan.configuration) * drift * math.exp(generator.normal(0, self.noise))
        metrics = {"rows_per_s": value, "latency_p95_s": 1 / value, "memory_fraction": 0.5}
        return TrialResult(plan, "measured", metrics=metrics)


@pytest.mark.parametrize("strategy", ["presets", "adaptive"])
def test_killed_and_retried_trials_leave_the_same_recommendation(study, strategy):
    """Trials run in any order, a fifth is lost at first and runs again, planning is repeated in between."""
    options, machine, generator = options_of(study, strategy), RepeatableMachine(), np.random.default_rng(5)
    calm = sweep(study, options, machine)
    table: dict[str, TrialResult] = {}

    def battered(plan_again) -> None:
        plans = plan_again(list(table.values()))
        for index in generator.permutation(len(plans)):
            plan = plans[index]
            if generator.random() < 0.2:
                table[plan.trial_id] = TrialResult(plan, "failed", failure="infrastructure", reason="killed")
                assert plan_again(list(table.values())) == plans
            table[plan.trial_id] = machine.run(plan)

    for number in range(1, options.budget.rounds + 1):
        battered(lambda results, number=number: plan_round(study, options, results, number))
    battered(lambda results: plan_confirmation(study, options, results))
    assert {r.plan.trial_id: r for r in calm} == table
    in_order = [table[trial_id] for trial_id in sorted(table)]  # as the store hands them out
    assert recommend(study, options, in_order) == recommend(study, options, calm)


@pytest.mark.parametrize(
    ("strategy", "trials"),
    [*(("adaptive", trials) for trials in (8, 10, 12, 16, 20, 31)), *(("presets", n) for n in (10, 11, 13, 16))],
)
def test_a_small_budget_ends_in_something_to_do(study, strategy, trials):
    options = options_of(study, strategy, trials=trials, goals=["throughput"])
    assert least_trials(study, options) == {"adaptive": 8, "presets": 10}[strategy]
    for seed in range(6):
        results = sweep(study, options, Machine(noise=0.08, seed=seed))
        assert len(results) <= trials
        (answer,) = recommend(study, options, results)
        assert answer.status.is_answer, answer.reason


def test_what_runs_now_is_confirmed_where_it_leads_and_was_measured_too_little(study):
    """One block of it is not enough to keep it, though trials are left. `same` is the control by another name."""
    rates = {"balanced": 100.0, "same": 101.0, "big": 60.0, "many": 70.0}
    options = options_of(study, "presets", trials=16, rounds=1, blocks=1, goals=["throughput"])
    plans = plan_round(study, options, [], 1)
    results = [TrialResult(plan, "measured", metrics={"rows_per_s": rates[plan.label]}) for plan in plans]
    fresh = plan_confirmation(study, options, results)
    assert {plan.label for plan in fresh} == {"balanced", "many"}
    assert len(fresh) >= 2 * MIN_BLOCKS
    others = [replace(r, plan=replace(r.plan, block=block)) for r in results for block in (2, 3)]
    assert plan_confirmation(study, options, [*results, *others]) == ()


@pytest.mark.parametrize(
    ("strategy", "chosen", "least"),
    [("adaptive", {}, 8), ("presets", {}, 10), ("adaptive", {"confirm_blocks": 0}, 6), ("grid", {}, 8)],
)
def test_the_trials_that_a_confirmed_change_takes_at_least(study, strategy, chosen, least):
    assert least_trials(study, options_of(study, strategy, **chosen)) == least
