"""What a failed task advises in its log and its alert: what happened, and what to do about it."""

from __future__ import annotations

import logging
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from airflow.sdk.definitions.mappedoperator import MappedOperator
from airflow.sdk.exceptions import AirflowFailException

from pipeline_tuner import settings
from pipeline_tuner.exceptions import InfrastructureError, StudyError
from pipeline_tuner.monitoring.notify import notify

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)


class TaskRole(StrEnum):
    """What a task does for a study; an operator's `role` says which."""

    CHECK = "check"
    PREPARE = "prepare"
    PLAN = "plan"
    TRIAL = "trial"
    RECOMMEND = "recommend"
    ANSWERED = "answered"
    RETENTION = "retention"
    PRODUCTION = "production"
    OTHER = "other"


class NothingMeasuredError(AirflowFailException):
    """A sweep ended before its first trial: what an earlier task said is the cause."""


ADVICE = {
    TaskRole.CHECK: "Fix what the message names, then clear this task: the sweep goes on from here.",
    TaskRole.PREPARE: "The job fails with its control. Run it by hand with the configuration in this task's log, "
    "fix it, then clear this task.",
    TaskRole.PLAN: "Change what the message names in the study or in the form, then start a new sweep.",
    TaskRole.RECOMMEND: "Look at the failed trials on the sweep's page: each says why. Clear the tasks of those that "
    "were lost, or start a new sweep.",
    TaskRole.ANSWERED: "One of the sweeps of this run has no answer: its own task recommend says why.",
    TaskRole.RETENTION: "Old trials were not removed; the sweep is not affected. The next run tries again.",
    TaskRole.PRODUCTION: "Nothing changes for the next run. To return to an earlier configuration, roll back on the "
    "study's page.",
}
NOTHING_MEASURED = "Fix what the message names, then clear the first task that failed, with all that follow it."
UNAVAILABLE = "Bring the results database or the job's servers back, then clear this task: nothing is counted twice."


def report_failure(context: Context) -> None:
    """Failure callback: log what to do, and call the notifier. A failed trial is a result and alerts nobody."""
    task: Any = context["task"]
    role = role_of(task)
    if role is TaskRole.TRIAL:
        return
    words = failure_words(task.task_id, role, context.get("exception"))
    log.error("%s", words)
    try:
        study = settings.load_named_study(task.study)
    except StudyError:
        return
    notify(study, [words], context)


def role_of(task: object) -> TaskRole:
    """What a task of ours does. One that is still mapped (killed before it began) is a trial: no other is mapped."""
    if isinstance(task, MappedOperator):
        return TaskRole.TRIAL
    role: TaskRole = getattr(task, "role", TaskRole.OTHER)
    return role


def failure_words(task_id: str, role: TaskRole, error: object) -> str:
    """One paragraph: the task, why it failed, and what to do."""
    reason = " ".join(str(error or "see its log").split())
    is_unavailable = isinstance(error, InfrastructureError) and role is not TaskRole.CHECK
    advice = UNAVAILABLE if is_unavailable else ADVICE.get(role, "See its log.")
    if isinstance(error, NothingMeasuredError):
        advice = NOTHING_MEASURED
    return f"Task {task_id} failed: {reason} What to do: {advice}"
