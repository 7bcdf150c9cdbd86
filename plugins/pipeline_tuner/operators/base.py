"""The operator that runs a job once: as a trial of a sweep, or in production with what the sweeps recommend."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException

from pipeline_tuner import settings
from pipeline_tuner.connections import job_connections
from pipeline_tuner.exceptions import InfrastructureError, MeasurementError, StudyError
from pipeline_tuner.measurement import Measurement
from pipeline_tuner.operators.links import EngineLink, PageLink
from pipeline_tuner.runners import Runner, TrialFailedError, TrialRun, runner_for
from pipeline_tuner.study import Study
from pipeline_tuner.trial import TrialPlan, TrialResult

if TYPE_CHECKING:
    from airflow.sdk import Context


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

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the job; returns the trial's or the production run's record. Raises AirflowFailException, or to retry."""
        from pipeline_tuner.operators.production import run_production
        from pipeline_tuner.operators.trials import run_trial

        return run_trial(self, context) if self.trial else run_production(self, context)

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

    def run_job(
        self,
        study: Study,
        plan: TrialPlan,
        *,
        workload: Mapping[str, Any],
        fraction: float = 1.0,
        warmups: int = 0,
        repeats: int = 1,
        min_work_s: float = 0.0,
        timeout_s: float = float("inf"),
        kept: Mapping[str, Any] | None = None,
    ) -> TrialResult:
        """Run the job once under its runner; whatever becomes of it is a result.

        `kept` is what an operator that defers needs again when it goes on.
        """

        def measure() -> Measurement:
            connections = job_connections(study.runner.connections)
            with trial_folder() as folder:
                run = TrialRun(
                    job=study.job,
                    trial_id=plan.trial_id,
                    configuration=plan.configuration,
                    folder=folder,
                    workload={"name": study.workload.name, **workload},
                    environment=connections.environment,
                    connections=connections.variables,
                    fraction=fraction,
                    warmups=warmups,
                    repeats=repeats,
                    min_work_s=min_work_s,
                )
                return self.measure(study, run, plan, timeout_s, kept or {})

        return result_of(plan, measure)

    def measure(
        self, study: Study, run: TrialRun, plan: TrialPlan, timeout_s: float, kept: Mapping[str, Any]
    ) -> Measurement:
        """The measurement of one run of the job, waited for here. An operator that defers overrides this."""
        self._runner = runner_for(study, sweep_id=plan.sweep_id)
        try:
            return self._runner.run(run, timeout_s)
        finally:
            if self._is_killed:
                # What a killed job leaves is no evidence: the row stays as it was, a retry replaces it.
                raise AirflowException("the task was killed while its job ran")

    @property
    def trial_label(self) -> str:
        """The trial's name in Airflow's list of mapped instances."""
        trial = self.trial or {}
        control = " (control)" if trial.get("is_control") else ""
        return f"block {trial.get('block')} · {trial.get('label')}{control}"


@contextmanager
def trial_folder() -> Iterator[Path]:
    """A folder for one run's files, gone afterwards."""
    with TemporaryDirectory(prefix="trial-", dir=settings.work_folder(), ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def result_of(plan: TrialPlan, measure: Callable[[], Measurement]) -> TrialResult:
    """What a measurement, or the failure to get one, amounts to."""
    try:
        return TrialResult.of(plan, measure())
    except TrialFailedError as error:
        return TrialResult(plan, "failed", failure=error.kind, reason=str(error))
    except MeasurementError as error:
        return TrialResult(plan, "failed", failure="invalid_measurement", reason=str(error))
    except InfrastructureError as error:
        return TrialResult(plan, "failed", failure="infrastructure", reason=str(error))
