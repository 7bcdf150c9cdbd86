"""Event logs made for tests: an application whose stages, tasks and executors are given."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow

from pipeline_tuner.advise.advice import RunAdvice, advise
from pipeline_tuner.advise.log_files import find_logs
from pipeline_tuner.advise.log_reader import read_log

START = 1_700_000_000_000
SQL = "org.apache.spark.sql.execution.ui.SparkListener"
MB = 1 << 20


@dataclass
class FakeTask:
    """One task; times in ms from the application's start."""

    begin: int
    end: int
    executor: str = "1"
    bytes: int = 0
    gc_ms: int = 0
    spilled: int = 0
    run_ms: int | None = None
    cpu_ms: int | None = None
    wait_ms: int = 0
    reason: dict[str, Any] = field(default_factory=lambda: {"Reason": "Success"})
    peak_heap: int = 0

    def event(self, stage_id: int, attempt: int, index: int, *, shuffle: bool) -> dict[str, Any]:
        run = self.end - self.begin if self.run_ms is None else self.run_ms
        read = {"Remote Bytes Read": self.bytes if shuffle else 0, "Fetch Wait Time": self.wait_ms}
        failed = self.reason["Reason"] not in ("Success", "TaskKilled")
        return {
            "Event": "SparkListenerTaskEnd",
            "Stage ID": stage_id,
            "Stage Attempt ID": attempt,
            "Task End Reason": self.reason,
            "Task Info": {
                "Index": index,
                "Launch Time": START + self.begin,
                "Finish Time": START + self.end,
                "Executor ID": self.executor,
                "Host": f"host-{self.executor}",
                "Failed": failed,
                "Killed": self.reason["Reason"] == "TaskKilled",
            },
            "Task Executor Metrics": {"JVMHeapMemory": self.peak_heap},
            "Task Metrics": {
                "Executor Run Time": run,
                "Executor CPU Time": (run if self.cpu_ms is None else self.cpu_ms) * 1_000_000,
                "JVM GC Time": self.gc_ms,
                "Memory Bytes Spilled": 4 * self.spilled,
                "Disk Bytes Spilled": self.spilled,
                "Shuffle Read Metrics": read,
                "Input Metrics": {"Bytes Read": 0 if shuffle else self.bytes},
            },
        }


@dataclass
class FakeStage:
    """One stage (or attempt), in a job of its own unless `job` says otherwise."""

    stage_id: int
    tasks: list[FakeTask]
    name: str = "count at Job.scala:1"
    rdd: str = "ShuffledRowRDD"
    parents: Sequence[int] = ()
    attempt: int = 0
    job: int | None = None
    execution: int | None = None
    completes: bool = True

    @property
    def begin(self) -> int:
        return min(task.begin for task in self.tasks)

    @property
    def end(self) -> int:
        return max(task.end for task in self.tasks)

    def info(self, *, complete: bool) -> dict[str, Any]:
        found = {
            "Stage ID": self.stage_id,
            "Stage Attempt ID": self.attempt,
            "Stage Name": self.name,
            "Number of Tasks": len(self.tasks),
            "Parent IDs": list(self.parents),
            "RDD Info": [{"RDD ID": 10 * self.stage_id, "Name": self.rdd, "Parent IDs": [10_000]}],
            "Submission Time": START + self.begin,
        }
        return found | ({"Completion Time": START + self.end} if complete else {})

    def events(self) -> Iterator[dict[str, Any]]:
        job = self.stage_id if self.job is None else self.job
        properties = {} if self.execution is None else {"spark.sql.execution.id": str(self.execution)}
        yield {
            "Event": "SparkListenerJobStart",
            "Job ID": job,
            "Submission Time": START + self.begin,
            "Stage Infos": [self.info(complete=False)],
            "Properties": properties,
        }
        yield {
            "Event": "SparkListenerStageSubmitted",
            "Stage Info": self.info(complete=False),
            "Properties": properties,
        }
        for _task in self.tasks:
            yield {"Event": "SparkListenerTaskStart", "Stage ID": self.stage_id, "Stage Attempt ID": self.attempt}
        shuffle = "Shuffled" in self.rdd
        for index, task in enumerate(self.tasks):
            yield task.event(self.stage_id, self.attempt, index, shuffle=shuffle)
        if self.completes:
            yield {"Event": "SparkListenerStageCompleted", "Stage Info": self.info(complete=True)}
            yield {
                "Event": "SparkListenerJobEnd",
                "Job ID": job,
                "Completion Time": START + self.end,
                "Job Result": {"Result": "JobSucceeded"},
            }


@dataclass
class FakeApplication:
    """A whole application. `executors`: id to cores, or to (cores, added, removed, reason)."""

    stages: list[FakeStage]
    end: int | None
    executors: dict[str, Any] = field(default_factory=lambda: {"1": 4})
    settings: dict[str, str] = field(default_factory=lambda: {"spark.master": "yarn"})
    version: str = "3.5.1"
    name: str = "fake job"
    app_id: str = "application_1_0001"
    attempt: str | None = None
    java_command: str = "org.apache.spark.deploy.SparkSubmit --class Main job.jar"
    others: list[dict[str, Any]] = field(default_factory=list)
    system: dict[str, str] = field(default_factory=dict)

    def events(self) -> Iterator[dict[str, Any]]:
        yield {"Event": "SparkListenerLogStart", "Spark Version": self.version}
        yield {
            "Event": "SparkListenerEnvironmentUpdate",
            "JVM Information": {},
            "Spark Properties": self.settings,
            "System Properties": {"sun.java.command": self.java_command, **self.system},
        }
        start = {"App Name": self.name, "App ID": self.app_id, "Timestamp": START, "App Attempt ID": self.attempt}
        yield {"Event": "SparkListenerApplicationStart", **start}
        for executor, life in self.executors.items():
            yield from _executor(executor, *(life if isinstance(life, tuple) else (life, 0, None, "")))
        yield from self.others
        for stage in self.stages:
            yield from stage.events()
        if self.end is not None:
            yield {"Event": "SparkListenerApplicationEnd", "Timestamp": START + self.end}

    def text(self) -> bytes:
        return as_lines(self.events())

    def write(self, path: Path) -> Path:
        path.write_bytes(self.text())
        return path


def _executor(name: str, cores: int, added: int, removed: int | None, reason: str) -> Iterator[dict[str, Any]]:
    info = {"Host": f"host-{name}", "Total Cores": cores}
    yield {
        "Event": "SparkListenerExecutorAdded",
        "Timestamp": START + added,
        "Executor ID": name,
        "Executor Info": info,
    }
    if removed is not None:
        gone = {"Timestamp": START + removed, "Executor ID": name, "Removed Reason": reason}
        yield {"Event": "SparkListenerExecutorRemoved", **gone}


def as_lines(events: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(event, separators=(",", ":")).encode() + b"\n" for event in events)


def even_stage(stage_id: int, begin: int, end: int, tasks: int = 4, *, waves: int = 1, **given: Any) -> FakeStage:
    """A stage of equal tasks in equal waves: `tasks` at once."""
    length = (end - begin) // waves
    task = {name: given.pop(name) for name in list(given) if name in FakeTask.__dataclass_fields__}
    made = [
        FakeTask(begin + wave * length, begin + (wave + 1) * length, **task)
        for wave in range(waves)
        for _ in range(tasks)
    ]
    return FakeStage(stage_id, made, **given)


def advised(application: FakeApplication, folder: Path) -> RunAdvice:
    """The advice for an application, through a file."""
    path = application.write(folder / "log")
    (log,) = find_logs([path]).logs
    return advise(read_log(log))


def lz4_framed(content: bytes, block: int = 32 << 10) -> bytes:
    """As Java's LZ4BlockOutputStream frames it, the last block empty."""
    codec = pyarrow.Codec("lz4_raw")
    blocks = []
    for start in range(0, len(content), block):
        piece = content[start : start + block]
        packed = codec.compress(piece, asbytes=True)
        method, kept = (0x20, packed) if len(packed) < len(piece) else (0x10, piece)
        blocks.append(_lz4_header(method, len(kept), len(piece)) + kept)
    return b"".join(blocks) + _lz4_header(0x10, 0, 0)


def _lz4_header(method: int, packed: int, size: int) -> bytes:
    return b"LZ4Block" + bytes([method | 5]) + packed.to_bytes(4, "little") + size.to_bytes(4, "little") + bytes(4)


def snappy_framed(content: bytes, block: int = 32 << 10) -> bytes:
    """As snappy-java's SnappyOutputStream frames it."""
    codec = pyarrow.Codec("snappy")
    packed = [codec.compress(content[at : at + block], asbytes=True) for at in range(0, len(content), block)]
    head = b"\x82SNAPPY\x00" + (1).to_bytes(4, "big") + (1).to_bytes(4, "big")
    return head + b"".join(len(each).to_bytes(4, "big") + each for each in packed)


def zstd_framed(content: bytes) -> bytes:
    """Two frames, as a log that was opened twice."""
    half = len(content) // 2
    codec = pyarrow.Codec("zstd")
    return codec.compress(content[:half], asbytes=True) + codec.compress(content[half:], asbytes=True)


def gzip_framed(content: bytes) -> bytes:
    half = len(content) // 2
    return gzip.compress(content[:half]) + gzip.compress(content[half:])


FRAMINGS = {"zstd": zstd_framed, "gzip": gzip_framed, "lz4": lz4_framed, "snappy": snappy_framed}
