"""Which platform a run was on (YARN, Kubernetes, EMR, Databricks, Glue, ...), and which settings that platform
overrules.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pipeline_tuner.advise.application import Application, Settings


class Platform(StrEnum):
    """Who gave the run its machines."""

    LOCAL = "local"
    STANDALONE = "standalone"
    YARN = "YARN"
    KUBERNETES = "Kubernetes"
    EMR = "EMR"
    EMR_SERVERLESS = "EMR Serverless"
    DATABRICKS = "Databricks"
    GLUE = "Glue"
    DATAPROC = "Dataproc"
    UNKNOWN = "unknown"


MARKS = (
    ("spark.databricks.clusterUsageTags.", Platform.DATABRICKS),
    ("spark.databricks.workerNodeTypeId", Platform.DATABRICKS),
    ("spark.emr-serverless.", Platform.EMR_SERVERLESS),
    ("spark.glue.", Platform.GLUE),
    ("spark.emr.", Platform.EMR),
    ("spark.sql.emr.", Platform.EMR),
    ("spark.dataproc.", Platform.DATAPROC),
)
"""Beginnings of settings that only one platform sets. `spark.databricks.delta.` is none: Delta has it everywhere."""
EMR_PROPERTIES = frozenset({"EMR_CLUSTER_ID", "EMR_STEP_ID"})
MASTERS = (
    ("local", Platform.LOCAL),
    ("spark://", Platform.STANDALONE),
    ("yarn", Platform.YARN),
    ("k8s://", Platform.KUBERNETES),
)
MEMORY_UNITS = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
FIXED_SIZES = (Platform.DATABRICKS, Platform.GLUE)
"""Platforms where the type of the machine sets memory and cores of an executor."""


@dataclass(frozen=True)
class Rules:
    """What is in force in a run: its settings, with Spark's and the platform's defaults where it doesn't say."""

    platform: Platform
    is_local: bool
    """Whether driver and executor are one process, whoever's machine it is on."""
    adaptive: bool
    has_adaptive: bool
    """Whether this version of Spark has an adaptive execution worth switching on: from 3.0."""
    coalesces: bool
    """Adaptive execution joins small partitions after a shuffle, whatever `spark.sql.shuffle.partitions` says."""
    parallelism_first: bool
    """Coalescing keeps all cores busy and so ignores the advisory size."""
    auto_partitions: bool
    """Databricks chooses the number of shuffle partitions itself."""
    skew_join: bool
    dynamic: bool
    """Executors come and go with the work."""
    shuffle_partitions: int | None
    """None where the platform chooses."""
    advisory_bytes: int
    smallest_bytes: int
    """Coalescing makes no partition smaller than this while it keeps all cores busy."""
    split_bytes: int
    task_cpus: int
    executor_cores: int
    heap_bytes: int
    """Heap of an executor; in local mode of the driver. 0 where it isn't known."""
    heap_setting: str
    sizes_fixed: bool
    """Whether the platform sets memory and cores of an executor by the type of its machine."""


def rules_of(application: Application) -> Rules:
    """The rules in force in a run."""
    settings, version = application.settings, application.version_number
    platform = platform_of(application)
    databricks = platform is Platform.DATABRICKS
    adaptive = settings.is_on("spark.sql.adaptive.enabled", version >= (3, 2) or (databricks and version >= (3, 0)))
    partitions = settings.text("spark.sql.shuffle.partitions", "200")
    auto = partitions.strip().lower() == "auto" or settings.is_on(
        "spark.databricks.adaptive.autoOptimizeShuffle.enabled", False
    )
    local = is_local(application)
    heap_setting = "spark.driver.memory" if local else "spark.executor.memory"
    autoscales = settings.text("spark.databricks.clusterUsageTags.clusterScalingType") == "autoscaling"
    return Rules(
        platform=platform,
        is_local=local,
        adaptive=adaptive,
        has_adaptive=version >= (3, 0),
        coalesces=adaptive and settings.is_on("spark.sql.adaptive.coalescePartitions.enabled", True),
        parallelism_first=version >= (3, 2)
        and settings.is_on("spark.sql.adaptive.coalescePartitions.parallelismFirst", not databricks),
        auto_partitions=auto,
        skew_join=adaptive and settings.is_on("spark.sql.adaptive.skewJoin.enabled", True),
        dynamic=settings.is_on("spark.dynamicAllocation.enabled", platform is Platform.EMR_SERVERLESS) or autoscales,
        shuffle_partitions=None if auto or not partitions.isdecimal() else int(partitions),
        advisory_bytes=size_of(settings, "spark.sql.adaptive.advisoryPartitionSizeInBytes", 64 << 20),
        smallest_bytes=size_of(settings, "spark.sql.adaptive.coalescePartitions.minPartitionSize", 1 << 20),
        split_bytes=size_of(settings, "spark.sql.files.maxPartitionBytes", 128 << 20),
        task_cpus=whole(settings, "spark.task.cpus", 1),
        executor_cores=_executor_cores(application),
        heap_bytes=size_of(settings, heap_setting, 1 << 30, unit="m"),
        heap_setting=heap_setting,
        sizes_fixed=platform in FIXED_SIZES,
    )


def platform_of(application: Application) -> Platform:
    """The platform, by settings that only it has, its build of Spark, or the master."""
    names = application.settings.spark
    for mark, platform in MARKS:
        if any(name.startswith(mark) for name in names):
            return platform
    if "amzn" in application.version or EMR_PROPERTIES & application.settings.system_names:
        return Platform.EMR
    master = application.settings.text("spark.master")
    for start, platform in MASTERS:
        if master.startswith(start):
            return platform
    return Platform.LOCAL if is_local(application) else Platform.UNKNOWN


def is_local(application: Application) -> bool:
    """Whether the tasks ran in the driver's process."""
    master = application.settings.text("spark.master")
    alone = {each.executor_id for each in application.executors} == {"driver"}
    return master.startswith("local") or (not master and alone)


def whole(settings: Settings, name: str, default: int) -> int:
    """A setting that is a whole number."""
    text = settings.text(name).strip()
    return int(text) if text.isdecimal() and int(text) else default


def size_of(settings: Settings, name: str, default: int, *, unit: str = "b") -> int:
    """A setting that is an amount of memory, in bytes; a bare number is in `unit`."""
    return parsed_size(settings.text(name), unit=unit) or default


def parsed_size(text: str, *, unit: str = "b") -> int | None:
    """Bytes of an amount as Spark writes it: 9397M, 4g, 64MB. None where it is none."""
    number = text.strip().lower().removesuffix("b").removesuffix("i")
    if number and number[-1] in MEMORY_UNITS:
        number, unit = number[:-1], number[-1]
    try:
        return int(float(number) * MEMORY_UNITS[unit])
    except (ValueError, OverflowError):
        return None


def _executor_cores(application: Application) -> int:
    """Cores that most executors have."""
    cores = sorted(each.cores for each in application.executors if each.cores)
    return cores[len(cores) // 2] if cores else whole(application.settings, "spark.executor.cores", 1)
