"""The selection of the best of several noisily measured configurations: ties, regret bound, gains, multiple
comparisons.

Measurements are compared on the log scale, within blocks (runs close together in time), so that a machine
that drifts between blocks does not matter. The procedure is sequential: it may be asked after every block.
It promises jointly, over all candidates and looks: the chance that it names a pick *and* the pick is truly worse
than the best by the indifference zone or more is at most 1 - confidence.

Sources: multiple comparisons with the best (Hsu, 1984), indifference zones (Bechhofer, 1954; Kim and Nelson, 2001),
moderated variances (Smyth, 2004), block effects by least squares. The corrections for repeated looks are our own;
benchmarks/selection.py measures whether they hold.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.special import ndtr, stdtr, stdtrit

from pipeline_tuner.analysis.block_fit import BlockFit, Observation, Rivals, moderation, scatter
from pipeline_tuner.analysis.intervals import exp
from pipeline_tuner.recommendation import MIN_BLOCKS, ROUNDING, Interval

DEFAULT_CAP = 30


@dataclass(frozen=True)
class Standing:
    """What is known of one candidate against the leader and the control. Gains above 1 are better."""

    label: str
    n: int
    """Measurements."""
    worse_by: float
    """The estimated fraction by which its value is above the leader's: 0.1 is 10% worse. Known before the noise is."""
    p_value: float
    """For "the leader is worse than this one by the indifference zone or more"; 0 for the leader itself."""
    critical_value: float
    """The p-value must be at most this for the leader to be safe from this candidate."""
    to_best: Interval | None
    """Leader's value / this one's value: below 1 where this one is worse."""
    to_control: Interval | None
    """Control's value / this one's value: above 1 where this one is better. Flattering: report `confirmed_gain`."""
    is_tied: bool
    """Whether it can't be told apart from the leader."""

    @property
    def is_settled(self) -> bool:
        """Whether the leader is shown to be at most the indifference zone worse than this one."""
        return self.p_value <= self.critical_value


@dataclass(frozen=True)
class Selection:
    """The answer over all candidates; `standings` has the best estimate first."""

    status: Literal["best", "tied", "undecided"]
    best: str | None
    """The leader: the smallest estimate. Only where the status isn't `undecided` is it more than a guess."""
    ties: tuple[str, ...]
    """The leader and all that can't be told apart from it, best estimate first."""
    standings: tuple[Standing, ...]
    error_probability: float
    """The smallest error bound at which the procedure would name a pick now (1 where it never would)."""
    regret_bound: float
    """The leader is at most this fraction worse than the best measured one: jointly over candidates and looks."""
    expected_loss: float
    """The fraction of the value that is expected to be lost by stopping at the leader now; infinite where unknown."""
    noise: float
    """The typical standard deviation of one run on the log scale, block effects removed (nan where unknown)."""
    more_blocks: int | None
    """An estimate of the further blocks that certify the leader (undecided) or separate the ties; None if unknown."""
    more_trials: int | None
    """The trials in them."""
    next_labels: tuple[str, ...]
    """What the next block should hold beside the control: the leader and all that are not settled, neediest first."""
    interchangeable: tuple[str, ...] = ()
    """The ties that are certified themselves: whichever of them is picked, the promise holds. A tie that is only too
    uncertain to be told from the leader is not among them."""

    @property
    def is_exact(self) -> bool:
        """Whether the values did not vary at all between blocks: bytes and files rather than seconds."""
        return self.noise <= ROUNDING

    def standing(self, label: str) -> Standing:
        """The standing of one candidate. Raises KeyError where it was not measured."""
        for standing in self.standings:
            if standing.label == label:
                return standing
        raise KeyError(label)


def select(
    observations: Sequence[Observation],
    *,
    control: str | None = None,
    candidates: Collection[str] | None = None,
    indifference: float = 0.05,
    confidence: float = 0.95,
    cap: int = DEFAULT_CAP,
) -> Selection:
    """The best of the candidates as far as the observations tell.

    `candidates` are the labels that may win (every observed label by default); others only help to estimate
    blocks and noise. One that was never measured keeps the procedure from speaking. `cap` is the number of blocks that
    will be measured at most: decide it before looking at results. Raises ValueError for values not above zero.
    """
    competing = tuple(dict.fromkeys(candidates if candidates is not None else [o.label for o in observations]))
    fit = BlockFit.of(observations)
    measured = [label for label in competing if label in fit.index]
    if not measured:
        return _nothing(competing)
    best = min(measured, key=lambda label: fit.effects[fit.index[label]])

    def answered(label: str) -> Selection:
        rivals = Rivals.of(fit, label, [other for other in measured if other != label], indifference)
        return _answer(fit, rivals, competing, control, confidence, cap)

    answer = answered(best)
    if answer.status == "undecided":
        return answer
    safe = (label for label in answer.ties if label == best or answered(label).status != "undecided")
    return replace(answer, interchangeable=tuple(safe))


def regret_bound(
    fit: BlockFit,
    label: str,
    candidates: Collection[str],
    *,
    confidence: float = 0.95,
) -> float:
    """The fraction by which the best of the candidates may be better than `label`, jointly over the candidates.

    To be asked once, when the sweep has ended: unlike `select` it spends nothing on earlier looks.
    Infinite where `label` or a candidate was not measured, or the noise is unknown.
    """
    others = [other for other in dict.fromkeys(candidates) if other != label]
    if not others:
        return 0.0
    if fit.df <= 0 or not {label, *others} <= set(fit.index):
        return math.inf
    level = (1 - confidence) / len(others)
    return _regret_bound(Rivals.of(fit, label, others, indifference=0.0), np.full(len(others), level))


def as_good(fit: BlockFit, label: str, candidates: Collection[str], *, confidence: float = 0.95) -> tuple[str, ...]:
    """`label` and the measured candidates that are not shown to be worse, jointly; the best estimate first.

    To be asked once, as `regret_bound`.
    """
    others = [other for other in dict.fromkeys(candidates) if other != label and other in fit.index]
    if label not in fit.index or not others:
        return (label,)
    rivals = Rivals.of(fit, label, others, indifference=0.0)
    tied = _tied(rivals, (1 - confidence) / 2 / len(others))
    found = [other for other, is_tied in zip(others, tied, strict=True) if is_tied]
    return tuple(sorted([label, *found], key=lambda name: fit.effects[fit.index[name]]))


def _nothing(competing: tuple[str, ...]) -> Selection:
    return Selection("undecided", None, (), (), 1.0, math.inf, math.inf, math.nan, None, None, competing)


@dataclass(frozen=True)
class _Tests:
    """Every rival against the leader at this look, in the order of the rivals."""

    p_values: np.ndarray
    """That the leader is worse than it by the indifference zone or more."""
    critical_values: np.ndarray
    tied: np.ndarray
    """Whether it isn't shown to be worse than the leader."""
    error: float
    """The smallest error bound at which the leader would be named."""

    @classmethod
    def of(cls, rivals: Rivals, alpha: float, count: int, cap: int) -> _Tests:
        """The error `alpha` shared by `count` rivals, and spent over looks at up to `cap` blocks."""
        p_values, spending = _p_values(rivals), _alpha_spending(rivals, alpha, cap)
        with np.errstate(divide="ignore", invalid="ignore"):  # nothing is spent on a rival that was not measured
            error = float(np.clip((p_values * count / spending).max(initial=0.0), 0, 1))
        return cls(p_values, alpha * spending / count, _tied(rivals, alpha / 2 / count), error)

    @property
    def are_passed(self) -> bool:
        """Whether the leader is shown safe from all of them."""
        return bool((self.p_values <= self.critical_values).all())


def _answer(
    fit: BlockFit, rivals: Rivals, competing: tuple[str, ...], control: str | None, confidence: float, cap: int
) -> Selection:
    tests = _Tests.of(rivals, 1 - confidence, max(len(competing) - 1, 1), cap)
    best_n = int(np.isfinite(fit.logs[fit.index[rivals.best]]).sum())
    unmeasured = [label for label in competing if label not in fit.index]
    enough = 1 if fit.df > 0 and math.sqrt(fit.variance) <= ROUNDING else MIN_BLOCKS
    ready = best_n >= min(enough, cap) and not unmeasured and (fit.df > 0 or not rivals.labels)
    certified = ready and tests.are_passed and best_n >= enough
    gains = gains_over(fit, control, confidence)
    leader = Standing(rivals.best, best_n, 0.0, 0.0, 1.0, None, gains.get(rivals.best), True)
    standings = (leader, *_standings(rivals, tests, gains, confidence))
    ties = tuple(s.label for s in standings if s.is_tied)
    needed = _blocks_to_separate(rivals, tests) if certified else _blocks_to_settle(rivals, tests)
    unsettled = [s for s in sorted(standings, key=lambda s: -s.p_value) if not s.is_settled and s.label != rivals.best]
    next_labels = (rivals.best, *unmeasured, *(s.label for s in unsettled))
    blocks = None if needed is None else max(needed, MIN_BLOCKS - best_n)
    width = len(set(ties if certified else next_labels) | ({control} if control else set()))
    return Selection(
        status="undecided" if not certified else "best" if len(ties) == 1 else "tied",
        best=rivals.best,
        ties=ties,
        standings=standings,
        error_probability=tests.error if ready else 1.0,
        regret_bound=_regret_bound(rivals, tests.critical_values) if not unmeasured else math.inf,
        expected_loss=_expected_loss(rivals) if ready else math.inf,
        noise=math.sqrt(fit.variance) if fit.df > 0 else math.nan,
        more_blocks=blocks,
        more_trials=None if blocks is None else blocks * width,
        next_labels=next_labels,
    )


def _p_values(rivals: Rivals) -> np.ndarray:
    # A metric that never varies (bytes, files) has no standard error: its score is infinite, its p-value 0.
    with np.errstate(divide="ignore", invalid="ignore"):
        score = (rivals.zone + rivals.worse_by) / rivals.se
    known = np.isfinite(rivals.se) & ~np.isnan(score)
    return np.where(known, stdtr(rivals.df, -np.where(known, score, 0.0)), 1.0)


def _alpha_spending(rivals: Rivals, alpha: float, cap: int) -> np.ndarray:
    """The part of the error that this look may spend on each rival: little while few of the needed blocks are in."""
    quantile = stdtrit(rivals.df, 1 - alpha)
    with np.errstate(invalid="ignore"):
        horizon = np.clip(np.nan_to_num(rivals.spread * quantile**2 / rivals.zone**2, nan=cap), MIN_BLOCKS, 1.5 * cap)
    looks = 1 / (1 + 1.5 * np.log(np.maximum(np.maximum(horizon, rivals.n), MIN_BLOCKS) / MIN_BLOCKS))
    found: np.ndarray = looks * np.sqrt(np.minimum(1.0, rivals.n / horizon))
    return found


def _tied(rivals: Rivals, level: float) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        score = rivals.worse_by / rivals.se
    found: np.ndarray = ~(score > stdtrit(rivals.df, 1 - level))
    return found


def _regret_bound(rivals: Rivals, level: np.ndarray) -> float:
    bounds = rivals.se * stdtrit(rivals.df, 1 - level) - rivals.worse_by
    if np.isnan(bounds).any():
        return math.inf
    return exp(max(float(bounds.max(initial=0.0)), 0.0)) - 1


def _expected_loss(rivals: Rivals) -> float:
    """The mean of what each rival may turn out better by, summed (a bound): the linear loss of a normal difference."""
    if not np.isfinite(rivals.se).all():
        return math.inf
    se = np.maximum(rivals.se, 1e-12)
    z = rivals.worse_by / se
    losses = se * (np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi) - z * ndtr(-z))
    return exp(float(np.maximum(losses, 0.0).sum())) - 1


def _blocks_to_settle(rivals: Rivals, tests: _Tests) -> int | None:
    """Further blocks until the leader is shown safe from every rival, if the estimates hold."""
    open_ones = tests.p_values > tests.critical_values
    return _further_blocks(rivals, open_ones, rivals.zone + rivals.worse_by, tests.critical_values)


def _blocks_to_separate(rivals: Rivals, tests: _Tests) -> int | None:
    """Further blocks until every tied rival is told apart from the leader, if the estimates hold."""
    return _further_blocks(rivals, tests.tied, rivals.worse_by, tests.critical_values / 2)


def _further_blocks(rivals: Rivals, open_ones: np.ndarray, gap: np.ndarray, level: np.ndarray) -> int | None:
    if not open_ones.any():
        return 0
    with np.errstate(divide="ignore", invalid="ignore"):
        total = rivals.spread * stdtrit(rivals.df, 1 - level) ** 2 / np.maximum(gap, rivals.zone / 10) ** 2
    further = (total - rivals.n)[open_ones]
    return max(1, math.ceil(float(further.max()))) if np.isfinite(further).all() else None


def _standings(rivals: Rivals, tests: _Tests, gains: Mapping[str, Interval], confidence: float) -> tuple[Standing, ...]:
    """The rivals, the best estimate first."""
    tail = (1 - confidence) / 2 / max(len(rivals.labels), 1)
    widths = rivals.se * stdtrit(rivals.df, 1 - tail)
    found = []
    for i in np.argsort(rivals.worse_by, kind="stable"):
        label, center, width = rivals.labels[i], -rivals.worse_by[i], widths[i]
        to_best = _ratio(center, width, confidence, int(rivals.n[i])) if np.isfinite(width) else None
        found.append(
            Standing(
                label,
                int(rivals.n[i]),
                exp(-center) - 1,
                float(tests.p_values[i]),
                float(tests.critical_values[i]),
                to_best,
                gains.get(label),
                bool(tests.tied[i]),
            )
        )
    return tuple(found)


def gains_over(fit: BlockFit, control: str | None, confidence: float) -> dict[str, Interval]:
    """Control's value / each one's value, by label; empty while the noise is unknown, or without the control."""
    if control not in fit.index or fit.df <= 0:
        return {}
    others = [label for label in fit.labels if label != control]
    against = Rivals.of(fit, control, others, indifference=0.0)
    widths = against.se * stdtrit(against.df, (1 + confidence) / 2)
    gains = {control: Interval(1.0, 1.0, 1.0, confidence, int(np.isfinite(fit.logs[fit.index[control]]).sum()))}
    for label, worse_by, width, n in zip(others, against.worse_by, widths, against.n, strict=True):
        if np.isfinite(width):
            gains[label] = _ratio(-worse_by, width, confidence, int(n))
    return gains


def _ratio(center: float, width: float, confidence: float, n: int) -> Interval:
    return Interval(exp(center), exp(center - width), exp(center + width), confidence, n)


def confirmed_gain(
    confirmation: Sequence[Observation],
    label: str,
    control: str,
    *,
    confidence: float = 0.95,
    search: Sequence[Observation] = (),
) -> Interval | None:
    """Control's value / the label's value (above 1: better than the control), from fresh blocks that hold both.

    Give it observations of the confirmation only: the data that chose the winner flatter it. None where fewer than two
    blocks hold both. `search` only helps to say how noisy a difference is: few fresh blocks know little of that, and
    noise, unlike the mean, is not flattered by the choice. It is moderated over all pairs, as in `Rivals`.
    """
    if label == control:
        blocks = len({o.block for o in confirmation if o.label == control})
        return Interval(1.0, 1.0, 1.0, confidence, blocks) if blocks else None
    fit = BlockFit.of(confirmation)
    differences = fit.differences(control, label)
    n = len(differences)
    if n < 2:
        return None
    variance, freedom = float(differences.var(ddof=1)), float(n - 1)
    if search:
        variance, freedom = _moderated((fit, BlockFit.of(search)), label, control)
    width = math.sqrt(variance / n) * float(stdtrit(freedom, (1 + confidence) / 2))
    return _ratio(float(differences.mean()), width, confidence, n)


def after(first: Sequence[Observation], second: Sequence[Observation]) -> list[Observation]:
    """Two phases in one, the blocks of the second after those of the first."""
    blocks = 1 + max((o.block for o in first), default=-1)
    return [*first, *(replace(o, block=o.block + blocks) for o in second)]


def _moderated(phases: Sequence[BlockFit], label: str, control: str) -> tuple[float, float]:
    """Variance of one paired difference of logs, and its degrees of freedom. Each phase has a mean of its own."""
    others = [other for other in dict.fromkeys(x for fit in phases for x in fit.labels) if other != label]
    pairs = [[fit.differences(other, label) for fit in phases] for other in others]
    squares = np.array([math.fsum(map(scatter, phases_of_pair)) for phases_of_pair in pairs])
    freedom = np.array([sum(max(len(found) - 1, 0) for found in phases_of_pair) for phases_of_pair in pairs])
    prior_df = moderation(squares, freedom)
    residual_df = max(sum(fit.df for fit in phases), 1)
    residual = math.fsum(fit.variance * fit.df for fit in phases if fit.df > 0) / residual_df
    typical = max(2 * residual, float(squares.sum()) / max(float(freedom.sum()), 1.0))
    i = others.index(control)
    own = prior_df + float(freedom[i])
    return (prior_df * typical + float(squares[i])) / own, min(own, residual_df)
