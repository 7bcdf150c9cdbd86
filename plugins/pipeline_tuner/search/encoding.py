"""Configurations as points of the unit cube: how each kind of parameter is encoded for the model. No I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pipeline_tuner.expression import Expression
from pipeline_tuner.space import Configuration, Parameter, Scalar, Space


@dataclass(frozen=True)
class Encoding:
    """Columns for each parameter of a space, and for each feature that the workload's numbers allow.

    An ordered parameter is one column: the rank of its level where levels are listed, its place in the range (by
    ratio where `log`) otherwise; a categorical one over amounts of memory is one, too. One with three or more values is
    a column per value, all sharing one length scale.
    An inactive parameter stands at its default: the parameter that switches it off tells the difference.
    """

    space: Space
    workload: Mapping[str, Any]
    """The workload's numbers that features may name."""

    @cached_property
    def groups(self) -> np.ndarray:
        """For each column, the number of its length scale."""
        widths = [_width(parameter) for parameter in self.space.parameters.values()]
        widths += [1] * len(self._features)
        return np.repeat(np.arange(len(widths)), widths)

    @cached_property
    def _features(self) -> tuple[Expression, ...]:
        known = {*self.space.parameters, *self.workload}
        parsed = (Expression(text) for text in self.space.features.values())
        return tuple(feature for feature in parsed if feature.names <= known)

    def points(self, configurations: Sequence[Configuration]) -> np.ndarray:
        """One row per configuration, one column per coordinate in 0..1; features scaled over these configurations."""
        defaults = {name: parameter.default for name, parameter in self.space.parameters.items()}
        complete = [{**defaults, **configuration} for configuration in configurations]
        columns: list[Sequence[float] | np.ndarray] = [
            c for name, p in self.space.parameters.items() for c in _columns(p, [v[name] for v in complete])
        ]
        columns += [
            _scaled([_evaluated(feature, {**self.workload, **v}) for v in complete]) for feature in self._features
        ]
        return np.array(columns, dtype=float).T.reshape(len(complete), len(self.groups))


def _width(parameter: Parameter) -> int:
    return len(parameter.levels()) if _is_spread(parameter) else 1


def _is_spread(parameter: Parameter) -> bool:
    return parameter.type == "categorical" and len(parameter.values) > 2 and not parameter.sizes


def _columns(parameter: Parameter, values: Sequence[Scalar]) -> list[list[float]]:
    if _is_spread(parameter):
        return [[float(value == level) for value in values] for level in parameter.levels()]
    if parameter.sizes:
        ranked = sorted(parameter.sizes, key=lambda value: parameter.sizes[value])
        return [[ranked.index(value) / max(len(ranked) - 1, 1) for value in values]]
    place = {value: parameter.position(value) for value in set(values)}
    return [[place[value] for value in values]]


def _evaluated(feature: Expression, values: Mapping[str, Any]) -> float:
    try:
        return float(feature.evaluate(values))
    except (TypeError, ValueError):
        return math.nan


def _scaled(values: Sequence[float]) -> np.ndarray:
    """To 0..1, by ratio where all are above zero; the middle where a feature can't be computed."""
    numbers = np.array(values, dtype=float)
    numbers = np.where(np.isfinite(numbers), numbers, np.nan)
    if not np.isfinite(numbers).any():
        return np.full(len(numbers), 0.5)
    if np.nanmin(numbers) > 0:
        numbers = np.log(numbers)
    low, high = np.nanmin(numbers), np.nanmax(numbers)
    return np.nan_to_num((numbers - low) / (high - low), nan=0.5) if high > low else np.full(len(numbers), 0.5)
