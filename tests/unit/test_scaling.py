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
