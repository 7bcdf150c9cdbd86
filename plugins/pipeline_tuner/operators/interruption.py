"""Where Ctrl-C (or SIGTERM) ends a run: under `airflow dags test` all tasks share a process, and Airflow goes on.

Airflow takes the signal for a failure of the task that it met. The tasks of that run that would measure or plan more
are then skipped, and the last one draws its conclusions from what was measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowException, AirflowSkipException

if TYPE_CHECKING:
    from airflow.sdk import Context

_interrupted: set[tuple[str, str]] = set()
"""Runs of this process that a signal has met, by DAG and run."""


class TaskKilledError(AirflowException):
    """The task was killed while its job ran: what the job left is no evidence."""


@contextmanager
def ending_the_run_at_a_signal(context: Context) -> Iterator[None]:
    """Around a task's work. Raises AirflowSkipException where a signal has met an earlier task of the run."""
    skip_after_a_signal(context)
    try:
        yield
    except (KeyboardInterrupt, TaskKilledError):
        _interrupted.add(_run_of(context))
        raise


def skip_after_a_signal(context: Context) -> None:
    """Raises AirflowSkipException where a signal has met an earlier task of the run."""
    if _run_of(context) in _interrupted:
        raise AirflowSkipException("the run was interrupted: nothing more is measured. Start a new one to go on")


def _run_of(context: Context) -> tuple[str, str]:
    ti = context["ti"]
    return ti.dag_id, ti.run_id
