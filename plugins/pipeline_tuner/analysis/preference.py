"""Which of several equals: the one that the study prefers, and those that no other beats in every goal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from pipeline_tuner.exceptions import StudyError
from pipeline_tuner.expression import Expression
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
        return float(Expression(study.prefer).evaluate({**study.prices, **defaults, **candidate.configuration}))
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
