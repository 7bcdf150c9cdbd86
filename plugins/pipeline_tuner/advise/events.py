"""The schema of Spark's events: each kind that is decoded, with the fields that are needed of it.

msgspec skips all other fields without making objects of them: that makes a log of a gigabyte a matter of seconds.
Field names in a log are Spark's own (JsonProtocol). A field that a version of Spark doesn't write is None or 0.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct, field

Whole = Annotated[int, Meta(ge=-(1 << 60), le=1 << 60)]
"""A count, a size in bytes or a time. What is larger is damage, and its event none."""


class LogStart(Struct):
    """The first line."""

    version: str = field(name="Spark Version", default="")


class Environment(Struct):
    """The settings of the run, as the driver had them when it started."""

    jvm: dict[str, Any] = field(name="JVM Information", default_factory=dict)
    spark: Any = field(name="Spark Properties", default=None)
    system: Any = field(name="System Properties", default=None)


class ApplicationStart(Struct):
    """Start of the application. Times are ms since 1970."""

    name: str = field(name="App Name", default="")
    app_id: str | None = field(name="App ID", default=None)
    time: Whole = field(name="Timestamp", default=0)
    attempt: str | None = field(name="App Attempt ID", default=None)


class ApplicationEnd(Struct):
    """Orderly end of the application."""

    time: Whole = field(name="Timestamp", default=0)


class ExecutorInfo(Struct):
    """Size and place of an executor."""

    host: str = field(name="Host", default="")
    cores: Whole = field(name="Total Cores", default=0)


class ExecutorAdded(Struct):
    """An executor that registered with the driver."""

    executor: str = field(name="Executor ID")
    time: Whole = field(name="Timestamp", default=0)
    info: ExecutorInfo = field(name="Executor Info", default_factory=ExecutorInfo)


class ExecutorRemoved(Struct):
    """An executor that is gone, with the cluster manager's words on why."""

    executor: str = field(name="Executor ID")
    time: Whole = field(name="Timestamp", default=0)
    reason: str = field(name="Removed Reason", default="")


class Rdd(Struct):
    """One RDD of a stage."""

    rdd_id: Whole = field(name="RDD ID")
    name: str = field(name="Name", default="")
    parents: list[int] = field(name="Parent IDs", default_factory=list)
    cached_partitions: Whole = field(name="Number of Cached Partitions", default=0)


class StageInfo(Struct):
    """A stage's attempt, as planned or as it ended."""

    stage_id: Whole = field(name="Stage ID")
    attempt: Whole = field(name="Stage Attempt ID", default=0)
    name: str = field(name="Stage Name", default="")
    tasks: Whole = field(name="Number of Tasks", default=0)
    parents: list[int] = field(name="Parent IDs", default_factory=list)
    rdds: list[Rdd] = field(name="RDD Info", default_factory=list)
    submitted: Whole | None = field(name="Submission Time", default=None)
    completed: Whole | None = field(name="Completion Time", default=None)
    failure: str | None = field(name="Failure Reason", default=None)


class Properties(Struct):
    """The local properties of a job that say what it belongs to."""

    execution: str | None = field(name="spark.sql.execution.id", default=None)
    description: str | None = field(name="spark.job.description", default=None)
    stream: str | None = field(name="sql.streaming.queryId", default=None)
    batch: str | None = field(name="streaming.sql.batchId", default=None)


class JobStart(Struct):
    """A job and its stages, those that will be skipped among them."""

    job_id: Whole = field(name="Job ID")
    time: Whole = field(name="Submission Time", default=0)
    stages: list[StageInfo] = field(name="Stage Infos", default_factory=list)
    properties: Properties | None = field(name="Properties", default=None)


class JobResult(Struct):
    """How a job ended: JobSucceeded or JobFailed."""

    result: str = field(name="Result", default="")


class JobEnd(Struct):
    """End of a job."""

    job_id: Whole = field(name="Job ID")
    time: Whole = field(name="Completion Time", default=0)
    result: JobResult = field(name="Job Result", default_factory=JobResult)


class StageEvent(Struct):
    """A stage submitted or completed."""

    info: StageInfo = field(name="Stage Info")


class TaskInfo(Struct):
    """When and where a task ran. Times are ms since 1970."""

    index: Whole = field(name="Index", default=0)
    launched: Whole = field(name="Launch Time", default=0)
    finished: Whole = field(name="Finish Time", default=0)
    executor: str = field(name="Executor ID", default="")
    host: str = field(name="Host", default="")
    failed: bool = field(name="Failed", default=False)
    killed: bool = field(name="Killed", default=False)


class ShuffleRead(Struct):
    """What a task fetched of shuffles."""

    remote_bytes: Whole = field(name="Remote Bytes Read", default=0)
    local_bytes: Whole = field(name="Local Bytes Read", default=0)
    records: Whole = field(name="Total Records Read", default=0)
    wait_ms: Whole = field(name="Fetch Wait Time", default=0)


class ShuffleWrite(Struct):
    """What a task wrote for shuffles."""

    bytes: Whole = field(name="Shuffle Bytes Written", default=0)
    records: Whole = field(name="Shuffle Records Written", default=0)
    time_ns: Whole = field(name="Shuffle Write Time", default=0)


class Input(Struct):
    """What a task read of files or of the cache."""

    bytes: Whole = field(name="Bytes Read", default=0)
    records: Whole = field(name="Records Read", default=0)


class Output(Struct):
    """What a task wrote to files."""

    bytes: Whole = field(name="Bytes Written", default=0)
    records: Whole = field(name="Records Written", default=0)


class TaskMetrics(Struct):
    """What a task used."""

    run_ms: Whole = field(name="Executor Run Time", default=0)
    cpu_ns: Whole = field(name="Executor CPU Time", default=0)
    deserialize_ms: Whole = field(name="Executor Deserialize Time", default=0)
    result_ms: Whole = field(name="Result Serialization Time", default=0)
    gc_ms: Whole = field(name="JVM GC Time", default=0)
    memory_spilled: Whole = field(name="Memory Bytes Spilled", default=0)
    disk_spilled: Whole = field(name="Disk Bytes Spilled", default=0)
    shuffle_read: ShuffleRead = field(name="Shuffle Read Metrics", default_factory=ShuffleRead)
    shuffle_write: ShuffleWrite = field(name="Shuffle Write Metrics", default_factory=ShuffleWrite)
    input: Input = field(name="Input Metrics", default_factory=Input)
    output: Output = field(name="Output Metrics", default_factory=Output)


class ExecutorPeaks(Struct):
    """The most that the task's executor used while it ran; from Spark 3.0 on. Bytes."""

    heap: Whole = field(name="JVMHeapMemory", default=0)
    storage: Whole = field(name="OnHeapStorageMemory", default=0)


class EndReason(Struct):
    """Why a task ended: Success, ExceptionFailure, FetchFailed, ExecutorLostFailure, TaskKilled, ..."""

    reason: str = field(name="Reason", default="")
    exception: str = field(name="Class Name", default="")


class TaskStart(Struct):
    """A task that began."""

    stage_id: Whole = field(name="Stage ID")
    attempt: Whole = field(name="Stage Attempt ID", default=0)


class TaskEnd(Struct):
    """A task that ended, well or not."""

    stage_id: Whole = field(name="Stage ID")
    info: TaskInfo = field(name="Task Info")
    attempt: Whole = field(name="Stage Attempt ID", default=0)
    reason: EndReason = field(name="Task End Reason", default_factory=EndReason)
    peaks: ExecutorPeaks | None = field(name="Task Executor Metrics", default=None)
    metrics: TaskMetrics | None = field(name="Task Metrics", default=None)


class PlanMetric(Struct):
    """A metric that a node of a plan counts."""

    name: str = ""
    accumulator: Whole = field(name="accumulatorId", default=-1)


class PlanNode(Struct):
    """A node of a physical plan."""

    name: str = field(name="nodeName", default="")
    text: msgspec.Raw = field(name="simpleString", default_factory=msgspec.Raw)
    """Its own words, decoded only where they are needed: a plan of thousands of columns has long ones."""
    children: list[PlanNode] = []
    metrics: list[PlanMetric] = []


class SqlStart(Struct):
    """A query or write that began, or (without a time) a new plan of one by adaptive execution."""

    execution: Whole = field(name="executionId")
    description: str | None = None
    time: Whole = 0
    plan: PlanNode | None = field(name="sparkPlanInfo", default=None)


class SqlEnd(Struct):
    """End of a query or write."""

    execution: Whole = field(name="executionId")
    time: Whole = 0


class DriverUpdates(Struct):
    """Values of a plan that the driver counts: files read and written."""

    execution: Whole = field(name="executionId")
    updates: list[tuple[Whole, Whole]] = field(name="accumUpdates", default_factory=list)


class StreamingProgress(Struct):
    """A batch of a streaming query that ended."""


SQL = b"org.apache.spark.sql.execution.ui."
STREAMING = b"org.apache.spark.sql.streaming.StreamingQueryListener$"
KINDS: dict[bytes, type[Struct]] = {
    b"SparkListenerLogStart": LogStart,
    b"SparkListenerEnvironmentUpdate": Environment,
    b"SparkListenerApplicationStart": ApplicationStart,
    b"SparkListenerApplicationEnd": ApplicationEnd,
    b"SparkListenerExecutorAdded": ExecutorAdded,
    b"SparkListenerExecutorRemoved": ExecutorRemoved,
    b"SparkListenerJobStart": JobStart,
    b"SparkListenerJobEnd": JobEnd,
    b"SparkListenerStageSubmitted": StageEvent,
    b"SparkListenerStageCompleted": StageEvent,
    b"SparkListenerTaskStart": TaskStart,
    b"SparkListenerTaskEnd": TaskEnd,
    SQL + b"SparkListenerSQLExecutionStart": SqlStart,
    SQL + b"SparkListenerSQLAdaptiveExecutionUpdate": SqlStart,
    SQL + b"SparkListenerSQLExecutionEnd": SqlEnd,
    SQL + b"SparkListenerDriverAccumUpdates": DriverUpdates,
    STREAMING + b"QueryProgressEvent": StreamingProgress,
}
"""Kind of event in a log to what is decoded of it. All other kinds are counted and skipped."""

DECODERS = {kind: msgspec.json.Decoder(struct) for kind, struct in KINDS.items()}
