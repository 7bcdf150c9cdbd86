"""The exploration policy of tuned tasks: whether the next run tries a challenger, and when it is promoted or dropped.
No I/O.

Runs come in cycles. A cycle begins with a pair of neighbouring runs, the reference and one challenger in random order
(a switchback: what changes slowly changes both), and goes on with the reference alone. Only differences within pairs
count.

The evidence is looked at after every run, and challenger follows challenger. Both are paid for: the k-th look at the
j-th challenger may be wrong with probability alpha / (j (j + 1) k (k + 1)), which over all looks and challengers sums
to alpha, whenever one stops.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from pipeline_tuner.analysis.intervals import exponential, mean_interval
from pipeline_tuner.recommendation import Interval
from pipeline_tuner.trial import Candidate

MIN_PAIRS = 3
"""Pairs before a challenger may be promoted."""
MAX_PAIRS = 12
"""Pairs after which a challenger that shows nothing is set aside."""
REFERENCE_RUNS = 3
"""Runs of the reference before anything is tried: what is usual must be known."""


class Standing(StrEnum):
    """What is known about a challenger."""

    UNTRIED = "untried"
    OPEN = "open"
    BETTER = "better"
    DROPPED = "dropped"


@dataclass(frozen=True)
class ExplorationPolicy:
    """How far production may be explored."""

    share: float
    """At most this part of the runs tries something: 0 to 0.5."""
    tolerated_loss: float = 0.1
    """A challenger that may be worse than the reference by more than this part is not run a third time."""
    confidence: float = 0.95
    """1 - probability that anything is ever promoted that isn't better."""

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 0.5:
            raise ValueError(f"explore is {self.share}, must be from 0 to 0.5: a pair has a reference, too")

    @property
    def cycle(self) -> int:
        """Runs of a cycle, the pair included; 0 where nothing is tried."""
        return math.ceil(1 / self.share - 1e-9) if self.share else 0


@dataclass(frozen=True)
class PastRun:
    """A first try that has ended, in the order of their starts."""

    configuration_id: str
    score: float | None
    """The goal as a log in which larger is better, per unit of work; None where the run failed or has no value."""
    is_challenge: bool = False
    has_failed: bool = False


@dataclass(frozen=True)
class Evidence:
    """What the runs say about one challenger against the reference."""

    challenger: Candidate
    standing: Standing
    runs: int
    gain: Interval | None
    """Ratio to the reference, above 1 where better, with the confidence that this look had; None before a pair."""
    reason: str


@dataclass(frozen=True)
class Step:
    """What the next run does."""

    challenger: Candidate | None
    """What the next run tries; None for the reference."""
    evidence: tuple[Evidence, ...]
    reason: str

    @property
    def better(self) -> Evidence | None:
        """A challenger that is confirmed better: to be promoted."""
        return next((one for one in self.evidence if one.standing is Standing.BETTER), None)


def next_step(
    policy: ExplorationPolicy,
    reference: Candidate,
    candidates: Sequence[Candidate],
    history: Sequence[PastRun],
    seed: str,
) -> Step:
    """Whether the next run tries a candidate, the first that is neither dropped nor confirmed.

    `history` holds the task's ended runs, the oldest first, also of an earlier reference. The same history and seed
    give the same step.
    """
    identity = reference.configuration_id
    evidence = judged(policy, reference, candidates, history)
    if not policy.share:
        return Step(None, evidence, "nothing is explored")
    if sum(run.configuration_id == identity and not run.is_challenge for run in history) < REFERENCE_RUNS:
        return Step(None, evidence, f"the reference has to be known by {REFERENCE_RUNS} runs first")
    open_ones = [one.challenger for one in evidence if one.standing in (Standing.UNTRIED, Standing.OPEN)]
    if not open_ones:
        return Step(None, evidence, "there is nothing more to try")
    if not is_challengers_turn(policy, len(history), seed):
        return Step(None, evidence, "it is the reference's turn")
    return Step(open_ones[0], evidence, f"tried against {reference.label}, beside a run of it")


def is_challengers_turn(policy: ExplorationPolicy, number: int, seed: str) -> bool:
    """Whether the run of a number, from 0, is its pair's challenger: the order in a pair is random."""
    cycle, place = divmod(number, policy.cycle)
    return place == random.Random(f"{seed} {cycle}").randrange(2)


def judged(
    policy: ExplorationPolicy, reference: Candidate, candidates: Sequence[Candidate], history: Sequence[PastRun]
) -> tuple[Evidence, ...]:
    """What is known about each candidate, in order: its place in the order is what its evidence has to pay for."""
    pairs = _pairs(policy, reference, history)
    identity = reference.configuration_id
    of_reference = [run for run in history if not run.is_challenge and run.configuration_id == identity]
    usual = [run.score for run in of_reference if run.score is not None]
    return tuple(
        _evidence(policy, place, candidate, pairs, history, usual) for place, candidate in enumerate(candidates, 1)
    )


def _evidence(
    policy: ExplorationPolicy,
    place: int,
    candidate: Candidate,
    pairs: Sequence[tuple[str, float]],
    history: Sequence[PastRun],
    usual: Sequence[float],
) -> Evidence:
    own = candidate.configuration_id
    runs = [run for run in history if run.is_challenge and run.configuration_id == own]
    gains = [gain for identity, gain in pairs if identity == own]
    if not runs:
        return Evidence(candidate, Standing.UNTRIED, 0, None, "not tried yet")
    interval = exponential(mean_interval(gains, _confidence(policy, place, len(gains)))) if gains else None
    standing, reason = _standing(policy, runs, gains, interval, usual)
    return Evidence(candidate, standing, len(runs), interval, reason)


def _standing(
    policy: ExplorationPolicy,
    runs: Sequence[PastRun],
    gains: Sequence[float],
    interval: Interval | None,
    usual: Sequence[float],
) -> tuple[Standing, str]:
    if any(run.has_failed for run in runs):
        return Standing.DROPPED, "a run with it failed"
    if len(gains) >= MIN_PAIRS and interval is not None and interval.low > 1.0:
        return Standing.BETTER, f"better in {len(gains)} pairs by {interval.low - 1:.1%} at least"
    scores = [run.score for run in runs if run.score is not None]
    bound = -math.log1p(policy.tolerated_loss)
    against_usual = [score - statistics.median(usual) for score in scores] if usual else []
    # Its own pair says more than what is usual, once there is one. Nothing has to be shown to drop a challenger.
    seen = gains or against_usual
    if len(scores) == 1 and seen and seen[0] < 2 * bound:
        return Standing.DROPPED, "its first run was far worse"
    # Half of it: with two noisy runs, what is really that bad would look better half of the time.
    if len(scores) >= 2 and seen and statistics.fmean(seen) < bound / 2:
        return Standing.DROPPED, f"it may be worse than is tolerated ({policy.tolerated_loss:.0%})"
    if len(gains) >= MIN_PAIRS + 1 and statistics.fmean(gains) <= 0:
        return Standing.DROPPED, "it does not look better"
    if len(gains) >= MAX_PAIRS:
        return Standing.DROPPED, f"{MAX_PAIRS} pairs have not shown that it is better"
    return Standing.OPEN, f"{len(gains)} pairs so far"


def _confidence(policy: ExplorationPolicy, place: int, pairs: int) -> float:
    """The confidence of a two-sided interval at this look, whose lower bound alone may promote."""
    look = max(pairs - MIN_PAIRS + 1, 1)
    alpha = (1 - policy.confidence) / (place * (place + 1) * look * (look + 1))
    return 1 - 2 * alpha


def _pairs(policy: ExplorationPolicy, reference: Candidate, history: Sequence[PastRun]) -> list[tuple[str, float]]:
    """The whole pairs: the challenger's identity, and the log of its gain over the reference beside it."""
    if not policy.cycle:
        return []
    identity, found = reference.configuration_id, []
    for start in range(0, len(history) - 1, policy.cycle):
        pair = history[start : start + 2]
        tried = [(run.configuration_id, run.score) for run in pair if run.is_challenge]
        beside = [run.score for run in pair if not run.is_challenge and run.configuration_id == identity]
        for challenger, score in tried if len(tried) == len(beside) == 1 else ():
            if score is not None and beside[0] is not None:
                found.append((challenger, score - beside[0]))
    return found
