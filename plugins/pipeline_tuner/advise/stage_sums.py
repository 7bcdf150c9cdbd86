"""The sums over a stage's tasks while an event log is read, and how the tasks' values are distributed."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field, fields

from pipeline_tuner.advise.application import LongestTask, Source, Spread, Stage, Totals, Wasted
from pipeline_tuner.advise.events import Properties, StageInfo, TaskEnd, TaskMetrics
from pipeline_tuner.advise.secrets import without_secrets

MAX_TASKS_KEPT = 2_000_000
"""Tasks of one stage whose times are kept for the median: 32 MB. Later ones count in the sums and the longest only."""

SUMS = tuple(each.name for each in fields(Totals))

SOURCES = (
    ("JDBC", Source.JDBC),
    ("FileScan", Source.FILES),
    ("HadoopRDD", Source.FILES),
    ("DataSourceRDD", Source.FILES),
    ("ShuffledRow", Source.SQL_SHUFFLE),
    ("Shuffled", Source.SHUFFLE),
    ("CoGrouped", Source.SHUFFLE),
    ("ParallelCollection", Source.DRIVER),
    ("LocalTable", Source.DRIVER),
    ("Range", Source.DRIVER),
)
"""Parts of the names of the RDDs that a stage begins with. Cluster variants (Databricks) only add to these names."""


@dataclass
class StageSums:
    """One attempt of a stage, growing."""

    info: StageInfo
    job_ids: list[int] = field(default_factory=list)
    execution: int | None = None
    description: str = ""
    first_launch: int | None = None
    last_finish: int | None = None
    started: int = 0
    ended: int = 0
    complete: int = 0
    sums: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SUMS, 0))
    wasted: dict[str, int] = field(default_factory=dict)
    durations: array[int] = field(default_factory=lambda: array("q"))
    sizes: array[int] = field(default_factory=lambda: array("q"))
    longest: LongestTask | None = None
    spread: Spread | None = None

    def belongs_to(self, job_id: int, properties: Properties | None) -> None:
        """Note the job, and the query of it."""
        if job_id not in self.job_ids:
            self.job_ids.append(job_id)
        if properties and properties.execution and properties.execution.isdecimal():
            self.execution = int(properties.execution)
        if properties and properties.description:
            self.description = without_secrets(properties.description)

    def add(self, task: TaskEnd) -> None:
        """Take in a task that ended."""
        info = task.info
        duration = max(0, info.finished - info.launched)
        self.ended += 1
        self.first_launch = min(self.first_launch or info.launched, info.launched)
        self.last_finish = max(self.last_finish or 0, info.finished)
        self.sums["task_ms"] += duration
        if task.metrics is not None:
            self._add_metrics(task.metrics)
        if info.failed or info.killed or task.reason.reason not in ("", "Success"):
            self._add_wasted(task, duration)
        else:
            self._add_complete(task, duration)

    def _add_metrics(self, metrics: TaskMetrics) -> None:
        sums, read, write = self.sums, metrics.shuffle_read, metrics.shuffle_write
        sums["run_ms"] += metrics.run_ms
        sums["cpu_ns"] += metrics.cpu_ns
        sums["deserialize_ms"] += metrics.deserialize_ms
        sums["result_ms"] += metrics.result_ms
        sums["gc_ms"] += metrics.gc_ms
        sums["memory_spilled_bytes"] += metrics.memory_spilled
        sums["disk_spilled_bytes"] += metrics.disk_spilled
        sums["input_bytes"] += metrics.input.bytes
        sums["input_records"] += metrics.input.records
        sums["output_bytes"] += metrics.output.bytes
        sums["output_records"] += metrics.output.records
        sums["shuffle_read_bytes"] += read.remote_bytes + read.local_bytes
        sums["shuffle_read_records"] += read.records
        sums["shuffle_wait_ms"] += read.wait_ms
        sums["shuffle_write_bytes"] += write.bytes
        sums["shuffle_write_records"] += write.records
        sums["shuffle_write_ns"] += write.time_ns

    def _add_wasted(self, task: TaskEnd, duration: int) -> None:
        killed = task.info.killed or task.reason.reason == "TaskKilled"
        self._waste("killed" if killed else "failed", 1)
        self._waste("killed_ms" if killed else "failed_ms", duration)
        if "OutOfMemory" in task.reason.exception:
            self._waste("out_of_memory", 1)
        if task.reason.reason == "FetchFailed":
            self._waste("fetch_failed", 1)
        if task.reason.reason == "ExecutorLostFailure":
            self._waste("executor_lost", 1)

    def _waste(self, what: str, count: int) -> None:
        self.wasted[what] = self.wasted.get(what, 0) + count

    def _add_complete(self, task: TaskEnd, duration: int) -> None:
        self.complete += 1
        metrics = task.metrics or TaskMetrics()
        size = metrics.input.bytes + metrics.shuffle_read.remote_bytes + metrics.shuffle_read.local_bytes
        if len(self.durations) < MAX_TASKS_KEPT:
            self.durations.append(duration)
            self.sizes.append(size)
        if self.longest is None or duration > self.longest.duration_ms:
            self.longest = LongestTask(
                task.info.index,
                duration,
                size,
                metrics.gc_ms,
                task.info.executor,
                task.info.host,
            )

    def settle(self) -> None:
        """Turn the tasks' times into their spread and let go of them."""
        if self.longest is None or not self.durations:
            return
        times, sizes = sorted(self.durations), sorted(self.sizes)
        middle = len(times) // 2
        self.spread = Spread(len(times), times[middle], sizes[middle], self.longest)
        self.durations, self.sizes = array("q"), array("q")

    def stage(self) -> Stage:
        """The stage as it is known now."""
        if self.durations and self.spread is None:
            self.settle()
        info = self.info
        return Stage(
            stage_id=info.stage_id,
            attempt=info.attempt,
            name=without_secrets(info.name),
            job_ids=tuple(self.job_ids),
            execution=self.execution,
            description=self.description,
            parents=tuple(info.parents),
            planned_tasks=info.tasks,
            source=source_of(info),
            submitted=info.submitted,
            completed=info.completed,
            failure=info.failure,
            first_launch=self.first_launch,
            last_finish=self.last_finish,
            complete_tasks=self.complete,
            totals=Totals(**self.sums),
            wasted=Wasted(**self.wasted),
            spread=self.spread,
        )


def source_of(info: StageInfo) -> Source:
    """What the RDDs without a parent in this stage say of where its tasks come from."""
    ids = {rdd.rdd_id for rdd in info.rdds}
    if any(rdd.cached_partitions for rdd in info.rdds):
        return Source.CACHE
    first = [rdd.name for rdd in info.rdds if not ids & set(rdd.parents)]
    for part, source in SOURCES:
        if any(part in name for name in first):
            return source
    return Source.OTHER
