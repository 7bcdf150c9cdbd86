"""The strategies `one_at_a_time` (around the control) and `staged` (stage by stage, keeping what pays)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pipeline_tuner.analysis.stages import first_round, steps
from pipeline_tuner.exceptions import StudyError
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


@dataclass(frozen=True)
class Staged(Strategy):
    """The study's `stages` in order, one parameter at a time around what the stages before have kept.

    The rounds are shared out evenly: the first of a stage measures its variations beside the configuration that it
    starts from, the others repeat those that are not yet told apart. Give a staged sweep two rounds a stage.
    """

    def propose(self, sweep: SweepSoFar) -> tuple[Candidate, ...]:
        """A stage's variations in its first round, its starting point among them."""
        study, rounds = sweep.study, sweep.options.budget.rounds
        if not study.stages:
            raise StudyError(f"study {study.study} has no 'stages', which the staged strategy goes through")
        starts = [first_round(number, len(study.stages), rounds) for number in range(len(study.stages))]
        names = [
            p for s, part in zip(starts, study.stages.values(), strict=True) if s == sweep.round_number for p in part
        ]
        if not names:
            return ()
        done = steps(study, sweep.options, sweep.earlier)
        base = done[-1].after if done else sweep.control
        room = sweep.room // (1 + sum(s > sweep.round_number for s in starts)) - 2
        return _around(sweep, base, names, max(room, 1))


def _around(sweep: SweepSoFar, base: Candidate, names: list[str], room: int) -> tuple[Candidate, ...]:
    for levels in range(MAX_LEVELS, 1, -1):
        found = sweep.fresh(
            variations(sweep.study.space, levels, base.configuration, names), sweep.options.budget.trials
        )
        if len(found) <= room:
            break
    started = () if base.label == sweep.control.label else (base,)
    return (*started, *found[:room])
