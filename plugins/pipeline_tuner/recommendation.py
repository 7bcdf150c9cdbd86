"""The record of a recommendation and its kinds: `DecisionStatus`, `StandingKind`, `ExclusionKind`, evidence. No I/O."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from pipeline_tuner.space import Scalar

MIN_BLOCKS = 3
"""Fewer blocks than this decide nothing."""
ROUNDING = 1e-9
"""Ratios that differ by less are equal."""


@dataclass(frozen=True)
class Interval:
    """A value with the bounds that it lies between at the stated confidence; `n` pairs or blocks stand behind it."""

    value: float
    low: float
    high: float
    confidence: float
    n: int

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Interval:
        """The inverse of its part of `Recommendation.to_dict`: a missing bound is infinite."""
        low, high = values.get("low"), values.get("high")
        bounds = {"low": -math.inf if low is None else low, "high": math.inf if high is None else high}
        return cls(**{**values, **bounds})

    @property
    def is_enough(self) -> bool:
        """Whether enough blocks stand behind it to decide by; two equal ones are, of a metric that never varies."""
        is_exact = self.n > 1 and self.high - self.low <= ROUNDING * abs(self.value)
        return is_exact or self.n >= MIN_BLOCKS

    @property
    def shows_gain(self) -> bool:
        """Whether a ratio is confirmed to be better: above 1 at the confidence, in enough blocks."""
        return self.is_enough and self.low > 1.0 + ROUNDING


class DecisionStatus(StrEnum):
    """What a sweep decided for one goal. Each status holds jointly over candidates and looks, at the confidence.

    `best`, `tied` and `better` name a change that fresh blocks confirm to be better than the reference.
    """

    BEST = "best"
    """The change is to the one configuration that is at most the indifference zone worse than the best."""
    TIED = "tied"
    """Several are; the change is to the one that the study's preference picks."""
    BETTER = "better"
    """The best measured configuration may be better still than the change, by the regret bound."""
    KEEP = "keep"
    """Nothing is shown better than the reference, which is short of the best by at most the regret bound."""
    UNDECIDED = "undecided"
    """Too little was measured for any of these."""

    @property
    def is_change(self) -> bool:
        """Whether the decision names another configuration than the reference."""
        return self in (DecisionStatus.BEST, DecisionStatus.TIED, DecisionStatus.BETTER)

    @property
    def is_answer(self) -> bool:
        """Whether production follows the configuration that the decision names: a change, or what it runs already."""
        return self is not DecisionStatus.UNDECIDED


class StandingKind(StrEnum):
    """Where a configuration stands for one goal."""

    PICK = "pick"
    """It is what to run."""
    TIED = "tied"
    """It can't be told apart from the pick, which is certified."""
    OPEN = "open"
    """It may turn out to be better than the best guess."""
    WORSE = "worse"
    EXPLORED = "explored"
    """It was looked at, and did not come to the final."""
    EXCLUDED = "excluded"


class ExclusionKind(StrEnum):
    """Why a configuration can't be recommended."""

    FAILED = "failed"
    """A trial failed by the configuration's own fault, or gave a wrong result."""
    CONSTRAINT = "constraint"
    """A constraint of the goal isn't shown to hold."""
    UNMEASURED = "unmeasured"
    """There is no value of the goal from a search trial on the whole workload."""


@dataclass(frozen=True)
class Exclusion:
    """Why a configuration can't be recommended; `reason` is for people."""

    kind: ExclusionKind
    reason: str

    def __str__(self) -> str:
        return self.reason


@dataclass(frozen=True)
class ConfigurationEvidence:
    """What a sweep knows of one configuration for one goal. Ratios are to the control, above 1 where better."""

    configuration: Mapping[str, Scalar]
    standing: StandingKind
    planned: int = 0
    """Trials, under any of the configuration's names."""
    measured: int = 0
    failed: int = 0
    blocks: int = 0
    """Blocks of the final that hold it; 0 where it was explored only."""
    ratio: Interval | None = None
    """From the search, which chose the pick: flattering for it."""
    confirmed: Interval | None = None
    """From fresh blocks."""
    earlier: Interval | None = None
    """From earlier sweeps; decides nothing."""
    same_as: tuple[str, ...] = ()
    """Other names of the same configuration."""
    exclusion: Exclusion | None = None
    constraints: tuple[str, ...] = ()
    """How the goal's constraints held, for people."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ConfigurationEvidence:
        """The inverse of `dataclasses.asdict`; reads documents without a version, of schema 6 and before, too."""
        known = {key: value for key, value in values.items() if key in cls.__dataclass_fields__}
        for key in ("ratio", "confirmed", "earlier"):
            known[key] = Interval.from_dict(known[key]) if known.get(key) else None
        exclusion = known.get("exclusion")
        if values.get("why_out"):
            exclusion = {"kind": _former_kind(values), "reason": values["why_out"]}
        standing = {"out": "excluded", "": "explored"}.get(known.get("standing", ""), known.get("standing", ""))
        return cls(
            **known
            | {
                "standing": StandingKind(standing),
                "exclusion": Exclusion(ExclusionKind(exclusion["kind"]), exclusion["reason"]) if exclusion else None,
                "same_as": tuple(known.get("same_as", ())),
                "constraints": tuple(known.get("constraints", ())),
            }
        )


def _former_kind(values: Mapping[str, Any]) -> ExclusionKind:
    """Documents without a version name no kind: their counts tell most of it."""
    if values.get("failed"):
        return ExclusionKind.FAILED
    return ExclusionKind.CONSTRAINT if values.get("measured") else ExclusionKind.UNMEASURED


def _without_infinities(items: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    return {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in items}


DOCUMENT_VERSION = 2
"""Of a recommendation's JSON form, in XCom and in the tables. Version 1 had none written."""
FORMER_STATUSES = {"winner": DecisionStatus.BEST, "abstained": DecisionStatus.UNDECIDED}
"""Statuses in documents that were stored before schema version 6."""


MAX_MORE = 3
"""Nobody pays for more than so many budgets to tell near equals apart: that many trials aren't proposed."""


def proposed_trials(more_trials: int | None, budget_trials: int) -> int:
    """The further trials that are proposed: 0 where nobody knows how many, or would pay for so many."""
    return more_trials if more_trials and more_trials <= MAX_MORE * budget_trials else 0


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
    """The goal's value for the pick, in the goal's unit, from the confirmation only."""
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
    is_reference_excluded: bool = False
    """Whether the reference can't serve the goal: it fails or breaks a constraint in most trials. It has no gain."""
    regret_bound: float | None = None
    """The best of the finalists may be better than `label` by this fraction at most; None where that isn't known."""
    more_trials: int | None = None
    """An estimate of how many more trials would separate the tied or uncertain ones."""
    reason: str = ""
    """One sentence for people."""
    evidence: Mapping[str, ConfigurationEvidence] = field(default_factory=dict)
    """By label: the control first."""
    validity: Mapping[str, Any] = field(default_factory=dict)
    """The data, machine and versions that it was measured on: `monitoring.validity.Envelope.from_dict` reads it."""

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready form, for XCom and the database: a bound that is infinite, which JSON can't say, is null."""
        return {
            "version": DOCUMENT_VERSION,
            **asdict(self, dict_factory=_without_infinities),
            "status": str(self.status),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recommendation:
        """The inverse of `to_dict`, for documents of this version and before."""
        values = {key: value for key, value in values.items() if key in cls.__dataclass_fields__}
        keys = ("estimate", "gain", "reference_gain")
        intervals = {key: Interval.from_dict(values[key]) for key in keys if values.get(key)}
        status = FORMER_STATUSES.get(values["status"]) or DecisionStatus(values["status"])
        shown = values.get("evidence") or {}
        evidence = {label: ConfigurationEvidence.from_dict(found) for label, found in shown.items()}
        ties = tuple(values.get("ties", ()))
        return cls(**{**values, **intervals, "status": status, "ties": ties, "evidence": evidence})
