"""What a tuned task has saved so far: a pure function of its runs."""

from __future__ import annotations

import math
import random

import pytest

from pipeline_tuner.analysis.savings import TaskRun, savings


def run(setting, cost=1.0, rows=100.0, *, failed=False):
    score = None if failed else -math.log(cost)
    return TaskRun(setting, setting, score, None if failed else cost * rows, failed)


def test_nothing_is_said_of_no_runs_and_nothing_is_saved_by_the_first_alone():
    assert savings([]) is None
    found = savings([run("now")] * 5)
    assert (found.first, found.first_runs, found.learnt, found.amount, found.share) == ("now", 5, (), None, None)


def test_a_setting_that_costs_half_saves_what_it_spends():
    nights = [run("now"), run("new", 0.5), run("now"), run("new", 0.5), *[run("new", 0.5)] * 6]
    found = savings(nights)
    (learnt,) = found.learnt
    assert (learnt.label, learnt.runs, learnt.pairs) == ("new", 8, 2)
    assert learnt.gain.value == pytest.approx(2)
    assert found.amount.value == pytest.approx(8 * 50)
    assert found.share.value == pytest.approx(0.5)
    assert found.counted_runs == 8


def test_a_loss_is_a_loss():
    nights = [run("now"), run("bad", 2.0), run("now"), run("bad", 2.0)]
    found = savings(nights)
    assert found.amount.value == pytest.approx(-200)
    assert found.share.value < 0


def test_a_single_pair_has_bounds_by_the_spread_of_the_others():
    nights = [run("now"), run("new", 0.5), run("now"), run("new", 0.6), run("now"), run("bad", 2.0)]
    gains = {each.label: each.gain for each in savings(nights).learnt}
    assert 0 < gains["bad"].low < gains["bad"].value < gains["bad"].high < math.inf
    width = {label: math.log(gain.high / gain.low) for label, gain in gains.items()}
    assert width["bad"] == pytest.approx(width["new"] * math.sqrt(2))


def test_without_two_pairs_of_one_setting_nothing_is_known():
    found = savings([run("now"), run("new", 0.5), run("new", 0.5)])
    assert found.learnt[0].gain is None
    assert (found.amount, found.counted_runs) == (None, 0)


def test_failed_runs_are_counted_and_save_nothing():
    nights = [run("now"), run("new", 0.5), run("now"), run("new", 0.5), run("bad", failed=True), run("now")]
    found = savings(nights)
    assert {each.label: (each.runs, each.failed) for each in found.learnt} == {"new": (2, 0), "bad": (1, 1)}
    assert found.counted_runs == 2


def test_no_run_is_in_two_pairs():
    found = savings([run("now"), run("new", 0.5), run("now"), run("new", 0.5)])
    assert found.learnt[0].pairs == 2
    assert savings([run("new"), run("now"), run("new")]).learnt[0].pairs == 1


def test_the_bounds_hold_the_truth_in_19_of_20_histories():
    dice, held, histories = random.Random(8), 0, 400
    for _ in range(histories):
        costs = {"now": 1.0, "new": 0.8}
        pairs = [dice.sample(["now", "new"], 2) for _ in range(6)]
        order = ["now", *(setting for pair in pairs for setting in pair), *["new"] * 8]
        drift = [0.01 * night for night in range(len(order))]
        nights = [run(s, costs[s] * math.exp(drift[n] + dice.gauss(0, 0.1)), 100) for n, s in enumerate(order)]
        gain = savings(nights).learnt[0].gain
        held += gain.low <= 1.25 <= gain.high
    assert 0.92 < held / histories < 0.98
