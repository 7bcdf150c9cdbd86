"""A part of a source, for trials that run on a fraction of the workload (screening)."""

from __future__ import annotations

from dataclasses import replace

from pipeline_jobs.streaming_etl.engine import Source
from pipeline_jobs.streaming_etl.load import Origin
from pipeline_jobs.streaming_etl.progress import Range

PARTS = 100


class PartOf:
    """The first ranges of an origin, about a fraction of it."""

    def __init__(self, whole: Origin, fraction: float) -> None:
        self._whole, self._fraction = whole, fraction
        self.is_endless = whole.is_endless

    @property
    def name(self) -> str:
        """The whole's name and the fraction."""
        return f"{self._fraction:g} of {self._whole.name}"

    def ranges(self, count: int) -> tuple[Range, ...]:
        """About equal parts of the fraction."""
        kept = self._kept(self._whole.ranges(PARTS))
        size = -(-len(kept) // count)
        groups = [kept[at : at + size] for at in range(0, len(kept), size)]
        return tuple(Range(n, group[0].first, group[-1].last) for n, group in enumerate(groups))

    def open(self, part: Range, position: str | None) -> Source:
        """The documents of a part."""
        return self._whole.open(part, position)

    def _kept(self, parts: tuple[Range, ...]) -> list[Range]:
        count = max(1, round(len(parts) * self._fraction))
        return [replace(part) for part in parts[:count]]


def part_of(whole: Origin, fraction: float) -> Origin:
    """The part of a source that a fraction of a trial reads."""
    return PartOf(whole, fraction)
