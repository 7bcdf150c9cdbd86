"""How tuned tasks that fail or are skipped end: an Airflow listener, as the task's own hook is not called then."""

from __future__ import annotations

import logging
from typing import Any

from airflow.listeners import hookimpl

from pipeline_tuner.program_output import memory_sign
from pipeline_tuner.runners.captured_log import error_words
from pipeline_tuner.tuned_task import tuned_task_of

log = logging.getLogger(__name__)


@hookimpl
def on_task_instance_failed(previous_state: Any, task_instance: Any, error: Any) -> None:
    """Note that a try failed, whether it is tried again or not."""
    tuned = tuned_task_of(getattr(task_instance, "task", None))
    if tuned is not None:
        _note(tuned, task_instance, status="failed", failure=_kind(error), reason=error_words(error))


@hookimpl
def on_task_instance_skipped(previous_state: Any, task_instance: Any) -> None:
    """Note that a run was skipped: it says nothing about the configuration."""
    tuned = tuned_task_of(getattr(task_instance, "task", None))
    if tuned is not None:
        _note(tuned, task_instance, status="skipped", reason="the task skipped itself")


def _note(tuned: Any, ti: Any, **end: Any) -> None:
    try:
        from pipeline_tuner.operators.tuned_run import end_run

        end_run(tuned, ti, **end)
    except Exception as error:
        log.warning("Pipeline Tuner can't note this run: %s: %s", type(error).__name__, error)


def _kind(error: Any) -> str:
    if "Timeout" in type(error).__name__:
        return "timeout"
    return "out_of_memory" if memory_sign(str(error)) else "error"
