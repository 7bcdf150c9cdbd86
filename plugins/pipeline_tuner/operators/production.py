"""A production run of a job's operator: runs it with the configuration, stores the run and its metrics."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException

from pipeline_tuner.connections import open_store
from pipeline_tuner.exceptions import InfrastructureError
from pipeline_tuner.measurement import Outcome
from pipeline_tuner.operators.job_run import JobRun
from pipeline_tuner.production import Choice
from pipeline_tuner.space import configuration_id
from pipeline_tuner.study import Study

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)


def production_run(
    choice: Choice, context: Context, workload: Mapping[str, Any], timeout_s: float, started_at: datetime
) -> JobRun:
    """The job's run in production, on its whole workload."""
    kept = {"choice": asdict(choice), "started_at": started_at.isoformat()}
    return JobRun(production_run_id(context), choice.configuration, workload, timeout_s=timeout_s, kept=kept)


def conclude_production(
    results_conn_id: str, study: Study, choice: Choice, outcome: Outcome, context: Context, started_at: datetime
) -> dict[str, Any]:
    """Note how a run went; returns which configuration was used, why, and the metrics.

    Raises AirflowException where the run failed. The results database being unavailable never fails a run.
    """
    _record(results_conn_id, study, choice, outcome, context, started_at)
    if outcome.status == "failed":
        raise AirflowException(f"The job failed ({outcome.failure}): {outcome.reason}")
    return _report(study, choice, outcome)


def production_run_id(context: Context) -> str:
    """The identity of a production run: equal for every attempt at it."""
    ti = context["ti"]
    return f"{ti.dag_id}/{ti.run_id}/{ti.task_id}/{ti.map_index or 0}"


def _record(
    results_conn_id: str, study: Study, choice: Choice, outcome: Outcome, context: Context, started_at: datetime
) -> None:
    values = {
        "study": study.study,
        "goal": choice.goal,
        "source": choice.source,
        "source_reason": choice.reason,
        "label": choice.label,
        "configuration_id": configuration_id(choice.configuration),
        "configuration": dict(choice.configuration),
        "status": outcome.status,
        "failure": outcome.failure,
        "reason": outcome.reason,
        "metrics": dict(outcome.metrics),
        "measurement": outcome.measurement.model_dump(mode="json") if outcome.measurement else None,
        "dag_id": context["ti"].dag_id,
        "run_id": context["ti"].run_id,
        "started_at": started_at,
    }
    try:
        with open_store(results_conn_id) as store:
            store.record_production_run(production_run_id(context), values)
    except InfrastructureError as error:
        log.warning("This production run is not recorded: %s", error)


def _report(study: Study, choice: Choice, outcome: Outcome) -> dict[str, Any]:
    return {
        "study": study.study,
        "goal": choice.goal,
        "source": choice.source,
        "reason": choice.reason,
        "label": choice.label,
        "configuration": dict(choice.configuration),
        "status": outcome.status,
        "metrics": dict(outcome.metrics),
    }
