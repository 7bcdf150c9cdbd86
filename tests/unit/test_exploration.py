"""Exploration in production, simulated: what is promoted, what is dropped, and how much it may cost."""

from __future__ import annotations

import math
import random

import pytest

from pipeline_tuner.analysis.exploration import (
    ExplorationPolicy,
    PastRun,
    Standing,
    is_challengers_turn,
    judged,
    next_step,
)
from pipeline_tuner.trial import Candidate

SOAK = pytest.mark.soak
REFERENCE = Candidate("as written", {"level": 1})
OTHERS = [Candidate(f"level={level}", {"level": level}) for level in range(2, 7)]
IDENTITIES = {one.label: one.configuration_id for one in (REFERENCE, *OTHERS)}


def simulated(factors, *, seed, runs=150, share=0.5, noise=0.08, drift=0.15, fails=()):
    """A history of runs, and what was promoted. `factors` are durations as multiples of the reference's."""
    rng = random.Random(seed)
    policy, history = ExplorationPolicy(share), []
    for number in range(runs):
        step = next_step(policy, REFERENCE, OTHERS, history, f"task {seed}")
        if step.better is not None:
            return history, step.better
        used = step.challenger or REFERENCE
        slow = drift * math.sin(number / 9)  # the machine, the season: it changes neighbours alike
        score = -math.log(factors.get(used.label, 1.0)) - slow + rng.gauss(0, noise)
        failed = used.label in fails
        history.append(PastRun(IDENTITIES[used.label], None if failed else score, step.challenger is not None, failed))
    return history, None


def challenges(history, candidate):
    return sum(run.is_challenge and run.configuration_id == candidate.configuration_id for run in history)


@pytest.mark.parametrize("noise", [pytest.param(0.03, marks=SOAK), 0.1, pytest.param(0.3, marks=SOAK)])
def test_where_nothing_is_better_at_most_one_history_in_twenty_promotes(noise):
    promoted = sum(simulated({}, seed=seed, noise=noise)[1] is not None for seed in range(200))
    assert promoted <= 10


def test_a_challenger_that_is_30_percent_worse_runs_twice_at_most():
    worse = {OTHERS[0].label: 1.3}
    counts = [challenges(simulated(worse, seed=seed, runs=60)[0], OTHERS[0]) for seed in range(200)]
    assert sum(count > 2 for count in counts) <= 2
    assert max(counts) <= 4


def test_what_is_15_percent_cheaper_is_found_within_30_nights():
    better = {OTHERS[0].label: 0.8}
    found = [simulated(better, seed=seed, runs=30, noise=0.03)[1] for seed in range(100)]
    assert sum(one is not None and one.challenger == OTHERS[0] for one in found) >= 90


def test_the_third_candidate_is_found_after_two_that_are_worse():
    factors = {OTHERS[0].label: 1.5, OTHERS[1].label: 1.2, OTHERS[2].label: 0.7}
    found = [simulated(factors, seed=seed, runs=60, noise=0.04)[1] for seed in range(50)]
    assert sum(one is not None and one.challenger == OTHERS[2] for one in found) >= 45


@pytest.mark.parametrize("share", [0.5, 0.34, 0.2, 0.1])
def test_no_more_is_tried_than_is_allowed(share):
    for seed in range(20):
        history, _ = simulated({}, seed=seed, share=share, runs=100)
        for length in range(1, 101):
            assert sum(run.is_challenge for run in history[:length]) <= math.ceil(share * length)


def test_nothing_is_tried_unless_asked_for_and_before_the_usual_is_known():
    history, _ = simulated({}, seed=1, share=0.0)
    assert not any(run.is_challenge for run in history)
    assert not any(run.is_challenge for run in simulated({}, seed=1)[0][:3])


def test_a_challenger_that_fails_is_never_run_again():
    history, _ = simulated({}, seed=3, fails=(OTHERS[0].label,))
    assert challenges(history, OTHERS[0]) == 1


def test_one_challenger_at_a_time():
    history, _ = simulated({one.label: 1.05 for one in OTHERS}, seed=5, runs=200)
    places = [one.configuration_id for one in OTHERS]
    tried = [places.index(run.configuration_id) for run in history if run.is_challenge]
    assert tried == sorted(tried)


def test_pairs_of_an_earlier_reference_say_nothing():
    policy = ExplorationPolicy(0.5)
    history = [PastRun("another", 0.0), PastRun(OTHERS[0].configuration_id, 1.0, is_challenge=True)] * 5
    (first, *_) = judged(policy, REFERENCE, OTHERS, history)
    assert (first.standing, first.gain) == (Standing.OPEN, None)


def test_the_order_in_a_pair_is_random_and_the_same_each_time():
    policy = ExplorationPolicy(0.2)
    turns = [[is_challengers_turn(policy, number, "s") for number in range(500)] for _ in range(2)]
    assert turns[0] == turns[1]
    assert sum(turns[0]) == 100
    first = sum(turns[0][::5])
    assert 30 < first < 70


def test_a_share_above_a_half_is_refused():
    with pytest.raises(ValueError, match=r"explore is 0\.7, must be from 0 to 0\.5"):
        ExplorationPolicy(0.7)
