"""Scaling laws, fitted: how throughput grows with workers, partitions or cores (linear, Amdahl, USL), and time with
data.

Workers: the universal scalability law, X(n) = X(1) n / (1 + a (n - 1) + b n (n - 1)), with contention `a` and
crosstalk `b` (Gunther, 2007); with b = 0 it is Amdahl's law, with both 0 it is linear. It is fitted by relative least
squares, after the blocks' own levels are taken out; intervals come from the bootstrap of residuals. Data: a power law,
time = c size^p; p = 1 is linear. Predictions outside the measured levels are marked, widened, and only made up to
twice the largest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipeline_tuner.analysis.intervals import exp, t_quantile
from pipeline_tuner.recommendation import Interval

MIN_LEVELS = 3
RESAMPLES = 200
FURTHEST = 2.0
"""Predictions reach this multiple of the largest measured level."""
LAWS = {"linear": 0, "Amdahl": 1, "USL": 2}
"""The laws, the simplest first, with the parameters that each has beside the scale."""
CLEARLY_WORSE = 2.0
"""In units of AICc (Burnham and Anderson, 2002)."""
REWEIGHTINGS = 3
APT = 0.10
"""A law may miss a level's interval by this much; one that misses by more does not describe the runs."""
WORTHWHILE = 0.10
"""A doubling that adds less than this fraction isn't worth it."""


@dataclass(frozen=True)
class ScalePoint:
    """One run: the level (workers), its throughput or any rate (larger is better), and its block."""

    level: float
    rate: float
    block: object = None


@dataclass(frozen=True)
class Prediction:
    """A speed-up at a level that may not have been measured."""

    level: float
    speedup: Interval
    is_extrapolated: bool


@dataclass(frozen=True)
class Scaling:
    """The fitted law. Speed-ups are against one worker, by the fit, where none was measured."""

    levels: tuple[float, ...]
    measured: tuple[Prediction, ...]
    """The speed-up of each measured level, from the means themselves."""
    contention: Interval
    crosstalk: Interval
    law: str
    """`linear`, `Amdahl` or `USL`: the simplest that the data don't contradict."""
    worthwhile: Interval
    """The level past which a doubling adds less than 10%; infinite where none was found up to twice the largest."""
    peak: float
    """The level of the largest throughput by the law; infinite without crosstalk."""
    draws: tuple[tuple[float, float], ...]
    noise: float
    confidence: float

    @property
    def largest(self) -> float:
        """The largest measured level."""
        return self.levels[-1]

    @property
    def is_flat(self) -> bool:
        """Whether no level is told from the smallest, or by less than 10%: there is nothing for a law to explain."""
        return all(
            point.speedup.low <= 1.0 <= point.speedup.high or abs(point.speedup.value - 1) < WORTHWHILE
            for point in self.measured
        )

    @property
    def is_apt(self) -> bool:
        """Whether the law passes through every measured level's interval, or within 10% of it; else it says nothing."""
        first = self.speedup(self.levels[0])
        return self.crosstalk.value <= 1.0 and all(
            point.speedup.low * (1 - APT) <= self.speedup(point.level) / first <= point.speedup.high * (1 + APT)
            for point in self.measured
        )

    def speedup(self, level: float) -> float:
        """The law's speed-up against one worker."""
        return float(usl(level, self.contention.value, self.crosstalk.value))

    def predict(self, level: float) -> Prediction | None:
        """The speed-up at a level; None beyond twice the largest measured one or below half of the smallest."""
        if not self.levels[0] / FURTHEST <= level <= self.largest * FURTHEST:
            return None
        drawn = np.array([usl(level, a, b) for a, b in self.draws])
        tail = 50 * (1 - self.confidence)
        low, high = np.percentile(drawn, [tail, 100 - tail])
        outside = not self.levels[0] <= level <= self.largest
        if outside:
            low, high = self._widened(level, float(low), float(high))
        value = self.speedup(level)
        interval = Interval(value, min(float(low), value), max(float(high), value), self.confidence, len(self.levels))
        return Prediction(level, interval, outside)

    def _widened(self, level: float, low: float, high: float) -> tuple[float, float]:
        """Beyond the data the law itself is in doubt: anything from a standstill to linear growth is allowed for."""
        at_edge = self.speedup(self.largest)
        reach = min(1.0, math.log2(max(level / self.largest, self.levels[0] / level, 1.0)))
        standstill = at_edge * (self.largest / level) ** (0.5 * reach)
        linear = at_edge * level / self.largest
        return min(low, low + reach * (standstill - low)), max(high, high + 0.5 * reach * (linear - high))


def usl(level: float, contention: float, crosstalk: float) -> float:
    """The universal scalability law's speed-up against one worker."""
    return level / (1 + contention * (level - 1) + crosstalk * level * (level - 1))


def fit_scaling(points: Sequence[ScalePoint], *, confidence: float = 0.95, seed: int = 0) -> Scaling | None:
    """The law behind runs at several levels; None with fewer than three levels: a law would be an invention."""
    data = _Data.of(points)
    if len(data.levels) < MIN_LEVELS:
        return None
    best, law = data.fit()
    rng = np.random.default_rng(seed)
    draws = tuple(data.resampled(best, rng).fit_as(law) for _ in range(RESAMPLES))
    tail = [50 * (1 - confidence), 100 - 50 * (1 - confidence)]
    a_low, a_high = np.percentile([d[0] for d in draws], tail)
    b_low, b_high = np.percentile([d[1] for d in draws], tail)
    ends = [_worthwhile(a, b, data.levels) for a, b in draws]
    end = _worthwhile(*best, data.levels)
    n = len(points)
    return Scaling(
        levels=tuple(data.levels),
        measured=data.measured(confidence),
        contention=Interval(best[0], min(a_low, best[0]), max(a_high, best[0]), confidence, n),
        crosstalk=Interval(best[1], min(b_low, best[1]), max(b_high, best[1]), confidence, n),
        law=law,
        worthwhile=Interval(end, _quantile(ends, tail[0]), _quantile(ends, tail[1]), confidence, n),
        peak=math.sqrt(max(1 - best[0], 0.0) / best[1]) if best[1] > 1e-9 else math.inf,
        draws=draws,
        noise=data.noise(best),
        confidence=confidence,
    )


def _quantile(values: Sequence[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(percent / 100 * len(ordered)), len(ordered) - 1)]


def _worthwhile(contention: float, crosstalk: float, levels: Sequence[float]) -> float:
    """The smallest level from which a doubling adds less than WORTHWHILE."""
    for level in np.geomspace(levels[0], levels[-1] * FURTHEST, 200):
        if usl(2 * level, contention, crosstalk) < (1 + WORTHWHILE) * usl(level, contention, crosstalk):
            return float(level)
    return math.inf


@dataclass(frozen=True)
class _Data:
    """Log rates with block effects removed, and their levels."""

    x: np.ndarray
    logs: np.ndarray

    @classmethod
    def of(cls, points: Sequence[ScalePoint]) -> _Data:
        x = np.array([p.level for p in points], dtype=float)
        logs = np.log([p.rate for p in points])
        return cls(x, _without_blocks(x, logs, [p.block for p in points]))

    @cached_property
    def levels(self) -> list[float]:
        return sorted(set(self.x.tolist()))

    def fit(self) -> tuple[tuple[float, float], str]:
        """The simplest law that isn't clearly worse than the best one, by AICc."""
        fits = {law: self.fit_as(law) for law in LAWS}
        scores = {law: self._aicc(fit, LAWS[law] + 2) for law, fit in fits.items()}
        law = next(name for name in LAWS if scores[name] <= min(scores.values()) + CLEARLY_WORSE)
        return fits[law], law

    def fit_as(self, law: str) -> tuple[float, float]:
        """Contention (0 to 1) and crosstalk of a law, by non-negative relative least squares.

        n / X = c (1 + a (n - 1) + b n (n - 1)) is (c - ca) 1 + ca n + cb n (n - 1): with all three at least 0,
        contention is a part of the work, never more than all of it.
        """
        from scipy.optimize import nnls

        columns = np.column_stack([np.ones_like(self.x), self.x, self.x * (self.x - 1)])[:, : LAWS[law] + 1]
        times = self.x / np.exp(self.logs - self.logs.mean())
        expected = times
        for _ in range(REWEIGHTINGS):
            found = nnls(columns / expected[:, None], times / expected)[0]
            expected = np.maximum(columns @ found, 1e-9 * times)
        alone, shared, crossing = (*map(float, found), 0.0, 0.0)[:3]
        base = max(alone + shared, 1e-9 * float(times.min()))
        return shared / base, crossing / base

    def _residuals(self, fit: tuple[float, float]) -> np.ndarray:
        curve = np.log(self.x / (1 + fit[0] * (self.x - 1) + fit[1] * self.x * (self.x - 1)))
        rest = self.logs - curve
        found: np.ndarray = rest - rest.mean()
        return found

    def _aicc(self, fit: tuple[float, float], parameters: int) -> float:
        n = len(self.x)
        spare = max(n - parameters - 1, 0.5)
        squares = max(float((self._residuals(fit) ** 2).sum()), 1e-12)
        return n * math.log(squares / n) + 2 * parameters * (1 + (parameters + 1) / spare)

    def noise(self, fit: tuple[float, float]) -> float:
        """The standard deviation of a run about the law, on the log scale."""
        return math.sqrt(float((self._residuals(fit) ** 2).sum()) / max(len(self.x) - 3, 1))

    def resampled(self, fit: tuple[float, float], rng: np.random.Generator) -> _Data:
        """The fitted law with residuals drawn anew, blown up for the degrees of freedom that the fit took."""
        residuals = self._residuals(fit)
        n = len(residuals)
        blown = residuals * math.sqrt(n / max(n - 3, 1))
        return _Data(self.x, self.logs - residuals + rng.choice(blown, n))

    def measured(self, confidence: float) -> tuple[Prediction, ...]:
        """Each level's mean rate over the lowest level's."""
        first = self.logs[self.x == self.levels[0]]
        groups = [self.logs[self.x == level] for level in self.levels]
        df = len(self.logs) - len(groups)
        pooled = math.sqrt(sum(float(((g - g.mean()) ** 2).sum()) for g in groups) / df) if df > 0 else math.nan
        found = []
        for level, group in zip(self.levels, groups, strict=True):
            shift = float(group.mean() - first.mean())
            half = (
                t_quantile(confidence, df) * pooled * math.sqrt(1 / len(group) + 1 / len(first)) if df > 0 else math.inf
            )
            half = 0.0 if level == self.levels[0] else half
            bounds = (exp(shift - half), exp(shift + half))
            found.append(Prediction(level, Interval(exp(shift), *bounds, confidence, len(group)), False))
        return tuple(found)


def _without_blocks(x: np.ndarray, logs: np.ndarray, blocks: Sequence[object]) -> np.ndarray:
    """Logs with the blocks' effects removed, estimated with a free mean for each level."""
    names = {b: i for i, b in enumerate(dict.fromkeys(blocks))}
    if len(names) < 2:
        return logs
    block = np.eye(len(names))[[names[b] for b in blocks]]
    level = (x[:, None] == np.unique(x)[None, :]).astype(float)
    both = np.hstack([level, block - block.mean(axis=0)])
    fitted = np.linalg.lstsq(both, logs, rcond=1e-9)[0]
    found: np.ndarray = logs - (block - block.mean(axis=0)) @ fitted[level.shape[1] :]
    return found


@dataclass(frozen=True)
class Growth:
    """How time grows with the size of the data: `power` 1 is linear."""

    power: Interval
    sizes: tuple[float, ...]

    @property
    def words(self) -> str:
        """Linear, better or worse, as far as the data tell."""
        if self.power.low <= 1.0 <= self.power.high:
            return "linear" if self.power.high - self.power.low < 0.3 else "not told apart from linear"
        return "less than linear" if self.power.high < 1.0 else "more than linear"


def fit_growth(sizes: Sequence[float], durations: Sequence[float], *, confidence: float = 0.95) -> Growth | None:
    """The power of size that time grows with; None with fewer than three sizes or runs to spare."""
    x, y = np.log(sizes), np.log(durations)
    if len(set(sizes)) < MIN_LEVELS:
        return None
    center = x - x.mean()
    power = float(center @ y / (center @ center))
    left = y - y.mean() - power * center
    df = len(x) - 2
    half = t_quantile(confidence, df) * math.sqrt(float(left @ left) / df / float(center @ center))
    return Growth(Interval(power, power - half, power + half, confidence, len(x)), tuple(sorted(set(sizes))))
