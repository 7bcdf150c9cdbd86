"""Arithmetic of stretches of time: when any task ran, how many cores were there. Times in ms."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

Span = tuple[int, int]
"""From when until when (ms since 1970)."""


@dataclass
class Coverage:
    """The union of stretches that come in any order. Memory grows with the gaps between them, not with their number."""

    begins: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)

    def add(self, begin: int, end: int) -> None:
        """Take in a stretch; those that touch become one."""
        if end < begin:
            return
        first = bisect_left(self.ends, begin)
        last = bisect_right(self.begins, end)
        if last - first == 1 and self.begins[first] <= begin and end <= self.ends[first]:
            return
        if first < last:
            begin, end = min(begin, self.begins[first]), max(end, self.ends[last - 1])
        self.begins[first:last] = [begin]
        self.ends[first:last] = [end]

    @property
    def spans(self) -> tuple[Span, ...]:
        """The stretches, in order, with gaps between them."""
        return tuple(zip(self.begins, self.ends, strict=True))


def gaps(spans: Sequence[Span], begin: int, end: int) -> tuple[Span, ...]:
    """What spans in order leave uncovered between two times."""
    found, at = [], begin
    for span_begin, span_end in spans:
        if span_begin > at and at < end:
            found.append((at, min(span_begin, end)))
        at = max(at, span_end)
    if at < end:
        found.append((at, end))
    return tuple(found)


def length(spans: Iterable[Span]) -> int:
    """The time that spans take together."""
    return sum(end - begin for begin, end in spans)


@dataclass(frozen=True)
class Cores:
    """How many cores were there at any time."""

    times: tuple[int, ...] = ()
    counts: tuple[int, ...] = ()
    """Cores from each time on, until the next."""

    @classmethod
    def of(cls, lives: Iterable[tuple[int, int, int]]) -> Cores:
        """From lives: begin, end, cores."""
        changes: dict[int, int] = {}
        for begin, end, cores in lives:
            changes[begin] = changes.get(begin, 0) + cores
            changes[max(begin, end)] = changes.get(max(begin, end), 0) - cores
        times = tuple(sorted(changes))
        return cls(times, tuple(accumulate(changes[time] for time in times)))

    @property
    def most(self) -> int:
        """The most cores that were there at once."""
        return max(self.counts, default=0)

    def core_ms(self, begin: int, end: int) -> int:
        """Cores x time between two times."""
        total = 0
        start = max(0, bisect_right(self.times, begin) - 1)
        for place in range(start, len(self.times)):
            if self.times[place] >= end:
                break
            until = self.times[place + 1] if place + 1 < len(self.times) else end
            total += self.counts[place] * max(0, min(until, end) - max(self.times[place], begin))
        return total

    def mean(self, begin: int, end: int) -> float:
        """Cores on average between two times."""
        return self.core_ms(begin, end) / (end - begin) if end > begin else 0.0
