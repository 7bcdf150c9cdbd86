"""How tuned tasks that fail or are skipped end: an Airflow listener, as the task's own hook is not called then."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow.listeners import hookimpl

from pipeline_tuner.measurement import FailureKind
from pipeline_tuner.program_output import memory_sign
from pipeline_tuner.runners.captured_log import error_words
from pipeline_tuner.tuned_task import TunedTask, tuned_task_of

if TYPE_CHECKING:
    from airflow.sdk.types import RuntimeTaskInstanceProtocol as TaskInstance

log = logging.getLogger(__name__)


@hookimpl
def on_task_instance_failed(
    previous_state: object, task_instance: TaskInstance, error: BaseException | str | None
) -> None:
    """Note that a try failed, whether it is tried again or not."""
    tuned = tuned_task_of(getattr(task_instance, "task", None))
    if tuned is not None:
        _note(tuned, task_instance, status="failed", failure=_kind(error), reason=error_words(error))


@hookimpl
def on_task_instance_skipped(previous_state: object, task_instance: TaskInstance) -> None:
    """Note that a run was skipped: it says nothing about the configuration."""
    tuned = tuned_task_of(getattr(task_instance, "task", None))
    if tuned is not None:
        _note(tuned, task_instance, status="skipped", reason="the task skipped itself")


def _note(tuned: TunedTask, ti: TaskInstance, *, status: str, failure: FailureKind | None = None, reason: str) -> None:
    try:
        from pipeline_tuner.operators.tuned_run import end_run

        end_run(tuned, ti, status=status, failure=failure, reason=reason)
    except Exception as error:
        log.warning("Pipeline Tuner can't note this run: %s: %s", type(error).__name__, error)


def _kind(error: object) -> FailureKind:
    if "Timeout" in type(error).__name__:
        return "timeout"
    return "out_of_memory" if memory_sign(str(error)) else "error"
