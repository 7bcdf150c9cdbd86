"""Least squares with block effects: what candidates measured in the same blocks differ by, and their noise. Pure.

Log times are candidate + block + noise. Sources: incomplete blocks by least squares (Yates, 1940), moderated
variances (Smyth, 2004).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import digamma, polygamma

from pipeline_tuner.recommendation import MIN_BLOCKS

SINGULAR = 1e-9
"""Eigenvalues of the design below this are 0: a shift of all candidates, which blocks can't tell."""
PRIOR_DF_RANGE = (3.0, 30.0)


@dataclass(frozen=True)
class Observation:
    """One measured trial: `value` is above zero and smaller is better (seconds; one over a rate)."""

    label: str
    block: int
    value: float


@dataclass(frozen=True)
class BlockFit:
    """Least squares of log value = candidate + block, over any incomplete design."""

    labels: tuple[str, ...]
    index: dict[str, int]
    logs: np.ndarray
    """Log values as a table of labels x blocks; nan where not measured (several runs in one cell are averaged)."""
    effects: np.ndarray
    covariance: np.ndarray
    """Of the effects, in units of the variance of one run; meaningful for contrasts that can be estimated."""
    information: np.ndarray
    variance: float
    """Residual mean square of one run; nan without degrees of freedom."""
    df: int

    @classmethod
    def of(cls, observations: Sequence[Observation]) -> BlockFit:
        """Fit all observations."""
        labels = tuple(dict.fromkeys(o.label for o in observations))
        blocks = {block: i for i, block in enumerate(sorted({o.block for o in observations}))}
        index = {label: i for i, label in enumerate(labels)}
        sums, counts = np.zeros((len(labels), len(blocks))), np.zeros((len(labels), len(blocks)))
        for o in observations:
            if not (o.value > 0 and math.isfinite(o.value)):
                raise ValueError(f"{o.label} in block {o.block} is {o.value}, must be a finite number above 0")
            sums[index[o.label], blocks[o.block]] += math.log(o.value)
            counts[index[o.label], blocks[o.block]] += 1
        logs = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
        return cls.of_table(labels, logs)

    @classmethod
    def of_table(cls, labels: tuple[str, ...], logs: np.ndarray) -> BlockFit:
        """Fit a table of labels x blocks of log values, nan where not measured."""
        present = np.isfinite(logs)
        filled = np.where(present, logs, 0.0)
        per_block = np.maximum(present.sum(axis=0), 1)
        incidence = present.astype(float)
        information = np.diag(incidence.sum(axis=1)) - (incidence / per_block) @ incidence.T
        covariance = np.linalg.pinv(information, rcond=SINGULAR, hermitian=True)
        effects = covariance @ (filled.sum(axis=1) - incidence @ (filled.sum(axis=0) / per_block))
        block_effects = ((filled - effects[:, None]) * present).sum(axis=0) / per_block
        residuals = np.where(present, filled - effects[:, None] - block_effects, 0.0)
        rank = np.linalg.matrix_rank(information, tol=SINGULAR, hermitian=True) if len(labels) else 0
        df = int(present.sum() - present.shape[1] - rank)
        variance = float((residuals**2).sum() / df) if df > 0 else math.nan
        index = {label: i for i, label in enumerate(labels)}
        return cls(labels, index, logs, effects, covariance, information, variance, df)

    def differences(self, label: str, other: str) -> np.ndarray:
        """Log value of `label` less that of `other`, in the blocks that hold both; empty where one isn't known."""
        if label not in self.index or other not in self.index:
            return np.array([])
        paired = self.logs[self.index[label]] - self.logs[self.index[other]]
        shared: np.ndarray = paired[np.isfinite(paired)]
        return shared

    def contrast(self, a: int, b: int) -> tuple[float, float]:
        """Effect a - effect b, and its variance in units of one run's; infinite where no chain of blocks links them."""
        direction = np.zeros(len(self.labels))
        direction[a] += 1
        direction[b] -= 1
        linked = np.allclose(self.information @ (self.covariance @ direction), direction, atol=1e-6)
        factor = float(direction @ self.covariance @ direction)
        return float(self.effects[a] - self.effects[b]), (factor if linked else math.inf)


@dataclass(frozen=True)
class Rivals:
    """Every other candidate against the leader: difference of logs (positive: the rival is worse) and its spread."""

    best: str
    labels: tuple[str, ...]
    worse_by: np.ndarray
    spread: np.ndarray
    """Moderated variance of one paired difference."""
    se: np.ndarray
    df: np.ndarray
    n: np.ndarray
    """Measurements of the rival."""
    zone: float
    """The indifference zone on the log scale."""

    @classmethod
    def of(cls, fit: BlockFit, best: str, labels: list[str], indifference: float) -> Rivals:
        """Compare each label with the leader."""
        pairs = [_paired(fit, label, best) for label in labels]
        squares, shared = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
        worse_by, factor = np.array([p[2] for p in pairs]), np.array([p[3] for p in pairs])
        prior_df = moderation(squares, shared - 1)
        freedom = np.maximum(shared - 1, 0)
        # A leader noisier than the rest shows in all of its pairs: then these say what is typical.
        typical = max(2 * fit.variance, squares.sum() / max(freedom.sum(), 1)) if labels else math.nan
        spread = (prior_df * typical + squares) / (prior_df + freedom)
        n = np.isfinite(fit.logs).sum(axis=1)[[fit.index[label] for label in labels]] if labels else np.array([])
        # The prior is itself an estimate, from the same residuals: together they can't know more than these.
        df = np.minimum(prior_df + freedom, max(fit.df, 1))
        with np.errstate(invalid="ignore"):
            se = np.sqrt(spread / 2 * factor)
        return cls(best, tuple(labels), worse_by, spread, se, df, n, math.log1p(indifference))


def scatter(differences: np.ndarray) -> float:
    """The sum of squares of paired differences about their mean; 0 of fewer than two."""
    return float(((differences - differences.mean()) ** 2).sum()) if len(differences) > 1 else 0.0


def _paired(fit: BlockFit, rival: str, best: str) -> tuple[float, int, float, float]:
    """Sum of squares, shared blocks, rival - best, and the variance factor of that (2/n for n paired runs)."""
    differences = fit.differences(rival, best)
    squares, shared = scatter(differences), len(differences)
    if shared >= MIN_BLOCKS:
        return squares, shared, float(differences.mean()), 2 / shared
    worse_by, factor = fit.contrast(fit.index[rival], fit.index[best])
    return squares, shared, worse_by, factor


def moderation(squares: np.ndarray, freedom: np.ndarray) -> float:
    """Degrees of freedom of the prior on variances: large where all candidates are equally noisy (Smyth, 2004)."""
    low, high = PRIOR_DF_RANGE
    usable = (freedom > 0) & (squares > 0)
    if usable.sum() < 2:
        return low
    half = freedom[usable] / 2
    scores = np.log(squares[usable] / freedom[usable]) - digamma(half) + np.log(half)
    excess = float(scores.var(ddof=1) - polygamma(1, half).mean())
    return high if excess <= polygamma(1, high / 2) else float(np.clip(2 * _inverse_trigamma(excess), low, high))


def _inverse_trigamma(value: float) -> float:
    x = 0.5 + 1 / value
    for _ in range(50):
        step = polygamma(1, x) * (1 - polygamma(1, x) / value) / polygamma(2, x)
        x += step
        if abs(step) < 1e-8 * x:
            break
    return float(x)
