"""The records that the store hands out: a sweep's row, a configuration for production, a tuned task's run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from pipeline_tuner.space import Scalar
from pipeline_tuner.study import Study
from pipeline_tuner.sweep import SweepOptions

SweepStatus = Literal["running", "recommended", "undecided", "failed"]


@dataclass(frozen=True)
class SweepRecord:
    """One row of table `sweep`."""

    sweep_id: str
    study: str
    dag_id: str
    run_id: str
    status: SweepStatus
    reason: str
    options: SweepOptions
    study_definition: Study
    planned: int
    measured: int
    failed: int
    workload: Mapping[str, Any] | None
    workload_fingerprint: str | None
    environment: Mapping[str, Any] | None
    environment_fingerprint: str | None
    analysis_path: str | None
    triggered_by: str | None
    started_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True)
class ProductionConfiguration:
    """What production runs with for one study and goal: the newest promotion, else the newest recommendation."""

    source: Literal["promoted", "recommended"]
    label: str
    configuration: Mapping[str, Scalar]
    since: datetime
    valid_until: datetime | None
    sweep_id: str | None
    workload_fingerprint: str | None = None
    environment_fingerprint: str | None = None
    validity: Mapping[str, Any] = field(default_factory=dict)
    """What it was measured on, for `monitoring.validity.Envelope.from_dict`; empty where that isn't known."""
    why: str = ""
    """The decision's reason, or who promoted it and what he said of it."""

    def has_expired(self, now: datetime) -> bool:
        """Whether the recommendation's time is over; a promotion has no end."""
        return self.valid_until is not None and self.valid_until <= now


def promoted_by(actor: str, note: str) -> str:
    """Why a promotion is in force, in one sentence."""
    return f"Promoted by {actor}" + (f": {note}" if note else "")


@dataclass(frozen=True)
class LastSeen:
    """What a study's data and machine were like when a job of it last ran; empty where nobody knows."""

    workload: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TunedRun:
    """The first try of a run of a tuned task, from table `production_run`."""

    production_run_id: str
    source: str
    label: str
    configuration_id: str
    configuration: Mapping[str, Scalar]
    status: Literal["running", "measured", "failed"]
    failure: str | None
    metrics: Mapping[str, float]
