"""What the model of main effects expects of a configuration at each level of one parameter, all else equal."""

from __future__ import annotations

from pipeline_tuner.analysis.effects import Effects
from pipeline_tuner.recommendation import Interval
from pipeline_tuner.space import Configuration, Scalar


def expected_values(
    found: Effects, parameter: str, configuration: Configuration, value: float, *, up: bool, confidence: float = 0.95
) -> dict[Scalar, Interval]:
    """The goal's value by measured level; empty where the model can't tell the parameter from others.

    The intervals are for the difference from the configuration's own level, which has `value` and no width.

    :param value: The configuration's value, above 0, in the goal's unit.
    :param up: Whether larger values are better.
    """
    model = found.model
    if model is None or parameter not in model.separable or parameter not in configuration:
        return {}
    own = configuration[parameter]
    gains = {level: model.contrast(parameter, level, own, confidence) for level in model.levels(parameter)}
    return {level: _value_at(value, gain, up) for level, gain in gains.items()}


def _value_at(value: float, gain: Interval, up: bool) -> Interval:
    if up:
        return Interval(value * gain.value, value * gain.low, value * gain.high, gain.confidence, gain.n)
    return Interval(value / gain.value, value / gain.high, value / gain.low, gain.confidence, gain.n)
