"""The quantizer's description: its operator, its metrics."""

from __future__ import annotations

from pipeline_tuner.jobs.description import HEAP, RESOURCES, SPARK, TIMES, JobDescription

DESCRIPTION = JobDescription(
    job="quantizer",
    operator="pipeline_tuner.operators.quantizer:QuantizerOperator",
    metrics=(
        *TIMES,
        *("rows", "rows_per_s", "bytes", "files", "rollup_rows"),
        *("plan_s", "roll_up_s", "merge_s", "commit_s", "count_s", "append_s", "partials_s"),
        *RESOURCES,
        *HEAP,
        *SPARK,
    ),
    workload=("batches",),
)
