"""Confidence intervals by Student's t, on the log scale where the value is a time, a rate or a ratio."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import special

from pipeline_tuner.recommendation import Interval


def t_quantile(confidence: float, df: float) -> float:
    """The two-sided quantile of Student's t: 95% and 4 degrees of freedom give 2.776."""
    return float(special.stdtrit(df, 0.5 + confidence / 2))


def t_below(value: float, df: float) -> float:
    """P(T <= value) for Student's t with `df` degrees of freedom."""
    return float(special.stdtr(df, value))


def exp(log: float) -> float:
    """The value of a log; infinite where no float holds it (`math.exp` raises OverflowError)."""
    with np.errstate(over="ignore"):
        return float(np.exp(log))


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """The mean with its t interval; infinitely wide for a single value. Raises ValueError for none."""
    if not len(values):
        raise ValueError("an interval needs at least one value")
    mean, n = float(np.mean(values)), len(values)
    if n == 1:
        return Interval(mean, -math.inf, math.inf, confidence, 1)
    half = t_quantile(confidence, n - 1) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, confidence, n)


def log_interval(logs: Sequence[float], confidence: float = 0.95) -> Interval:
    """The geometric mean of values given as logs, with its t interval; (0, inf) for a single one."""
    return exponential(mean_interval(logs, confidence))


def exponential(interval: Interval) -> Interval:
    """An interval of logs as an interval of the values themselves."""
    return Interval(exp(interval.value), exp(interval.low), exp(interval.high), interval.confidence, interval.n)


def probability_above(values: Sequence[float], threshold: float = 0.0) -> float:
    """How sure it is that the mean lies above the threshold, by Student's t; 0.5 where nothing can be said.

    Values without any spread (a count of bytes, say) are certain from the second on.
    """
    if len(values) < 2:
        return 0.5
    distance = float(np.mean(values)) - threshold
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    if error <= 1e-12 * max(1.0, abs(distance)):
        return float(distance > 0)
    return t_below(distance / error, len(values) - 1)
