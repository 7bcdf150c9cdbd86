"""The measurement that a trial leaves behind: metrics, checks, samples, failure and its kind; validated.

The job writes it as JSON (docs/contract.md); this module is the only reader. A file that is missing,
older than its trial, of another trial, or absurd raises MeasurementError, whatever the exit code said.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline_tuner.exceptions import MeasurementError
from pipeline_tuner.failure_cause import cause_of
from pipeline_tuner.space import Real

CONTRACT_VERSION = 1
MAY_BE_NEGATIVE = ("memory_growth_bytes_per_s",)
"""Metrics that say a change: memory may shrink. All others are amounts."""

FailureKind = Literal[
    "out_of_memory",
    "timeout",
    "check_failed",
    "bad_configuration",
    "error",
    "invalid_measurement",
    "infrastructure",
    "lost",
]
"""Why a trial has no usable measurement. `infrastructure` and `lost` say nothing about the configuration."""


class Record(BaseModel):
    """Part of a measurement. Unknown keys are kept: a newer job may say more than this reader knows."""

    model_config = ConfigDict(frozen=True, extra="allow")


class Check(Record):
    """A correctness test of the trial's output. A trial that fails one can't win."""

    name: str
    passed: bool
    detail: str = ""


class Sample(Record):
    """One repeat of the work inside the trial's process, after the warm-up."""

    duration_s: Real = Field(gt=0)
    metrics: dict[str, Real] = {}


class Failure(Record):
    """Why the job gave up, in its own words."""

    kind: FailureKind
    reason: str


class Measurement(Record):
    """The whole record of one trial. Every metric's unit is the end of its name (`_s`, `_rows_per_s`, `_bytes`)."""

    contract: Literal[1]
    job: str
    trial_id: str
    status: Literal["measured", "failed"]
    failure: Failure | None = None
    started_at: AwareDatetime
    ended_at: AwareDatetime
    startup_s: Real = Field(default=0.0, ge=0)
    teardown_s: Real = Field(default=0.0, ge=0)
    samples: tuple[Sample, ...] = ()
    metrics: dict[str, Real] = {}
    """The trial's metrics: over its samples, rates and times by the median, counts as they are."""
    checks: tuple[Check, ...] = ()
    details: dict[str, Any] = {}
    """The job's own evidence: partitions, stages, throughput over time. Shown, not compared."""
    environment: dict[str, Any] = {}
    workload: dict[str, Any] = {}

    @model_validator(mode="after")
    def _is_consistent(self) -> Measurement:
        if self.ended_at < self.started_at:
            raise ValueError("ended_at is before started_at")
        if self.status == "failed" and self.failure is None:
            raise ValueError("a failed measurement says why: 'failure' is missing")
        if self.status == "measured" and not self.samples:
            raise ValueError("a measured trial has at least one sample")
        negative = [name for name, value in self.metrics.items() if value < 0 and name not in MAY_BE_NEGATIVE]
        if negative:
            raise ValueError(f"negative: {', '.join(negative)}")
        return self

    @property
    def failed_checks(self) -> tuple[Check, ...]:
        """The checks that say the output is wrong."""
        return tuple(check for check in self.checks if not check.passed)


@dataclass(frozen=True)
class Outcome:
    """What became of one run of a job: its measurement, or why there is none that counts."""

    status: Literal["measured", "failed"]
    failure: FailureKind | None = None
    reason: str = ""
    measurement: Measurement | None = None

    @classmethod
    def of(cls, measurement: Measurement) -> Outcome:
        """What a measurement amounts to: a failed check makes it a failure."""
        if measurement.failure is not None:
            return cls("failed", measurement.failure.kind, _cause_first(measurement.failure.reason), measurement)
        if measurement.failed_checks:
            reason = "; ".join(f"{check.name}: {check.detail}" for check in measurement.failed_checks)
            return cls("failed", "check_failed", reason, measurement)
        return cls("measured", measurement=measurement)

    @property
    def metrics(self) -> Mapping[str, float]:
        """The measured metrics; empty for a failure."""
        return self.measurement.metrics if self.status == "measured" and self.measurement is not None else {}


def _cause_first(reason: str) -> str:
    """A reason of several lines (a Java stack) with the one that says why in front: reports show its beginning."""
    cause = cause_of(reason) if "\n" in reason.strip() else None
    return reason if cause is None or reason.startswith(cause) else f"{cause}\n\n{reason}"


def read_measurement(path: Path, *, job: str, trial_id: str, not_before: datetime) -> Measurement:
    """The validated measurement of a trial, or MeasurementError with the reason."""
    try:
        measurement = validated(path.read_bytes())
    except FileNotFoundError:
        raise MeasurementError("the job left no measurement file") from None
    if (measurement.job, measurement.trial_id) != (job, trial_id):
        raise MeasurementError(f"the measurement is of {measurement.job} {measurement.trial_id}, not of this trial")
    if measurement.ended_at < not_before:
        raise MeasurementError(f"the measurement is stale: it ended at {measurement.ended_at:%F %T}")
    return measurement


def validated(document: bytes | Mapping[str, Any]) -> Measurement:
    """A measurement from its JSON text or its values. Raises MeasurementError naming the first thing wrong."""
    try:
        if isinstance(document, bytes):
            return Measurement.model_validate_json(document)
        return Measurement.model_validate(document)
    except ValidationError as error:
        raise MeasurementError(f"the measurement is not valid: {first_problem(error)}") from None


def first_problem(error: ValidationError) -> str:
    """The first of a validation's problems as `key: what is wrong`."""
    problem = error.errors(include_url=False)[0]
    key = ".".join(map(str, problem["loc"]))
    words = problem["msg"].removeprefix("Value error, ")
    return f"{key}: {words}" if key else words


def returned_metrics(returned: object) -> dict[str, float]:
    """The numbers in what a task returns: a mapping's numbers by their names, or one number as `returned`."""
    named = returned if isinstance(returned, Mapping) else {"returned": returned}
    return {
        name: float(value)
        for name, value in named.items()
        if isinstance(name, str) and name.isidentifier()
        # Booleans are no numbers, and a negative one would make the measurement invalid.
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
    }


def is_usable(value: float | None) -> bool:
    """Whether a value can enter a comparison on the log scale: finite and above zero."""
    return value is not None and math.isfinite(value) and value > 0
