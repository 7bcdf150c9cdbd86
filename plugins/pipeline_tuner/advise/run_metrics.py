"""The metrics of a Spark run and its stages from its event log, as a trial or a tuned task stores them."""

from __future__ import annotations

from typing import Any

from pipeline_tuner.advise.advice import RunAdvice
from pipeline_tuner.advise.application import Stage
from pipeline_tuner.advise.costs import GB, executor_ms
from pipeline_tuner.exceptions import MeasurementError


def run_metrics(found: RunAdvice) -> dict[str, float]:
    """A run's metrics, sums over its tasks as in Spark's own pages. Raises MeasurementError where it has no cost."""
    app, breakdown = found.read.application, found.breakdown
    stages = app.stages

    def total(name: str) -> float:
        return float(sum(getattr(stage.totals, name) for stage in stages))

    metrics = {
        "application_s": app.wall_ms / 1000,
        "startup_before_tasks_s": breakdown.startup_ms / 1000,
        "no_task_s": breakdown.quiet_ms / 1000,
        "task_s": app.task_ms / 1000,
        "input_bytes": total("input_bytes"),
        "input_rows": total("input_records"),
        "output_bytes": total("output_bytes"),
        "output_rows": total("output_records"),
        "shuffle_read_bytes": total("shuffle_read_bytes"),
        "shuffle_write_bytes": total("shuffle_write_bytes"),
        "spill_bytes": total("disk_spilled_bytes"),
        "gc_s": total("gc_ms") / 1000,
        "executor_cpu_s": total("cpu_ns") / 1e9,
        "tasks": float(sum(stage.complete_tasks for stage in stages)),
        "failed_tasks": float(sum(stage.wasted.failed for stage in stages)),
        "executors_lost": float(sum(1 for each in app.executors if each.removed and each.removed < app.ended)),
    }
    return metrics | _paid(found)


def _paid(found: RunAdvice) -> dict[str, float]:
    """Cores and heap over time; nothing where the log doesn't say, so that no goal takes it for free."""
    app, core_ms = found.read.application, found.breakdown.core_ms
    if core_ms is None:
        raise MeasurementError("the event log doesn't say which executors there were, so the run has no cost")
    memory = executor_ms(app) / 1000 * found.rules.heap_bytes / GB
    return {"allocated_core_seconds": core_ms / 1000, "allocated_gb_seconds": memory}


def stage_metrics(stage: Stage) -> dict[str, Any]:
    """A stage as the other Spark jobs report theirs (pipeline_jobs/event_log.py)."""
    spread, totals = stage.spread, stage.totals
    return {
        "id": stage.stage_id,
        "name": stage.description or stage.name,
        "tasks": stage.complete_tasks,
        "failed_tasks": stage.wasted.failed,
        "duration_s": stage.wall_ms / 1000,
        "median_task_s": spread.median_ms / 1000 if spread else 0.0,
        "max_task_s": spread.longest.duration_ms / 1000 if spread else 0.0,
        "shuffle_read_bytes": totals.shuffle_read_bytes,
        "shuffle_write_bytes": totals.shuffle_write_bytes,
        "spill_bytes": totals.disk_spilled_bytes,
        "gc_s": totals.gc_ms / 1000,
        "executor_cpu_s": totals.cpu_ns / 1e9,
        "input_bytes": totals.input_bytes,
        "output_bytes": totals.output_bytes,
    }
