"""The payback of a sweep: what it cost, what its change saves per run, and after how many runs it has paid for
itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from pipeline_tuner.analysis.comparison import compare
from pipeline_tuner.recommendation import Interval
from pipeline_tuner.sweep import SweepOptions
from pipeline_tuner.trial import TrialResult


@dataclass(frozen=True)
class Payback:
    """Times in seconds of wall clock, start-up and tear-down of every trial included in the cost."""

    sweep_s: float
    measured: int
    """Trials with a record; lost ones cost time that nobody recorded."""
    saved_s: Interval
    """Saved by one production run of the measured workload: the control's duration less the pick's."""
    runs: Interval
    """Runs after which the sweep has paid; infinite where the saving isn't shown."""


def payback(
    results: Sequence[TrialResult],
    pick: Sequence[TrialResult],
    control: Sequence[TrialResult],
    *,
    confidence: float = 0.95,
) -> Payback | None:
    """The account of a sweep; None where pick and control share too few blocks to state a saving."""
    compared = compare(pick, control, "duration_s", confidence)
    if compared is None or compared.ratio is None:
        return None
    records = [r.measurement for r in results if r.measurement is not None]
    spent = math.fsum((m.ended_at - m.started_at).total_seconds() for m in records)
    base, ratio = compared.second, compared.ratio
    saved = Interval(base * (1 - ratio.value), base * (1 - ratio.high), base * (1 - ratio.low), confidence, ratio.n)
    runs = Interval(_runs(spent, saved.value), _runs(spent, saved.high), _runs(spent, saved.low), confidence, ratio.n)
    return Payback(spent, len(records), saved, runs)


def pays(options: SweepOptions, results: Sequence[TrialResult], gain: float, trials: int) -> bool:
    """Whether so many more trials are expected to save more time than they cost, within the budget's `payback_runs`.

    `gain` is the fraction of the goal's value that they are expected to find; it counts as that fraction of a run's
    time. True where the budget names no runs, or where nothing was measured yet.
    """
    records = [r.measurement for r in results if r.measurement is not None and r.status == "measured"]
    if options.budget.payback_runs is None or not records:
        return True
    trial_s = median((m.ended_at - m.started_at).total_seconds() for m in records)
    run_s = median(m.metrics.get("duration_s", trial_s) for m in records)
    return gain * run_s * options.budget.payback_runs >= trials * trial_s


def _runs(spent: float, saved: float) -> float:
    return math.ceil(spent / saved) if saved > 0 else math.inf
