"""How long a trial measures: short work is repeated inside a trial until its noise is small enough. No I/O.

A trial costs its overhead (process, start-up, checks, the wait for the next task) once, and each repeat its own time.
Repeats average what differs between repeats, but not what all repeats of a trial share, because they are neighbours in
time. The variance of a trial's value per second of the sweep is smallest at

    repeats = sqrt(overhead / repeat * variance within a trial / variance between trials)

Source: optimum allocation in two stages (Cochran, Sampling Techniques, 3rd edition, 1977, section 10.6).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pipeline_tuner.analysis.block_fit import BlockFit, Observation, scatter
from pipeline_tuner.measurement import Measurement
from pipeline_tuner.trial import TrialResult

START_WORK_S = 2.0
"""Until the first trials are measured."""
MAX_WORK_S = 10.0
MIN_DF = 3
"""Degrees of freedom from which a variance counts as known."""
MEDIAN_FACTOR = math.pi / 2
"""The variance of a median over that of a mean, for normal noise: a trial's value is the median of its repeats."""
MAX_VARIANCE_RATIO = 4.0
"""A few blocks can show no variance between trials by chance: they are not to make a trial endless."""


@dataclass(frozen=True)
class WorkLength:
    """What a trial should measure, and what that rests on."""

    seconds: float
    """Work that a trial measures at least, in s."""
    overhead_s: float
    """What a trial costs besides its work, in s."""
    repeat_s: float
    """One repeat, in s."""
    within: float
    """Standard deviation of one repeat within a trial, on the log scale."""
    between: float | None
    """Standard deviation of what a trial's repeats share; None while unknown, and then taken to equal `within`."""


def work_length(trials: Sequence[TrialResult]) -> WorkLength | None:
    """The length of work that buys the most for its time; None while the noise within trials isn't known."""
    found = [(r, r.measurement) for r in trials if r.status == "measured" and r.measurement and r.plan.fraction == 1.0]
    repeated = [np.array(_logs(measurement)) for _, measurement in found if len(measurement.samples) > 1]
    freedom = sum(len(logs) - 1 for logs in repeated)
    if freedom < MIN_DF:
        return None
    within = math.fsum(scatter(logs) for logs in repeated) / freedom
    between = _between(found, within)
    repeat_s = statistics.median(_repeat_s(m) for _, m in found if len(m.samples) > 1)
    overhead_s = _overhead_s([measurement for _, measurement in found])
    shared = within if between is None else between
    ratio = min(MEDIAN_FACTOR * within / max(shared, 1e-12), MAX_VARIANCE_RATIO)
    seconds = min(math.sqrt(max(overhead_s, 0.0) * repeat_s * ratio), MAX_WORK_S)
    return WorkLength(seconds, overhead_s, repeat_s, math.sqrt(within), None if between is None else math.sqrt(between))


def _logs(measurement: Measurement) -> list[float]:
    return [math.log(max(sample.duration_s, 1e-9)) for sample in measurement.samples]


def _repeat_s(measurement: Measurement) -> float:
    return statistics.median(sample.duration_s for sample in measurement.samples)


def _between(found: Sequence[tuple[TrialResult, Measurement]], within: float) -> float | None:
    """The variance that a trial's repeats share: that of trials about their block, less what the repeats leave."""
    blocks = {key: i for i, key in enumerate(sorted({(r.plan.sweep_id, r.plan.block) for r, _ in found}))}
    values = [
        Observation(r.plan.label, blocks[r.plan.sweep_id, r.plan.block], max(_repeat_s(m), 1e-9)) for r, m in found
    ]
    fit = BlockFit.of(values)
    if fit.df < MIN_DF:
        return None
    per_trial = statistics.fmean(1 / len(m.samples) for _, m in found)
    return max(fit.variance - MEDIAN_FACTOR * within * per_trial, 0.0)


def _overhead_s(measurements: Sequence[Measurement]) -> float:
    """Time per trial besides its work, the wait for the next trial included."""
    ordered = sorted(measurements, key=lambda m: m.started_at)
    own = [(m.ended_at - m.started_at).total_seconds() - math.fsum(s.duration_s for s in m.samples) for m in ordered]
    waits = [(after.started_at - before.ended_at).total_seconds() for before, after in pairwise(ordered)]
    return max(statistics.median(own) + (statistics.median(waits) if waits else 0.0), 0.0)
