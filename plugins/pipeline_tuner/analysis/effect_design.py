"""The design matrix of the effects: configurations as the columns and rows of a linear model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline_tuner.space import Configuration, Parameter, Scalar, Space

Term = str | tuple[str, str]
"""What a model's columns stand for: a parameter, or two that act together."""


@dataclass(frozen=True)
class Run:
    """One trial: its configuration, its block, and its score (a log, larger is better)."""

    configuration: Configuration
    block: object
    score: float


def levels_of(space: Space, runs: Sequence[Run]) -> dict[str, list[Scalar]]:
    """The measured levels of each parameter that varied where it was active, sorted."""
    levels = {}
    for name, parameter in space.parameters.items():
        seen = dict.fromkeys(run.configuration[name] for run in runs if name in run.configuration)
        if len(seen) > 1:
            levels[name] = sorted(seen, key=lambda v: (float(v) if parameter.is_ordered else 0.0, str(v)))
    return levels


def columns_of(
    space: Space, runs: Sequence[Run], pairs: Sequence[tuple[str, str]], curved: bool
) -> tuple[tuple[Term, int], ...]:
    """The model's columns, as term and number within it: a parameter that varied has a slope or a column per level.

    `curved` gives ordered parameters of three levels or more a square; `pairs` add products of slopes.
    """
    columns: list[tuple[Term, int]] = []
    for name, levels in levels_of(space, runs).items():
        ordered = space.parameters[name].is_ordered
        width = (2 if curved and len(levels) > 2 else 1) if ordered else len(levels) - 1
        columns += [(name, number) for number in range(width)]
    widths = {name: sum(c[0] == name for c in columns) for name in levels_of(space, runs)}
    linear = {n: 1 if space.parameters[n].is_ordered else widths[n] for n in widths}
    for first, second in pairs:
        columns += [((first, second), number) for number in range(linear[first] * linear[second])]
    return tuple(columns)


def entry_of(
    space: Space, levels: dict[str, list[Scalar]], column: tuple[Term, int], configuration: Configuration
) -> float:
    """What a configuration has in a column: between -1 and 1 for ordered parameters, 0 or 1 for choices.

    Where a parameter is inactive, the mean over its levels: so its own effect isn't mixed up with that of the
    parameter that switches it on.
    """
    term, number = column
    if isinstance(term, tuple):
        first, second = term
        width = 1 if space.parameters[second].is_ordered else len(levels[second]) - 1
        left = entry_of(space, levels, (first, number // width), configuration)
        return left * entry_of(space, levels, (second, number % width), configuration)
    known = levels[term]
    if term in configuration:
        return _level_entry(space.parameters[term], known, number, configuration[term])
    return sum(_level_entry(space.parameters[term], known, number, level) for level in known) / len(known)


def _level_entry(parameter: Parameter, levels: Sequence[Scalar], number: int, value: Scalar) -> float:
    if not parameter.is_ordered:
        return float(value == levels[number + 1])
    position = parameter.position(value) - parameter.position(levels[0])
    span = parameter.position(levels[-1]) - parameter.position(levels[0])
    scaled = 2 * position / span - 1
    return scaled if number == 0 else scaled**2
