"""The record that describes a job to the plugin: operator, metrics, names for them, sections of the analysis.
No I/O.
"""

from __future__ import annotations

from dataclasses import dataclass

TIMES = ("duration_s", "startup_s", "teardown_s")
RESOURCES = (
    *("core_seconds", "machine_core_seconds", "other_cpu_fraction", "memory_peak_bytes", "memory_peak_fraction"),
    "swap_bytes",
)
"""What every job measures of the machine while it works."""
HEAP = ("heap_peak_bytes", "heap_peak_fraction")
SPARK = (
    *("shuffle_read_bytes", "shuffle_write_bytes", "spill_bytes", "gc_s", "executor_cpu_s", "tasks", "failed_tasks"),
    *("task_skew", "peak_execution_memory_bytes", "executors_lost"),
)
"""What a job reads off its own event log."""
GLUE = (
    *("glue_execution_s", "dpu_seconds", "cost", "worker_utilization_fraction"),
    *("heap_used_percent", "heap_used_max_percent", "disk_used_percent", "disk_used_max_percent"),
    *("stage_skewness", "job_skewness"),
)
"""What Glue's bill and CloudWatch add to a run there."""
GLUE_ERRORS = "errors_"
"""How the metrics begin that count errors there by AWS's own kinds."""


@dataclass(frozen=True)
class JobDescription:
    """A job that comes with the plugin. Names of Python objects are `package.module:name`, imported when needed."""

    job: str
    """The key `job` of its studies."""
    operator: str
    """The class that runs it."""
    metrics: tuple[str, ...]
    """Every metric that a run of it may give."""
    workload: tuple[str, ...] = ()
    """What its measurements say of their workload, beside the study's options: goals may use it."""
    sections: str | None = None
    """The sections that it adds to the written analysis: a tuple of `report.data.Section`."""
