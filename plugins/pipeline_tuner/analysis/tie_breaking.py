"""Ties and trade-offs: which of several equal configurations the study prefers, and which no other beats in every goal
(Pareto).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipeline_tuner.exceptions import StudyError
from pipeline_tuner.expression import parsed
from pipeline_tuner.measurement import is_usable
from pipeline_tuner.recommendation import Recommendation
from pipeline_tuner.space import Configuration
from pipeline_tuner.study import Study
from pipeline_tuner.trial import Candidate


def by_preference(study: Study, candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """The candidates, the most preferred first; equally preferred ones keep their order.

    The study's `prefer` expression decides (smaller is preferred), then the distance to the control.
    Raises StudyError where `prefer` names something that is no parameter or price.
    """
    return tuple(sorted(candidates, key=lambda c: (_preference(study, c), distance(study, c.configuration))))


def _preference(study: Study, candidate: Candidate) -> float:
    if study.prefer is None:
        return 0.0
    defaults = {name: parameter.default for name, parameter in study.space.parameters.items()}
    try:
        return float(parsed(study.prefer).evaluate({**study.prices, **defaults, **candidate.configuration}))
    except (ValueError, TypeError) as error:
        raise StudyError(f"{study.study}: prefer: {error}; it may use parameters and prices") from None


def distance(study: Study, configuration: Configuration) -> float:
    """How much a configuration changes against the control: changed parameters, plus how far the ordered ones move."""
    control = study.control_candidate.configuration
    total = 0.0
    for name, parameter in study.space.parameters.items():
        mine, theirs = configuration.get(name), control.get(name)
        if mine != theirs:
            both = mine is not None and theirs is not None and parameter.is_ordered
            total += 1.0 + (abs(parameter.position(mine) - parameter.position(theirs)) if both else 1.0)  # type: ignore[arg-type]
    return total


@dataclass(frozen=True)
class TradeOff:
    """What several goals want of one another."""

    goals: tuple[str, ...]
    gains: Mapping[str, tuple[float, ...]]
    """By configuration: its gain over the control in each goal. The control is among them, at 1."""
    zone: float
    """Differences of logs that don't count."""

    @cached_property
    def front(self) -> tuple[str, ...]:
        """The configurations that no other beats in every goal, the best for the first goal first."""
        return tuple(sorted(front(self._scores, zone=self.zone), key=lambda label: -self.gains[label][0]))

    @property
    def bend(self) -> str | None:
        """Where the front bends, if it has more than two points."""
        return knee({label: self._scores[label] for label in self.front}) if len(self.front) > 2 else None

    @cached_property
    def _scores(self) -> dict[str, list[float]]:
        return {label: [math.log(gain) for gain in gains] for label, gains in self.gains.items()}


def trade_off(study: Study, recommendations: Sequence[Recommendation], indifference: float) -> TradeOff | None:
    """The trade-off between goals with a value of their own; None with fewer than two goals or configurations.

    A configuration that is excluded for one of the goals, or has no gain in it, has no place in it.
    """
    own = [found for found in recommendations if not study.goals[found.goal].balance]
    gains = {}
    for label in own[0].evidence if own else ():
        entries = [found.evidence[label] for found in own if label in found.evidence]
        ratios = [entry.ratio.value for entry in entries if entry.ratio and not entry.exclusion]
        if len(ratios) == len(own) and all(map(is_usable, ratios)):
            gains[label] = tuple(ratios)
    if len(own) < 2 or len(gains) < 2:
        return None
    return TradeOff(tuple(found.goal for found in own), gains, math.log1p(indifference))


def front(scores: Mapping[str, Sequence[float]], *, zone: float = 0.0) -> tuple[str, ...]:
    """The labels that no other beats: as good in every goal and better by more than `zone` in one.

    `scores` are logs in which larger is better; `zone` is a difference of logs (0.05 is about 5%).
    """
    return tuple(
        label
        for label, mine in scores.items()
        if not any(dominates(theirs, mine, zone=zone) for other, theirs in scores.items() if other != label)
    )


def dominates(first: Sequence[float], second: Sequence[float], *, zone: float = 0.0) -> bool:
    """Whether `first` is nowhere worse than `second` and somewhere better by more than the zone."""
    gains = np.asarray(first) - np.asarray(second)
    return bool((gains >= 0).all() and (gains > zone).any())


def knee(scores: Mapping[str, Sequence[float]]) -> str | None:
    """The front's bend: the label furthest from the line (or plane) through the best of each goal.

    Goals are scaled to 0..1 over the front first (normal boundary intersection, Das and Dennis 1998).
    None for an empty front; the only label where there is one.
    """
    labels = front(scores)
    if len(labels) < 3:
        return max(labels, key=lambda label: float(np.sum(scores[label])), default=None)
    points = np.array([scores[label] for label in labels], dtype=float)
    spread = np.ptp(points, axis=0)
    scaled = (points - points.min(axis=0)) / np.where(spread > 0, spread, 1.0)
    return labels[int(scaled.sum(axis=1).argmax())]
