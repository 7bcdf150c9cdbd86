"""Drift: change points over the nights, and whether the machine or the job changed.

Night by night, the level since every possible change is compared with the level before it: Student's t with an
estimated baseline (Hawkins, Qiu and Kang, 2003), turned into a normal score and compared with a critical value for each
number of nights since. The critical values were set by simulation so that 60 quiet nights raise an alarm in fewer than
5% of histories, with normal as with heavy-tailed noise (t with 4 degrees of freedom), and spend most of that on the
third night: a loss of 10% at 5% noise is then found in 3 nights (median) once some 45 to 60 nights are known, in 4
before. tests/unit/test_drift.py holds both.

The cause follows from the control, which ran in the same nights: under "the machine got slower" both move by the
same ratio, under "the job got slower" production moves alone. The likelier one is named where it is clearly so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special

from pipeline_tuner.analysis.intervals import exponential, t_quantile
from pipeline_tuner.measurement import is_usable
from pipeline_tuner.recommendation import Interval

Cause = Literal["machine", "job", "unclear"]

QUIET_NIGHTS = 12
"""Nights of one level that are needed before a change from it can be seen."""
NIGHTS_TO_ALARM = 2
"""A single slow night is an outlier, not a change."""
LOSS_CRITICAL_VALUES = np.array([math.inf, 3.27, 2.98, 3.53, 3.55, 3.55, 4.0])
"""The critical value of z after 1, 2, 3 ... nights; the last holds from then on."""
GAIN_CRITICAL_VALUE = 4.3
"""Improvements can wait: nearly all of the false alarms are spent on losses."""
CLIP = 2.6
"""No night counts as further out than this many standard deviations."""
SAME_NOISE = 2.5
"""The control's variance helps to estimate production's where they differ by no more than this factor."""
MIN_NOISE = 1e-3
"""Values that don't vary at all are taken to vary by this much (0.1%)."""
MACHINE_LIKELIER, JOB_LIKELIER = 1.0, 2.5
"""Differences of log likelihoods from which on a cause is named: the job is only blamed at 12 to 1."""


@dataclass(frozen=True)
class Change:
    """The level changed with night `night` (an index), and that could be told at night `noticed`.

    `ratio` is the new level over the old one; above 1 is a loss where the values are times or costs.
    """

    night: int
    noticed: int
    ratio: Interval
    cause: Cause


@dataclass(frozen=True)
class _Shift:
    """The nights of two levels that follow one another, as indices, and the night that the second was noticed in."""

    before: np.ndarray
    after: np.ndarray
    noticed: int


def changes(
    production: Sequence[float | None],
    control: Sequence[float | None] = (),
    *,
    larger_is_better: bool = False,
    confidence: float = 0.95,
) -> tuple[Change, ...]:
    """The changes of a value over the nights, in order; missed nights are None.

    `control` is the same value of the control configuration in the same nights; without it the cause is unclear.
    """
    sign = -1.0 if larger_is_better else 1.0
    logs = _logs(production, sign)
    beside = _logs(control, sign) if len(control) else np.full_like(logs, np.nan)
    return tuple(
        Change(
            int(shift.after[0]),
            shift.noticed,
            _level_ratio(sign * logs[shift.before], sign * logs[shift.after], confidence),
            _cause(logs, beside, shift.before, shift.after),
        )
        for shift in _shifts(logs, beside)
    )


def _shifts(logs: np.ndarray, beside: np.ndarray) -> list[_Shift]:
    """Every change of level, as the nights found it one after the other."""
    nights = np.flatnonzero(np.isfinite(logs))
    found: list[tuple[int, int]] = []
    start = 0
    for now in range(len(nights)):
        known = nights[start : now + 1]
        shift = _shift_at(logs[known], beside[known])
        if shift is not None:
            found.append((start + shift, now))
            start += shift
    borders = [0, *(first for first, _ in found), len(nights)]
    return [
        _Shift(nights[begin:first], nights[first:end], int(nights[noticed]))
        for (first, noticed), begin, end in zip(found, borders, borders[2:], strict=False)
    ]


def _logs(values: Sequence[float | None], sign: float) -> np.ndarray:
    return np.array([sign * math.log(v) if v is not None and is_usable(v) else math.nan for v in values], dtype=float)


def _shift_at(series: np.ndarray, beside: np.ndarray) -> int | None:
    """Where the level of a series changed, told by its last night; None where it is one level so far."""
    places = np.arange(QUIET_NIGHTS, len(series) - NIGHTS_TO_ALARM + 1)
    if not len(places):
        return None
    excess = _excess(series, beside, places)
    best = int(excess.argmax())
    return int(places[best]) if excess[best] > 0 else None


def _excess(series: np.ndarray, beside: np.ndarray, places: np.ndarray) -> np.ndarray:
    """For a change at each place: by how much the shift's z passes the critical value; 0 or less where it doesn't."""
    is_after = np.arange(len(series)) >= places[:, None]
    center = np.cumsum(series)[places - 1] / places
    variance, df = _noise_before(series, beside, places)
    spread = np.maximum(np.sqrt(variance), MIN_NOISE)
    scores = np.clip((series - center[:, None]) / spread[:, None], -CLIP, CLIP)
    m = len(series) - places
    t = np.where(is_after, scores, 0.0).sum(axis=1) / m / np.sqrt(1 / m + 1 / places)
    z = _normal_score(t, df)
    limits = LOSS_CRITICAL_VALUES[np.minimum(m, len(LOSS_CRITICAL_VALUES)) - 1]
    found: np.ndarray = np.where(z > 0, z - limits, -z - np.maximum(limits, GAIN_CRITICAL_VALUE))
    return found


def _noise_before(series: np.ndarray, beside: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Variance before each place and its degrees of freedom; the control's is pooled in where it is alike."""
    mine, theirs = _running_variance(series)[places - 1], _running_variance(beside)[places - 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        alike = np.abs(np.log(theirs / mine)) < math.log(SAME_NOISE)
    return np.where(alike, (mine + theirs) / 2, mine), np.where(alike, 2, 1) * (places - 1)


def _running_variance(values: np.ndarray) -> np.ndarray:
    """The variance of the first 1, 2, 3 ... values; nan from the first missing one on."""
    n = np.arange(1, len(values) + 1)
    shifted = values - values[0]
    squares = np.cumsum(shifted**2) - np.cumsum(shifted) ** 2 / n
    return np.maximum(squares, 0.0) / np.maximum(n - 1, 1)


def _normal_score(t: np.ndarray, df: np.ndarray) -> np.ndarray:
    """The normal quantiles with the same tails as Student's t values."""
    tail = np.maximum(special.stdtr(df, -np.abs(t)), 1e-300)
    found: np.ndarray = np.copysign(-special.ndtri(tail), t)
    return found


def _level_ratio(before: np.ndarray, after: np.ndarray, confidence: float) -> Interval:
    df = len(before) + len(after) - 2
    pooled = (before.var() * len(before) + after.var() * len(after)) / df
    half = t_quantile(confidence, df) * math.sqrt(pooled * (1 / len(before) + 1 / len(after)))
    shift = float(after.mean() - before.mean())
    return exponential(Interval(shift, shift - half, shift + half, confidence, len(after)))


def _cause(logs: np.ndarray, beside: np.ndarray, before: np.ndarray, after: np.ndarray) -> Cause:
    """The likelier of "both moved alike" and "production moved alone", by their shared covariance before."""
    before, after = before[np.isfinite(beside[before])], after[np.isfinite(beside[after])]
    if len(before) < QUIET_NIGHTS // 2 or len(after) == 0:
        return "unclear"
    pairs = np.vstack([logs, beside])
    covariance = np.cov(pairs[:, before]) + 1e-12 * np.eye(2)
    shift = pairs[:, after].mean(axis=1) - pairs[:, before].mean(axis=1)
    weight = np.linalg.inv(covariance) / (1 / len(after) + 1 / len(before))
    machine, job = _fit(shift, weight, np.array([1.0, 1.0])), _fit(shift, weight, np.array([1.0, 0.0]))
    if job - machine > JOB_LIKELIER:
        return "job"
    return "machine" if machine - job > MACHINE_LIKELIER else "unclear"


def _fit(shift: np.ndarray, weight: np.ndarray, direction: np.ndarray) -> float:
    """The log likelihood that a shift along the direction gains over no shift."""
    return float((direction @ weight @ shift) ** 2 / (direction @ weight @ direction)) / 2
