"""The streaming ETL's description: its operator, its metrics, its sections of the written analysis."""

from __future__ import annotations

from pipeline_tuner.jobs.description import HEAP, RESOURCES, TIMES, JobDescription

DESCRIPTION = JobDescription(
    job="streaming_etl",
    operator="pipeline_tuner.operators.streaming_etl:StreamingEtlOperator",
    metrics=(
        *TIMES,
        *("records", "rows", "bytes", "records_per_s", "records_per_s_per_pipeline", "rows_per_s", "peak_rows_per_s"),
        *("batches", "mean_batch_records", "s_per_1000_records"),
        *("latency_p50_s", "latency_p95_s", "latency_p99_s"),
        *("extract_busy_s", "transform_busy_s", "load_busy_s", "extract_wait_s", "worker_wait_s"),
        *("extract_cpu_s", "worker_cpu_s", "cpu_per_worker", "memory_growth_bytes_per_s"),
        *("errors", "records_in_all_runs"),
        *RESOURCES,
        *HEAP,
    ),
    workload=("kind", "source", "collection", "tables", "documents"),
    sections="pipeline_tuner.jobs.streaming_etl.report:SECTIONS",
)
