"""The adaptive strategy: what it proposes, what it avoids, what it remembers, and that it stays quick."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline_tuner.monitoring.nights import Champion
from pipeline_tuner.search.adaptive import _by_skill
from pipeline_tuner.search.candidates import maximin_design, nearby, pool, some_near
from pipeline_tuner.search.encoding import Encoding
from pipeline_tuner.search.gaussian_process import Process, Runs, Settings, _covariance, _objective
from pipeline_tuner.search.rounds import plan_round
from pipeline_tuner.space import Space, configuration_id
from pipeline_tuner.study import Study, parse_study
from pipeline_tuner.sweep import SweepOptions, sweep_options
from pipeline_tuner.trial import TrialPlan, TrialResult

STUDY = """
study: made_up
job: made_up
workload: {name: none, options: {rows: 1000000}}
control: usual
strategy: adaptive
presets: {usual: {}, big: {memory: 8}}
space:
  parameters:
    partitions: {type: integer, low: 1, high: 256, log: true, default: 16}
    memory: {type: integer, values: [1, 2, 4, 8], default: 2}
    codec: {type: categorical, values: [none, lz4, zstd, gzip], default: none}
    method: {type: categorical, values: [insert, copy], default: insert}
    page: {type: integer, low: 10, high: 10000, log: true, default: 100, when: method == 'insert'}
    compact: {type: categorical, values: [false, true], default: false}
  constraints: [partitions <= 128 or memory >= 2]
  features: {rows_a_partition: rows / partitions, unknown: executors * 2}
goals: {time: {minimize: seconds, unit: s}}
budget: {trials: 120, rounds: 12, batch: 8, confirm_blocks: 5}
"""


@pytest.fixture
def study() -> Study:
    return parse_study(STUDY)


@pytest.fixture
def options(study) -> SweepOptions:
    return sweep_options(study, "night-1", {"seed": 3})


def seconds(configuration) -> float:
    method = 10 if configuration["method"] == "copy" else 14 + 2 * abs(math.log10(configuration["page"] / 1000))
    codec = {"none": 1.2, "lz4": 1.0, "zstd": 1.05, "gzip": 1.6}[configuration["codec"]]
    return (method + 3 * abs(math.log2(configuration["partitions"] / 48))) * codec + 4 / configuration["memory"]


def needs_memory(configuration) -> bool:
    return configuration["partitions"] / configuration["memory"] > 40


def measured(plan: TrialPlan, noise: float = 0.03, fails=needs_memory) -> TrialResult:
    if fails(plan.configuration):
        return TrialResult(plan, "failed", failure="out_of_memory", reason="made up")
    generator = np.random.default_rng([plan.block, plan.position, len(plan.sweep_id)])
    value = seconds(plan.configuration) * math.exp(generator.normal(0, noise))
    return TrialResult(plan, "measured", metrics={"seconds": value})


def explored(study: Study, options: SweepOptions, rounds: int, history=(), **machine) -> list[TrialResult]:
    results: list[TrialResult] = []
    for number in range(1, rounds + 1):
        plans = plan_round(study, options, results, number, history)
        results += [measured(plan, **machine) for plan in plans]
    return results


def test_presets_come_first_and_everything_proposed_is_valid_and_new(study, options):
    results = explored(study, options, 3)
    first = {r.plan.label for r in results if r.plan.round == 1}
    assert {"usual", "big"} <= first
    tried = [configuration_id(r.plan.configuration) for r in results if not r.plan.is_control]
    assert len(tried) == len(set(tried))
    assert all(study.space.problem(r.plan.configuration) is None for r in results)
    assert all(("page" in r.plan.configuration) == (r.plan.configuration["method"] == "insert") for r in results)


def test_it_finds_a_good_configuration_in_few_trials(study, options):
    best = min(seconds(c) for c in study.space.grid(9) if not needs_memory(c))
    results = explored(study, options, 5)
    assert min(seconds(r.plan.configuration) for r in results if r.status == "measured") < 1.05 * best


def test_the_same_results_give_the_same_plan_and_another_seed_another(study, options):
    results = explored(study, options, 2)
    again = plan_round(study, options, list(reversed(results)), 3)
    assert {p.label for p in again} == {p.label for p in plan_round(study, options, results, 3)}
    other = options.model_copy(update={"seed": 4})
    assert {p.label for p in plan_round(study, other, results, 3)} != {p.label for p in again}


def test_it_keeps_away_from_failures_where_they_lie_at_the_best_place(study, options):
    results = explored(study, options, 7, fails=lambda c: c["memory"] < 8 and c["partitions"] > 28)
    late = [r for r in results if r.plan.round > 3 and not r.plan.is_control]
    assert any(r.status == "failed" for r in results)
    assert sum(r.status == "failed" for r in late) <= len(late) / 8


def test_all_failing_still_plans_and_a_lost_trial_is_tried_again(study, options):
    results = explored(study, options, 3, fails=lambda configuration: True)
    assert plan_round(study, options, results, 4)
    first = plan_round(study, options, [], 1)
    lost = [replace(measured(p), status="failed", failure="lost", metrics={}) for p in first[:1]]
    second = plan_round(study, options, lost + [measured(p) for p in first[1:]], 2)
    assert first[0].label in {p.label for p in second}


def test_an_earlier_sweep_saves_trials(study, options):
    night = explored(study, options, 4)
    next_night = options.model_copy(update={"sweep_id": "night-2", "seed": 9})
    informed = explored(study, next_night, 2, history=night)
    best = min(seconds(c) for c in study.space.grid(9) if not needs_memory(c))
    assert min(seconds(r.plan.configuration) for r in informed if r.status == "measured") < 1.05 * best
    slower = [replace(r, metrics={k: 10 * v for k, v in r.metrics.items()}) for r in night]
    scaled = explored(study, next_night, 2, history=slower)
    assert min(seconds(r.plan.configuration) for r in scaled if r.status == "measured") < 1.05 * best


def test_the_last_rounds_repeat_the_finalists(study, options):
    results = explored(study, options, options.budget.rounds)
    runs: dict[str, int] = {}
    for r in results:
        runs[r.plan.label] = runs.get(r.plan.label, 0) + 1
    again = [label for label, n in runs.items() if n >= 3]
    assert "usual" in again
    assert 2 <= len(again) <= 8
    assert len(results) <= options.budget.trials - 2 * options.budget.confirm_blocks


def test_points_are_ranks_places_and_indicators(study):
    rows = [study.space.complete(c) for c in ({}, {"method": "copy", "codec": "zstd", "memory": 8, "partitions": 256})]
    encoding = Encoding(study.space, {"rows": 1e6})
    points = encoding.points(rows)
    assert encoding.groups.tolist() == [0, 1, 2, 2, 2, 2, 3, 4, 5, 6]
    assert points[0].tolist() == pytest.approx([0.5, 1 / 3, 1, 0, 0, 0, 0, 1 / 3, 0, 1])
    assert points[1].tolist() == pytest.approx([1.0, 1.0, 0, 0, 1, 0, 1, 1 / 3, 0, 0])


def test_the_likelihoods_gradient_is_right():
    generator = np.random.default_rng(0)
    points = generator.integers(0, 4, (30, 5)) / 3
    runs = Runs(points, np.array([0, 1, 1, 2, 3]), np.repeat(np.arange(6), 5), np.repeat([0.0, 4.0], 15))
    objective = _objective(runs, generator.standard_normal(30))
    logs = Settings.prior(4).logs + generator.normal(0, 0.3, 9)
    slopes = [(objective(logs + 1e-5 * e)[0] - objective(logs - 1e-5 * e)[0]) / 2e-5 for e in np.eye(9)]
    assert objective(logs)[1] == pytest.approx(slopes, rel=1e-4, abs=1e-6)


def test_a_process_learns_a_surface_and_its_joint_variances_agree():
    generator = np.random.default_rng(1)
    points = generator.random((60, 3))
    values = np.sin(4 * points[:, 0]) + points[:, 1] ** 2
    values = (values - values.mean()) / values.std()
    runs = Runs(points, np.arange(3), np.zeros(60, dtype=int), np.zeros(60))
    process = Process.fit(runs, values + generator.normal(0, 0.05, 60))
    fresh = generator.random((20, 3))
    mean, variance, white = process.predict(fresh)
    truth = np.sin(4 * fresh[:, 0]) + fresh[:, 1] ** 2
    assert np.corrcoef(mean, truth)[0, 1] > 0.95
    assert np.diag(process.joint(fresh, white)) == pytest.approx(variance)


def test_the_first_points_spread_maximin_design():
    points = np.array([[x, y] for x in (0, 0.25, 0.5, 0.75, 1) for y in (0, 0.25, 0.5, 0.75, 1)])
    chosen = points[maximin_design(points, np.empty((0, 2)), 5, np.random.default_rng(0))]
    assert chosen[0].tolist() == [0.5, 0.5]
    assert sorted(map(tuple, chosen[1:])) == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_candidates_of_a_narrow_space_are_found_and_finer_near_leaders(study):
    narrow = Space.model_validate(
        {"parameters": {"a": {"type": "integer", "low": 1, "high": 100, "default": 7}}, "constraints": ["a == 7"]}
    )
    assert pool(narrow, [], np.random.default_rng(0)) == [{"a": 7}]
    assert set(nearby(study.space.parameters["partitions"], 16)) >= {8, 32, 19}
    assert nearby(study.space.parameters["memory"], 8) == (4,)


def test_of_a_large_table_the_neighbours_of_leaders_always_stand_for_election():
    rows = [{"a": a, "b": b, "c": c} for a in range(12) for b in range(12) for c in range(12)]
    leader = {"a": 3, "b": 5, "c": 7}
    found = some_near(rows, [leader], 100, np.random.default_rng(0))
    assert len({tuple(row.items()) for row in found}) == 100
    neighbours = [row for row in rows if len(row.items() & leader.items()) >= 2]
    assert len(neighbours) == 34
    assert all(row in found for row in neighbours)
    far = [row for row in found if not row.items() & leader.items()]
    assert len(far) > 25, "half of them are drawn from everywhere"


def test_planning_is_quick_at_200_trials_and_12_parameters():
    parameters = {f"p{i}": {"type": "float", "low": 0, "high": 1, "default": 0.5} for i in range(10)}
    parameters |= {
        "c": {"type": "categorical", "values": list("abcd"), "default": "a"},
        "b": {"type": "categorical", "values": [False, True], "default": True},
    }
    made = {
        "study": "wide", "job": "made_up", "workload": {"name": "none"}, "control": "usual", "presets": {"usual": {}},
        "space": {"parameters": parameters}, "goals": {"time": {"minimize": "seconds"}}, "strategy": "adaptive",
        "budget": {"trials": 400, "rounds": 20, "batch": 20},
    }  # fmt: skip
    study = Study.model_validate(made)
    options = sweep_options(study, "night-1")
    generator = np.random.default_rng(0)
    results: list[TrialResult] = []
    for number in range(1, 11):
        for position in range(20):
            values = {n: study.space.parameters[n].at(generator.random()) for n in parameters}
            is_control = position == 0
            values = study.control_candidate.configuration if is_control else study.space.complete(values)
            label = "usual" if is_control else f"t{number}-{position}"
            plan = TrialPlan(
                f"{number}.{position}", "night-1", "search", number, number, position, label, values, is_control
            )
            figure = math.exp(sum(v for v in values.values() if isinstance(v, float)) / 5 + generator.normal(0, 0.03))
            results.append(TrialResult(plan, "measured", metrics={"seconds": figure}))
    # Some 0.65 s of one thread; the bound only catches a change of order, on any machine. Threads of the linear
    # algebra library spin while they wait, so the whole process's time would count them double.
    start = time.thread_time()
    assert len(plan_round(study, options, results, 11)) > 10
    assert time.thread_time() - start < 10.0


SLOW_TO_IMPORT = {"airflow", "sqlalchemy", "pyspark", "scipy.stats", "pandas", "altair", "pyarrow", "numba"}


def test_importing_search_and_analysis_imports_nothing_slow():
    """The scheduler imports both whenever it parses a DAG file."""
    code = "import sys, pipeline_tuner.search.rounds, pipeline_tuner.recommend; print(*sys.modules)"
    environment = {"PYTHONPATH": str(Path(__file__).parents[2] / "plugins")}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert not SLOW_TO_IMPORT & set(run.stdout.split())


def test_the_first_round_holds_every_preset_however_small_a_batch_is(study):
    names = {f"partitions_{n}": {"partitions": n} for n in (3, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 17)}
    many = study.model_copy(update={"presets": {**study.presets, **names}})
    options = sweep_options(many, "night-1", {"batch": 4})
    labels = {plan.label for plan in plan_round(many, options, [], 1)}
    assert labels == set(many.presets)


def test_what_is_left_out_is_predicted_as_by_a_process_that_never_saw_it():
    generator = np.random.default_rng(4)
    points = generator.random((12, 2))
    values = np.sin(4 * points[:, 0]) + generator.normal(0, 0.1, 12)
    runs = Runs(points, np.arange(2), np.arange(12), np.zeros(12))
    process = Process.fit(runs, values)
    predicted = process.left_out(values)
    for i in (0, 5, 11):
        others = np.delete(np.arange(12), i)
        some = runs.part(others)
        factor = np.linalg.cholesky(_covariance(some, process.settings)[0])
        weights = np.linalg.solve(factor.T, np.linalg.solve(factor, values[others]))
        without = Process(some, process.settings, factor, weights)
        assert predicted[i] == pytest.approx(without.predict(points[[i]])[0][0], abs=1e-6)


def test_the_view_that_ranks_best_comes_first():
    generator = np.random.default_rng(4)
    points = generator.random((30, 2))
    seen = 3 * points[:, 0] + points[:, 1] + generator.normal(0, 0.1, 30)
    transforms = [(seen - seen.mean()) / seen.std()]
    transforms.append(generator.permutation(transforms[0]))
    runs = Runs(points, np.arange(2), np.arange(30), np.zeros(30))
    skilled, blind = (Process.fit(runs, losses) for losses in transforms)
    assert _by_skill([skilled, blind], transforms) == [0, 1]


def test_the_leaders_of_earlier_sweeps_are_measured_again_at_once(study, options):
    """A sweep that knew the best from an earlier one stopped exploring and answered among its presets."""
    best = {**study.control_candidate.configuration, "partitions": 48, "codec": "lz4", "memory": 8, "page": 1000}
    worse = {**best, "codec": "gzip"}
    gone = {**best, "partitions": 100_000}
    control = study.control_candidate.configuration
    earlier = []
    for block in range(3):
        for label, configuration in (("usual", control), ("b", best), ("w", worse), ("g", gone)):
            plan = TrialPlan(
                f"e{block}{label}", "earlier", "search", 1, block, 0, label, configuration, label == "usual"
            )
            took = 1.0 if label == "g" else seconds(configuration)
            earlier.append(TrialResult(plan, "measured", metrics={"seconds": took}))
    for kind in ("history", "related"):
        plans = plan_round(study, options, [], 1, **{kind: earlier})
        first = [plan.configuration for plan in plans]
        assert best in first, kind
        assert gone not in first


def presets_of_an_earlier_sweep(study: Study, blocks: int) -> list[TrialResult]:
    """All presets in each block, with a little noise."""
    generator, found = np.random.default_rng(1), []
    for block in range(blocks):
        for position, preset in enumerate(study.preset_candidates):
            is_control = preset.label == "usual"
            plan = TrialPlan(
                f"e{block}{position}",
                "earlier",
                "search",
                1,
                block,
                position,
                preset.label,
                preset.configuration,
                is_control,
            )
            took = seconds(preset.configuration) * math.exp(generator.normal(0, 0.03))
            found.append(TrialResult(plan, "measured", metrics={"seconds": took}))
    return found


@pytest.fixture
def with_slow_presets(study) -> Study:
    slow = {"codec": "gzip", "method": "insert", "page": 10, "partitions": 1}
    good = {"method": "copy", "partitions": 48, "codec": "lz4", "memory": 4}
    near = {**good, "partitions": 60}
    presets = {
        **study.presets,
        "good": good,
        "near": near,
        "slow": slow,
        "slower": {**slow, "partitions": 256, "memory": 8},
    }
    assert seconds(study.space.checked(slow)) > 2 * seconds(study.space.checked(good))
    return study.model_copy(update={"presets": presets})


def first_labels(study: Study, options: SweepOptions, **known) -> set[str]:
    return {plan.label for plan in plan_round(study, options, [], 1, **known)}


def test_presets_that_earlier_sweeps_showed_to_be_far_behind_are_not_measured_again(with_slow_presets, options):
    study, names = with_slow_presets, set(with_slow_presets.presets)
    earlier = presets_of_an_earlier_sweep(study, 2)
    only_once = [r for r in earlier if r.plan.label not in {"slow", "slower"} or r.plan.block == 0]
    assert first_labels(study, options) >= names
    for history in (earlier, only_once):
        assert names - first_labels(study, options, history=history) == {"big", "slow", "slower"}


def test_presets_are_measured_again_where_nothing_is_shown_or_where_they_matter(with_slow_presets, options):
    study, names = with_slow_presets, set(with_slow_presets.presets)
    earlier = presets_of_an_earlier_sweep(study, 2)
    a_block = [r for r in earlier if r.plan.block == 0]  # says nothing of the noise
    assert first_labels(study, options, history=a_block) >= names
    assert first_labels(study, options, related=earlier) >= names
    fallback = study.model_copy(update={"fallback": "slow"})
    assert names - first_labels(fallback, options, history=earlier) == {"big", "slower"}
    champion = Champion(label="slower", source="promoted", configuration=study.preset("slower").configuration)
    running = options.model_copy(update={"champions": {"time": champion}})
    assert names - first_labels(study, running, history=earlier) == {"big", "slow"}
    named = options.model_copy(update={"strategy": "presets"})
    assert first_labels(study, named, history=earlier) == names


def test_what_is_far_behind_for_one_goal_only_is_measured_again(with_slow_presets, options):
    """Of two goals that want the opposite, each preset that is bad for one is good for the other."""
    goals = {**with_slow_presets.goals, "slowness": {"maximize": "seconds", "unit": "s"}}
    study = Study.model_validate({**with_slow_presets.model_dump(exclude_defaults=True), "goals": goals})
    both = options.model_copy(update={"goals": ("time", "slowness")})
    earlier = presets_of_an_earlier_sweep(study, 2)
    assert first_labels(study, both, history=earlier) >= {"slow", "slower", "good", "near"}
