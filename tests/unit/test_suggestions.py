from __future__ import annotations

import math

from tests.unit.planted import planted_study

from pipeline_tuner.analysis.effect_design import Run
from pipeline_tuner.analysis.effects import Effects, effects
from pipeline_tuner.analysis.paired_effects import contrasts_around
from pipeline_tuner.analysis.suggestions import suggestions
from pipeline_tuner.space import configuration_id

SPACE = planted_study().space
BASE = {"partitions": 8, "batch": 100, "method": "jdbc"}


def tried(*changes):
    return [{**BASE, **change} for change in changes]


def test_suggestions_are_valid_untried_and_near_what_worked():
    measured = tried({}, {"batch": 1000}, {"partitions": 16}, {"method": "copy"})
    working = [c for c in measured if c["method"] == "jdbc"]
    found = suggestions(SPACE, measured, BASE, Effects(), working=working, most=50)
    assert found
    assert {configuration_id(s.configuration) for s in found}.isdisjoint(map(configuration_id, measured))
    assert all(SPACE.problem(s.configuration) is None for s in found)
    assert {s.configuration["method"] for s in found} == {"jdbc"}
    assert {s.configuration["batch"] for s in found} == {100, 316}


def test_the_best_prediction_comes_first():
    measured = [{**BASE, "batch": b, "method": m} for b in (10, 100, 1000) for m in ("jdbc", "copy")]
    runs = [
        Run(c, block, math.log(c["batch"]) * 0.1 + 0.01 * ((i * 7 + block) % 3))
        for block in range(3)
        for i, c in enumerate(measured)
    ]
    found = suggestions(SPACE, measured, {**BASE, "batch": 100}, effects(SPACE, runs))
    assert found[0].configuration["batch"] == 316
    assert found[0].predicted.value > found[-1].predicted.value


def test_contrasts_are_told_only_where_they_are_shown():
    configurations = tried({}, {"method": "copy"}, {"batch": 1000}, {"partitions": 32, "method": "copy"})
    truth = (0.0, 0.3, 0.0, 0.9)
    runs = [
        Run(c, block, worth + 0.1 * block + 0.01 * ((i * 5 + block * 3) % 4))
        for block in range(5)
        for i, (c, worth) in enumerate(zip(configurations, truth, strict=True))
    ]
    (step,) = contrasts_around(runs, BASE)
    assert (step.parameter, step.worse, step.better) == ("method", "jdbc", "copy")
    assert step.gain.low < math.exp(0.3) < step.gain.high
    assert contrasts_around(runs[:8], BASE) == ()
