"""The kinds of findings (`Kind`), of remedies and of their metrics, and the record of one finding."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pipeline_tuner.advise.application import Stage


class Kind(StrEnum):
    """What is found."""

    SKEW = "skew"
    STRAGGLER = "straggler"
    SPILL = "spill"
    GC = "gc"
    TOO_FEW_TASKS = "too few tasks"
    ONE_TASK = "one task"
    TOO_MANY_TASKS = "too many tasks"
    SMALL_FILES_READ = "small files read"
    SMALL_FILES_WRITTEN = "small files written"
    SHUFFLE_WAIT = "shuffle wait"
    FAILED_WORK = "failed work"
    LOST_EXECUTORS = "lost executors"
    STARTUP = "start-up"
    DRIVER = "driver alone"
    IDLE_CORES = "idle cores"
    IDLE_EXECUTORS = "idle executors"
    UNUSED_MEMORY = "unused memory"
    SCHEMA = "schema inference"


class Remedy(StrEnum):
    """What to do beside, or instead of, changing a setting."""

    SET = "set"
    SALT = "salt"
    SPLIT_FILES = "split files"
    LOOK_AT_HOST = "look at host"
    LOOK_AT_TASK = "look at task"
    PARTITION_JDBC = "partition jdbc"
    REPARTITION = "repartition"
    AVOID_SINGLE_TASK = "avoid single task"
    COMPACT_FILES = "compact files"
    WRITE_FEWER_FILES = "write fewer files"
    FIX_CODE = "fix code"
    ASK_PLATFORM = "ask platform"
    KEEP_WARM = "keep warm"
    PLAN_LESS = "plan less"
    COMMIT_FASTER = "commit faster"
    DRIVER_CODE = "driver code"
    STARTING = "starting"
    SMALLER_MACHINES = "smaller machines"
    FIX_SKEW_FIRST = "fix skew first"
    GIVE_SCHEMA = "give schema"
    NOT_THE_HEAP = "not the heap"
    SESSION = "session"


class Metric(StrEnum):
    """A metric of a finding; the end of its name is its unit."""

    TASKS = "tasks"
    SLOTS = "slots"
    LONGEST_TASK_S = "longest_task_s"
    MEDIAN_TASK_S = "median_task_s"
    LONGEST_TASK_BYTES = "longest_task_bytes"
    MEDIAN_TASK_BYTES = "median_task_bytes"
    SPILLED_BYTES = "spilled_bytes"
    SPILLED_IN_MEMORY_BYTES = "spilled_in_memory_bytes"
    MEMORY_A_TASK_BYTES = "memory_per_task_bytes"
    GC_S = "gc_s"
    GC_SHARE = "gc_share"
    OVERHEAD_SHARE = "overhead_share"
    FILES = "files"
    FILE_BYTES = "bytes_per_file_bytes"
    WAIT_SHARE = "wait_share"
    FAILED_TASKS = "failed_tasks"
    KILLED_TASKS = "killed_tasks"
    STAGES_AGAIN = "stages_run_again"
    OUT_OF_MEMORY = "out_of_memory"
    FETCH_FAILED = "fetch_failed"
    EXECUTORS = "executors"
    LOST = "lost"
    LOST_MEMORY = "lost_for_memory"
    LOST_TAKEN = "taken_back"
    FIRST_EXECUTOR_S = "first_executor_s"
    PLANNING_S = "planning_s"
    COMMIT_S = "after_last_task_of_query_s"
    OWN_CODE_S = "outside_queries_s"
    LONGEST_WAIT_S = "longest_wait_s"
    CORE_HOURS = "core_hours"
    IDLE_CORE_HOURS = "idle_core_hours"
    QUIET_CORE_HOURS = "idle_without_any_task_core_hours"
    PEAK_HEAP_BYTES = "peak_heap_bytes"
    HEAP_BYTES = "heap_bytes"
    PREDICTED_S = "predicted_run_s"


class Overrule(StrEnum):
    """Why a setting that one would think of is not proposed, or acts otherwise than one would think."""

    AQE_COALESCES = "aqe coalesces"
    DATABRICKS_AUTO = "databricks auto"
    DYNAMIC_ALLOCATION = "dynamic allocation"
    SIZE_BY_MACHINE = "size by machine"
    PARALLELISM_FIRST = "parallelism first"


@dataclass(frozen=True)
class Proposal:
    """A setting, what it is now (empty: Spark's default) and what to try."""

    setting: str
    present: str
    value: str


@dataclass(frozen=True)
class Finding:
    """One thing that costs time or money."""

    kind: Kind
    remedy: Remedy
    wall_ms: float = 0.0
    """Time of the run that would be gone at most, were it gone."""
    core_ms: float = 0.0
    """Cores x time that it costs; for findings about money."""
    memory_share: float = 0.0
    """Part of the memory that was paid for; for findings about memory."""
    stage: Stage | None = None
    """The stage, or the worst of several."""
    stages: int = 0
    """How many stages it is about."""
    place: str = ""
    """What else it is about: a host, a query."""
    metrics: tuple[tuple[Metric, float], ...] = ()
    proposals: tuple[Proposal, ...] = ()
    overruled: tuple[Overrule, ...] = ()
    value: int | None = None
    """The number that the remedy is about: salts, files, partitions."""

    def metric(self, name: Metric) -> float:
        """The value of one of its metrics; 0 where it has none."""
        return dict(self.metrics).get(name, 0.0)
