"""The savings of a tuned task so far: what following the study has saved against what it ran with first. No I/O.

What the first setting would have cost on the same night is not observed. It follows from what a run spent and from the
gain of its setting, which is known from neighbouring runs of the two: the pairs that exploration makes, or the night
before a promotion and the night after it. All pairs share one spread: a setting with a single pair has bounds, too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline_tuner.analysis.intervals import exponential, t_quantile
from pipeline_tuner.recommendation import Interval

CONFIDENCE = 0.95


@dataclass(frozen=True)
class TaskRun:
    """A first try of a tuned task that has ended, in the order of their starts."""

    label: str
    configuration_id: str
    score: float | None
    """The goal as a log in which larger is better, per unit of work; None where the run failed or has no metric."""
    spent: float | None = None
    """What the run spent of what the goal is to save, over all its work; None where that isn't known."""
    has_failed: bool = False


@dataclass(frozen=True)
class Learnt:
    """What the runs of one setting say against the first."""

    label: str
    runs: int
    failed: int
    pairs: int
    gain: Interval | None
    """Ratio to the first setting, above 1 where better; None where no run of the first is beside one of it."""


@dataclass(frozen=True)
class Savings:
    """What a task's runs have learnt and saved."""

    first: str
    """Label of what the task ran with first."""
    first_runs: int
    learnt: tuple[Learnt, ...]
    """Each other setting, in the order in which they were first run."""
    share: Interval | None
    """Part of what the first setting would have spent that the other settings' runs saved; below 0 where they lost."""
    amount: Interval | None
    """The same in units of what is to be saved."""
    counted_runs: int
    """Runs of other settings that share and amount are about: those that ended well and whose gain is known."""


def savings(runs: Sequence[TaskRun], confidence: float = CONFIDENCE) -> Savings | None:
    """What was learnt and saved; None where nothing has ended yet."""
    if not runs:
        return None
    first = runs[0]
    others: dict[str, list[TaskRun]] = {}
    for run in runs:
        if run.configuration_id != first.configuration_id:
            others.setdefault(run.configuration_id, []).append(run)
    differences = _differences(runs, first.configuration_id)
    gains = _gains(differences, confidence)
    learnt = tuple(_learnt(own, differences, gains) for own in others.values())
    counted = [
        (run.spent, gains[identity])
        for identity, own in others.items()
        for run in own
        if identity in gains and run.score is not None and run.spent is not None
    ]
    amount, share = _saved(counted, confidence) if counted else (None, None)
    return Savings(
        first.label, len(runs) - sum(map(len, others.values())), learnt, share, amount, counted_runs=len(counted)
    )


def _learnt(own: Sequence[TaskRun], differences: Mapping[str, list[float]], gains: Mapping[str, Interval]) -> Learnt:
    identity = own[0].configuration_id
    failed = sum(run.has_failed for run in own)
    return Learnt(own[0].label, len(own), failed, len(differences.get(identity, ())), gains.get(identity))


def _differences(runs: Sequence[TaskRun], first: str) -> dict[str, list[float]]:
    """By setting: its score less that of the first in each pair of neighbouring runs; no run is in two pairs."""
    found: dict[str, list[float]] = {}
    place = 0
    while place < len(runs) - 1:
        one, two = runs[place], runs[place + 1]
        place += 1
        if (one.configuration_id == first) == (two.configuration_id == first):
            continue
        other, reference = (two, one) if one.configuration_id == first else (one, two)
        if other.score is not None and reference.score is not None:
            found.setdefault(other.configuration_id, []).append(other.score - reference.score)
            place += 1
    return found


def _gains(differences: Mapping[str, list[float]], confidence: float) -> dict[str, Interval]:
    """The gain of each setting with bounds by the spread that all pairs share; none before two pairs of one setting."""
    freedom = sum(len(own) - 1 for own in differences.values())
    if freedom < 1:
        return {}
    squares = sum((each - _mean(own)) ** 2 for own in differences.values() for each in own)
    half = t_quantile(confidence, freedom) * math.sqrt(squares / freedom)
    return {
        identity: exponential(
            Interval(
                _mean(own),
                _mean(own) - half / math.sqrt(len(own)),
                _mean(own) + half / math.sqrt(len(own)),
                confidence,
                len(own),
            )
        )
        for identity, own in differences.items()
    }


def _saved(counted: Sequence[tuple[float, Interval]], confidence: float) -> tuple[Interval, Interval]:
    """Amount and share. Bounds are added up, as if all gains were off to the same side: wider than they need be."""
    spent = sum(amount for amount, _ in counted)
    value, low, high = (
        sum(amount * (getattr(gain, bound) - 1) for amount, gain in counted) for bound in ("value", "low", "high")
    )
    amount = Interval(value, low, high, confidence, len(counted))
    share = Interval(value / (spent + value), low / (spent + low), high / (spent + high), confidence, len(counted))
    return amount, share


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
