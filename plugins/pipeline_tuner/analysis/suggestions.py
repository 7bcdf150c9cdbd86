"""Configurations that were not measured and are worth trying, with what the measured effects predict for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from pipeline_tuner.analysis.effects import Effects
from pipeline_tuner.recommendation import Interval
from pipeline_tuner.space import Configuration, Scalar, Space, configuration_id


@dataclass(frozen=True)
class Suggestion:
    """An untried configuration. `predicted` is its gain over the best one; None where nothing can be predicted."""

    configuration: Configuration
    predicted: Interval | None


def suggestions(
    space: Space,
    measured: Sequence[Configuration],
    best: Configuration,
    found: Effects,
    *,
    working: Sequence[Configuration] = (),
    confidence: float = 0.95,
    most: int = 3,
) -> tuple[Suggestion, ...]:
    """Untried neighbours of the best: one or two parameters moved by a step. The highest prediction first.

    `measured` are all configurations tried, `working` those that gave a value (all by default): a choice that
    never worked isn't suggested again.
    """
    tried = {configuration_id(configuration) for configuration in measured}
    untried: dict[str, Suggestion] = {}
    for configuration in _neighbours(space, best, measured, working or measured):
        identity = configuration_id(configuration)
        if identity not in tried and identity not in untried:
            predicted = found.model.predict(configuration, best, confidence) if found.model else None
            untried[identity] = Suggestion(configuration, predicted)
    ranked = sorted(untried.values(), key=lambda s: -(s.predicted.value if s.predicted else 0.0))
    return tuple(ranked[:most])


def _neighbours(
    space: Space, best: Configuration, measured: Sequence[Configuration], working: Sequence[Configuration]
) -> Iterator[Configuration]:
    """The best with one parameter moved, then with two. Parameters that nobody varied stay as they are."""
    varied = [name for name in best if len({str(c.get(name)) for c in measured if name in c}) > 1]
    moves = [(name, value) for name in varied for value in _steps(space, name, best[name], working)]
    pairs = [pair for pair in combinations(moves, 2) if pair[0][0] != pair[1][0]]
    for changes in [*([move] for move in moves), *pairs]:
        moved = {**best, **dict(changes)}
        configuration = space.complete({k: v for k, v in moved.items() if k in space.parameters})
        if space.problem(configuration) is None:
            yield configuration


def _steps(space: Space, name: str, value: Scalar, working: Sequence[Configuration]) -> list[Scalar]:
    """Where one parameter may go: the next listed levels, half the way to the next measured ones, or another choice."""
    parameter = space.parameters[name]
    worked = list(dict.fromkeys(c[name] for c in working if name in c))
    if not parameter.is_ordered:
        return [level for level in worked if level != value]
    if parameter.values:
        levels = list(parameter.values)
        rank = levels.index(value)
        return [*levels[max(rank - 1, 0) : rank], *levels[rank + 1 : rank + 2]]
    place, places = parameter.position(value), sorted(parameter.position(level) for level in worked)
    beside = [*[p for p in places if p < place][-1:], *[p for p in places if p > place][:1]]
    return [level for p in beside if (level := parameter.at((place + p) / 2)) != value]
