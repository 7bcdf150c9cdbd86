"""Sweeps with a planted truth: what the analysis must find again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from pipeline_tuner.measurement import Measurement
from pipeline_tuner.study import Study, parse_study
from pipeline_tuner.sweep import SweepOptions, sweep_options
from pipeline_tuner.trial import TrialPlan, TrialResult

START = datetime(2026, 1, 1, 2, 0, tzinfo=UTC)

STUDY = """
study: planted
job: planted
workload: {name: rows, sizes: {full: 1.0, small: 0.1}}
space:
  parameters:
    partitions: {type: integer, values: [4, 8, 16, 32], default: 8}
    batch: {type: integer, low: 10, high: 1000, log: true, default: 100}
    method: {type: categorical, values: [jdbc, copy], default: jdbc}
presets:
  balanced: {}
  wide: {partitions: 32}
  copy: {method: copy}
control: balanced
goals:
  throughput: {maximize: rows / duration_s, unit: rows/s}
  cost: {minimize: core_seconds * core_price, unit: $}
  balanced: {balance: [throughput, cost]}
prices: {core_price: 0.0001}
budget: {trials: 40, blocks: 4}
"""


def planted_study(**changes: Any) -> Study:
    """The study above, with top-level keys replaced."""
    study = parse_study(STUDY)
    return Study.model_validate(study.model_dump() | changes)


def planted_options(study: Study, **chosen: Any) -> SweepOptions:
    return sweep_options(study, "sweep-1", chosen)


def measured(plan: TrialPlan, metrics: Mapping[str, float], **parts: Any) -> TrialResult:
    """A measured trial with these metrics."""
    started = START + timedelta(minutes=plan.block, seconds=plan.position)
    document: dict[str, Any] = {
        "contract": 1,
        "job": "planted",
        "trial_id": plan.trial_id,
        "status": "measured",
        "started_at": started,
        "ended_at": started + timedelta(seconds=metrics.get("duration_s", 1.0) + 2),
        "startup_s": 1.5,
        "teardown_s": 0.5,
        "samples": [{"duration_s": metrics.get("duration_s", 1.0)}],
        "metrics": dict(metrics),
        "checks": [{"name": "row count", "passed": True}],
        "environment": {"cpu": "planted cpu", "cores": 2, "spark": "4.1.3"},
        "workload": {"rows": 100_000, "fingerprint": "abc"},
    }
    return TrialResult.of(plan, Measurement.model_validate(document | parts))


def planted_sweep(
    durations: Mapping[str, float],
    configurations: Mapping[str, Mapping[str, Any]],
    *,
    control: str,
    blocks: int = 4,
    confirmed: Sequence[str] = (),
    confirm_blocks: int = 5,
    noise: float = 0.02,
    drift: float = 0.07,
    seed: int = 0,
    sweep_id: str = "sweep-1",
) -> list[TrialResult]:
    """Every label in every block, with true durations (s), block drift and noise; then a confirmation."""
    rng = np.random.default_rng(seed)
    results = []
    phases = [("search", blocks, list(durations)), ("confirm", confirm_blocks if confirmed else 0, list(confirmed))]
    for phase_number, (phase, count, labels) in enumerate(phases):
        for block in range(count):
            machine = drift * rng.standard_normal()
            for position, label in enumerate(rng.permutation(labels)):
                plan = TrialPlan(
                    trial_id=f"{sweep_id}-{phase}-{block}-{label}",
                    sweep_id=sweep_id,
                    phase=phase,  # type: ignore[arg-type]
                    round=phase_number,
                    block=phase_number * 100 + block,
                    position=position,
                    label=str(label),
                    configuration=configurations[label],
                    is_control=label == control,
                )
                duration = durations[label] * float(np.exp(machine + noise * rng.standard_normal()))
                metrics = {"duration_s": duration, "core_seconds": 1.8 * duration, "memory_peak_bytes": 4e8}
                results.append(measured(plan, metrics))
    return results
