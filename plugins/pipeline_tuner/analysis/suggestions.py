"""Configurations that weren't tried and are worth it, with what the measured effects predict for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from pipeline_tuner.analysis.effects import Effects
from pipeline_tuner.recommendation import Interval
from pipeline_tuner.space import Configuration, Scalar, Space, configuration_id


@dataclass(frozen=True)
class Suggestion:
    """An untried configuration. `predicted` is its gain over the control; None where nothing can be predicted."""

    configuration: Configuration
    predicted: Interval | None


def suggestions(
    space: Space,
    measured: Sequence[Configuration],
    best: Configuration,
    control: Configuration,
    found: Effects,
    *,
    confidence: float = 0.95,
    most: int = 3,
) -> tuple[Suggestion, ...]:
    """Untried neighbours of the best: one or two parameters moved by a level. The highest prediction first."""
    tried = {configuration_id(configuration) for configuration in measured}
    untried: dict[str, Suggestion] = {}
    for configuration in _neighbours(space, best):
        identity = configuration_id(configuration)
        if identity not in tried and identity not in untried:
            predicted = found.model.predict(configuration, control, confidence) if found.model else None
            untried[identity] = Suggestion(configuration, predicted)
    ranked = sorted(untried.values(), key=lambda s: -(s.predicted.value if s.predicted else 0.0))
    return tuple(ranked[:most])


def _neighbours(space: Space, best: Configuration) -> Iterator[Configuration]:
    moves = [(name, value) for name in best for value in _next_levels(space, name, best[name])]
    pairs = [pair for pair in combinations(moves, 2) if pair[0][0] != pair[1][0]]
    for changes in [*([move] for move in moves), *pairs]:
        moved = {**best, **dict(changes)}
        configuration = space.complete({k: v for k, v in moved.items() if k in space.parameters})
        if space.problem(configuration) is None:
            yield configuration


def _next_levels(space: Space, name: str, value: Scalar) -> list[Scalar]:
    """The next lower and higher level of an ordered parameter; every other level of a choice."""
    parameter = space.parameters[name]
    levels = [level for level in parameter.levels() if level != value]
    if not parameter.is_ordered:
        return levels
    place = parameter.position(value)
    lower = [level for level in levels if parameter.position(level) < place]
    higher = [level for level in levels if parameter.position(level) > place]
    return [*lower[-1:], *higher[:1]]
