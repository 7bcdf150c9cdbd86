"""The deduplication's operator: on this machine, on a Spark cluster, or on AWS Glue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from math import isinf
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk.exceptions import TaskDeferred

from pipeline_tuner.connections import open_store
from pipeline_tuner.exceptions import InfrastructureError
from pipeline_tuner.measurement import Measurement, Outcome
from pipeline_tuner.operators.base import JobOperator
from pipeline_tuner.operators.job_run import JobRun, outcome_of, run_folder
from pipeline_tuner.operators.production import conclude_production
from pipeline_tuner.operators.trials import conclude_trial, known_sweep, trial_arguments
from pipeline_tuner.production import Choice
from pipeline_tuner.runners import TrialFailedError, TrialRun, runner_for
from pipeline_tuner.study import Study
from pipeline_tuner.trial import TrialPlan, TrialResult

if TYPE_CHECKING:
    from airflow.sdk import Context

    from pipeline_tuner.runners.glue import GlueRunner


class GlueDedupOperator(JobOperator):
    """Keep the latest record of each key, on Spark or on Glue as `runner.kind` says. Parameters as in JobOperator.

    In production the target is kept and merged into, and with `target.bookmark` only new records are read.

    :param deferrable: On Glue, leave the waiting to Airflow's triggerer; elsewhere it changes nothing. A study's
        sweeps defer where its `runner.options.deferrable` says so.
    """

    job: ClassVar[str | None] = "dedup"

    def __init__(self, *, deferrable: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.deferrable = deferrable

    def production_workload(self, study: Study, context: Context) -> dict[str, Any]:
        """The study's workload on a target that stays: a trial's is emptied before each repeat."""
        workload = super().production_workload(study, context)
        target = {**workload.get("target", {}), "scratch": False}
        if not (self.workload or {}).get("target"):
            target["table"] = f"{study.study}_latest"
        return {**workload, "target": target}

    def measure(self, study: Study, run: JobRun, prepared: TrialRun) -> Measurement:
        """On Glue and deferrable: start the run and leave this worker. Else as every job."""
        if study.runner.kind != "glue" or not (self.deferrable or study.runner.options.get("deferrable")):
            return super().measure(study, run, _with_own_table(prepared) if study.runner.concurrent > 1 else prepared)
        # Imported here: AWS's client takes a second, which no DAG parse should pay.
        from pipeline_tuner.runners.glue_trigger import GlueRunTrigger

        prepared, runner = _with_own_table(prepared), self._glue_runner(study)
        prepared.write_config()
        runner.start(prepared)
        started = {"run_id": run.run_id, "configuration": dict(run.configuration), "handle": runner.handle}
        limit = None if isinf(run.timeout_s) else timedelta(seconds=run.timeout_s)
        trigger = GlueRunTrigger(
            job_name=runner.handle["job_name"],
            run_id=runner.handle["run_id"],
            conn_id=runner.conn_id,
            poll_s=runner.options.poll_s,
            deadline=None if limit is None else (datetime.now(UTC) + limit).isoformat(),
            carried={**started, **run.kept},
        )
        raise TaskDeferred(trigger=trigger, method_name="resume")

    def resume(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """Take up the run that the triggerer saw end. Returns and raises as `execute` does."""
        carried = event["carried"]
        if not self.trial:
            study, started_at = self.load_study(), datetime.fromisoformat(carried["started_at"])
            outcome = self._taken_up(study, event)
            choice = Choice(**carried["choice"])
            return conclude_production(self.results_conn_id, study, choice, outcome, context, started_at)
        plan = TrialPlan.from_dict(carried["plan"])
        # The trial that was taken may be another than the one that Airflow handed to this instance.
        self.trial, self.configuration = trial_arguments(plan).values()
        with open_store(self.results_conn_id) as store:
            study = known_sweep(store, plan.sweep_id).study_definition
            result = TrialResult.from_outcome(plan, self._taken_up(study, event))
            store.record_result(result)
        return conclude_trial(result, context)

    def _taken_up(self, study: Study, event: Mapping[str, Any]) -> Outcome:
        carried = event["carried"]

        def measure() -> Measurement:
            if event["state"] == "DEADLINE":
                raise TrialFailedError("timeout", "it ran longer than a trial may take, and was stopped")
            with run_folder() as folder:
                prepared = TrialRun(study.job, carried["run_id"], carried["configuration"], folder)
                runner = self._glue_runner(study)
                runner.take_up(prepared, carried["handle"])
                if event["state"] == "LOST":
                    # A retry starts another run: this one must not go on beside it.
                    runner.cancel()
                    raise InfrastructureError(f"the Glue run was lost sight of: {event['reason']}")
                return runner.collect(runner.wait(0))

        return outcome_of(measure)

    def _glue_runner(self, study: Study) -> GlueRunner:
        self._runner = runner_for(study)
        return self._runner  # type: ignore[return-value]  # by runner.kind


def _with_own_table(run: TrialRun) -> TrialRun:
    """Trials that may run side by side (deferred ones hold no lock) have a scratch table of their own each."""
    target = run.workload.get("target", {})
    if not target.get("scratch") or "table" not in target:
        return run
    table = f"{target['table']}_{sha256(run.trial_id.encode()).hexdigest()[:8]}"
    return replace(run, workload={**run.workload, "target": {**target, "table": table}})
