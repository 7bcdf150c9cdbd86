"""Whichever tie is picked, the promise holds: the pick is seldom 5% worse than the best."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline_tuner.analysis.block_fit import Observation
from pipeline_tuner.analysis.selection import select

TRUTH = (1.0, 1.0, 1.05, 1.06, 1.06, 1.06)
"""The last ones are more than the indifference zone worse: no preference may lead to them."""


def observed(rng, noise, blocks):
    drift = 0.07 * rng.standard_normal(blocks)
    return [
        Observation(f"c{i}", block, float(np.exp(np.log(truth) + drift[block] + noise * rng.standard_normal())))
        for block in range(blocks)
        for i, truth in enumerate(TRUTH)
    ]


@pytest.mark.parametrize(("noise", "blocks"), [(0.03, 5), (0.05, 10)])
def test_the_worst_preference_among_the_interchangeable_keeps_the_promise(noise, blocks):
    rng = np.random.default_rng(3)
    bad = declared = 0
    for _ in range(150):
        answer = select(observed(rng, noise, blocks), control="c0", cap=blocks)
        if answer.status != "undecided":
            declared += 1
            bad += TRUTH[max(int(label[1:]) for label in answer.interchangeable)] >= 1.05
    assert declared >= 40
    assert bad <= 13  # 5% of 150 is 7.5


def test_the_leader_is_always_among_them_and_an_abstention_has_none():
    rng = np.random.default_rng(4)
    for noise in (0.01, 0.03, 0.3):
        answer = select(observed(rng, noise, 5), cap=5)
        assert (answer.best in answer.interchangeable) == (answer.status != "undecided")
        assert set(answer.interchangeable) <= set(answer.ties)
