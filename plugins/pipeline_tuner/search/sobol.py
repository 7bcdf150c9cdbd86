"""Configurations spread evenly over the whole space by a scrambled Sobol sequence (Owen, 1998)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline_tuner.search.strategy import Strategy, SweepSoFar
from pipeline_tuner.space import Configuration, Space
from pipeline_tuner.trial import Candidate

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
