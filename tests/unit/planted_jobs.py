"""A sweep of each of the four jobs' own studies with made-up figures: what report and page must show of real ones."""

from __future__ import annotations

import math
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from tests.unit.planted import measured

from pipeline_tuner.analysis.claim_lists import lists_of
from pipeline_tuner.space import Configuration, configuration_id
from pipeline_tuner.study import Study, load_study
from pipeline_tuner.sweep import SweepOptions, sweep_options
from pipeline_tuner.trial import TrialPlan, TrialResult

CONFIGS = Path(__file__).parents[2] / "include" / "configs"
JOBS = ("migration", "streaming_etl", "dedup", "quantizer")
ROWS = {"migration": 336_776, "streaming_etl": 60_000, "dedup": 200_000, "quantizer": 500_000}
BLOCKS, CONFIRMED, MAX_TRIALS = 3, 3, 18


@cache
def job_study(job: str) -> Study:
    return load_study(CONFIGS / f"{job}.yaml")


def job_options(job: str, sweep_id: str = "sweep-1") -> SweepOptions:
    return sweep_options(job_study(job), sweep_id)


def job_configurations(job: str) -> dict[str, Configuration]:
    """The presets, and what the study's own lists measure beside them, by label."""
    study = job_study(job)
    found = {candidate.label: candidate.configuration for candidate in study.preset_candidates}
    known = {configuration_id(configuration) for configuration in found.values()}
    listed = (
        configuration for name, entries in lists_of(study).items() if "glue" not in name for configuration in entries
    )
    for configuration in listed:
        identity = configuration_id(configuration)
        if identity not in known and len(found) < MAX_TRIALS:
            known.add(identity)
            found[f"configuration {identity[:6]}"] = configuration
    return found


def true_factor(job: str, configuration: Configuration) -> float:
    """How much longer than the best a configuration truly takes, from 1 to about 7: a made-up sum over its values."""
    pace = {"copy": -1.6, "tasks": -1.2, "max_by": -0.5, "auto": -0.4, "semi_join": -0.3}
    known = sum(pace.get(str(value), 0.0) for value in configuration.values())
    small = sum(zlib.crc32(f"{name}={value}".encode()) % 100 / 1000 for name, value in configuration.items())
    return math.exp(known + 0.5 * small)


def job_results(job: str, sweep_id: str = "sweep-1", seed: int = 0) -> list[TrialResult]:
    """Three blocks of every configuration, then three fresh ones of the control and the best three."""
    configurations, rng = job_configurations(job), np.random.default_rng(seed)
    control = job_study(job).control
    factors = {label: true_factor(job, configuration) for label, configuration in configurations.items()}
    best = [label for label in sorted(factors, key=factors.__getitem__) if label != control]
    finalists = [control, *best[:3]]
    results = []
    for phase, count, labels in (("search", BLOCKS, list(configurations)), ("confirm", CONFIRMED, finalists)):
        for block in range(count):
            number, drift = block + 100 * (phase == "confirm"), 0.05 * rng.standard_normal()
            for position, label in enumerate(rng.permutation(labels)):
                plan = TrialPlan(
                    f"{sweep_id}-{phase}-{block}-{label}", sweep_id, phase, 1, number, position, str(label),
                    configurations[label], is_control=label == control,
                )  # fmt: skip
                factor = factors[label] * float(np.exp(drift + 0.03 * rng.standard_normal()))
                results.append(_trial(job, plan, factor, rng))
    return results


def _trial(job: str, plan: TrialPlan, factor: float, rng: np.random.Generator) -> TrialResult:
    rows, duration = ROWS[job], 4.0 * factor
    metrics = {
        "duration_s": duration, "rows_per_s": rows / duration, "peak_rows_per_s": 1.2 * rows / duration,
        "rows": rows, "core_seconds": 1.7 * duration, "machine_core_seconds": 1.9 * duration,
        "memory_peak_bytes": 9e8 * (1 + 0.02 * rng.standard_normal()), "latency_p50_s": 0.1 * factor,
        "latency_p95_s": 0.2 * factor * (1 + 0.05 * rng.standard_normal()), "latency_p99_s": 0.25 * factor,
        "gc_s": 0.05 * duration, "spill_bytes": 0, "swap_bytes": 0, "errors": 0, "startup_fraction": 0.2,
        "teardown_fraction": 0.02, "task_skew": 1.3, "other_cpu_fraction": 0.04, "heap_peak_fraction": 0.3,
        "heap_peak_bytes": 3e8, "tasks": 40, "executor_cpu_s": 1.5 * duration, "executor_run_s": 1.6 * duration,
        "peak_execution_memory_bytes": 4e7, "input_bytes": 4e7, "shuffle_read_bytes": 2e7,
    }  # fmt: skip
    parts: dict[str, Any] = {"details": {"stages": [_stage(number, duration) for number in range(4)]}}
    if job == "streaming_etl":
        metrics |= _of_streaming(plan.configuration, duration)
        parts["details"]["bottleneck"] = "load"
    if job == "dedup":
        shuffled = 2.3e7 if plan.configuration["strategy"] in ("max_by", "auto") else 4.1e7
        metrics |= {"shuffle_write_bytes": shuffled, "records_per_s": rows / duration}
        parts["details"] |= {"strategy": plan.configuration["strategy"], "steps": {"find": 2.0, "write": 1.0}}
    if job == "migration":
        metrics |= {"first_partition_ratio": 1.4, "last_partition_ratio": 1.1, "rate_limit_binds": 0.0}
        parts["details"] |= {"partitions": _partitions(plan.configuration, duration), "slow_partitions": [1]}
    if job == "quantizer":
        parts["details"] |= {"steps": {"read": 1.0, "rollup": 2.0, "commit": 0.5},
                             "iceberg": {"files": 17, "median_file_bytes": 2_000_000}}  # fmt: skip
    machine = {"cpu_model": "planted cpu", "cores": 2, "memory_bytes": 8e9, "spark": "4.1.3", "java": "21"}
    workload = {"rows": rows, "fingerprint": "abc"}
    return measured(plan, metrics, environment=machine, workload=workload, **parts)


def _stage(number: int, duration: float) -> dict[str, Any]:
    return {
        "id": number, "name": f"stage {number} at job.py:{number}", "tasks": 8, "duration_s": duration / 4,
        "median_task_s": duration / 40, "max_task_s": duration / 30, "gc_s": 0.01,
        "shuffle_write_bytes": 5_000_000, "spill_bytes": 0,
    }  # fmt: skip


def _of_streaming(configuration: Configuration, duration: float) -> dict[str, float]:
    records = 1500
    return {
        "records": records, "bytes": 9.2e6, "records_per_s": records / duration, "batches": 12,
        "records_per_s_per_pipeline": records / duration / float(configuration["manager_worker_num"]),
        "s_per_1000_records": 1000 * duration / records, "extract_busy_s": 0.3 * duration,
        "extract_wait_s": 0.5 * duration, "load_busy_s": 0.7 * duration, "transform_busy_s": 0.1 * duration,
        "worker_wait_s": 0.1 * duration, "cpu_per_worker": 0.4, "memory_growth_bytes_per_s": 1e6,
    }  # fmt: skip


def _partitions(configuration: Configuration, duration: float) -> list[dict[str, Any]]:
    count = int(configuration["partitions"])
    each = 2 * duration / count
    return [
        {"number": n, "state": "PASS", "start_s": n // 2 * each, "duration_s": each * (1.4 if n == 1 else 1),
         "read": 336_776 / count, "written": 336_776 / count}
        for n in range(count)
    ]  # fmt: skip
