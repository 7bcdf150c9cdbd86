"""What a task that failed for good says: what happened, and what to do about it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from pipeline_tuner import settings
from pipeline_tuner.exceptions import InfrastructureError, StudyError
from pipeline_tuner.monitoring.notify import notify

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

ADVICE = {
    "check": "Fix what the message names, then clear this task: the sweep goes on from here.",
    "prepare": "The job fails with its control. Run it by hand with the configuration in this task's log, fix it, "
    "then clear this task.",
    "plan": "Change what the message names in the study or in the form, then start a new sweep.",
    "recommend": "Look at the failed trials on the sweep's page: each says why. Clear the tasks of those that were "
    "lost, or start a new sweep.",
    "answered": "One of the sweeps of this run has no answer: its own task recommend says why.",
    "retention": "Old trials were not removed; the sweep is not affected. The next run tries again.",
    "run": "Nothing changes for the next run. To return to an earlier configuration, roll back on the study's page.",
}
AWAY = "Bring the results database or the job's servers back, then clear this task: nothing is counted twice."


def tell_failure(context: Context) -> None:
    """Failure callback: log what to do, and tell the notifier. A failed trial is a result and tells nobody."""
    task: Any = context["task"]
    if getattr(task, "trial", None) is not None or _kind(task.task_id) in ("trial", "confirm"):
        return
    words = failure_words(task.task_id, context.get("exception"))
    log.error("%s", words)
    try:
        study = settings.load_named_study(task.study)
    except StudyError:
        return
    notify(study, [words], context)


def failure_words(task_id: str, error: object) -> str:
    """One paragraph: the task, why it failed, and what to do."""
    reason = " ".join(str(error or "see its log").split())
    kind = _kind(task_id)
    advice = AWAY if isinstance(error, InfrastructureError) and kind != "check" else ADVICE.get(kind, "See its log.")
    return f"Task {task_id} failed: {reason} What to do: {advice}"


def _kind(task_id: str) -> str:
    """What a task does: `plan` for `plan_2`, in a group of tasks as outside."""
    return task_id.rsplit(".", 1)[-1].split("_")[0]
