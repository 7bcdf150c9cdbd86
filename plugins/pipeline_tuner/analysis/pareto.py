"""The Pareto front of several goals, and its knee."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


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
