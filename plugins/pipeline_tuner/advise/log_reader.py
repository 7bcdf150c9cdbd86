"""The reader of event logs: one pass over a log's events into the record of its application."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from pipeline_tuner.advise import events
from pipeline_tuner.advise.application import Application, Executor, Job, Outcome, Settings
from pipeline_tuner.advise.event_lines import Account, Progress, kind_of, read_lines
from pipeline_tuner.advise.log_files import EventLog, LogError
from pipeline_tuner.advise.queries import Queries
from pipeline_tuner.advise.secrets import holds_secret, names_secret, without_secrets
from pipeline_tuner.advise.stage_sums import StageSums
from pipeline_tuner.advise.timeline import Coverage


@dataclass(frozen=True)
class Read:
    """A log that was read: its application, and what of the log was missing."""

    log: EventLog
    application: Application
    lines: int
    bytes: int
    """Uncompressed."""
    not_events: int
    first_not_event: int | None
    cut_line: bool
    damaged_parts: tuple[tuple[Path, str], ...]
    unfinished_tasks: int
    """Tasks whose start is in the log and whose end isn't."""
    has_start: bool
    """Whether the log has the application's start."""
    has_settings: bool
    """Whether the log has its settings."""
    has_end: bool
    """Whether the log has the application's end."""

    @property
    def is_complete(self) -> bool:
        """Whether nothing of the log is missing."""
        lost = self.not_events or self.cut_line or self.damaged_parts or self.log.missing_parts
        return self.has_start and self.has_settings and self.has_end and not lost


def read_log(log: EventLog, progress: Progress = lambda position: None) -> Read:
    """The application of a log. Raises LogError where it says of none."""
    account, collector = Account(), Collector()
    try:
        for line in read_lines(log, account, events.KINDS.__contains__, progress):
            if not collector.take(line):
                account.no_event()
    except OSError as error:
        raise LogError(f"{log.path} can't be read: {error}") from None
    if not collector.taken:
        why = "; ".join(f"{part.name}: {damage}" for part, damage in account.damaged_parts)
        raise LogError(f"{log.path} says nothing of an application{': ' + why if why else ''}")
    return Read(
        log=log,
        application=collector.application(log),
        lines=account.lines,
        bytes=account.bytes,
        not_events=account.not_events,
        first_not_event=account.first_not_event,
        cut_line=account.cut_line,
        damaged_parts=tuple(account.damaged_parts),
        unfinished_tasks=collector.unfinished_tasks,
        has_start=collector.started is not None,
        has_settings=collector.has_settings,
        has_end=collector.ended is not None,
    )


@dataclass
class ExecutorLife:
    """An executor while its events come in."""

    host: str = ""
    cores: int = 0
    added: int | None = None
    removed: int | None = None
    reason: str = ""
    tasks: int = 0
    task_ms: int = 0
    peak_heap: int = 0


@dataclass
class JobLife:
    """A job while its events come in."""

    submitted: int
    parents: dict[int, tuple[int, ...]]
    ended: int | None = None
    succeeded: bool | None = None


@dataclass
class Collector:
    """Takes in events in their order and says at the end what they amount to."""

    taken: int = 0
    version: str = ""
    app_id: str = ""
    attempt: str = ""
    name: str = ""
    started: int | None = None
    ended: int | None = None
    last_time: int = 0
    first_time: int | None = None
    settings: Settings = field(default_factory=Settings)
    has_settings: bool = False
    stages: dict[tuple[int, int], StageSums] = field(default_factory=dict)
    owners: dict[int, tuple[int, events.Properties | None]] = field(default_factory=dict)
    """Stage to the job that named it last."""
    jobs: dict[int, JobLife] = field(default_factory=dict)
    executors: dict[str, ExecutorLife] = field(default_factory=dict)
    queries: Queries = field(default_factory=Queries)
    busy: Coverage = field(default_factory=Coverage)
    batches: int = 0

    def take(self, line: bytes) -> bool:
        """Take in the event of a line; False where it is none."""
        kind = kind_of(line)
        decoder = events.DECODERS.get(kind)
        if decoder is None:
            return bool(kind) and line.endswith(b"}")
        try:
            event = decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return False
        self.taken += 1
        HANDLERS[type(event)](self, event)
        return True

    def at(self, *times: int | None) -> None:
        """Note times at which something happened."""
        for time in times:
            if time:
                self.last_time = max(self.last_time, time)
                self.first_time = min(self.first_time or time, time)

    def log_start(self, event: events.LogStart) -> None:
        """Version of Spark."""
        self.version = self.version or event.version

    def environment(self, event: events.Environment) -> None:
        """Settings; the driver writes them again when jars are added."""
        self.has_settings = True
        system = pairs(event.system)
        spark = pairs(event.spark)
        self.settings = Settings(
            spark=spark,
            hidden=tuple(sorted(set(_items(event.spark)) - set(spark))),
            java_command=system.get("sun.java.command", "") or self.settings.java_command,
            system_names=frozenset(_items(event.system)),
        )

    def application_start(self, event: events.ApplicationStart) -> None:
        """Name and start."""
        self.app_id, self.attempt, self.name = event.app_id or "", event.attempt or "", event.name
        self.started = event.time or None
        self.at(event.time)

    def application_end(self, event: events.ApplicationEnd) -> None:
        """Orderly end."""
        self.ended = event.time
        self.at(event.time)

    def executor_added(self, event: events.ExecutorAdded) -> None:
        """An executor that may be there already, in a compacted log."""
        life = self.executors.setdefault(event.executor, ExecutorLife())
        life.host, life.cores, life.added = event.info.host, event.info.cores, event.time

    def executor_removed(self, event: events.ExecutorRemoved) -> None:
        """The end of an executor."""
        life = self.executors.setdefault(event.executor, ExecutorLife())
        life.removed, life.reason = event.time, without_secrets(event.reason)

    def job_start(self, event: events.JobStart) -> None:
        """A job, and which stages it owns."""
        parents = {info.stage_id: tuple(info.parents) for info in event.stages}
        self.jobs[event.job_id] = JobLife(event.time, parents)
        for info in event.stages:
            self.owners[info.stage_id] = (event.job_id, event.properties)
        if event.properties and event.properties.stream:
            self.batches = max(self.batches, 1)
        self.at(event.time)

    def job_end(self, event: events.JobEnd) -> None:
        """The end of a job."""
        life = self.jobs.setdefault(event.job_id, JobLife(event.time, {}))
        life.ended, life.succeeded = event.time, event.result.result == "JobSucceeded"
        self.at(event.time)

    def stage_event(self, event: events.StageEvent) -> None:
        """A stage, submitted or completed: the later one knows more."""
        sums = self.sums_of(event.info.stage_id, event.info.attempt)
        sums.info = event.info
        if event.info.stage_id in self.owners:
            sums.belongs_to(*self.owners[event.info.stage_id])
        if event.info.completed is not None and sums.ended >= sums.started:
            sums.settle()
        self.at(event.info.submitted, event.info.completed)

    def sums_of(self, stage_id: int, attempt: int) -> StageSums:
        """The sums of a stage's attempt, made where they are new."""
        key = (stage_id, attempt)
        if key not in self.stages:
            self.stages[key] = StageSums(events.StageInfo(stage_id, attempt))
        return self.stages[key]

    def task_start(self, event: events.TaskStart) -> None:
        """A task began."""
        self.sums_of(event.stage_id, event.attempt).started += 1

    def task_end(self, event: events.TaskEnd) -> None:
        """A task ended."""
        info = event.info
        self.sums_of(event.stage_id, event.attempt).add(event)
        self.busy.add(info.launched, info.finished)
        life = self.executors.setdefault(info.executor, ExecutorLife(host=info.host))
        life.tasks += 1
        life.task_ms += max(0, info.finished - info.launched)
        if event.peaks is not None:
            life.peak_heap = max(life.peak_heap, event.peaks.heap)
        self.at(info.launched, info.finished)

    def sql_start(self, event: events.SqlStart) -> None:
        """A query, or a new plan of one."""
        self.queries.start(event)
        self.at(event.time)

    def sql_end(self, event: events.SqlEnd) -> None:
        """The end of a query."""
        self.queries.end(event)
        self.at(event.time)

    def driver_updates(self, event: events.DriverUpdates) -> None:
        """Values of a query."""
        self.queries.update(event)

    def streaming_progress(self, event: events.StreamingProgress) -> None:
        """A batch of a streaming query."""
        self.batches += 1

    @property
    def unfinished_tasks(self) -> int:
        """Tasks that began and have no end in the log."""
        return sum(max(0, sums.started - sums.ended) for sums in self.stages.values())

    def application(self, log: EventLog) -> Application:
        """What the events amount to."""
        ended = self.ended or self.last_time
        submitted = [sums for sums in self.stages.values() if sums.info.submitted is not None or sums.ended]
        stages = sorted(
            (sums.stage() for sums in submitted),
            key=lambda stage: (stage.submitted or stage.begin or 0, stage.stage_id),
        )
        return Application(
            app_id=self.app_id or log.path.name,
            attempt=self.attempt,
            name=without_secrets(self.name) or "without a name",
            version=self.version,
            settings=self.settings,
            started=self.started or self.first_time or 0,
            ended=max(ended, self.started or 0),
            outcome=self._outcome(),
            stages=tuple(stages),
            jobs=tuple(_job(job_id, life) for job_id, life in sorted(self.jobs.items())),
            executors=tuple(self._executor(name, life) for name, life in self.executors.items()),
            queries=self.queries.found(),
            busy=self.busy.spans,
            streaming_batches=self.batches,
            has_gaps=self.started is None or bool(log.missing_parts) or log.compacted,
        )

    def _outcome(self) -> Outcome:
        if self.ended is None:
            return Outcome.CUT
        last = max(self.jobs.items(), default=None)
        return Outcome.FAILED if last is not None and last[1].succeeded is False else Outcome.SUCCEEDED

    def _executor(self, name: str, life: ExecutorLife) -> Executor:
        start = self.started or self.first_time or 0
        return Executor(
            name, life.host, life.cores, life.added or start, life.removed, life.reason, life.tasks, life.task_ms,
            life.peak_heap,
        )  # fmt: skip


def pairs(properties: Any) -> dict[str, str]:
    """Settings as the log has them (a mapping, in old logs a list of pairs), without those that hold a secret."""
    found = _items(properties)
    kept = {name: value for name, value in found.items() if not names_secret(name) or not _is_free(value)}
    return {name: value for name, value in kept.items() if name == "sun.java.command" or not holds_secret(value)}


def _items(properties: Any) -> dict[str, str]:
    items = properties.items() if isinstance(properties, dict) else properties or ()
    return {str(pair[0]): str(pair[1]) for pair in items if len(pair) == 2}


def _is_free(value: str) -> bool:
    """Whether a value could be a secret: not a number, truth value or duration."""
    return not value.strip().removesuffix("s").isdecimal() and value.lower() not in ("true", "false", "")


def _job(job_id: int, life: JobLife) -> Job:
    return Job(job_id, life.submitted, life.ended, life.succeeded, life.parents)


HANDLERS: dict[type, Callable[[Collector, Any], None]] = {
    events.LogStart: Collector.log_start,
    events.Environment: Collector.environment,
    events.ApplicationStart: Collector.application_start,
    events.ApplicationEnd: Collector.application_end,
    events.ExecutorAdded: Collector.executor_added,
    events.ExecutorRemoved: Collector.executor_removed,
    events.JobStart: Collector.job_start,
    events.JobEnd: Collector.job_end,
    events.StageEvent: Collector.stage_event,
    events.TaskStart: Collector.task_start,
    events.TaskEnd: Collector.task_end,
    events.SqlStart: Collector.sql_start,
    events.SqlEnd: Collector.sql_end,
    events.DriverUpdates: Collector.driver_updates,
    events.StreamingProgress: Collector.streaming_progress,
}
