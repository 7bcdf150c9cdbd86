"""The effects of parameters: how much each matters, which interact, and what an untried configuration would reach.

One linear model on the log scale: block + an effect of each parameter (Box, Hunter and Hunter, *Statistics for
Experimenters*). Ordered parameters act by their position, with curvature where three or more levels and enough
configurations allow it; choices by their levels. Noise is the larger of what repeats and what the model leaves
unexplained between configurations, so that a model that doesn't fit says so by wide intervals. The interval of
a parameter holds for every pair of its levels at once (Scheffe), p-values for all parameters together (Holm).
Parameters that were (nearly) always changed together are named as not separable and get no effect; neither do those
whose effect would be another one if one of these were left out of the model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from pipeline_tuner.analysis.effect_design import Run
from pipeline_tuner.analysis.effect_model import MIN_DF, Model
from pipeline_tuner.recommendation import Interval
from pipeline_tuner.space import Configuration, Scalar, Space

MAX_INTERACTING = 5


@dataclass(frozen=True)
class Effect:
    """What going from a parameter's worst to its best measured level gains, all else equal."""

    parameter: str
    worst: Scalar
    best: Scalar
    gain: Interval
    p_value: float
    is_shown: bool
    share: float
    """The part of what the model explains that is this parameter's own."""


@dataclass(frozen=True)
class Interaction:
    """Two parameters whose effects depend on each other."""

    first: str
    second: str
    p_value: float


@dataclass(frozen=True)
class Effects:
    """The effects, the largest share first. `problem` says why there are none."""

    effects: tuple[Effect, ...] = ()
    interactions: tuple[Interaction, ...] = ()
    not_separable: tuple[tuple[str, ...], ...] = ()
    unexplained: float = math.nan
    """The part of the variation between configurations that the parameters leave unexplained."""
    problem: str = ""
    model: Model | None = None


def effects(space: Space, runs: Sequence[Run], *, confidence: float = 0.95) -> Effects:
    """The effects of the parameters that varied. Few or confounded data give fewer effects, never invented ones."""
    model = Model.of(space, runs)
    if not model.names:
        return Effects(problem="all trials have the same configuration")
    if model.df < MIN_DF:
        needed = len(model.columns) + MIN_DF + 1
        return Effects(
            problem=f"not enough data: {model.configurations} configurations for {len(model.names)} parameters; "
            f"about {needed} configurations, or repeats in further blocks, would do"
        )
    tests = {name: model.p_value([name]) for name in model.separable}
    adjusted = holm(tests)
    found = [_effect(model, name, adjusted[name], confidence) for name in model.separable]
    return Effects(
        tuple(sorted(found, key=lambda effect: -effect.share)),
        _interactions(space, runs, model, found, confidence),
        (*model.aliases, *((name,) for name in model.entangled)),
        model.unexplained,
        model=model,
    )


def _effect(model: Model, name: str, p_value: float, confidence: float) -> Effect:
    worst, best = model.extremes(name)
    gain = model.contrast(name, best, worst, confidence)
    return Effect(name, worst, best, gain, p_value, p_value <= 1 - confidence, model.share(name))


def _interactions(
    space: Space, runs: Sequence[Run], model: Model, found: Sequence[Effect], confidence: float
) -> tuple[Interaction, ...]:
    leading = [effect.parameter for effect in sorted(found, key=lambda e: -e.share)][:MAX_INTERACTING]
    tests = {}
    for pair in combinations(leading, 2):
        wider = Model.of(space, runs, pairs=(pair,))
        if wider.df >= MIN_DF and len(wider.columns) > len(model.columns):
            tests[pair] = wider.p_value([pair])
    return tuple(Interaction(a, b, p) for (a, b), p in holm(tests).items() if p <= 1 - confidence)


def holm(p_values: Mapping[Any, float]) -> dict[Any, float]:
    """P-values adjusted so that the chance of any false one among all is kept (Holm, 1979)."""
    adjusted: dict[Any, float] = {}
    largest = 0.0
    for rank, key in enumerate(sorted(p_values, key=lambda k: p_values[k])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[key]))
        adjusted[key] = largest
    return adjusted


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
