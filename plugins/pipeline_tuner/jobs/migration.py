"""The migration's description: its operator, its metrics."""

from __future__ import annotations

from pipeline_tuner.jobs.description import HEAP, RESOURCES, SPARK, TIMES, JobDescription

DESCRIPTION = JobDescription(
    job="migration",
    operator="pipeline_tuner.operators.migration:MigrationOperator",
    metrics=(
        *TIMES,
        *("rows", "rows_per_s", "peak_rows_per_s", "bytes", "startup_fraction", "teardown_fraction"),
        *("latency_p50_s", "latency_p95_s", "latency_p99_s", "rate_limit_binds"),
        *("origin_rate_limit_binds", "target_rate_limit_binds"),
        *("partitions", "partitions_passed", "partitions_failed", "partitions_per_core", "slow_partitions"),
        *("first_partition_ratio", "last_partition_ratio", "differing_partitions"),
        *("errors", "connection_errors", "skipped_rows", "rejected_rows"),
        *("missing_rows", "mismatch_rows", "extra_rows", "corrected_rows"),
        *RESOURCES,
        *HEAP,
        *SPARK,
    ),
    workload=("table", "columns", "source_version", "target_version"),
)
