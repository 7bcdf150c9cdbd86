"""The Airflow pools that trials run in, made when the scheduler starts: a task in a missing pool never runs."""

from __future__ import annotations

from typing import Any

from airflow.listeners import hookimpl

from pipeline_tuner import settings

POOLS = {
    settings.POOL: (1, "Trials of Airflow Pipeline Tuner: one at a time, or they disturb each other"),
    settings.ISOLATED_POOL: (64, "Trials of Airflow Pipeline Tuner that share no machine: Glue and the like"),
}
"""Pool to its slots and its description."""


@hookimpl
def on_starting(component: Any) -> None:
    """Make the pools where there are none; one that somebody made or changed stays as it is."""
    if getattr(component, "job_type", None) != "SchedulerJob" and type(component).__name__ != "Job":
        return
    from airflow.models.pool import Pool
    from airflow.utils.session import create_session

    with create_session() as session:
        for name, (slots, description) in POOLS.items():
            if Pool.get_pool(name, session=session) is None:
                session.add(Pool(pool=name, slots=slots, description=description, include_deferred=True))
