"""The deduplication's description: its operator, its metrics, its sections of the written analysis."""

from __future__ import annotations

from pipeline_tuner.jobs.description import HEAP, RESOURCES, SPARK, TIMES, JobDescription

DESCRIPTION = JobDescription(
    job="dedup",
    operator="pipeline_tuner.operators.dedup:GlueDedupOperator",
    metrics=(
        *TIMES,
        *("rows", "rows_per_s", "bytes", "unique", "duplicates", "dropped", "null_timestamps", "ties", "deletes"),
        *("staged", "upserted", "deleted", "task_max_s", "inspection_s"),
        *RESOURCES,
        *HEAP,
        *SPARK,
    ),
    workload=(
        *("kind", "row_bytes", "hot_fraction", "tie_fraction"),
        *("delete_fraction", "null_key_fraction", "null_timestamp_fraction"),
    ),
    sections="pipeline_tuner.jobs.dedup.advice:SECTIONS",
)
