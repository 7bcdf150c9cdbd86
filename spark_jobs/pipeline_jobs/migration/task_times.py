"""When Spark's tasks worked: launch and finish from Spark's status store, without the wait for a core."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pyspark.sql import SparkSession

GROUP = "spark.jobGroup.id"


@dataclass(frozen=True)
class TaskTime:
    """A task's launch and finish (s since 1970)."""

    launched: float
    finished: float


@contextmanager
def job_group(spark: SparkSession, name: str) -> Iterator[None]:
    """Let the jobs that this thread starts be found by `name`."""
    spark.sparkContext.setLocalProperty(GROUP, name)
    try:
        yield
    finally:
        spark.sparkContext.setLocalProperty(GROUP, None)  # type: ignore[arg-type]  # None takes it back


def task_times(spark: SparkSession, group: str) -> list[TaskTime]:
    """The successful tasks of a group's jobs. Waits until Spark has noted what has ended."""
    context: Any = spark.sparkContext._jsc.sc()
    context.listenerBus().waitUntilEmpty()
    store = context.statusStore()
    jobs = spark.sparkContext.statusTracker().getJobIdsForGroup(group)
    stages = [stage for job in jobs for stage in _listed(store.job(job).stageIds())]
    return [time for stage in stages for time in _times(store, stage)]


def _times(store: Any, stage: int) -> Iterator[TaskTime]:
    attempt = store.lastStageAttempt(stage)
    for task in _listed(store.taskList(stage, attempt.attemptId(), attempt.numTasks() + attempt.numFailedTasks())):
        if str(task.status()) == "SUCCESS" and task.duration().isDefined():
            launched = task.launchTime().getTime() / 1000
            yield TaskTime(launched, launched + task.duration().get() / 1000)


def _listed(sequence: Any) -> list[Any]:
    return [sequence.apply(place) for place in range(sequence.size())]
