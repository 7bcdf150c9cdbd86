"""The deduplication's advice for AWS Glue: what to change, a size to paste, and what to watch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline_tuner.analysis.glue_prices import DEFAULT_GLUE, Prices
from pipeline_tuner.analysis.glue_sizing import Need, Sizing, size
from pipeline_tuner.jobs.dedup.measured import BYTES, Measured, bullets, megabytes
from pipeline_tuner.report.markdown import table
from pipeline_tuner.trial import TrialResult

MEMORY_LIMIT = 80
"""Per cent of the heap that the Glue deduplication report wants executors to stay below."""


def infrastructure(
    best: Measured, results: Sequence[TrialResult], prices: Prices, *, scale: float, glue: str = DEFAULT_GLUE
) -> str:
    """Markdown: advice with its evidence, a size with its cost, and a table of what to watch.

    `scale`: the production's rows over the trials'. `glue`: the version that prices go by.
    """
    sizing = size(Need.measured(best.metrics, scale), prices, glue=glue)
    points = (_workers(best), _tasks(best), *_memory_failures(results), _lost_executors(results))
    return "\n\n".join((bullets(points), _paste(best, sizing, scale, glue), _watch(best, results)))


def _workers(best: Measured) -> str:
    work = f"the work is {Need.measured(best.metrics).core_seconds:.1f} vCPU seconds however many share it"
    used = best.metrics.get("worker_utilization_fraction")
    if used is None:
        return f"**Low worker utilisation means too many workers**, not too few: {work}."
    return (
        f"**The workers were used to {used:.0%}** (`{best.label}`): {work}, so fewer workers cost less time than money."
    )


def _tasks(best: Measured) -> str:
    spill, skew = best.metrics.get("spill_bytes", 0.0), best.metrics.get("task_skew", 1.0)
    spilled = f"{megabytes(spill)} were spilled" if spill else "nothing was spilled"
    return f"The slowest task of a stage took {skew:.1f} times the median one, and {spilled} (`{best.label}`)."


def _memory_failures(results: Sequence[TrialResult]) -> list[str]:
    """One sentence per configuration that ran out of memory: a constraint that was measured."""
    failed = {r.plan.label: r.reason for r in results if r.failure == "out_of_memory"}
    return [
        f"**Give it more memory than `{label}` has:** it failed, {reason.splitlines()[0].rstrip('.')}."
        for label, reason in failed.items()
    ]


def _lost_executors(results: Sequence[TrialResult]) -> str:
    lost = _executors_lost(results)
    return f"**{lost:.0f} executors were lost** during the trials: see their reasons in the job's log." if lost else ""


def _paste(best: Measured, sizing: Sizing, scale: float, glue: str) -> str:
    job = {
        "GlueVersion": glue,
        "WorkerType": sizing.worker_type,
        "NumberOfWorkers": sizing.workers,
        "DefaultArguments": sizing.arguments(best.configuration),
    }
    of_what = "the trials' workload" if scale == 1 else f"{scale:g} times the trials' workload"
    return "\n\n".join(
        (
            f"**A size for Glue {glue} (an estimate from the trials' vCPU seconds, for {of_what}):** "
            f"{sizing.workers} workers {sizing.worker_type}, about {sizing.duration_s:.0f} s, "
            f"{sizing.cost_per_hour:.2f} per hour and {sizing.cost_per_run:.3f} per run ({sizing.priced_by}).",
            bullets(sizing.reasons),
            "```json\n" + json.dumps(job, indent=2) + "\n```",
        )
    )


def _watch(best: Measured, results: Sequence[TrialResult]) -> str:
    """What the Glue deduplication report tells to watch, with what was measured."""
    rows = (
        ("executor memory", f"below {MEMORY_LIMIT}%", _memory(best.metrics), "glue.ALL.memory.heap.used.percentage"),
        ("shuffle volume", "17.7 GB, below 10 GB wanted", _volume(best.metrics), "bytes per row: they don't vary"),
        ("worker utilisation", "10%", _used(best.metrics), "glue.driver.workerUtilization"),
        ("executor deaths", "fewer", f"{_executors_lost(results):.0f} in all trials", "glue.error.CATEGORY"),
    )
    return f"**To watch** (`{best.label}`):\n\n{table(('metric', 'source report', 'here', 'on Glue'), rows)}"


def _memory(metrics: Mapping[str, Any]) -> str:
    used = metrics.get("heap_used_max_percent")
    if used is not None:
        return f"{used:.0f}% of the heap at most"
    return f"{megabytes(metrics['peak_execution_memory_bytes'])} execution memory per task at most"


def _volume(metrics: Mapping[str, Any]) -> str:
    rows = metrics.get("rows")
    each = f", {metrics[BYTES] / rows:.0f} bytes per row" if rows else ""
    return f"{megabytes(metrics[BYTES])}{each}"


def _used(metrics: Mapping[str, Any]) -> str:
    used = metrics.get("worker_utilization_fraction")
    return "not measured: not on Glue, or CloudWatch came too late" if used is None else f"{used:.0%}"


def _executors_lost(results: Sequence[TrialResult]) -> float:
    return sum(r.metrics.get("executors_lost", 0.0) for r in results)
