"""What metrics are called on the page and in the analysis: title, group, unit and order of each.

A job leaves metrics by short names (`latency_p95_s`, docs/contract.md). This table is the only place that knows how
they read. A metric that is not here is shown by its own words, last, with the unit that its name ends with.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from pipeline_tuner.wording import percent, with_unit


class MetricGroup(StrEnum):
    """Where a metric stands on a trial's page; the groups are in the order in which they are read."""

    SPEED = "Speed"
    RESOURCES = "Memory and processor"
    WORK = "What was moved"
    FAULTS = "Faults"
    SPARK = "Spark"
    STEPS = "Steps"
    OTHER = "Other metrics"


@dataclass(frozen=True)
class MetricName:
    """How one metric reads."""

    metric: str
    title: str
    group: MetricGroup


def _table(group: MetricGroup, titles: dict[str, str]) -> dict[str, tuple[str, MetricGroup]]:
    return {metric: (title, group) for metric, title in titles.items()}


_TITLES = (
    _table(
        MetricGroup.SPEED,
        {
            "duration_s": "duration",
            "rows_per_s": "average rows per second",
            "peak_rows_per_s": "peak rows per second",
            "records_per_s": "average records per second",
            "records_per_s_per_pipeline": "records per second and pipeline",
            "s_per_1000_records": "time per 1,000 records",
            "latency_p50_s": "latency, median",
            "latency_p95_s": "latency, 95% below",
            "latency_p99_s": "latency, 99% below",
            "startup_s": "start-up",
            "inspection_s": "looking at the source first",
            "teardown_s": "teardown",
            "startup_fraction": "start-up's part of the run",
            "teardown_fraction": "teardown's part of the run",
            "glue_execution_s": "time billed by Glue",
        },
    )
    | _table(
        MetricGroup.RESOURCES,
        {
            "core_seconds": "processor time",
            "machine_core_seconds": "processor time of the whole machine",
            "other_cpu_fraction": "the machine's cores used by others",
            "cpu_per_worker": "cores used by a worker",
            "worker_cpu_s": "processor time of workers",
            "extract_cpu_s": "processor time of extraction",
            "dpu_seconds": "DPU time",
            "memory_peak_bytes": "memory, peak",
            "memory_peak_fraction": "memory, peak, of what there is",
            "heap_peak_bytes": "heap in use, peak",
            "heap_peak_fraction": "heap in use, peak, of the heap",
            "memory_growth_bytes_per_s": "memory growth",
            "swap_bytes": "swap, peak",
        },
    )
    | _table(
        MetricGroup.WORK,
        {
            "rows": "rows",
            "records": "records",
            "bytes": "bytes",
            "rollup_rows": "rows of rollups",
            "files": "files",
            "batches": "batches",
            "mean_batch_records": "records of a batch, mean",
            "batch_efficiency": "how full batches are",
            "partitions": "partitions",
            "partitions_per_core": "partitions per core",
            "first_partition_ratio": "first partition against the median",
            "last_partition_ratio": "last partition against the median",
            "rate_limit_binds": "a rate limit holds it back",
            "origin_rate_limit_binds": "the limit on reading holds it back",
            "target_rate_limit_binds": "the limit on writing holds it back",
            "records_in_all_runs": "records of all repeats",
            "unique": "keys",
            "duplicates": "duplicates",
            "ties": "keys whose latest records tie",
            "deletes": "keys whose latest record deletes",
            "staged": "rows staged",
            "upserted": "rows inserted or updated",
            "deleted": "rows deleted",
        },
    )
    | _table(
        MetricGroup.FAULTS,
        {
            "errors": "errors",
            "connection_errors": "connection errors",
            "partitions_passed": "partitions passed",
            "partitions_failed": "partitions failed",
            "slow_partitions": "slow partitions",
            "differing_partitions": "partitions that differ from the source",
            "skipped_rows": "rows skipped",
            "rejected_rows": "rows rejected",
            "corrected_rows": "rows corrected",
            "missing_rows": "rows missing on the target",
            "mismatch_rows": "rows that differ on the target",
            "extra_rows": "rows that only the target has",
            "dropped": "records dropped",
            "null_timestamps": "records without a timestamp",
            "failed_tasks": "failed tasks",
            "executors_lost": "executors lost",
        },
    )
    | _table(
        MetricGroup.SPARK,
        {
            "application_s": "application, without spark-submit",
            "startup_before_tasks_s": "time before the first task",
            "no_task_s": "time without a running task",
            "task_s": "time of all tasks",
            "allocated_core_seconds": "cores that executors had, x seconds",
            "allocated_gb_seconds": "GB of heap that executors had, x seconds",
            "tasks": "tasks",
            "task_skew": "slowest task against the median",
            "task_max_s": "slowest task",
            "shuffle_read_bytes": "shuffle read",
            "shuffle_write_bytes": "shuffle written",
            "spill_bytes": "spilled to disk",
            "gc_s": "garbage collection",
            "executor_cpu_s": "processor time of executors",
            "executor_run_s": "run time of executors",
            "peak_execution_memory_bytes": "execution memory, peak",
            "input_bytes": "input",
            "input_rows": "input rows",
            "output_bytes": "output",
            "output_rows": "output rows",
        },
    )
    | _table(
        MetricGroup.STEPS,
        {
            "plan_s": "planning",
            "roll_up_s": "rolling up",
            "partials_s": "reading partial rollups",
            "merge_s": "merging",
            "append_s": "appending",
            "count_s": "counting",
            "commit_s": "committing",
            "extract_busy_s": "extraction, busy",
            "transform_busy_s": "transformation, busy",
            "load_busy_s": "loading, busy",
            "extract_wait_s": "extraction, waiting for room",
            "worker_wait_s": "workers, waiting for records",
        },
    )
)
NAMED = frozenset(_TITLES)
"""The metrics that have words of their own here."""
_PLACES = {metric: place for place, metric in enumerate(_TITLES)}
_COLUMNS = {
    "id": "stage",
    "name": "what it does",
    "number": "partition",
    "state": "outcome",
    "start_s": "start",
    "median_task_s": "median task",
    "max_task_s": "slowest task",
    "sqlstate": "SQL state",
}
"""Columns of the evidence that a job leaves (stages, partitions), beside the metrics above."""


def metric_unit(name: str) -> str:
    """The unit that a metric's name ends with: `rows_per_s` is rows/s, `memory_peak_bytes` is bytes."""
    if not name.isidentifier():
        return ""
    if name == "records_per_s_per_pipeline":
        return "records/s"
    if name.endswith("_per_s"):
        return f"{name.removesuffix('_per_s').rsplit('_', 1)[-1]}/s"
    if name in ("core_seconds", "machine_core_seconds"):
        return "core-s"
    if name == "dpu_seconds":
        return "DPU-s"
    if name.endswith("_s") or name == "s_per_1000_records":
        return "s"
    return "bytes" if name == "bytes" or name.endswith("_bytes") else ""


def metric_name(metric: str) -> MetricName:
    """How a metric reads, known or not."""
    title, group = _TITLES.get(metric, (_own_words(metric), MetricGroup.OTHER))
    if metric not in _TITLES and metric_unit(metric) == "s":
        group = MetricGroup.STEPS
    return MetricName(metric, title, group)


def metric_words(value: float, metric: str) -> str:
    """A metric's value with its unit, in the scale that people read; parts of a whole as percentages."""
    if metric.endswith("_fraction") or metric == "batch_efficiency":
        return percent(value)
    return with_unit(value, metric_unit(metric))


def column_title(column: str) -> str:
    """How a column of a job's evidence reads."""
    return _COLUMNS.get(column) or metric_name(column).title


def metric_order(metric: str) -> tuple[int, str]:
    """A key to sort metrics by: those that matter first, unknown ones last and by name."""
    return (_PLACES.get(metric, len(_PLACES)), metric)


def grouped_metrics(metrics: Iterable[str]) -> dict[MetricGroup, list[MetricName]]:
    """The metrics by group, groups and metrics in the order in which they matter; without empty groups."""
    names = [metric_name(metric) for metric in sorted(metrics, key=metric_order)]
    found = {group: [name for name in names if name.group is group] for group in MetricGroup}
    return {group: members for group, members in found.items() if members}


def _own_words(metric: str) -> str:
    if not metric.isidentifier():
        return metric
    for ending in ("_per_s", "_bytes", "_s", "_fraction"):
        if metric.endswith(ending) and len(metric) > len(ending):
            words = metric.removesuffix(ending).replace("_", " ")
            return f"{words} per second" if ending == "_per_s" else words
    return metric.replace("_", " ")
