"""The task of one trial: taken from the plan, measured alone (the lock), its result stored whatever it is."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from pipeline_tuner.exceptions import InfrastructureError
from pipeline_tuner.operators.job_run import JobRun
from pipeline_tuner.store import Store
from pipeline_tuner.store.records import SweepRecord
from pipeline_tuner.study import Study
from pipeline_tuner.trial import TrialPlan, TrialResult

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.types import RuntimeTaskInstanceProtocol as TaskInstance

log = logging.getLogger(__name__)

POLL_S = 1.0
"""Between two looks at whether a block can start."""


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


def right_to_measure(store: Store, study: Study) -> AbstractContextManager[None]:
    """The measuring lock, or one of the places of an environment whose runs share no machine."""
    runner = study.runner
    return (
        store.measuring() if runner.concurrent == 1 else store.measuring_beside(runner.environment, runner.concurrent)
    )


@contextmanager
def taken_trial(store: Store, handed: TrialPlan, ti: TaskInstance, sweep: SweepRecord) -> Iterator[TrialPlan]:
    """The trial of this task instance, with the right to measure it; see `take_trial`."""
    if sweep.study_definition.runner.concurrent == 1:
        with store.measuring():
            yield take_trial(store, handed, ti, sweep)
        return
    # Waited for before a place is held: a killed trial's retry needs the place that it had.
    plan = take_trial(store, handed, ti, sweep)
    with right_to_measure(store, sweep.study_definition):
        yield plan


def take_trial(store: Store, handed: TrialPlan, ti: TaskInstance, sweep: SweepRecord) -> TrialPlan:
    """The trial that this task instance runs: the first one waiting in the order of the plan.

    `handed` is the trial that Airflow gave to the instance. Where trials run side by side it waits until its block can
    start together, but no longer than a trial may take: what runs then has been lost.
    """
    places = sweep.study_definition.runner.concurrent
    deadline = time.monotonic() + sweep.options.budget.trial_timeout_s
    while True:
        is_patient = places > 1 and time.monotonic() < deadline
        plan = store.take_trial(
            handed.trial_id,
            task_id=ti.task_id,
            map_index=ti.map_index or 0,
            try_number=ti.try_number,
            places=places if is_patient else None,
        )
        if plan is not None:
            break
        time.sleep(POLL_S)
    if plan.trial_id != handed.trial_id:
        log.info("Airflow starts instances in any order: taking %s, which comes first", plan.trial_id)
    log.info("Trial %s, %s: %s", plan.trial_id, plan.label, dict(plan.configuration))
    return plan


def over_the_cap(store: Store, sweep: SweepRecord) -> str | None:
    """Why a trial that was taken must not start, where the sweep's cost is capped; None where it may."""
    if sweep.options.budget.cost is None:
        return None
    # Imported here: it brings numpy, which no DAG parse should pay for.
    from pipeline_tuner.analysis.costs import cost_so_far

    results = store.results(sweep.sweep_id)
    cost = cost_so_far(sweep.study_definition, sweep.options, results)
    running = sum(result.status == "running" for result in results)
    if cost is None or running <= cost.trials:
        return None
    beside = f", {running - 1} more are running" if running > 1 else ""
    return (
        f"not started: {cost.spent:.4g} of at most {cost.cap:.4g} (budget.cost) are spent, a trial costs about "
        f"{cost.usual:.4g}{beside}"
    )


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
