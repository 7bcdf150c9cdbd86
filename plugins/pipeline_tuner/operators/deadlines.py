"""When a DAG run is due, by the deadlines that its DAG declares (`DAG(deadline=...)`)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk.definitions.deadline import DeadlineReference, FixedDatetimeDeadline


def due_at(dag: Any, run: Any) -> datetime | None:
    """The first of a run's deadlines; None where its DAG has none that a task can know.

    An average of runs and a reference of one's own are known to the scheduler alone.
    """
    known = [_due(alert, run) for alert in getattr(dag, "deadline", None) or ()]
    return min((moment for moment in known if moment is not None), default=None)


def _due(alert: Any, run: Any) -> datetime | None:
    reference, interval = alert.reference, alert.interval
    if not isinstance(interval, timedelta):
        return None
    begin = None
    if isinstance(reference, FixedDatetimeDeadline):
        begin = datetime.fromtimestamp(reference.serialize_reference()["datetime"], UTC)
    elif reference == DeadlineReference.DAGRUN_LOGICAL_DATE:
        begin = getattr(run, "logical_date", None)
    elif reference == DeadlineReference.DAGRUN_QUEUED_AT:
        # A task isn't told when its run was queued; it started a moment later.
        begin = getattr(run, "start_date", None)
    return begin + interval if begin is not None else None
