from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline_tuner.monitoring.drift import changes

NOISE = 0.05


def noise(rng, kind, nights):
    return rng.standard_normal(nights) if kind == "normal" else rng.standard_t(4, nights) / math.sqrt(2)


@pytest.mark.parametrize("kind", ["normal", "heavy tails"])
def test_sixty_quiet_nights_rarely_raise_an_alarm(kind):
    rng = np.random.default_rng(11)
    histories = 250
    alarms = sum(
        bool(changes(np.exp(NOISE * noise(rng, kind, 60)), np.exp(NOISE * noise(rng, kind, 60))))
        for _ in range(histories)
    )
    # 5% of 250 is 12.5; 2.3 standard deviations of the count (3.4) are allowed for.
    assert alarms <= 20


@pytest.mark.parametrize(("quiet", "nights"), [(30, 4), (60, 3)])
def test_a_loss_of_ten_percent_is_found_in_three_nights_or_four(quiet, nights):
    rng = np.random.default_rng(5)
    waited = []
    for _ in range(120):
        logs, control = NOISE * rng.standard_normal(quiet + 10), NOISE * rng.standard_normal(quiet + 10)
        logs[quiet:] += math.log(1.1)
        found = [c.noticed for c in changes(np.exp(logs), np.exp(control)) if c.noticed >= quiet]
        waited.append(found[0] - quiet + 1 if found else 99)
    assert np.median(waited) <= nights


def nights(rng, quiet, after, *, production=1.0, control=1.0, noise=0.03):
    factors = np.r_[np.ones(quiet), np.full(after, production)], np.r_[np.ones(quiet), np.full(after, control)]
    return tuple(f * np.exp(noise * rng.standard_normal(quiet + after)) for f in factors)


def test_a_slower_machine_is_not_called_a_slower_job():
    rng = np.random.default_rng(1)
    causes = []
    for _ in range(100):
        found = changes(*nights(rng, 30, 8, production=1.15, control=1.15))
        causes += [c.cause for c in found]
    assert len(causes) >= 90
    assert causes.count("job") <= 3
    assert causes.count("machine") >= 80


def test_a_slower_job_is_called_so():
    rng = np.random.default_rng(2)
    causes = [c.cause for _ in range(50) for c in changes(*nights(rng, 30, 8, production=1.15))]
    assert causes.count("job") >= 40
    assert causes.count("machine") <= 1


def test_change_is_placed_and_sized():
    production, control = nights(np.random.default_rng(3), 40, 20, production=1.2)
    (change,) = changes(production, control)
    assert abs(change.night - 40) <= 1
    assert change.ratio.low < 1.2 < change.ratio.high


def test_a_rate_that_falls_is_a_loss_too():
    production, _ = nights(np.random.default_rng(3), 40, 20, production=0.8)
    (change,) = changes(production, larger_is_better=True)
    assert change.ratio.low < 0.8 < change.ratio.high
    assert change.cause == "unclear"


def test_one_slow_night_is_no_change():
    production = np.exp(0.02 * np.random.default_rng(4).standard_normal(40))
    production[25] *= 1.6
    assert changes(production) == ()


def test_missed_nights_keep_their_place():
    production, control = nights(np.random.default_rng(3), 40, 20, production=1.2)
    holes = [None if night in (5, 18, 41) else value for night, value in enumerate(production)]
    (change,) = changes(holes, control)
    assert 39 <= change.night <= 42


def test_figures_without_noise_change_by_the_third_night_and_quiet_ones_never():
    assert changes([100.0] * 60) == ()
    (change,) = changes([100.0] * 30 + [110.0] * 5)
    assert (change.night, change.noticed) == (30, 32)


def test_two_changes_are_both_told():
    rng = np.random.default_rng(8)
    levels = np.r_[np.ones(25), np.full(25, 1.3), np.full(25, 1.6)]
    found = changes(levels * np.exp(0.03 * rng.standard_normal(75)))
    assert len(found) == 2
    assert [abs(c.night - place) <= 1 for c, place in zip(found, (25, 50), strict=True)] == [True, True]
