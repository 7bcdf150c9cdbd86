"""Stage and task metrics of a trial's Spark application, from its event log.

Cheaper and more complete than asking the live UI, and it stays after the application has ended.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Stage:
    """The tasks of one stage, as they ended. Times in s, sizes in bytes."""

    stage_id: int
    name: str = ""
    step: str = ""
    """The description that the job gave what it ran then (SparkContext.setJobDescription)."""
    submitted_s: float = 0.0
    completed_s: float = 0.0
    task_s: list[float] = field(default_factory=list)
    failed_tasks: int = 0
    totals: dict[str, float] = field(default_factory=dict)

    def add(self, metrics: dict[str, Any], duration_s: float) -> None:
        """Take in a task's metrics, as the event log has them."""
        self.task_s.append(duration_s)
        for name, value in _task_metrics(metrics).items():
            combine = max if name.startswith("peak_") else lambda a, b: a + b
            self.totals[name] = combine(self.totals.get(name, 0.0), value)

    def summary(self) -> dict[str, Any]:
        """The stage as JSON."""
        median = statistics.median(self.task_s) if self.task_s else 0.0
        return {
            "id": self.stage_id,
            "name": self.step or self.name,
            "tasks": len(self.task_s),
            "failed_tasks": self.failed_tasks,
            "duration_s": max(0.0, self.completed_s - self.submitted_s),
            "median_task_s": median,
            "max_task_s": max(self.task_s, default=0.0),
            **self.totals,
        }


Stretch = tuple[float, float]
"""From when until when (s since 1970)."""


def summarise_event_log(
    path: str | Path, *, since: float = 0.0, until: float = float("inf"), during: Sequence[Stretch] = ()
) -> dict[str, Any]:
    """Metrics and `stages` of an application. `path`: the log, or the folder that holds one.

    `since`, `until` (s since 1970): only stages submitted in between, to leave out a warm-up. `during`: only those
    submitted in one of these stretches, to leave out what lies between repeats.
    `task_skew`: the largest ratio of a stage's slowest to its median task.
    Raises FileNotFoundError where there is no log.
    """
    stages: dict[tuple[int, int], Stage] = {}
    lost_s: list[float] = []
    for event in _events(_log_file(Path(path))):
        kind = event["Event"]
        if kind == "SparkListenerStageCompleted":
            info = event["Stage Info"]
            stage = _stage(stages, info["Stage ID"], info["Stage Attempt ID"])
            stage.name = info["Stage Name"]
            stage.submitted_s = info.get("Submission Time", 0) / 1000
            stage.completed_s = info.get("Completion Time", 0) / 1000
        elif kind == "SparkListenerStageSubmitted":
            info = event["Stage Info"]
            step = (event.get("Properties") or {}).get("spark.job.description", "")
            _stage(stages, info["Stage ID"], info["Stage Attempt ID"]).step = step
        elif kind == "SparkListenerTaskEnd":
            _add_task(_stage(stages, event["Stage ID"], event["Stage Attempt ID"]), event)
        elif kind == "SparkListenerExecutorRemoved" and not _was_let_go(event.get("Removed Reason", "")):
            lost_s.append(event.get("Timestamp", 0) / 1000)
    wanted = during or ((since, until),)
    kept = [stage for stage in stages.values() if _is_within(stage.submitted_s, wanted)]
    lost = sum(_is_within(at_s, wanted) for at_s in lost_s)
    return _metrics(kept) | {"executors_lost": lost, "stages": [stage.summary() for stage in kept]}


def _is_within(at_s: float, stretches: Sequence[Stretch]) -> bool:
    return any(begun <= at_s <= ended for begun, ended in stretches)


def _was_let_go(reason: str) -> bool:
    """Whether the driver gave an executor back, as dynamic allocation does with an idle one: none that died."""
    return reason.startswith("Executor killed by driver") or "decommission" in reason.lower()


def _log_file(path: Path) -> Path:
    if path.is_file():
        return path
    files = [file for file in path.glob("*") if file.is_file() and not file.name.startswith(".")]
    if not files:
        raise FileNotFoundError(f"no event log in {path}")
    return max(files, key=lambda file: file.stat().st_mtime)


def _events(path: Path) -> Iterator[dict[str, Any]]:
    kinds = ("StageSubmitted", "StageCompleted", "TaskEnd", "ExecutorRemoved")
    wanted = tuple(f'{{"Event":"SparkListener{kind}"' for kind in kinds)
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.startswith(wanted):
                yield json.loads(line)


def _stage(stages: dict[tuple[int, int], Stage], stage_id: int, attempt: int) -> Stage:
    return stages.setdefault((stage_id, attempt), Stage(stage_id))


def _add_task(stage: Stage, event: dict[str, Any]) -> None:
    info = event["Task Info"]
    if info.get("Failed") or info.get("Killed"):
        stage.failed_tasks += 1
    if event.get("Task Metrics"):
        stage.add(event["Task Metrics"], (info["Finish Time"] - info["Launch Time"]) / 1000)


def _task_metrics(metrics: dict[str, Any]) -> dict[str, float]:
    read, write = metrics.get("Shuffle Read Metrics", {}), metrics.get("Shuffle Write Metrics", {})
    return {
        "shuffle_read_bytes": read.get("Remote Bytes Read", 0) + read.get("Local Bytes Read", 0),
        "shuffle_write_bytes": write.get("Shuffle Bytes Written", 0),
        "spill_bytes": metrics.get("Disk Bytes Spilled", 0),
        "gc_s": metrics.get("JVM GC Time", 0) / 1e3,
        "executor_cpu_s": metrics.get("Executor CPU Time", 0) / 1e9,
        "executor_run_s": metrics.get("Executor Run Time", 0) / 1e3,
        "input_bytes": metrics.get("Input Metrics", {}).get("Bytes Read", 0),
        "input_rows": metrics.get("Input Metrics", {}).get("Records Read", 0),
        "output_bytes": metrics.get("Output Metrics", {}).get("Bytes Written", 0),
        "output_rows": metrics.get("Output Metrics", {}).get("Records Written", 0),
        "peak_execution_memory_bytes": metrics.get("Peak Execution Memory", 0),
    }


def _metrics(stages: list[Stage]) -> dict[str, float]:
    names = ("shuffle_read_bytes", "shuffle_write_bytes", "spill_bytes", "gc_s", "executor_cpu_s")
    skews = [max(s.task_s) / statistics.median(s.task_s) for s in stages if s.task_s and statistics.median(s.task_s)]
    return {
        **{name: float(sum(stage.totals.get(name, 0) for stage in stages)) for name in names},
        "peak_execution_memory_bytes": float(
            max((stage.totals.get("peak_execution_memory_bytes", 0) for stage in stages), default=0)
        ),
        "task_skew": max(skews, default=1.0),
        "tasks": float(sum(len(stage.task_s) for stage in stages)),
        "failed_tasks": float(sum(stage.failed_tasks for stage in stages)),
    }
