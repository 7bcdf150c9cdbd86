"""A trial: candidate, plan and result, as search proposes and analysis reads them. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pipeline_tuner.measurement import FailureKind, Measurement, Outcome
from pipeline_tuner.space import Configuration, configuration_id

Phase = Literal["search", "confirm"]


@dataclass(frozen=True)
class Candidate:
    """A configuration under a name. Two names may stand for the same configuration: a deliberate A/A test."""

    label: str
    configuration: Configuration

    @property
    def configuration_id(self) -> str:
        """Equal for equal configurations, whatever their names."""
        return configuration_id(self.configuration)


@dataclass(frozen=True)
class TrialPlan:
    """One trial to run: a candidate at its place in a block."""

    trial_id: str
    sweep_id: str
    phase: Phase
    round: int
    block: int
    position: int
    label: str
    configuration: Configuration
    is_control: bool = False
    fraction: float = 1.0
    """The part of the workload that the trial runs on; below 1 only in cheap early rounds."""
    min_work_s: float = 0.0
    """Work that the trial measures at least, in s: shorter work is repeated."""

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready form, for XCom."""
        return {**asdict(self), "configuration": dict(self.configuration)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrialPlan:
        """The inverse of `to_dict`."""
        return cls(**values)


@dataclass(frozen=True)
class TrialResult:
    """What became of a planned trial. `metrics` is empty unless the status is `measured`."""

    plan: TrialPlan
    status: Literal["planned", "running", "measured", "failed"]
    metrics: Mapping[str, float] = field(default_factory=dict)
    failure: FailureKind | None = None
    reason: str = ""
    measurement: Measurement | None = None

    @property
    def is_evidence(self) -> bool:
        """Whether the outcome, good or bad, says something about the configuration."""
        return self.status == "measured" or self.failure not in (None, "infrastructure", "lost", "invalid_measurement")

    @classmethod
    def of(cls, plan: TrialPlan, measurement: Measurement) -> TrialResult:
        """The result that a measurement amounts to: a failed check makes it a failed trial."""
        return cls.from_outcome(plan, Outcome.of(measurement))

    @classmethod
    def from_outcome(cls, plan: TrialPlan, outcome: Outcome) -> TrialResult:
        """The result of a planned trial whose job ended so."""
        return cls(plan, outcome.status, outcome.metrics, outcome.failure, outcome.reason, outcome.measurement)
