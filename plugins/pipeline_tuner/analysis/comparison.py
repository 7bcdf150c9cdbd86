"""Two configurations compared metric by metric: medians, and the ratio of trials in the same block."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline_tuner.analysis.intervals import log_interval
from pipeline_tuner.measurement import is_usable
from pipeline_tuner.recommendation import Interval
from pipeline_tuner.trial import TrialResult

EXACT = 1e-3
"""A metric whose runs differ by less than this fraction does not vary: one run settles it."""


@dataclass(frozen=True)
class MetricComparison:
    """A metric of two configurations. `ratio` is first / second over shared blocks; None where none is shared."""

    metric: str
    first: float
    second: float
    ratio: Interval | None
    is_exact: bool
    """Neither side varies between its (two or more) runs."""

    @property
    def differs(self) -> bool:
        """Whether the two are shown to differ."""
        if self.is_exact:
            return abs(self.first - self.second) > EXACT * max(abs(self.first), abs(self.second))
        return self.ratio is not None and not (self.ratio.low <= 1.0 <= self.ratio.high)


def compare(
    first: Sequence[TrialResult], second: Sequence[TrialResult], metric: str, confidence: float = 0.95
) -> MetricComparison | None:
    """Compare a metric of two groups of trials; None where one side has no such metric."""
    mine, theirs = values_of(first, metric), values_of(second, metric)
    if not mine or not theirs:
        return None
    ratio = _paired_ratio(first, second, metric, confidence)
    exact = _is_exact(mine) and _is_exact(theirs)
    return MetricComparison(metric, statistics.median(mine), statistics.median(theirs), ratio, exact)


def values_of(results: Sequence[TrialResult], metric: str) -> list[float]:
    """The metric's values in the measured trials that have it."""
    return [r.metrics[metric] for r in results if r.status == "measured" and metric in r.metrics]


def _is_exact(values: Sequence[float]) -> bool:
    return len(values) > 1 and max(values) - min(values) <= EXACT * max(abs(value) for value in values)


def _paired_ratio(
    first: Sequence[TrialResult], second: Sequence[TrialResult], metric: str, confidence: float
) -> Interval | None:
    mine, theirs = _by_block(first, metric), _by_block(second, metric)
    logs = [mine[block] - theirs[block] for block in sorted(mine.keys() & theirs.keys())]
    return log_interval(logs, confidence) if len(logs) > 1 else None


def _by_block(results: Sequence[TrialResult], metric: str) -> dict[tuple[str, int, int], float]:
    logs = defaultdict(list)
    for result in results:
        value = result.metrics.get(metric)
        if result.status == "measured" and value is not None and is_usable(value):
            logs[result.plan.phase, result.plan.round, result.plan.block].append(math.log(value))
    return {block: statistics.fmean(found) for block, found in logs.items()}
