"""A size for AWS Glue (worker type and number) from what a Spark job was measured to need: an estimate, with reasons.
No I/O.

The vCPU seconds of a job hardly depend on how many workers share them, so a cheaper run needs less work, not fewer
workers; the number of workers sets the duration. Memory counts per task: all G types have 4 GB for each vCPU.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline_tuner.analysis.glue_prices import DEFAULT_GLUE, Prices, Worker
from pipeline_tuner.space import Scalar

USABLE_MEMORY = 0.45
"""The part of a worker's memory that Spark's execution has: the heap less its reserve (spark.memory.fraction 0.6)."""

HEADROOM = 1.5
"""Needs are multiplied by this: another machine, nights with more data."""

DRIVER_AND_START_S = 30.0
"""Seconds of a Glue run that don't shrink with more workers (an assumption)."""


SPARK_NAMES = {"shuffle_partitions": "spark.sql.shuffle.partitions", "adaptive": "spark.sql.adaptive.enabled"}
"""The job's names for settings of Spark."""


@dataclass(frozen=True)
class Need:
    """What the whole workload needs, measured on some machine or scaled from a part."""

    core_seconds: float
    shuffle_bytes: float
    task_memory_bytes: float
    """Peak execution memory of one task."""
    heaviest_task_s: float = 0.0
    """The task that no number of workers makes shorter."""

    @classmethod
    def measured(cls, metrics: Mapping[str, float], scale: float = 1.0) -> Need:
        """From a trial's metrics; `scale` is the production's rows over the trial's."""
        # Spark counts its JVM's tasks only; on one machine the whole process tree was watched: Python workers, too.
        work_s = max(metrics["executor_cpu_s"], metrics.get("core_seconds", 0.0))
        return cls(
            core_seconds=work_s * scale,
            shuffle_bytes=metrics["shuffle_write_bytes"] * scale,
            task_memory_bytes=metrics["peak_execution_memory_bytes"],
            heaviest_task_s=metrics.get("task_max_s", 0.0),
        )


@dataclass(frozen=True)
class Sizing:
    """Workers to use, with the foreseen duration and cost. One worker of them is the driver."""

    worker_type: str
    workers: int
    duration_s: float
    cost_per_hour: float
    cost_per_run: float
    shuffle_to_s3: bool
    priced_by: str
    """Which prices the costs go by, and whether they are verified."""
    reasons: tuple[str, ...]

    def arguments(self, configuration: Mapping[str, Scalar]) -> dict[str, str]:
        """Glue's job arguments for a configuration of the job on this size."""
        settings = {**configuration, "shuffle_to_s3": self.shuffle_to_s3}
        return glue_arguments(settings, spark=spark_settings(configuration))


def spark_settings(configuration: Mapping[str, Scalar]) -> dict[str, str]:
    """Spark's own settings that a configuration stands for, for a job that is not this project's."""
    named = {SPARK_NAMES.get(name, name): value for name, value in configuration.items()}
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in named.items()
        if name.startswith("spark.")
    }


def glue_arguments(
    configuration: Mapping[str, Scalar],
    shuffle_bucket: str = "YOUR-BUCKET",
    *,
    spark: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Glue's own arguments that a configuration stands for, and Spark's settings where they are given.

    In job arguments each name may stand once only: several settings share one `--conf`.
    """
    settings = dict(spark or {})
    arguments = {"--enable-metrics": "true", "--enable-observability-metrics": "true", "--enable-spark-ui": "false"}
    if configuration.get("auto_scaling"):
        arguments["--enable-auto-scaling"] = "true"
    if configuration.get("shuffle_to_s3"):
        arguments["--write-shuffle-files-to-s3"] = "true"
        settings["spark.shuffle.glue.s3ShuffleBucket"] = f"s3://{shuffle_bucket}/shuffle/"
    if settings:
        arguments["--conf"] = " --conf ".join(f"{name}={value}" for name, value in settings.items())
    return arguments


def size(need: Need, prices: Prices, *, wanted_s: float = 300.0, glue: str = DEFAULT_GLUE) -> Sizing:
    """The cheapest workers whose memory suffices for each task, as many as end the job in about `wanted_s`."""
    worker_type = _worker_type(need, prices, glue)
    worker = prices.worker(worker_type)
    work_s = need.core_seconds * HEADROOM
    available_s = max(wanted_s - DRIVER_AND_START_S, wanted_s / 2)
    executors = max(1, math.ceil(work_s / (available_s * worker.vcpu)))
    duration_s = DRIVER_AND_START_S + max(work_s / (executors * worker.vcpu), need.heaviest_task_s)
    workers = executors + 1
    to_s3, disk_reason = _disk(need, worker, executors)
    return Sizing(
        worker_type=worker_type,
        workers=workers,
        duration_s=duration_s,
        cost_per_hour=prices.per_hour(worker_type, workers, glue=glue),
        cost_per_run=prices.cost(worker_type, workers * worker.dpu * duration_s, duration_s, glue=glue),
        shuffle_to_s3=to_s3,
        priced_by=prices.source(worker_type, glue=glue),
        reasons=(
            _memory_reason(need, prices, worker_type),
            f"The work is {need.core_seconds:.0f} vCPU seconds; with a headroom of {HEADROOM:g} that is "
            f"{work_s / (executors * worker.vcpu):.0f} s on {executors * worker.vcpu} vCPU, and "
            f"{DRIVER_AND_START_S:.0f} s for what doesn't shrink.",
            disk_reason,
        ),
    )


def _disk(need: Need, worker: Worker, executors: int) -> tuple[bool, str]:
    """Whether shuffle files go to S3, and why."""
    shuffled = f"{need.shuffle_bytes / 1e9:.2f} GB shuffled"
    if worker.free_disk_gb is None:
        return False, f"{shuffled}; AWS states no disk for this worker type: watch `disk_used_percent`."
    free_bytes = executors * worker.free_disk_gb * 1e9
    to_s3 = need.shuffle_bytes * HEADROOM > free_bytes
    verb, where = ("exceed", "go to S3") if to_s3 else ("fit", "stay there")
    return to_s3, f"{shuffled} {verb} the {free_bytes / 1e9:.0f} GB of free local disk: shuffle files {where}."


def _worker_type(need: Need, prices: Prices, glue: str) -> str:
    """The smallest worker with enough memory for a task on each core, else the one with the most."""
    wanted_gb = need.task_memory_bytes * HEADROOM / 1e9
    smallest = sorted(prices.workers, key=lambda name: prices.per_hour(name, 1, glue=glue))
    enough = (n for n in smallest if prices.worker(n).memory_per_vcpu_gb * USABLE_MEMORY >= wanted_gb)
    return next(enough, max(smallest, key=lambda name: prices.worker(name).memory_per_vcpu_gb))


def _memory_reason(need: Need, prices: Prices, worker_type: str) -> str:
    worker = prices.worker(worker_type)
    usable = worker.memory_per_vcpu_gb * USABLE_MEMORY
    reason = (
        f"A task peaked at {need.task_memory_bytes / 1e6:.0f} MB of execution memory; on {worker_type} it has about "
        f"{usable * 1e3:.0f} MB ({worker.memory_per_vcpu_gb:g} GB per vCPU)."
    )
    same = [n for n, w in prices.workers.items() if w.memory_per_vcpu_gb == worker.memory_per_vcpu_gb]
    return f"{reason} {', '.join(same)} all have as much a vCPU: a larger one gives a task nothing."
