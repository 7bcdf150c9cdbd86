"""The candidates that the adaptive search chooses from, and its first ones (maximin design). No I/O."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from pipeline_tuner.search.grid_and_sobol import grid_size
from pipeline_tuner.space import Configuration, Parameter, Scalar, Space

MAX_CANDIDATES = 2500
STARTERS = 60
RANGE_LEVELS = 9
"""Levels of a range among random candidates; neighbours of good configurations are finer."""


def pool(space: Space, leaders: Sequence[Configuration], generator: np.random.Generator) -> list[Configuration]:
    """Valid configurations to choose from: all of a small space, else random ones and neighbours of the leaders."""
    if all(p.values for p in space.parameters.values()) and grid_size(space, 2) <= MAX_CANDIDATES:
        return list(space.grid())
    found: dict[frozenset[tuple[str, Scalar]], Configuration] = {}
    for configuration in _draws(space, leaders, generator):
        if len(found) == MAX_CANDIDATES:
            break
        if space.problem(configuration) is None:
            found.setdefault(frozenset(configuration.items()), configuration)
    return list(found.values())


def some_near(
    rows: Sequence[Configuration], leaders: Sequence[Configuration], count: int, generator: np.random.Generator
) -> list[Configuration]:
    """`count` of the rows: half of them those that share most values with a leader, the others at random."""
    shuffled = [rows[i] for i in generator.permutation(len(rows))]
    shared = [max((len(row.items() & leader.items()) for leader in leaders), default=0) for row in shuffled]
    nearest = np.argsort(-np.array(shared), kind="stable")
    half = count // 2 if leaders else 0
    return [shuffled[i] for i in [*nearest[:half], *np.sort(nearest[half:])[: count - half]]]


def _draws(space: Space, leaders: Sequence[Configuration], generator: np.random.Generator) -> Iterator[Configuration]:
    """Neighbours of the leaders first, then random ones; it ends also where few configurations are valid."""
    usual = space.complete({})
    yield usual
    for leader in leaders or [usual]:
        yield from _neighbours(space, leader)
        for _ in range(MAX_CANDIDATES // 4 // max(len(leaders), 1)):
            yield _changed(space, leader, generator)
    for _ in range(2 * MAX_CANDIDATES):
        yield space.complete({name: _random(p, generator) for name, p in space.parameters.items()})


def _neighbours(space: Space, leader: Configuration) -> Iterator[Configuration]:
    for name, parameter in space.parameters.items():
        if name in leader:
            for value in nearby(parameter, leader[name]):
                yield space.complete({**leader, name: value})


def nearby(parameter: Parameter, value: Scalar) -> tuple[Scalar, ...]:
    """The levels next to a value, within a range also finer steps; of a categorical one all levels."""
    if parameter.values or not parameter.is_ordered:
        levels = parameter.levels()
        if not parameter.is_ordered or value not in levels:
            return levels
        at = levels.index(value)
        return levels[max(at - 1, 0) : at] + levels[at + 1 : at + 2]
    place, step = parameter.position(value), 1 / (RANGE_LEVELS - 1)
    shifts = (-step, -step / 2, -step / 4, step / 4, step / 2, step)
    return tuple(dict.fromkeys(parameter.at(min(max(place + shift, 0.0), 1.0)) for shift in shifts))


def _changed(space: Space, leader: Configuration, generator: np.random.Generator) -> Configuration:
    """The leader with two or three parameters moved, half of them to a neighbouring level."""
    changed = dict(leader)
    names = list(space.parameters)
    for index in generator.permutation(len(names))[: int(generator.integers(2, 4))]:
        parameter = space.parameters[names[index]]
        near = nearby(parameter, changed.get(names[index], parameter.default)) if generator.random() < 0.5 else ()
        changed[names[index]] = near[generator.integers(len(near))] if near else _random(parameter, generator)
    return space.complete(changed)


def _random(parameter: Parameter, generator: np.random.Generator) -> Scalar:
    if parameter.values or not parameter.is_ordered:
        levels = parameter.levels()
        return levels[generator.integers(len(levels))]
    return parameter.at(int(generator.integers(RANGE_LEVELS)) / (RANGE_LEVELS - 1))


def maximin_design(points: np.ndarray, chosen: np.ndarray, count: int, generator: np.random.Generator) -> list[int]:
    """The rows to measure first: the one nearest the centre, then always the one farthest from all before.

    `chosen` are points that are measured anyway (presets). Maximin distance designs: Johnson et al., 1990. Only some
    rows, drawn at random, stand for election: the farthest of thousands are all corners, where nobody runs a job.
    """
    drawn = np.sort(generator.choice(len(points), min(len(points), STARTERS), replace=False))
    some = points[drawn]
    gaps = np.full(len(some), math.inf)
    for point in chosen:
        gaps = np.minimum(gaps, np.abs(some - point).sum(axis=1))
    found: list[int] = []
    for _ in range(min(count, len(some))):
        centre = np.isinf(gaps).all()
        nearest = int(((some - 0.5) ** 2).sum(axis=1).argmin()) if centre else int(gaps.argmax())
        found.append(nearest)
        gaps = np.minimum(gaps, np.abs(some - some[nearest]).sum(axis=1))
    return [int(drawn[i]) for i in found]
