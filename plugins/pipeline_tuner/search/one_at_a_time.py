"""One parameter changed at a time, everything else as in the control: easy to read, blind to interactions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pipeline_tuner.search.strategy import Strategy, SweepSoFar
from pipeline_tuner.space import Configuration, Space
from pipeline_tuner.trial import Candidate

MAX_LEVELS = 5


@dataclass(frozen=True)
class OneAtATime(Strategy):
    """Each parameter through its levels; fewer levels where the budget can't pay for five."""

    def propose(self, sweep: SweepSoFar) -> tuple[Candidate, ...]:
        """All variations in the first round."""
        if sweep.round_number > 1:
            return ()
        room = max(sweep.room - 1, 0)
        space, control = sweep.study.space, sweep.control.configuration
        for levels in range(MAX_LEVELS, 1, -1):
            found = sweep.fresh(variations(space, levels, control), sweep.options.budget.trials)
            if len(found) <= room:
                break
        return found[:room]


def variations(
    space: Space, levels: int, base: Configuration, names: Iterable[str] | None = None
) -> Iterator[Configuration]:
    """The base with one parameter changed, level by level so that a short budget still touches every parameter.

    `names` are the parameters to vary, the first ones first; all active ones by default.
    """
    varied = [name for name in (space.parameters if names is None else names) if name in base]
    tried = {name: [value for value in space.parameters[name].levels(levels) if value != base[name]] for name in varied}
    for step in range(max(map(len, tried.values()), default=0)):
        for name, values in tried.items():
            if step < len(values):
                changed = space.complete({**base, name: values[step]})
                if space.problem(changed) is None:
                    yield changed
