from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline_tuner.analysis.scaling import ScalePoint, fit_growth, fit_scaling, usl


def points(contention, crosstalk, levels=(1, 2, 4, 8, 16), blocks=3, noise=0.02, seed=0):
    rng = np.random.default_rng(seed)
    return [
        ScalePoint(
            n, 1000 * usl(n, contention, crosstalk) * math.exp(0.1 * block + noise * rng.standard_normal()), block
        )
        for block in range(blocks)
        for n in levels
    ]


@pytest.mark.parametrize(
    ("contention", "crosstalk", "law"), [(0.1, 0.01, "USL"), (0.1, 0.0, "Amdahl"), (0.0, 0.0, "linear")]
)
def test_planted_law_is_recovered(contention, crosstalk, law):
    fitted = fit_scaling(points(contention, crosstalk, noise=0.005))
    assert fitted.contention.value == pytest.approx(contention, abs=0.02)
    assert fitted.crosstalk.value == pytest.approx(crosstalk, abs=0.003)
    assert fitted.law == law


def test_intervals_of_the_law_cover_it():
    inside = 0
    for seed in range(30):
        fitted = fit_scaling(points(0.1, 0.01, seed=seed), seed=seed)
        inside += fitted.contention.low <= 0.1 <= fitted.contention.high
    assert inside >= 25


def test_peak_and_end_of_the_worthwhile():
    fitted = fit_scaling(points(0.1, 0.01, noise=0.003))
    assert fitted.peak == pytest.approx(math.sqrt(0.9 / 0.01), rel=0.1)
    assert fitted.worthwhile.low <= fitted.worthwhile.value <= fitted.worthwhile.high
    here = fitted.worthwhile.value
    assert usl(2 * here, 0.1, 0.01) / usl(here, 0.1, 0.01) == pytest.approx(1.1, abs=0.05)


def test_extrapolation_is_marked_wide_and_ends():
    fitted = fit_scaling(points(0.1, 0.0, levels=(1, 2, 4, 8)))
    inside, outside = fitted.predict(6), fitted.predict(16)
    assert not inside.is_extrapolated
    assert outside.is_extrapolated
    width = lambda p: p.speedup.high / p.speedup.low  # noqa: E731
    assert width(outside) > 1.3 * width(inside)
    assert fitted.predict(17) is None


def test_what_does_not_grow_is_flat():
    assert fit_scaling(points(1.0, 0.0, levels=(2, 4, 8, 16))).is_flat
    assert not fit_scaling(points(0.1, 0.0)).is_flat


@pytest.mark.parametrize("crosstalk", [0.0, 0.01])
def test_extrapolation_covers_the_truth(crosstalk):
    inside = 0
    for seed in range(20):
        predicted = fit_scaling(points(0.1, crosstalk, levels=(1, 2, 4, 8), seed=seed)).predict(16)
        inside += predicted.speedup.low <= usl(16, 0.1, crosstalk) <= predicted.speedup.high
    assert inside >= 18


def test_two_levels_make_no_law():
    assert fit_scaling(points(0.1, 0.0, levels=(1, 4))) is None


def test_growth_with_data():
    sizes = [100, 500, 1000, 2000] * 2
    linear = fit_growth(sizes, [0.02 * s * (1 + 0.01 * (-1) ** i) for i, s in enumerate(sizes)])
    steep = fit_growth(sizes, [1e-4 * s**1.5 for s in sizes])
    assert (linear.words, steep.words) == ("linear", "more than linear")
    assert fit_growth([1, 2], [1, 2]) is None


@pytest.mark.parametrize("rates", [
    {2: 100, 4: 60, 8: 40}, {1: 100, 2: 70, 4: 55, 8: 50}, {4: 100, 8: 30, 16: 5}, {2: 100, 4: 200, 8: 20},
    {2: 1000, 4: 100, 8: 10, 16: 1},
])  # fmt: skip
def test_contention_is_a_part_of_the_work_or_no_law_is_told(rates):
    """More workers that give less: the fit once called it a contention of 151%."""
    runs = [
        ScalePoint(n, rate * (1 + 0.01 * (-1) ** (block + n // 2)), block)
        for block in range(3)
        for n, rate in rates.items()
    ]
    fitted = fit_scaling(runs)
    assert 0 <= fitted.contention.low <= fitted.contention.value <= fitted.contention.high <= 1
    first = min(rates)
    misses = [abs(fitted.speedup(n) / fitted.speedup(first) / (rates[n] / rates[first]) - 1) for n in rates]
    assert not fitted.is_apt or max(misses) < 0.2


def test_a_law_that_fits_is_apt():
    assert fit_scaling(points(0.1, 0.01)).is_apt
    assert fit_scaling(points(0.1, 0.0)).is_apt
