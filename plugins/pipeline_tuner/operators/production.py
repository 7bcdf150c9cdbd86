"""A production run: the job with the configuration that is recommended or given, and a note of how it went."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException

from pipeline_tuner.connections import open_store
from pipeline_tuner.exceptions import InfrastructureError
from pipeline_tuner.operators.configuration import choose_configuration
from pipeline_tuner.production import Choice
from pipeline_tuner.space import configuration_id
from pipeline_tuner.study import Study
from pipeline_tuner.trial import TrialPlan, TrialResult

if TYPE_CHECKING:
    from airflow.sdk import Context

    from pipeline_tuner.operators.base import JobOperator


def run_production(operator: JobOperator, context: Context) -> dict[str, Any]:
    """Run the job on its whole workload; returns which configuration was used, why, and the metrics.

    Raises AirflowException where the run failed. The results database being unavailable never fails a run.
    """
    study = operator.load_study()
    choice = choose_configuration(
        study,
        operator.configuration,
        fallback=operator.fallback,
        open_store=lambda: open_store(operator.results_conn_id),
    )
    operator.log.info("Configuration %s (%s: %s): %s", choice.label, choice.source, choice.reason, choice.configuration)
    started_at = datetime.now(UTC)
    result = _run(operator, study, choice, context, started_at)
    return conclude_production(operator, study, choice, result, context, started_at)


def conclude_production(
    operator: JobOperator, study: Study, choice: Choice, result: TrialResult, context: Context, started_at: datetime
) -> dict[str, Any]:
    """Note how a run went and report it. Raises AirflowException where it failed."""
    _record(operator, study, choice, result, context, started_at)
    if result.status == "failed":
        raise AirflowException(f"The job failed ({result.failure}): {result.reason}")
    return _report(study, choice, result)


def _run(operator: JobOperator, study: Study, choice: Choice, context: Context, started_at: datetime) -> TrialResult:
    run_id = production_run_id(context)
    plan = TrialPlan(run_id, "", "search", 0, 0, 0, choice.label, choice.configuration)
    workload = operator.production_workload(study, context)
    kept = {"choice": asdict(choice), "started_at": started_at.isoformat()}
    return operator.run_job(study, plan, workload=workload, timeout_s=operator.timeout_s or float("inf"), kept=kept)


def production_run_id(context: Context) -> str:
    """The identity of a production run: equal for every attempt at it."""
    ti = context["ti"]
    return f"{ti.dag_id}/{ti.run_id}/{ti.task_id}/{ti.map_index or 0}"


def _record(
    operator: JobOperator, study: Study, choice: Choice, result: TrialResult, context: Context, started_at: datetime
) -> None:
    values = {
        "study": study.study,
        "goal": choice.goal,
        "source": choice.source,
        "source_reason": choice.reason,
        "label": choice.label,
        "configuration_id": configuration_id(choice.configuration),
        "configuration": dict(choice.configuration),
        "status": result.status,
        "failure": result.failure,
        "reason": result.reason,
        "metrics": dict(result.metrics),
        "measurement": result.measurement.model_dump(mode="json") if result.measurement else None,
        "dag_id": context["ti"].dag_id,
        "run_id": context["ti"].run_id,
        "started_at": started_at,
    }
    try:
        with open_store(operator.results_conn_id) as store:
            store.record_production_run(production_run_id(context), values)
    except InfrastructureError as error:
        operator.log.warning("The run is not noted as an production_run: %s", error)


def _report(study: Study, choice: Choice, result: TrialResult) -> dict[str, Any]:
    return {
        "study": study.study,
        "goal": choice.goal,
        "source": choice.source,
        "reason": choice.reason,
        "label": choice.label,
        "configuration": dict(choice.configuration),
        "status": result.status,
        "metrics": dict(result.metrics),
    }
