"""The pool of one slot that trials run in, made when the scheduler starts: a task in a missing pool never runs."""

from __future__ import annotations

from typing import Any

from airflow.listeners import hookimpl

from pipeline_tuner import settings

DESCRIPTION = "Trials of Airflow Pipeline Tuner: one at a time, or they disturb each other"


@hookimpl
def on_starting(component: Any) -> None:
    """Make the pool where there is none; one that somebody made or changed stays as it is."""
    if getattr(component, "job_type", None) != "SchedulerJob" and type(component).__name__ != "Job":
        return
    from airflow.models.pool import Pool
    from airflow.utils.session import create_session

    with create_session() as session:
        if Pool.get_pool(settings.POOL, session=session) is None:
            session.add(Pool(pool=settings.POOL, slots=1, description=DESCRIPTION, include_deferred=True))
