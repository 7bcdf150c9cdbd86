"""The answer of a sweep for one goal: a configuration with its evidence, or what is missing. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from pipeline_tuner.space import Scalar


@dataclass(frozen=True)
class Interval:
    """A figure with the bounds that it lies between at the stated confidence; `n` pairs or blocks stand behind it."""

    value: float
    low: float
    high: float
    confidence: float
    n: int


class DecisionStatus(StrEnum):
    """What a sweep decided for one goal. Each status holds jointly over candidates and looks, at the confidence."""

    BEST = "best"
    """One configuration is at most the indifference zone worse than the best."""
    TIED = "tied"
    """Several are; one of them is picked by the study's preference."""
    BETTER = "better"
    """One is confirmed better than the reference; the best measured one may be better still, by the regret bound."""
    KEEP = "keep"
    """Nothing is shown better than the reference, which is short of the best by at most the regret bound."""
    UNDECIDED = "undecided"
    """Too little was measured for any of these."""

    @property
    def changes_production(self) -> bool:
        """Whether production follows the configuration that the decision names."""
        return self in (DecisionStatus.BEST, DecisionStatus.TIED, DecisionStatus.BETTER)


FORMER_STATUSES = {"winner": DecisionStatus.BEST, "abstained": DecisionStatus.UNDECIDED}
"""Statuses in documents that were stored before schema version 6."""


@dataclass(frozen=True)
class Recommendation:
    """What to run for one goal, and how sure that is.

    `label` is what to run: the pick, or the reference where the status is `keep`. Where it is `undecided`, `label` is
    the best guess or None.
    """

    goal: str
    status: DecisionStatus
    label: str | None
    configuration: Mapping[str, Scalar] | None
    estimate: Interval | None = None
    """The goal's figure for the pick, in the goal's unit, from the confirmation only."""
    gain: Interval | None = None
    """The pick against the control as a ratio, above 1 where it is better, from the confirmation only."""
    unit: str = ""
    confidence: float = 0.0
    """Joint over all candidates and looks: the error probability is 1 - confidence."""
    ties: tuple[str, ...] = ()
    runner_up: str | None = None
    reference: str | None = None
    """The label of what production ran with for this goal when the sweep began; the control where that isn't known."""
    reference_gain: Interval | None = None
    """The pick against the reference as a ratio, above 1 where it is better, from the confirmation only."""
    regret_bound: float | None = None
    """The best of the finalists may be better than `label` by this fraction at most; None where that isn't known."""
    more_trials: int | None = None
    """An estimate of how many more trials would separate the tied or uncertain ones."""
    reason: str = ""
    """One sentence for people."""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """By label: trials, blocks, ratio to the control with its interval, why it is out."""
    validity: Mapping[str, Any] = field(default_factory=dict)
    """The data, machine and versions that it was measured on: `analysis.validity.Envelope.from_dict` reads it."""

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready form, for XCom and the database."""
        return {**asdict(self), "status": str(self.status)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recommendation:
        """The inverse of `to_dict`."""
        keys = ("estimate", "gain", "reference_gain")
        intervals = {key: Interval(**values[key]) for key in keys if values.get(key)}
        status = FORMER_STATUSES.get(values["status"]) or DecisionStatus(values["status"])
        return cls(**{**values, **intervals, "status": status, "ties": tuple(values.get("ties", ()))})
