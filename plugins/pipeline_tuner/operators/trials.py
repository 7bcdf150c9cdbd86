"""One trial of a sweep: taken from the plan, measured alone, its result stored whatever it is."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from pipeline_tuner.exceptions import InfrastructureError
from pipeline_tuner.operators.job_run import JobRun
from pipeline_tuner.store import Store
from pipeline_tuner.store.records import SweepRecord
from pipeline_tuner.trial import TrialPlan, TrialResult

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)


def conclude_trial(result: TrialResult, context: Context) -> dict[str, Any]:
    """The record of a trial whose result is stored, which is also the XCom of a failed trial.

    Raises AirflowFailException for a failed trial, InfrastructureError where a retry may help.
    """
    report = trial_report(result)
    if result.status == "measured":
        return report
    context["ti"].xcom_push(key="return_value", value=report)
    if result.failure == "infrastructure":
        raise InfrastructureError(result.reason)
    raise AirflowFailException(f"Trial failed ({result.failure}): {result.reason}")


def trial_report(result: TrialResult) -> dict[str, Any]:
    """A trial's record for XCom; `repeats` counts its samples."""
    plan = result.plan
    return {
        "trial_id": plan.trial_id,
        "sweep_id": plan.sweep_id,
        "phase": plan.phase,
        "block": plan.block,
        "repeats": len(result.measurement.samples) if result.measurement else 0,
        "label": plan.label,
        "configuration": dict(plan.configuration),
        "status": result.status,
        "failure": result.failure,
        "reason": result.reason,
        "metrics": dict(result.metrics),
    }


def take_trial(store: Store, handed: TrialPlan, ti: Any) -> TrialPlan:
    """The trial that this task instance runs: the first one waiting in the order of the plan.

    `handed` is the trial that Airflow gave to the instance.
    """
    plan = store.take_trial(handed.trial_id, task_id=ti.task_id, map_index=ti.map_index or 0, try_number=ti.try_number)
    if plan.trial_id != handed.trial_id:
        log.info("Airflow starts instances in any order: taking %s, which comes first", plan.trial_id)
    log.info("Trial %s, %s: %s", plan.trial_id, plan.label, dict(plan.configuration))
    return plan


def trial_arguments(plan: TrialPlan) -> dict[str, Any]:
    """What a planned trial gives its mapped operator."""
    values = plan.to_dict()
    configuration = values.pop("configuration")
    return {"trial": values, "configuration": configuration}


def planned_run(plan: TrialPlan, sweep: SweepRecord) -> JobRun:
    """The job's run for a planned trial, with its sweep's study and options as they were when the sweep started."""
    study, budget = sweep.study_definition, sweep.options.budget
    return JobRun(
        plan.trial_id,
        plan.configuration,
        study.workload.options,
        sweep_id=plan.sweep_id,
        fraction=plan.fraction * study.workload.sizes[sweep.options.size],
        warmups=budget.warmups,
        repeats=budget.repeats,
        min_work_s=plan.min_work_s,
        timeout_s=budget.trial_timeout_s,
        kept={"plan": plan.to_dict()},
    )


def known_sweep(store: Store, sweep_id: str) -> SweepRecord:
    """A sweep that must be there. Raises InfrastructureError."""
    sweep = store.sweep(sweep_id)
    if sweep is None:
        raise InfrastructureError(f"the results database does not know sweep {sweep_id}: its task 'check' did not run")
    return sweep
