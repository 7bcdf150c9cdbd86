"""The base of every job's operator: runs a job once, as a trial of a sweep or in production; resumes after a retry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from pipeline_tuner import settings
from pipeline_tuner.connections import job_connections, open_store
from pipeline_tuner.exceptions import StudyError
from pipeline_tuner.measurement import Measurement, Outcome
from pipeline_tuner.operators.configuration import choose_configuration
from pipeline_tuner.operators.failures import TaskRole
from pipeline_tuner.operators.interruption import TaskKilledError, ending_the_run_at_a_signal
from pipeline_tuner.operators.job_run import JobRun, outcome_of, run_folder
from pipeline_tuner.operators.links import EngineLink, PageLink
from pipeline_tuner.operators.production import conclude_production, production_run
from pipeline_tuner.operators.trials import (
    conclude_trial,
    known_sweep,
    over_the_cap,
    planned_run,
    taken_trial,
    trial_arguments,
)
from pipeline_tuner.runners import Runner, TrialRun, runner_for
from pipeline_tuner.store import Store
from pipeline_tuner.store.records import SweepRecord
from pipeline_tuner.study import Study
from pipeline_tuner.trial import TrialPlan, TrialResult

if TYPE_CHECKING:
    from airflow.sdk import Context


def task_identity(context: Context) -> str:
    """The name of a run that every attempt of the same task has too; each instance of a mapped task has its own."""
    ti = context["ti"]
    is_mapped = ti.map_index is not None and ti.map_index >= 0
    return f"{ti.dag_id}/{ti.run_id}/{ti.task_id}" + (f"/{ti.map_index}" if is_mapped else "")


class JobOperator(BaseOperator):
    """Run a study's job once with a configuration, and return its measurement.

    In production it stands alone: `MigrationOperator(task_id="migrate", study="migration",
    configuration="recommended:throughput")`. In a sweep it is mapped over a plan, which gives `configuration` and
    `trial`. A failed trial stores its result and fails without a retry; where something around the job failed
    (a database unavailable, the process killed), the task is retried.

    :param study: Name of a study in the studies' folder, or the path of a study file.
    :param configuration: A mapping of parameters, `preset:NAME`, or `recommended:GOAL`.
    :param fallback: Preset for `recommended:` where nothing valid is recommended; the study's own by default.
    :param trial: The planned trial, in a sweep only.
    :param workload: Options that are laid over the study's `workload.options`, in production only.
    :param timeout_s: Seconds after which the job is ended; the study's `budget.trial_timeout_s` in a sweep,
        none by default in production.
    :param results_conn_id: Airflow connection to the results database.
    """

    job: ClassVar[str | None] = None
    """The only job whose studies this operator runs; None for any."""

    template_fields: Sequence[str] = ("study", "configuration", "trial", "workload")
    template_fields_renderers: ClassVar[dict[str, str]] = {
        "configuration": "json",
        "trial": "json",
        "workload": "json",
    }
    ui_color = "#dfeef5"
    operator_extra_links = (PageLink(), EngineLink())

    def __init__(
        self,
        *,
        study: str,
        configuration: Mapping[str, Any] | str,
        fallback: str | None = None,
        trial: Mapping[str, Any] | None = None,
        workload: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
        results_conn_id: str = settings.RESULTS_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.study = study
        self.configuration = configuration
        self.fallback = fallback
        self.trial = trial
        self.workload = workload
        self.timeout_s = timeout_s
        self.results_conn_id = results_conn_id
        self._runner: Runner | None = None
        self._is_killed = False

    @property
    def role(self) -> TaskRole:
        """A trial of a sweep, or a production run."""
        return TaskRole.PRODUCTION if self.trial is None else TaskRole.TRIAL

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the job; returns the trial's or the production run's record. Raises AirflowFailException, or to retry."""
        with ending_the_run_at_a_signal(context):
            return self._run_trial(context) if self.trial else self._run_production(context)

    def _run_trial(self, context: Context) -> dict[str, Any]:
        handed = TrialPlan.from_dict({**(self.trial or {}), "configuration": self.configuration})
        with open_store(self.results_conn_id) as store:
            sweep = known_sweep(store, handed.sweep_id)
            with taken_trial(store, handed, context["ti"], sweep) as plan:
                self.trial, self.configuration = trial_arguments(plan).values()
                self._stop_at_the_cap(store, sweep, plan)
                result = self.run_planned(plan, sweep)
                store.record_result(result)
        return conclude_trial(result, context)

    def _stop_at_the_cap(self, store: Store, sweep: SweepRecord, plan: TrialPlan) -> None:
        """Raises AirflowFailException, with the trial's row saying why, where the sweep's money is spent."""
        reason = over_the_cap(store, sweep)
        if reason is not None:
            store.record_result(TrialResult(plan, "failed", failure="infrastructure", reason=reason))
            raise AirflowFailException(reason)

    def run_planned(self, plan: TrialPlan, sweep: SweepRecord) -> TrialResult:
        """Run a planned trial's job with its sweep's study and options, as they were when the sweep started."""
        return TrialResult.from_outcome(plan, self.run_job(sweep.study_definition, planned_run(plan, sweep)))

    def _run_production(self, context: Context) -> dict[str, Any]:
        study = self.load_study()
        choice = choose_configuration(
            study,
            self.configuration,
            fallback=self.fallback,
            open_store=lambda: open_store(self.results_conn_id),
        )
        self.log.info("Configuration %s (%s: %s): %s", choice.label, choice.source, choice.reason, choice.configuration)
        workload, timeout_s = self.production_workload(study, context), self.timeout_s or inf
        started_at = datetime.now(UTC)
        outcome = self.run_job(study, production_run(choice, context, workload, timeout_s, started_at))
        return conclude_production(self.results_conn_id, study, choice, outcome, context, started_at)

    def on_kill(self) -> None:
        """End the job and every process of it."""
        self._is_killed = True
        if self._runner is not None:
            self._runner.cancel()

    @property
    def engine_link(self) -> str:
        """The page of Spark or Glue on the run; empty where there is none."""
        return self._runner.link if self._runner is not None else ""

    def load_study(self) -> Study:
        """The study. Raises StudyError where it is wrong or of another job."""
        study = settings.load_named_study(self.study)
        if self.job is not None and study.job != self.job:
            raise StudyError(
                f"{type(self).__name__} runs the job {self.job!r}, study {study.study} is of {study.job!r}"
            )
        return study

    def production_workload(self, study: Study, context: Context) -> dict[str, Any]:
        """The workload's options in production: a job that tells production from trials overrides this."""
        return {**study.workload.options, **(self.workload or {})}

    def run_job(self, study: Study, run: JobRun) -> Outcome:
        """Run the job once under its runner; whatever becomes of it is an outcome."""

        def measure() -> Measurement:
            connections = job_connections(study.runner.connections)
            with run_folder() as folder:
                prepared = TrialRun(
                    job=study.job,
                    trial_id=run.run_id,
                    configuration=run.configuration,
                    folder=folder,
                    workload={"name": study.workload.name, **run.workload},
                    environment=connections.environment,
                    connections=connections.variables,
                    fraction=run.fraction,
                    warmups=run.warmups,
                    repeats=run.repeats,
                    min_work_s=run.min_work_s,
                )
                return self.measure(study, run, prepared)

        return outcome_of(measure)

    def measure(self, study: Study, run: JobRun, prepared: TrialRun) -> Measurement:
        """The measurement of one run of the job, waited for here. An operator that defers overrides this."""
        self._runner = runner_for(study, sweep_id=run.sweep_id)
        try:
            return self._runner.run(prepared, run.timeout_s)
        finally:
            if self._is_killed:
                # What a killed job leaves is no evidence: the row stays as it was, a retry replaces it.
                raise TaskKilledError("the task was killed while its job ran")

    @property
    def trial_label(self) -> str:
        """The trial's name in Airflow's list of mapped instances."""
        trial = self.trial or {}
        control = " (control)" if trial.get("is_control") else ""
        return f"block {trial.get('block')} · {trial.get('label')}{control}"


class ResumableJobOperator(JobOperator):
    """A job that goes on where it stopped: in production a run has the identity of its DAG run."""

    def production_workload(self, study: Study, context: Context) -> dict[str, Any]:
        """The study's workload, under a name that a retry of the same DAG run has too."""
        return {"run_id": task_identity(context), **super().production_workload(study, context)}
