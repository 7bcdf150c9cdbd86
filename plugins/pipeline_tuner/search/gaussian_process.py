"""Gaussian process regression of noisy runs, with block effects: kernel, fit, prediction.

The covariance of two runs is an interacting part (Matern 5/2, a length scale a parameter), an additive part (the mean
of one-dimensional exponentials: a single parameter may act in steps, such as a cache that stops fitting), nugget
(each configuration's own), a shift common to a block, and noise (Rasmussen and Williams, 2006; additive kernels:
Duvenaud et al., 2011). Length scales and variances are fitted by penalised marginal likelihood.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular

SQRT5 = math.sqrt(5)
JITTER = 1e-6
FIT_RUNS = 100
SAME = 1e-9
"""A squared distance below this is of a configuration to itself."""
LOG_BOUND = 5.0
# Medians and widths of the log-normal priors, for values scaled to a standard deviation of 1.
LENGTH_MEDIAN, LENGTH_WIDTH = 0.7, 1.0
PART_MEDIAN, PART_WIDTH = 0.7, 1.0
NOISE_MEDIAN, NOISE_WIDTH = 0.15, 1.0
BLOCK_MEDIAN, BLOCK_WIDTH = 0.05, 1.0
ROUGH_MEDIAN, ROUGH_WIDTH = 0.15, 1.0
PARTS = 5


@dataclass(frozen=True)
class Runs:
    """What a process learns from: points in the unit cube, the block of each run, and its noise relative to others."""

    points: np.ndarray
    """Runs x columns."""
    groups: np.ndarray
    """For each column, the number of its length scale."""
    blocks: np.ndarray
    """Runs of one block share a number."""
    extra_noise: np.ndarray
    """Added variance of each run, as a multiple of the noise: above 0 for runs of earlier sweeps."""

    @cached_property
    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Indices of all pairs of different runs."""
        return np.triu_indices(len(self.points), 1)

    @cached_property
    def squares(self) -> np.ndarray:
        """Squared distances, columns x pairs."""
        first, second = self.pairs
        return np.ascontiguousarray(((self.points[first] - self.points[second]) ** 2).T)

    @cached_property
    def together(self) -> np.ndarray:
        """For each pair, whether it ran in one block."""
        first, second = self.pairs
        found: np.ndarray = self.blocks[first] == self.blocks[second]
        return found

    @cached_property
    def same(self) -> np.ndarray:
        """For each pair, whether it ran the same configuration."""
        found: np.ndarray = self.squares.sum(axis=0) == 0
        return found

    def part(self, some: np.ndarray) -> Runs:
        """Some of the runs."""
        return Runs(self.points[some], self.groups, self.blocks[some], self.extra_noise[some])

    @property
    def scales(self) -> int:
        """The number of length scales."""
        return int(self.groups.max()) + 1


@dataclass(frozen=True)
class Settings:
    """Hyperparameters, all as logs: length scales, then the standard deviations of the parts."""

    logs: np.ndarray

    @classmethod
    def prior(cls, scales: int) -> Settings:
        """The medians of the priors."""
        return cls(_prior_centers(scales))

    @property
    def lengths(self) -> np.ndarray:
        """Of each group of columns."""
        found: np.ndarray = np.exp(self.logs[:-PARTS])
        return found

    @property
    def variances(self) -> np.ndarray:
        """Of the interacting part, the additive part, nugget, the block effect and the noise."""
        found: np.ndarray = np.exp(2 * self.logs[-PARTS:])
        return found


def _prior_centers(scales: int) -> np.ndarray:
    parts = np.log([PART_MEDIAN, PART_MEDIAN, ROUGH_MEDIAN, BLOCK_MEDIAN, NOISE_MEDIAN])
    return np.concatenate([np.full(scales, math.log(LENGTH_MEDIAN * math.sqrt(scales) ** 0.5)), parts])


def _prior_widths(scales: int) -> np.ndarray:
    return np.concatenate(
        [np.full(scales, LENGTH_WIDTH), [PART_WIDTH, PART_WIDTH, ROUGH_WIDTH, BLOCK_WIDTH, NOISE_WIDTH]]
    )


@dataclass(frozen=True)
class Process:
    """A fitted process."""

    runs: Runs
    settings: Settings
    factor: np.ndarray
    weights: np.ndarray

    @classmethod
    def fit(cls, runs: Runs, values: np.ndarray, start: Settings | None = None, iterations: int = 25) -> Process:
        """Fit to values of mean about 0 and standard deviation about 1.

        Hyperparameters are fitted to at most FIT_RUNS runs spread over all: planning a round must stay quick.
        """
        from scipy.optimize import minimize

        start = start or Settings.prior(runs.scales)
        some = np.unique(np.linspace(0, len(values) - 1, min(len(values), FIT_RUNS)).astype(int))
        found = minimize(
            _objective(runs.part(some), values[some]),
            start.logs,
            jac=True,
            method="L-BFGS-B",
            bounds=[(-LOG_BOUND, LOG_BOUND)] * len(start.logs),
            options={"maxiter": iterations},
        )
        settings = Settings(found.x)
        factor = cholesky(_covariance(runs, settings)[0], lower=True)
        return cls(runs, settings, factor, cho_solve((factor, True), values))

    def cross(self, points: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Prior covariance of the process at points and at others, without block effect and noise."""
        lengths = self.settings.lengths[self.runs.groups]
        interacting, additive, rough = self.settings.variances[:3]
        total = _squared_distances(points / lengths, others / lengths)
        kernel = np.zeros_like(total)
        for column, length in enumerate(lengths):
            levels, where = np.unique(points[:, column], return_inverse=True)
            marks, at = np.unique(others[:, column], return_inverse=True)
            table = np.exp(-np.abs(levels[:, None] - marks) / length)
            kernel += table[where][:, at]
        covariance: np.ndarray = interacting * _matern(total) + additive / len(lengths) * kernel
        covariance += rough * (_squared_distances(points, others) < SAME)
        return covariance

    def predict(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean and variance of the process at points, and the whitened covariance with the runs (for `joint`)."""
        cross = self.cross(points, self.runs.points)
        white = solve_triangular(self.factor, cross.T, lower=True, check_finite=False)
        prior = self.settings.variances[:3].sum()
        return cross @ self.weights, np.maximum(prior - (white**2).sum(axis=0), 1e-10), white

    def left_out(self, values: np.ndarray) -> np.ndarray:
        """What each value that it was fitted to is predicted as without itself (Sundararajan and Keerthi, 2001)."""
        inverse = cho_solve((self.factor, True), np.eye(len(values)), check_finite=False)
        return values - self.weights / np.diag(inverse)

    def joint(self, points: np.ndarray, white: np.ndarray) -> np.ndarray:
        """Posterior covariance of the points, from the whitened covariance that `predict` gave for them."""
        found: np.ndarray = self.cross(points, points) - white.T @ white
        return found


def _squared_distances(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    products = points @ others.T
    found: np.ndarray = np.maximum((points**2).sum(axis=1)[:, None] + (others**2).sum(axis=1) - 2 * products, 0.0)
    return found


def _matern(squares: np.ndarray) -> np.ndarray:
    scaled = SQRT5 * np.sqrt(squares)
    found: np.ndarray = (1 + scaled + scaled**2 / 3) * np.exp(-scaled)
    return found


def _covariance(runs: Runs, settings: Settings) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """The covariance of the runs, and the parts that its gradient needs, over pairs."""
    lengths = settings.lengths[runs.groups]
    interacting, additive, rough, shift, noise = settings.variances
    scaled = runs.squares / (lengths**2)[:, None]
    distance = SQRT5 * np.sqrt(scaled.sum(axis=0))
    decay = np.exp(-distance)
    whole = (1 + distance + distance**2 / 3) * decay
    distances = np.sqrt(scaled)
    decays = np.exp(-distances)
    single = decays.mean(axis=0)
    pairs = interacting * whole + additive * single + shift * runs.together + rough * runs.same
    matrix = np.zeros((len(runs.points),) * 2)
    matrix[runs.pairs] = pairs
    matrix += matrix.T
    diagonal = interacting + additive + rough + shift + noise * (1 + runs.extra_noise) + JITTER
    matrix[np.diag_indices_from(matrix)] = diagonal
    slope_whole = (5 / 3) * interacting * (1 + distance) * decay
    slope_single = additive / len(lengths) * decays / np.maximum(distances, JITTER)
    return matrix, (scaled, whole, single, slope_whole, slope_single)


def _objective(runs: Runs, values: np.ndarray) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """Minus the log posterior density of the hyperparameters, with its gradient."""
    centers, widths = _prior_centers(runs.scales), _prior_widths(runs.scales)
    identity = np.eye(len(values))

    def objective(logs: np.ndarray) -> tuple[float, np.ndarray]:
        settings = Settings(logs)
        matrix, parts = _covariance(runs, settings)
        try:
            factor = cholesky(matrix, lower=True, check_finite=False)
        except np.linalg.LinAlgError:
            return 1e10, np.zeros_like(logs)
        weights = cho_solve((factor, True), values, check_finite=False)
        inverse = cho_solve((factor, True), identity, check_finite=False)
        away = (logs - centers) / widths
        value = 0.5 * values @ weights + np.log(np.diag(factor)).sum() + 0.5 * away @ away
        return float(value), -_slopes(runs, settings, parts, np.outer(weights, weights) - inverse) + away / widths

    return objective


def _slopes(runs: Runs, settings: Settings, parts: tuple[np.ndarray, ...], sensitivity: np.ndarray) -> np.ndarray:
    """Gradient of the log likelihood: half the trace of the sensitivity times the covariance's derivative."""
    scaled, whole, single, slope_whole, slope_single = parts
    off, diagonal = sensitivity[runs.pairs], np.diag(sensitivity)
    interacting, additive, rough, shift, noise = settings.variances
    by_column = scaled @ (off * slope_whole) + np.einsum("cp,cp,p->c", scaled, slope_single, off)
    lengths = np.bincount(runs.groups, by_column, minlength=runs.scales)
    total = diagonal.sum()
    variances = [
        interacting * (2 * off @ whole + total),
        additive * (2 * off @ single + total),
        rough * (2 * off @ runs.same + total),
        shift * (2 * off @ runs.together + total),
        noise * (diagonal @ (1 + runs.extra_noise)),
    ]
    return np.concatenate([lengths, variances])
