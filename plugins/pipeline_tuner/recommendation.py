"""The answer of a sweep for one goal: a configuration with its evidence, or an abstention that says why. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pipeline_tuner.space import Scalar


@dataclass(frozen=True)
class Interval:
    """A figure with the bounds that it lies between at the stated confidence; `n` pairs or blocks stand behind it."""

    value: float
    low: float
    high: float
    confidence: float
    n: int


@dataclass(frozen=True)
class Recommendation:
    """What to run for one goal, and how sure that is.

    `winner`: one configuration is best by more than the indifference zone, or all others are shown worse.
    `tied`: `ties` can't be told apart within the zone; `label` is the one picked among them by preference.
    `abstained`: the evidence does not reach the wanted confidence; `label` is the best guess or None.
    """

    goal: str
    status: Literal["winner", "tied", "abstained"]
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
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recommendation:
        """The inverse of `to_dict`."""
        intervals = {key: Interval(**values[key]) for key in ("estimate", "gain") if values.get(key)}
        return cls(**{**values, **intervals, "ties": tuple(values.get("ties", ()))})
