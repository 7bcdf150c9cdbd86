"""Arithmetic of stretches of time: sorted, disjoint pairs (after, until], in us since 1970. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

Stretch = tuple[int, int]
"""The times t with after < t <= until."""
Coverage = tuple[Stretch, ...]
BEGINNING_US = -62_135_596_800_000_000
"""The year 1: before all times."""


def united(stretches: Iterable[Stretch]) -> Coverage:
    """All of the stretches, those that touch or overlap as one."""
    joined: list[Stretch] = []
    for after, until in sorted(stretch for stretch in stretches if stretch[0] < stretch[1]):
        if joined and after <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], until))
        else:
            joined.append((after, until))
    return tuple(joined)


def without(stretch: Stretch, covered: Coverage) -> Coverage:
    """What of a stretch is not covered."""
    left, (after, until) = [], stretch
    for start, stop in covered:
        if stop <= after or start >= until:
            continue
        left.append((after, max(after, start)))
        after = max(after, stop)
    return united([*left, (after, until)])


def common(covered: Coverage, stretch: Stretch) -> Coverage:
    """What of a stretch is covered."""
    return united((max(after, stretch[0]), min(until, stretch[1])) for after, until in covered)


def holds(covered: Coverage, stretch: Stretch) -> bool:
    """Whether the whole of a stretch is covered."""
    return any(after <= stretch[0] and stretch[1] <= until for after, until in covered)


def cut(stretch: Stretch, length_us: int) -> list[Stretch]:
    """A stretch cut at the multiples of a length."""
    after, until = stretch
    borders = [after, *range((after // length_us + 1) * length_us, until, length_us), until]
    return list(itertools.pairwise(borders))
