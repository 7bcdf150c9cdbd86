from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.planted import planted_study, planted_sweep

from pipeline_tuner.analysis.goals import (
    GoalError,
    check_constraints,
    goal_score,
    goal_scores,
    goal_value,
    larger_is_better,
)
from pipeline_tuner.analysis.intervals import log_interval, mean_interval, probability_above
from pipeline_tuner.analysis.reference import admits
from pipeline_tuner.analysis.tie_breaking import dominates, front, knee, trade_off
from pipeline_tuner.recommendation import (
    ConfigurationEvidence,
    DecisionStatus,
    Exclusion,
    ExclusionKind,
    Interval,
    Recommendation,
    StandingKind,
)

STUDY = planted_study()
BASE = STUDY.control_candidate.configuration


def trials(durations, study=STUDY, **options):
    labels = {f"c{i}": duration for i, duration in enumerate(durations)}
    return planted_sweep(labels, dict.fromkeys(labels, BASE), control="c0", blocks=1, noise=0, drift=0, **options)


def test_goal_is_computed_from_metrics_workload_and_prices():
    (trial,) = trials([10.0])
    assert goal_value(STUDY, "throughput", trial) == pytest.approx(10_000)
    assert goal_value(STUDY, "cost", trial) == pytest.approx(18 * 0.0001)


def test_scores_are_larger_where_it_is_better():
    slow, fast = trials([10.0, 5.0])
    for goal in STUDY.goals:
        assert goal_score(STUDY, goal, fast) > goal_score(STUDY, goal, slow)
    assert [larger_is_better(STUDY, goal) for goal in STUDY.goals] == [True, False, True]


@given(st.floats(0.01, 100), st.floats(0.01, 100))
def test_balance_is_the_geometric_mean_of_the_ratios(first, second):
    one, other = trials([first, second])
    other = replace(other, metrics={**other.metrics, "core_seconds": 7.0})
    gain = math.exp(goal_score(STUDY, "balanced", other) - goal_score(STUDY, "balanced", one))
    ratios = (first / second, one.metrics["core_seconds"] / 7.0)
    assert gain == pytest.approx(math.sqrt(ratios[0] * ratios[1]))


def test_missing_metric_is_named():
    study = planted_study(goals={"latency": {"minimize": "latency_p95_s"}})
    (trial,) = trials([10.0])
    with pytest.raises(GoalError, match="goal latency: 'latency_p95_s' needs latency_p95_s"):
        goal_value(study, "latency", trial)
    assert trial.plan.trial_id in goal_scores(study, "latency", [trial]).problems


@pytest.mark.parametrize("expression", ["rows - rows", "0 - rows", "rows / (rows - rows)", "rows > 1"])
def test_figures_that_cannot_be_compared_are_refused(expression):
    study = planted_study(goals={"odd": {"maximize": expression}})
    with pytest.raises(GoalError, match="goal odd"):
        goal_value(study, "odd", trials([10.0])[0])


def test_what_cannot_be_computed_names_goal_expression_and_trial():
    study = planted_study(goals={"odd": {"maximize": "log(rows - rows)"}})
    (trial,) = trials([10.0])
    with pytest.raises(GoalError, match=r"goal odd: 'log\(rows - rows\)' can't be computed: .*, of trial "):
        goal_value(study, "odd", trial)
    with pytest.raises(GoalError, match=r"constraint 'sqrt\(0 - rows\) > 1' can't be computed: math domain error$"):
        constraint("sqrt(0 - rows) > 1", [10.0])
    bounded = planted_study(goals={"odd": {"maximize": "rows", "constraints": ["1 / (partitions - 8) > 0"]}})
    assert not admits(bounded, "odd", {"partitions": 8})
    assert admits(bounded, "odd", {"partitions": 9})


def test_unknown_goal_names_those_that_exist():
    with pytest.raises(GoalError, match="throughput, cost, balanced"):
        goal_value(STUDY, "speed", trials([10.0])[0])


def constraint(text, durations):
    study = planted_study(goals={"throughput": {"maximize": "rows / duration_s", "constraints": [text]}})
    return check_constraints(study, "throughput", trials(durations))


def test_constraint_has_a_confidence_of_its_own():
    (clear,) = constraint("duration_s < 12", [10.0, 10.2, 9.9, 10.1])
    (close,) = constraint("duration_s < 12", [10.0, 13.2, 9.9, 11.9])
    (broken,) = constraint("duration_s < 12", [13.0, 13.2, 13.1, 12.9])
    assert clear.holds(0.95)
    assert not close.holds(0.95)
    assert (broken.kept, broken.confidence < 0.05) == (0, True)


def test_constraint_without_a_distance_is_tested_by_signs():
    (check,) = constraint("duration_s < 12 or core_seconds < 1", [10.0] * 5)
    assert check.confidence == pytest.approx(1 - 0.5**5)


def test_joined_constraints_are_taken_apart():
    assert [c.text for c in constraint("duration_s < 12 and core_seconds > 1", [10.0] * 3)] == [
        "duration_s < 12",
        "core_seconds > 1",
    ]


def test_exact_figure_is_certain_from_the_second_on():
    assert probability_above([1.0, 1.0]) == 1.0
    assert probability_above([1.0]) == 0.5


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=20))
def test_interval_holds_the_mean(values):
    interval = mean_interval(values)
    assert interval.low <= interval.value <= interval.high
    assert log_interval(values).value == pytest.approx(math.exp(interval.value))


def test_front_and_knee():
    scores = {"a": (0.0, 1.0), "b": (0.9, 0.9), "c": (1.0, 0.0), "d": (0.5, 0.5)}
    assert set(front(scores)) == {"a", "b", "c"}
    assert knee(scores) == "b"
    assert front({"a": (0.0, 0.0), "b": (0.01, 0.0)}, zone=0.05) == ("a", "b")


@given(st.dictionaries(st.text(min_size=1), st.tuples(st.floats(-3, 3), st.floats(-3, 3)), min_size=1, max_size=12))
def test_nothing_on_the_front_is_dominated_and_the_rest_is(scores):
    best = front(scores)
    assert best
    for label in scores:
        beaten = any(dominates(scores[other], scores[label]) for other in scores if other != label)
        assert beaten == (label not in best)


def _answer(goal, gains, excluded=()):
    exclusion = Exclusion(next(iter(ExclusionKind)), "planted")
    evidence = {
        label: ConfigurationEvidence(
            {},
            StandingKind.TIED,
            ratio=Interval(gain, gain, gain, 0.95, 4),
            exclusion=exclusion if label in excluded else None,
        )
        for label, gain in gains.items()
    }
    return Recommendation(goal, DecisionStatus.UNDECIDED, None, None, evidence=evidence)


def test_a_trade_off_is_between_what_may_run_for_every_goal():
    speed = _answer("throughput", {"control": 1.0, "fast": 2.0, "cheap": 1.1, "wrong": 3.0})
    cost = _answer("cost", {"control": 1.0, "fast": 0.5, "cheap": 1.5, "wrong": 4.0}, excluded=["wrong"])
    balanced = _answer("balanced", {"control": 1.0, "fast": 1.2, "cheap": 1.3})
    found = trade_off(STUDY, [speed, cost, balanced], 0.05)
    assert (found.goals, found.front) == (("throughput", "cost"), ("fast", "cheap"))
    assert found.gains == {"control": (1.0, 1.0), "fast": (2.0, 0.5), "cheap": (1.1, 1.5)}
    assert trade_off(STUDY, [cost, speed], 0.05).gains.keys() == found.gains.keys()


def test_two_configurations_make_a_trade_off_and_one_goal_or_configuration_none():
    pair = [_answer("throughput", {"control": 1.0, "fast": 2.0}), _answer("cost", {"control": 1.0, "fast": 0.5})]
    assert trade_off(STUDY, pair, 0.05).front == ("fast", "control")
    assert trade_off(STUDY, pair[:1], 0.05) is None
    assert trade_off(STUDY, [_answer("throughput", {"control": 1.0}), pair[1]], 0.05) is None
