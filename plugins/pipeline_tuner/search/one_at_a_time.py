"""One parameter changed at a time, everything else as in the control: easy to read, blind to interactions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline_tuner.search.strategy import Strategy, SweepSoFar
from pipeline_tuner.space import Configuration
from pipeline_tuner.trial import Candidate

MOST_LEVELS = 5


@dataclass(frozen=True)
class OneAtATime(Strategy):
    """Each parameter through its levels; fewer levels where the budget can't pay for five."""

    def propose(self, sweep: SweepSoFar) -> tuple[Candidate, ...]:
        """All variations in the first round."""
        if sweep.round_number > 1:
            return ()
        room = max(sweep.room - 1, 0)
        for levels in range(MOST_LEVELS, 1, -1):
            found = sweep.fresh(variations(sweep, levels), count=sweep.options.budget.trials)
            if len(found) <= room:
                break
        return found[:room]


def variations(sweep: SweepSoFar, levels: int) -> Iterator[Configuration]:
    """The control with one parameter changed, level by level so that a short budget still touches every parameter."""
    space, control = sweep.study.space, sweep.control.configuration
    tried = {name: parameter.levels(levels) for name, parameter in space.parameters.items() if name in control}
    for step in range(max(map(len, tried.values()))):
        for name, values in tried.items():
            if step < len(values):
                changed = space.complete({**control, name: values[step]})
                if space.problem(changed) is None:
                    yield changed
