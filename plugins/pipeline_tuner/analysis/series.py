"""Series of trials that differ in one parameter only, and oversized configurations: more of everything for less."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipeline_tuner.analysis.intervals import log_interval
from pipeline_tuner.measurement import is_usable
from pipeline_tuner.recommendation import Interval
from pipeline_tuner.space import Configuration, Scalar, configuration_id
from pipeline_tuner.trial import TrialResult

Place = tuple[str, int, int]
"""A block: trials in one of them ran close together."""


@dataclass(frozen=True)
class Series:
    """The trials of some levels of a parameter; `rest` is what all of them have in common."""

    parameter: str
    rest: Configuration
    trials: Mapping[Scalar, tuple[TrialResult, ...]]

    @property
    def levels(self) -> list[Scalar]:
        """The measured levels, the smallest first."""
        return sorted(self.trials, key=_order)

    def median(self, level: Scalar, metric: str) -> float:
        """The median of a metric at a level; nan where it was not measured."""
        return median_of(self.trials[level], metric)

    def ratio(self, level: Scalar, base: Scalar, metric: str, confidence: float) -> Interval | None:
        """A level's metric over another's, from the blocks that hold both; None where none does."""
        return paired_ratio(self.trials[level], self.trials[base], metric, confidence)


def series_of(results: Iterable[TrialResult], parameter: str, fewest: int = 3) -> list[Series]:
    """Every series with `fewest` levels or more, the one with the most trials first."""
    groups: dict[str, list[TrialResult]] = defaultdict(list)
    for result in measured(results):
        configuration = result.plan.configuration
        if parameter in configuration:
            groups[configuration_id(_without(configuration, parameter))].append(result)
    found = [_series(parameter, group) for group in groups.values()]
    return sorted((s for s in found if len(s.trials) >= fewest), key=lambda s: -sum(map(len, s.trials.values())))


def measured(results: Iterable[TrialResult]) -> list[TrialResult]:
    """The measured trials on the whole workload."""
    return [result for result in results if result.status == "measured" and result.plan.fraction == 1.0]


def median_of(trials: Iterable[TrialResult], metric: str) -> float:
    """The median of a metric; nan where it was not measured."""
    values = [trial.metrics[metric] for trial in trials if metric in trial.metrics]
    return statistics.median(values) if values else math.nan


def paired_ratio(
    mine: Iterable[TrialResult], others: Iterable[TrialResult], metric: str, confidence: float
) -> Interval | None:
    """The ratio of a metric between two groups of trials, by the blocks that hold both; None where none does."""
    first, second = _logs_by_block(mine, metric), _logs_by_block(others, metric)
    differences = [first[place] - second[place] for place in first if place in second]
    return log_interval(differences, confidence) if differences else None


@dataclass(frozen=True)
class Oversized:
    """A configuration that takes at least as much of every resource as another, more of some, and is slower."""

    label: str
    leaner: str
    ratio: Interval
    """Its rate over the leaner one's, below 1."""


def oversized(
    results: Iterable[TrialResult], resources: Sequence[str], metric: str, confidence: float
) -> list[Oversized]:
    """The configurations that a leaner one beats for sure, each against the best such one, the worst first."""
    groups: dict[str, list[TrialResult]] = defaultdict(list)
    for result in measured(results):
        groups[result.plan.label].append(result)
    found = (_beaten(label, groups, resources, metric, confidence) for label in groups)
    return sorted((one for one in found if one), key=lambda one: one.ratio.value)


def _beaten(
    label: str, groups: Mapping[str, list[TrialResult]], resources: Sequence[str], metric: str, confidence: float
) -> Oversized | None:
    mine = groups[label]
    leaner = [other for other in groups if _takes_more(mine[0], groups[other][0], resources)]
    ratios = {other: paired_ratio(mine, groups[other], metric, confidence) for other in leaner}
    sure = {other: ratio for other, ratio in ratios.items() if ratio is not None and ratio.high < 1}
    if not sure:
        return None
    best = min(sure, key=lambda other: sure[other].value)
    return Oversized(label, best, sure[best])


def _takes_more(one: TrialResult, other: TrialResult, resources: Sequence[str]) -> bool:
    mine, theirs = one.plan.configuration, other.plan.configuration
    if _rest(mine, resources) != _rest(theirs, resources):
        return False
    pairs = [(float(mine[name]), float(theirs[name])) for name in resources if name in mine and name in theirs]
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)


def _rest(configuration: Configuration, resources: Sequence[str]) -> Configuration:
    return {name: value for name, value in configuration.items() if name not in resources}


def _order(level: Scalar) -> tuple[float, str]:
    return (math.inf, level) if isinstance(level, str) else (float(level), "")


def _without(configuration: Configuration, parameter: str) -> Configuration:
    return {name: value for name, value in configuration.items() if name != parameter}


def _series(parameter: str, group: Sequence[TrialResult]) -> Series:
    trials: dict[Scalar, list[TrialResult]] = defaultdict(list)
    for result in group:
        trials[result.plan.configuration[parameter]].append(result)
    rest = _without(group[0].plan.configuration, parameter)
    return Series(parameter, rest, {level: tuple(found) for level, found in trials.items()})


def _logs_by_block(trials: Iterable[TrialResult], metric: str) -> dict[Place, float]:
    logs: dict[Place, list[float]] = defaultdict(list)
    for trial in trials:
        value = trial.metrics.get(metric)
        if value is not None and is_usable(value) and value > 0:
            logs[trial.plan.phase, trial.plan.round, trial.plan.block].append(math.log(value))
    return {place: statistics.fmean(found) for place, found in logs.items()}
