from __future__ import annotations

import math

import numpy as np
import pytest
from tests.unit.planted import planted_study

from pipeline_tuner.analysis.effect_design import Run
from pipeline_tuner.analysis.effects import effects, expected_values, holm

SPACE = planted_study().space


def runs(truth, configurations, *, blocks=3, noise=0.03, seed=0):
    rng = np.random.default_rng(seed)
    drift = 0.1 * rng.standard_normal(blocks)
    return [
        Run(c, block, math.log(truth(c)) + drift[block] + noise * rng.standard_normal())
        for block in range(blocks)
        for c in configurations
    ]


def grid():
    return [
        {"partitions": p, "batch": b, "method": m}
        for p in (4, 8, 16, 32)
        for b in (10, 100, 1000)
        for m in ("jdbc", "copy")
    ]


def additive(c):
    return 100 * (1.4 if c["method"] == "copy" else 1.0) * (1.2 if c["partitions"] == 16 else 1.0)


def by_name(found):
    return {effect.parameter: effect for effect in found.effects}


def test_planted_effects_are_found_and_the_others_are_not():
    found = by_name(effects(SPACE, runs(lambda c: 100 * (1.4 if c["method"] == "copy" else 1.0), grid())))
    assert found["method"].is_shown
    assert (found["method"].worst, found["method"].best) == ("jdbc", "copy")
    assert found["method"].gain.low < 1.4 < found["method"].gain.high
    assert not found["partitions"].is_shown
    assert not found["batch"].is_shown


def test_intervals_cover_the_truth_as_promised():
    inside = 0
    for seed in range(60):
        found = by_name(effects(SPACE, runs(lambda c: 1.4 if c["method"] == "copy" else 1.0, grid(), seed=seed)))
        inside += found["method"].gain.low < 1.4 < found["method"].gain.high
    assert inside >= 53


def test_no_effect_is_shown_in_most_sweeps_without_one():
    shown = sum(
        any(effect.is_shown for effect in effects(SPACE, runs(lambda c: 1.0, grid(), seed=seed)).effects)
        for seed in range(60)
    )
    assert shown <= 8


def test_optimum_inside_the_range_is_seen():
    truth = lambda c: 100 * math.exp(-0.2 * math.log10(c["batch"] / 100) ** 2)  # noqa: E731
    batch = by_name(effects(SPACE, runs(truth, grid())))["batch"]
    assert (batch.best, batch.is_shown) == (100, True)


def test_interaction_is_named():
    truth = lambda c: 1.5 if c["method"] == "copy" and c["partitions"] >= 16 else 1.0  # noqa: E731
    found = effects(SPACE, runs(truth, grid()))
    assert [{i.first, i.second} for i in found.interactions] == [{"partitions", "method"}]


def test_one_at_a_time_is_enough_for_main_effects():
    base = {"partitions": 8, "batch": 100, "method": "jdbc"}
    design = [base, {**base, "partitions": 16}, {**base, "batch": 1000}, {**base, "method": "copy"}]
    found = [by_name(effects(SPACE, runs(additive, design, blocks=4, seed=seed))) for seed in range(40)]
    assert sum(f["method"].gain.low < 1.4 < f["method"].gain.high for f in found) >= 34
    assert sum(f["partitions"].gain.low < 1.2 < f["partitions"].gain.high for f in found) >= 34


def test_parameters_changed_together_are_not_separated():
    levels = {4: 10, 8: 10 * (1000 / 10) ** (1 / 3), 16: 10 * (1000 / 10) ** (2 / 3), 32: 1000}
    together = [{"partitions": p, "batch": levels[p], "method": m} for p in levels for m in ("jdbc", "copy")]
    found = effects(SPACE, runs(additive, together))
    assert ("batch", "partitions") in found.not_separable
    assert set(by_name(found)) == {"method"}


def test_presets_that_moved_everything_together_invent_no_effect():
    # As hand-written presets are: each method with its own partitions and batches. The method alone matters.
    slow = [{"partitions": p, "batch": b, "method": "jdbc"} for p, b in ((18, 75), (12, 50), (24, 100), (32, 50))]
    fast = [{"partitions": p, "batch": 1000, "method": "copy"} for p in (4, 5, 6)]
    truth = lambda c: 8.0 if c["method"] == "copy" else 1.0  # noqa: E731
    for seed in range(20):
        found = effects(SPACE, runs(truth, [*slow, *fast], blocks=2, noise=0.1, seed=seed))
        assert set(by_name(found)) <= {"partitions"}
        assert found.not_separable[0] == ("batch", "method")


def test_a_parameter_that_is_inactive_elsewhere_does_not_hide_what_switches_it_on():
    slow = [{"partitions": p, "batch": b, "method": "jdbc"} for p in (8, 16) for b in (10, 100)]
    fast = [{"partitions": p, "method": "copy"} for p in (8, 16)]
    truth = lambda c: 8.0 if c["method"] == "copy" else 1.2 if c["batch"] == 100 else 1.0  # noqa: E731
    found = by_name(effects(SPACE, runs(truth, [*slow, *fast], noise=0.02)))
    assert found["method"].gain.low < 8 / math.sqrt(1.2) < found["method"].gain.high
    assert found["batch"].gain.low < 1.2 < found["batch"].gain.high
    assert not found["partitions"].is_shown


@pytest.mark.parametrize(
    ("configurations", "blocks", "words"),
    [([{"method": "jdbc"}], 4, "same configuration"), ([{"method": "jdbc"}, {"method": "copy"}], 1, "not enough data")],
)
def test_too_little_says_so(configurations, blocks, words):
    found = effects(SPACE, runs(lambda c: 1.0, configurations, blocks=blocks))
    assert words in found.problem
    assert not found.effects


def test_prediction_covers_an_untried_configuration_and_refuses_beyond_the_range():
    left_out = {"partitions": 16, "batch": 100, "method": "copy"}
    reference = {"partitions": 8, "batch": 100, "method": "jdbc"}
    inside = 0
    for seed in range(50):
        tried = [c for c in grid() if c != left_out]
        model = effects(SPACE, runs(lambda c: 1.4 if c["method"] == "copy" else 1.0, tried, seed=seed)).model
        predicted = model.predict(left_out, reference, 0.95)
        inside += predicted.low < 1.4 < predicted.high
    assert inside >= 45
    narrow = [c for c in grid() if c["partitions"] <= 16]
    model = effects(SPACE, runs(additive, narrow)).model
    assert model.predict({**reference, "partitions": 32}, reference, 0.95) is None


def test_holm_keeps_the_smallest_strictest():
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == {
        "a": pytest.approx(0.03),
        "c": pytest.approx(0.06),
        "b": pytest.approx(0.06),
    }


@pytest.mark.parametrize("up", [True, False])
def test_what_the_model_expects_of_each_level_is_what_was_planted(up):
    """COPY is 1.6 times better than JDBC whatever the partitions: each level's interval holds the planted figure."""
    base = planted_study().control_candidate.configuration
    configurations = [{**base, "method": m, "partitions": p} for m in ("jdbc", "copy") for p in (4, 8, 16)]
    found = effects(SPACE, runs(lambda c: 1.6 if c["method"] == "copy" else 1.0, configurations, blocks=6))
    known = expected_values(found, "method", configurations[-1], 100.0, up=up)
    worse = 100.0 / 1.6 if up else 100.0 * 1.6
    assert known["copy"].value == pytest.approx(100.0)
    assert known["jdbc"].low <= worse <= known["jdbc"].high
    assert known["jdbc"].high - known["jdbc"].low < 0.2 * worse
    assert expected_values(found, "batch", configurations[-1], 100.0, up=up) == {}
