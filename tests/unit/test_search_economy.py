"""What saves trials: a small part of the data to explore on, while it is seen to rank alike; an end where it pays."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from pipeline_tuner.analysis.fidelity import agreement
from pipeline_tuner.measurement import Measurement, Sample
from pipeline_tuner.recommend import recommend
from pipeline_tuner.report.files import details_of
from pipeline_tuner.report.written import write_report
from pipeline_tuner.search.rounds import plan_confirmation, plan_round
from pipeline_tuner.study import StudyError, parse_study
from pipeline_tuner.sweep import sweep_options
from pipeline_tuner.trial import TrialPlan, TrialResult

STUDY = """
study: made_up
job: made_up
workload: {name: none, sizes: {tenth: 0.1, half: 0.5, full: 1.0}, screening: tenth}
control: usual
presets: {usual: {}, wide: {workers: 8}, small: {batch: 10}, large: {batch: 1000}, one: {workers: 1}}
space:
  parameters:
    workers: {type: integer, values: [1, 2, 4, 8], default: 4}
    batch: {type: integer, values: [10, 30, 100, 300, 1000], default: 100}
    codec: {type: categorical, values: [none, lz4, zstd], default: none}
goals: {time: {minimize: seconds, unit: s}}
budget: {trials: 60, rounds: 6, batch: 7, confirm_blocks: 3}
"""
START = datetime(2026, 1, 1, tzinfo=UTC)


def seconds(configuration) -> float:
    codec = {"none": 1.2, "lz4": 1.0, "zstd": 1.1}[configuration["codec"]]
    return 60 * codec / configuration["workers"] ** 0.7 * (1 + 0.3 * abs(math.log10(configuration["batch"] / 300)))


def upside_down(configuration) -> float:
    return 400 / seconds(configuration)


def run(plan: TrialPlan, small=seconds, whole=seconds) -> TrialResult:
    """A measured trial; a part of the data takes its part of the time, and 5 s to start."""
    figure = whole(plan.configuration) if plan.fraction == 1.0 else small(plan.configuration)
    generator = np.random.default_rng([plan.block, plan.position])
    taken = plan.fraction * figure * math.exp(generator.normal(0, 0.02))
    sample = Sample(started_at=START, duration_s=taken, metrics={})
    measurement = Measurement(
        contract=1, status="measured", job="made_up", trial_id=plan.trial_id, configuration=plan.configuration,
        started_at=START, ended_at=START + timedelta(seconds=taken + 5), samples=(sample,),
        metrics={"duration_s": taken},
    )  # fmt: skip
    return TrialResult(plan, "measured", metrics={"seconds": taken, "duration_s": taken}, measurement=measurement)


def swept(study, options, **machine) -> list[TrialResult]:
    results: list[TrialResult] = []
    for number in range(1, options.budget.rounds + 1):
        results += [run(plan, **machine) for plan in plan_round(study, options, results, number)]
    return results + [run(plan, **machine) for plan in plan_confirmation(study, options, results)]


@pytest.fixture
def study():
    return parse_study(STUDY)


@pytest.fixture
def options(study):
    return sweep_options(study, "night-1", {"seed": 1})


def test_it_explores_on_the_small_size_and_decides_on_the_whole(study, options):
    results = swept(study, options)
    first = [r.plan for r in results if r.plan.round == 1]
    assert sum(p.fraction == 0.1 for p in first) == 8
    assert [p.fraction for p in first if p.block == 2] == [1.0] * 6
    assert {r.plan.fraction for r in results if r.plan.round == 2} == {0.1}
    assert {r.plan.fraction for r in results if r.plan.phase == "confirm"} == {1.0}
    (answer,) = recommend(study, options, results)
    in_full = [r for r in results if r.plan.label == answer.label and r.plan.fraction == 1.0]
    assert len({r.plan.block for r in in_full}) >= 3
    best = min(seconds(c) for c in study.space.grid())
    assert seconds(answer.configuration) <= 1.05 * best


def test_a_small_size_that_ranks_otherwise_is_found_out_and_left(study, options):
    results = swept(study, options, small=upside_down)
    check = agreement(study, options, [r for r in results if r.plan.round == 1])
    assert check is not None
    assert (check.n, check.holds) == (6, False)
    assert {r.plan.fraction for r in results if r.plan.round >= 2} == {1.0}
    (answer,) = recommend(study, options, results)
    assert seconds(answer.configuration) <= 1.05 * min(seconds(c) for c in study.space.grid())


@pytest.mark.parametrize(
    ("machine", "said"),
    [({}, "10% of the data, which predict the whole"), ({"small": upside_down}, "do not predict the whole")],
)
def test_the_analysis_says_whether_the_small_size_held(study, options, machine, said, tmp_path):
    options = options.model_copy(update={"budget": options.budget.model_copy(update={"payback_runs": 365})})
    results = swept(study, options, **machine)
    path = write_report(tmp_path, study, options, results, recommend(study, options, results))
    text = details_of(path).read_text()
    assert said in text
    assert "expected to save in 365 runs" in text


def test_agreement_has_an_interval_that_narrows_with_more_configurations(study, options):
    results = swept(study, options)
    early = agreement(study, options, [r for r in results if r.plan.round == 1])
    late = agreement(study, options, results)
    assert early.holds
    assert late.n > early.n
    assert early.low <= early.correlation


def test_a_sweep_of_the_small_size_itself_screens_nothing(study):
    options = sweep_options(study, "night-1", {"size": "tenth"})
    assert {plan.fraction for plan in plan_round(study, options, [], 1)} == {1.0}


def test_a_size_to_screen_on_must_exist():
    with pytest.raises(StudyError, match=r"workload\.screening: is 'third', must be one of tenth, half, full"):
        parse_study(STUDY.replace("screening: tenth", "screening: third"))


def test_it_stops_where_the_gain_no_longer_pays_for_the_trials(study):
    plain = parse_study(STUDY.replace(", screening: tenth", ""))
    counts = {}
    for runs in (1, 10_000, None):
        options = sweep_options(plain, "night-1", {"seed": 1})
        options = options.model_copy(update={"budget": options.budget.model_copy(update={"payback_runs": runs})})
        counts[runs] = len(swept(plain, options))
    assert counts[1] < counts[10_000] <= counts[None]


def test_repeats_stop_at_near_ties_that_would_save_less_than_they_cost(study):
    plain = parse_study(STUDY.replace(", screening: tenth", ""))

    def nearly_equal(configuration) -> float:
        return 30 + 0.3 * configuration["workers"]

    def trials(runs):
        options = sweep_options(plain, "night-1", {"seed": 1, "strategy": "presets", "indifference": 0.005})
        budget = options.budget.model_copy(update={"payback_runs": runs, "trials": 200, "indifference": 0.005})
        return swept(plain, options.model_copy(update={"budget": budget}), whole=nearly_equal)

    few, many = trials(5), trials(1_000_000)
    assert len(few) < len(many)
    assert replace(few[0].plan, sweep_id="") == replace(many[0].plan, sweep_id="")
