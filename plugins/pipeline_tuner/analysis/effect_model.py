"""The linear model of the effects, fitted: score = block + parameters, by least squares, with its noise and what can't
be told apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import special

from pipeline_tuner.analysis.effect_design import Run, Term, columns_of, entry_of, levels_of
from pipeline_tuner.analysis.intervals import exponential, t_quantile
from pipeline_tuner.recommendation import Interval
from pipeline_tuner.space import Configuration, Scalar, Space, configuration_id

MIN_DF = 2
"""Degrees of freedom without which nothing is said."""
ALIASED = 0.2
"""A parameter is not separable where less than this share of its variation is its own (a variance inflation above 5):
the model would have to be exactly right to tell it from the others, and it never is."""
STEADY = 0.95
"""The confidence of the interval that an effect must stay in whichever parameter that isn't separable is left out."""


@dataclass(frozen=True)
class Model:
    """Score = block + parameters, by least squares."""

    space: Space
    runs: tuple[Run, ...]
    columns: tuple[tuple[Term, int], ...]
    """Each column's term and its number within the term."""
    pairs: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, space: Space, runs: Sequence[Run], pairs: tuple[tuple[str, str], ...] = ()) -> Model:
        """The richest model that leaves degrees of freedom: with curvature if the configurations allow it."""
        known = tuple(runs)
        for curved in (True, False):
            model = cls(space, known, columns_of(space, known, pairs, curved), pairs)
            if model.configurations - 1 >= len(model.columns) + MIN_DF:
                break
        return model

    @cached_property
    def configurations(self) -> int:
        """How many different configurations were measured."""
        return len(self._distinct)

    @cached_property
    def _identities(self) -> list[str]:
        return [configuration_id(run.configuration) for run in self.runs]

    @cached_property
    def _distinct(self) -> dict[str, int]:
        return {identity: number for number, identity in enumerate(dict.fromkeys(self._identities))}

    @cached_property
    def _place(self) -> np.ndarray:
        """Each run's configuration, as its number among the distinct ones."""
        return np.array([self._distinct[identity] for identity in self._identities])

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The parameters of the model."""
        return tuple(dict.fromkeys(term for term, _ in self.columns if isinstance(term, str)))

    def row(self, configuration: Configuration) -> np.ndarray:
        """A configuration as numbers, one per column."""
        return np.array([entry_of(self.space, self._levels, column, configuration) for column in self.columns])

    @cached_property
    def _levels(self) -> dict[str, list[Scalar]]:
        return levels_of(self.space, self.runs)

    @cached_property
    def _design(self) -> np.ndarray:
        first = [self._identities.index(identity) for identity in self._distinct]
        rows = [self.row(self.runs[number].configuration) for number in first]
        found: np.ndarray = np.array(rows).reshape(len(rows), len(self.columns))[self._place]
        return found

    @cached_property
    def _blocks(self) -> np.ndarray:
        blocks = {block: i for i, block in enumerate(dict.fromkeys(run.block for run in self.runs))}
        return np.eye(len(blocks))[[blocks[run.block] for run in self.runs]]

    def _within_blocks(self, values: np.ndarray) -> np.ndarray:
        found: np.ndarray = values - self._blocks @ (self._blocks.T @ values / self._blocks.sum(axis=0)[:, None])
        return found

    @cached_property
    def _x(self) -> np.ndarray:
        return self._within_blocks(self._design)

    @cached_property
    def _y(self) -> np.ndarray:
        return self._within_blocks(np.array([[run.score] for run in self.runs]))[:, 0]

    @cached_property
    def _inverse(self) -> np.ndarray:
        return np.linalg.pinv(self._x.T @ self._x, rcond=1e-9, hermitian=True)

    @cached_property
    def coefficients(self) -> np.ndarray:
        """The effect of each column on the score."""
        found: np.ndarray = self._inverse @ self._x.T @ self._y
        return found

    @cached_property
    def _noise(self) -> tuple[float, int]:
        """Variance of a trial about the model and its degrees of freedom: the larger of repeats and misfit."""
        rank = int(np.linalg.matrix_rank(self._x, tol=1e-7)) if self._x.size else 0
        left = float(((self._y - self._x @ self.coefficients) ** 2).sum())
        pure, pure_df = self._pure_error
        total_df = len(self.runs) - self._blocks.shape[1] - rank
        misfit_df = total_df - pure_df
        choices = [((left - pure) / misfit_df, misfit_df)] if misfit_df >= MIN_DF else []
        choices += [(pure / pure_df, pure_df)] if pure_df >= MIN_DF else []
        return max(choices, default=(math.nan, 0))

    @cached_property
    def _pure_error(self) -> tuple[float, int]:
        x = self._within_blocks(np.eye(self.configurations)[self._place])
        fitted = x @ np.linalg.lstsq(x, self._y, rcond=1e-9)[0]
        rank = int(np.linalg.matrix_rank(x, tol=1e-7))
        return float(((self._y - fitted) ** 2).sum()), len(self.runs) - self._blocks.shape[1] - rank

    @property
    def df(self) -> int:
        """Degrees of freedom of the noise; below 2 nothing can be said."""
        return self._noise[1]

    @cached_property
    def aliases(self) -> tuple[tuple[str, ...], ...]:
        """Groups of parameters that can't be told apart, because they were only ever changed together."""
        groups: dict[frozenset[str], None] = {}
        for name in self._aliased:
            partners = {other for other in self.names if other != name and self._own_share(name, [other]) > ALIASED}
            groups[frozenset({name, *partners})] = None
        return tuple(tuple(sorted(group)) for group in groups if not any(group < other for other in groups))

    @cached_property
    def _aliased(self) -> tuple[str, ...]:
        """The terms with too little variation of their own."""
        return tuple(name for name in self.names if self._own_share(name) < ALIASED)

    @cached_property
    def entangled(self) -> tuple[str, ...]:
        """Parameters whose effect rests on how the model shares out those that are not separable.

        Without one of these the effect would be another one, or it is more than the measured configurations differ by.
        """
        names = [name for name in self.names if name in self.space.parameters]
        told = [name for name in names if name not in self._aliased]
        others = [self._without(name) for name in names if name in self._aliased]
        return tuple(name for name in told if not self._is_steady(name, others))

    def _without(self, name: str) -> Model:
        return replace(self, columns=tuple(column for column in self.columns if column[0] != name))

    def _is_steady(self, name: str, others: Sequence[Model]) -> bool:
        worst, best = self.extremes(name)
        reach, half = self._difference(name, best, worst, STEADY)
        moved = [abs(other._difference(name, best, worst, STEADY)[0] - reach) for other in others]
        return reach <= self._measured_range and all(distance <= half for distance in moved)

    @cached_property
    def _measured_range(self) -> float:
        """The largest difference between configurations, blocks' effects removed; room for the noise of two trials."""
        x = np.hstack([np.eye(self.configurations)[self._place], self._blocks])
        means = np.linalg.lstsq(x, np.array([run.score for run in self.runs]), rcond=1e-9)[0][: self.configurations]
        variance, _ = self._noise
        return float(np.ptp(means)) + 2 * math.sqrt(max(variance, 0.0))

    def _own_share(self, name: str, left_out: Sequence[str] = ()) -> float:
        """The part of a term's variation that the other terms don't explain."""
        mine = self._x[:, self._places([name])]
        others = self._x[:, self._places([n for n in self.names if n != name and n not in left_out])]
        total = float((mine**2).sum())
        if total < 1e-12:
            return 0.0
        rest = mine - others @ np.linalg.lstsq(others, mine, rcond=1e-9)[0] if others.shape[1] else mine
        return float((rest**2).sum()) / total

    def _places(self, names: Sequence[Term]) -> list[int]:
        return [i for i, (name, _) in enumerate(self.columns) if name in names]

    @cached_property
    def separable(self) -> tuple[str, ...]:
        """The parameters whose effect can be told from the others', within what was measured."""
        left_out = {*self._aliased, *self.entangled}
        return tuple(n for n in self.names if n in self.space.parameters and n not in left_out)

    def _explained_by(self, names: Sequence[Term]) -> float:
        """The sum of squares that is lost when the terms are left out."""
        places = [i for i in range(len(self.columns)) if i not in self._places(names)]
        rest = self._x[:, places]
        without = self._y - rest @ np.linalg.lstsq(rest, self._y, rcond=1e-9)[0] if places else self._y
        return float((without**2).sum() - ((self._y - self._x @ self.coefficients) ** 2).sum())

    def p_value(self, names: Sequence[Term]) -> float:
        """The F test of leaving the terms out."""
        variance, df = self._noise
        width = len(self._places(names))
        if df < MIN_DF or not width:
            return 1.0
        if variance <= 1e-18:
            return float(self._explained_by(names) <= 1e-18)
        return float(special.fdtrc(width, df, max(self._explained_by(names), 0.0) / width / variance))

    def share(self, name: str) -> float:
        """The term's part of the explained variation, 0 to 1."""
        total = sum(self._explained.values())
        return self._explained[name] / total if total > 0 else 0.0

    @cached_property
    def _explained(self) -> dict[str, float]:
        return {term: max(self._explained_by([term]), 0.0) for term in self.names}

    @cached_property
    def unexplained(self) -> float:
        """The part of the variation between configurations that the terms leave."""
        left = float(((self._y - self._x @ self.coefficients) ** 2).sum()) - self._pure_error[0]
        between = float((self._y**2).sum()) - self._pure_error[0]
        return max(left, 0.0) / between if between > 0 else 0.0

    def levels(self, name: str) -> tuple[Scalar, ...]:
        """The measured levels of a parameter that varied, sorted."""
        return tuple(self._levels[name])

    def extremes(self, name: str) -> tuple[Scalar, Scalar]:
        """The parameter's worst and best measured level by the model."""
        worth = {level: float(self._of_level(name, level) @ self.coefficients) for level in self._levels[name]}
        return min(worth, key=lambda level: worth[level]), max(worth, key=lambda level: worth[level])

    def _of_level(self, name: str, level: Scalar) -> np.ndarray:
        entries = [entry_of(self.space, self._levels, c, {name: level}) if c[0] == name else 0.0 for c in self.columns]
        return np.array(entries)

    def contrast(self, name: str, better: Scalar, worse: Scalar, confidence: float) -> Interval:
        """The gain from one level to another, with an interval that holds for all pairs of levels at once."""
        center, half = self._difference(name, better, worse, confidence)
        return exponential(Interval(center, center - half, center + half, confidence, len(self.runs)))

    def _difference(self, name: str, better: Scalar, worse: Scalar, confidence: float) -> tuple[float, float]:
        """The difference of two levels' scores, and half the width of its Scheffe interval."""
        direction = self._of_level(name, better) - self._of_level(name, worse)
        variance, df = self._noise
        width = len(self._places([name]))
        scheffe = math.sqrt(width * float(special.fdtri(width, df, confidence)))
        center = float(direction @ self.coefficients)
        return center, scheffe * math.sqrt(max(variance * float(direction @ self._inverse @ direction), 0.0))

    def predict(self, configuration: Configuration, reference: Configuration, confidence: float) -> Interval | None:
        """The gain of an untried configuration over a measured one, from the parameters in which they differ.

        None where one of these is not separable, or outside its measured range. The interval is for the
        configuration's own value: it includes what the model leaves unexplained.
        """
        if self.df < MIN_DF or not self._is_inside(configuration) or not self._tells(configuration, reference):
            return None
        direction = self.row(configuration) - self.row(reference)
        inside = np.allclose(self._x.T @ self._x @ (self._inverse @ direction), direction, atol=1e-6)
        if not inside:
            return None
        variance, df = self._noise
        center = float(direction @ self.coefficients)
        spread = variance * (float(direction @ self._inverse @ direction) + 1.0)
        half = t_quantile(confidence, df) * math.sqrt(spread)
        return exponential(Interval(center, center - half, center + half, confidence, len(self.runs)))

    def _tells(self, configuration: Configuration, reference: Configuration) -> bool:
        moved = [n for n in self.space.parameters if configuration.get(n) != reference.get(n)]
        return all(name in self.separable for name in moved)

    def _is_inside(self, configuration: Configuration) -> bool:
        for name, value in configuration.items():
            seen = self._levels.get(name)
            if seen is None:
                if any(value != run.configuration[name] for run in self.runs if name in run.configuration):
                    return False
            elif self.space.parameters[name].is_ordered:
                if not min(map(float, seen)) <= float(value) <= max(map(float, seen)):
                    return False
            elif value not in seen:
                return False
        return True
