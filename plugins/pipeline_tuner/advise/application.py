"""What an event log says of one run of an application, as records: stages, executors, queries. Facts only, no
judgement.

Times are ms since 1970 and ms, as in the log, so that values equal Spark's own to the last digit; sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from pipeline_tuner.advise.timeline import Cores, Span


class Source(StrEnum):
    """Where the tasks of a stage come from, and so what sets their number."""

    FILES = "files"
    JDBC = "jdbc"
    SQL_SHUFFLE = "sql shuffle"
    SHUFFLE = "shuffle"
    CACHE = "cache"
    DRIVER = "driver"
    OTHER = "other"


class Outcome(StrEnum):
    """How a run ended, as far as its log says."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CUT = "cut"
    """The log has no end: the application was still running, was killed, or its log was cut."""


@dataclass(frozen=True)
class Totals:
    """Sums over the tasks of a stage, those that failed among them, as Spark's own pages show them."""

    run_ms: int = 0
    cpu_ns: int = 0
    deserialize_ms: int = 0
    result_ms: int = 0
    gc_ms: int = 0
    memory_spilled_bytes: int = 0
    disk_spilled_bytes: int = 0
    input_bytes: int = 0
    input_records: int = 0
    output_bytes: int = 0
    output_records: int = 0
    shuffle_read_bytes: int = 0
    shuffle_read_records: int = 0
    shuffle_wait_ms: int = 0
    shuffle_write_bytes: int = 0
    shuffle_write_records: int = 0
    shuffle_write_ns: int = 0
    task_ms: int = 0
    """Launch to finish, over all tasks."""


@dataclass(frozen=True)
class LongestTask:
    """The slowest successful task of a stage."""

    index: int
    duration_ms: int
    bytes: int
    """Input and shuffle that it read."""
    gc_ms: int
    executor: str
    host: str


@dataclass(frozen=True)
class Spread:
    """How the successful tasks of a stage differ."""

    count: int
    median_ms: int
    median_bytes: int
    longest: LongestTask


@dataclass(frozen=True)
class Wasted:
    """Tasks that ended without a result that was used."""

    failed: int = 0
    killed: int = 0
    failed_ms: int = 0
    killed_ms: int = 0
    out_of_memory: int = 0
    fetch_failed: int = 0
    executor_lost: int = 0


@dataclass(frozen=True)
class Stage:
    """One attempt of a stage."""

    stage_id: int
    attempt: int
    name: str
    job_ids: tuple[int, ...]
    execution: int | None
    description: str
    parents: tuple[int, ...]
    planned_tasks: int
    source: Source
    submitted: int | None
    completed: int | None
    failure: str | None
    first_launch: int | None
    last_finish: int | None
    complete_tasks: int
    totals: Totals
    wasted: Wasted
    spread: Spread | None
    """None where no task succeeded."""

    @property
    def begin(self) -> int | None:
        """When its first task was launched, or it was submitted."""
        return self.first_launch if self.first_launch is not None else self.submitted

    @property
    def end(self) -> int | None:
        """When its last task ended, or it was completed."""
        return self.completed if self.completed is not None else self.last_finish

    @property
    def wall_ms(self) -> int:
        """From its first task to its end."""
        return max(0, self.end - self.begin) if self.begin is not None and self.end is not None else 0

    @property
    def read_bytes(self) -> int:
        """Input and shuffle."""
        return self.totals.input_bytes + self.totals.shuffle_read_bytes


@dataclass(frozen=True)
class Job:
    """One job, with the stages that it names, those that were skipped among them."""

    job_id: int
    submitted: int
    ended: int | None
    succeeded: bool | None
    parents: Mapping[int, tuple[int, ...]]
    """Stage to the stages that it reads from."""


@dataclass(frozen=True)
class Executor:
    """An executor's life. `removed` is None where it was there at the end."""

    executor_id: str
    host: str
    cores: int
    added: int
    removed: int | None
    reason: str
    tasks: int
    task_ms: int
    peak_heap_bytes: int
    """0 where the log doesn't say."""

    def removed_by(self, end: int) -> int:
        """When it was gone, at the latest at a run's end."""
        return end if self.removed is None else min(self.removed, end)


@dataclass(frozen=True)
class Files:
    """Files that a query read or wrote, with their bytes, by the scans and writes of its plans."""

    read: int = 0
    read_bytes: int = 0
    written: int = 0
    written_bytes: int = 0


@dataclass(frozen=True)
class Query:
    """One SQL execution."""

    execution: int
    description: str
    started: int
    ended: int | None
    files: Files
    coalesced: bool
    """Whether adaptive execution joined small partitions of it."""
    joins: bool = False
    """Whether it joins by a shuffle."""
    output: str = ""
    """The folder or table that it writes; empty where it writes none, or the log doesn't say."""


@dataclass(frozen=True)
class Settings:
    """The settings of the run. Secrets were taken out when they were read."""

    spark: Mapping[str, str] = field(default_factory=dict)
    java_command: str = ""
    system_names: frozenset[str] = frozenset()
    """Names of the JVM's system properties, which tell some platforms."""
    hidden: tuple[str, ...] = ()
    """Names of settings that were left out as they look like secrets."""

    def text(self, name: str, default: str = "") -> str:
        """A setting as it is written."""
        return self.spark.get(name, default)

    def is_on(self, name: str, default: bool) -> bool:
        """A setting that is true or false."""
        return self.spark.get(name, str(default)).strip().lower() == "true"


SESSIONS = ("org.apache.spark.repl.Main", "DatabricksInternalMain", "com.databricks.backend.daemon.driver")
SESSION_NAMES = ("Spark shell", "PySparkShell", "Databricks Shell", "SparkSQL", "Zeppelin", "livy-session")


@dataclass(frozen=True)
class Application:
    """One run (attempt) of an application."""

    app_id: str
    attempt: str
    name: str
    version: str
    settings: Settings
    started: int
    ended: int
    """Its end, or the last event of a log that has no end."""
    outcome: Outcome
    stages: tuple[Stage, ...]
    """Attempts that were submitted, in the order in which they were."""
    jobs: tuple[Job, ...]
    executors: tuple[Executor, ...]
    queries: tuple[Query, ...]
    busy: tuple[Span, ...]
    """When at least one task was running."""
    streaming_batches: int = 0
    has_gaps: bool = False
    """Whether the log lacks its beginning or a part: what ran at times without a task isn't known then."""

    @property
    def wall_ms(self) -> int:
        """From its start to its end."""
        return max(0, self.ended - self.started)

    @property
    def queued_ms(self) -> int:
        """From its submission to its start: in a queue, or in attempts that failed. 0 where the log doesn't say."""
        submitted = self.settings.text("spark.app.submitTime")
        return max(0, self.started - int(submitted)) if submitted.isdecimal() else 0

    @cached_property
    def cores(self) -> Cores:
        """Cores that were there, over time."""
        return Cores.of((each.added, each.removed_by(self.ended), each.cores) for each in self.executors)

    @property
    def task_ms(self) -> int:
        """Launch to finish, over all tasks."""
        return sum(stage.totals.task_ms for stage in self.stages)

    def query(self, stage: Stage) -> Query | None:
        """The query that a stage belongs to."""
        return self._queries.get(stage.execution) if stage.execution is not None else None

    @cached_property
    def _queries(self) -> Mapping[int, Query]:
        return {query.execution: query for query in self.queries}

    @property
    def outputs(self) -> tuple[str, ...]:
        """The folders and tables that its queries wrote, each once, in their order."""
        return tuple(dict.fromkeys(query.output for query in self.queries if query.output))

    @property
    def is_streaming(self) -> bool:
        """Whether it runs streaming queries."""
        return self.streaming_batches > 0

    @property
    def is_session(self) -> bool:
        """Whether somebody typed: a shell or notebook, whose waits are not the job's."""
        command = self.settings.java_command
        return any(mark in command for mark in SESSIONS) or self.name in SESSION_NAMES

    @property
    def version_number(self) -> tuple[int, int]:
        """Major and minor version of Spark; (0, 0) where the log doesn't say."""
        parts = self.version.split(".")
        numbers = [int(part) for part in parts[:2] if part.isdecimal()]
        return (numbers[0], numbers[1]) if len(numbers) == 2 else (0, 0)
