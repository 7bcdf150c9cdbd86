"""The strategies `grid` (every combination of levels) and `sobol` (a scrambled sequence; Owen, 1998)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline_tuner.search.strategy import Strategy, SweepSoFar
from pipeline_tuner.space import Configuration, Space
from pipeline_tuner.trial import Candidate

MAX_LEVELS = 5
SMALL_GRID = 100_000
"""Grids up to this size are walked through; larger ones are sampled."""


@dataclass(frozen=True)
class Grid(Strategy):
    """The finest grid that the budget can measure once; a random part of the coarsest one where none fits."""

    def propose(self, sweep: SweepSoFar) -> tuple[Candidate, ...]:
        """The whole grid in the first round."""
        if sweep.round_number > 1:
            return ()
        room = max(sweep.room - 1, 0)
        space = sweep.study.space.searched
        levels = finest_grid(space, room)
        configurations = list(grid_in_random_order(space, levels, sweep.generator(1), room))
        return sweep.fresh(configurations, room)


def finest_grid(space: Space, room: int) -> int:
    """The most levels (2 to 5) of parameters without listed values for which the grid fits into the room."""
    for levels in range(MAX_LEVELS, 2, -1):
        if grid_size(space, levels) <= room:
            return levels
    return 2


def grid_size(space: Space, levels: int) -> int:
    """Combinations of levels, constraints and conditions left aside."""
    return math.prod(len(parameter.levels(levels)) for parameter in space.parameters.values())


def grid_in_random_order(
    space: Space, levels: int, generator: np.random.Generator, count: int
) -> Iterator[Configuration]:
    """The grid shuffled; of a very large one, random points of it (repeats among them)."""
    if grid_size(space, levels) <= SMALL_GRID:
        found = list(space.grid(levels))
        yield from (found[i] for i in generator.permutation(len(found)))
        return
    values = {name: parameter.levels(levels) for name, parameter in space.parameters.items()}
    for _ in range(20 * count):
        configuration = space.complete({name: v[generator.integers(len(v))] for name, v in values.items()})
        if space.problem(configuration) is None:
            yield configuration


OVERSAMPLE = 8
"""Points drawn for each one wanted: some break constraints or round to the same configuration."""


@dataclass(frozen=True)
class Sobol(Strategy):
    """Half of the trials for new configurations, the other half to repeat the good ones."""

    def propose(self, sweep: SweepSoFar) -> tuple[Candidate, ...]:
        """All points in the first round."""
        if sweep.round_number > 1:
            return ()
        count = max(sweep.room // 2 - 1, 0)
        seed = int(sweep.generator(2).integers(2**31))
        return sweep.fresh(sobol_points(sweep.study.space.searched, OVERSAMPLE * count, seed), count)


def sobol_points(space: Space, count: int, seed: int) -> Iterator[Configuration]:
    """About `count` valid configurations in the sequence's order, repeats among them."""
    from scipy.stats import qmc  # half a second to import

    sequence = qmc.Sobol(len(space.parameters), scramble=True, seed=seed)
    for point in sequence.random_base2(math.ceil(math.log2(max(count, 2)))):
        values = {name: p.at(float(x)) for (name, p), x in zip(space.parameters.items(), point, strict=True)}
        configuration = space.complete(values)
        if space.problem(configuration) is None:
            yield configuration
