"""The runner of a Spark application that can't be changed: settings by spark-submit, metrics from its event log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook

from pipeline_tuner.advise.advice import RunAdvice, advise
from pipeline_tuner.advise.application import Outcome
from pipeline_tuner.advise.log_files import LogError, find_logs
from pipeline_tuner.advise.log_reader import read_log
from pipeline_tuner.advise.run_metrics import run_metrics, stage_metrics
from pipeline_tuner.command import Command
from pipeline_tuner.exceptions import InfrastructureError, MeasurementError, StudyError
from pipeline_tuner.measurement import Measurement, validated
from pipeline_tuner.runners.base import TrialRun
from pipeline_tuner.runners.spark_submit import DEFAULT_CONN_ID, spark_target
from pipeline_tuner.runners.unchanged_program import ObservedRunner
from pipeline_tuner.space import Scalar
from pipeline_tuner.spark_application import ApplicationOptions, parsed_options
from pipeline_tuner.unfilled import MARK


class SparkApplicationRunner(ObservedRunner):
    """Submits the application once per trial, with an event log of its own in the trial's folder, and reads that.

    Metrics: `duration_s` is all of spark-submit, `application_s` the application in it; the others are those of
    its event log, sums over its tasks as in Spark's own pages. `allocated_core_seconds` and `allocated_gb_seconds` are
    the cores and the heap that its executors (in local mode its driver) had, used or not. Raises StudyError for
    options that are none or that are left to fill in.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        *,
        modules: Path,
        folder: Path,
        sizes: Mapping[str, float],
        conn_id: str | None = None,
        defaults: Mapping[str, Scalar] | None = None,
    ) -> None:
        self._options = _checked(options)
        super().__init__(
            (),
            patterns=self._options.metrics,
            checks=self._options.checks,
            modules=modules,
            folder=folder,
            defaults=defaults,
        )
        self._sizes = dict(sizes)
        self._conn_id = conn_id or DEFAULT_CONN_ID
        self._project = folder

    def command(self, run: TrialRun) -> list[str]:
        """The spark-submit command for one trial. Raises StudyError where the application isn't there."""
        refuse_cluster_mode(self._conn_id)
        options, values = self._options, self._values(run)
        arguments = _filled(self._arguments(run.fraction), values)
        conf = dict(zip(options.conf, _filled(map(_text, options.conf.values()), values), strict=True))
        hook = SparkSubmitHook(
            conn_id=self._conn_id,
            conf=BASE_CONF | conf | _event_log(self._log_folder(run)),
            java_class=options.java_class,
            jars=options.jars or None,
            py_files=options.py_files or None,
            packages=options.packages or None,
            files=options.files or None,
            name=options.name or run.job,
            application_args=arguments,
            deploy_mode="client",
        )
        command = hook._build_spark_submit_command(application_of(self._options.application, self._project))
        return _with_master(command, _filled([options.master], values)[0]) if options.master else command

    def collect(self, exit_code: int) -> Measurement:
        """What was observed, with the metrics of the event log; an application that did not exit with 0 failed."""
        observed = super().collect(exit_code)
        if observed.status != "measured":
            return observed
        found = self._advice()
        metrics = {**observed.metrics, **run_metrics(found)}
        details = {**observed.details, "stages": [stage_metrics(stage) for stage in found.read.application.stages]}
        return validated(
            observed.model_dump() | {"metrics": metrics, "details": details, "ended_at": datetime.now(UTC)}
        )

    def _advice(self) -> RunAdvice:
        """The log that the trial left. Raises MeasurementError where there is none, or one without an end."""
        try:
            (log,) = find_logs([self._log_folder(self._run)]).logs
            found = advise(read_log(log))
        except (LogError, ValueError) as error:
            raise MeasurementError(f"the application left no event log that can be read: {error}") from None
        if found.read.application.outcome is Outcome.CUT:
            raise MeasurementError("the application's event log has no end: it did not stop its Spark context")
        return found

    def _arguments(self, fraction: float) -> Sequence[str]:
        arguments = self._options.arguments
        if not isinstance(arguments, dict):
            return arguments
        size = next((name for name, part in self._sizes.items() if part == fraction and name in arguments), None)
        if size is None:
            raise StudyError(f"runner.options.arguments: has no size that is {fraction:g} of the workload")
        return arguments[size]

    @staticmethod
    def _log_folder(run: TrialRun) -> Path:
        folder = run.folder / "event-log"
        folder.mkdir(exist_ok=True)
        return folder


def application_of(text: str, folder: Path) -> str:
    """The application as spark-submit takes it, found from `folder` on. Raises StudyError where it isn't there."""
    if ":" in text.split("/", 1)[0]:
        return text
    path = folder / text
    if not path.exists():
        raise StudyError(f"runner.options.application: there is no {path}")
    return str(path)


def refuse_cluster_mode(conn_id: str | None) -> None:
    """Raises InfrastructureError where the driver would not run beside the task, which could then not end it."""
    if spark_target(conn_id).is_cluster_mode:
        raise InfrastructureError(
            f"the Spark connection {conn_id or DEFAULT_CONN_ID!r} has deploy-mode cluster, where an application can't "
            "be ended from here: set it to client, or submit it by kind: operator with SparkSubmitOperator, which "
            "follows its driver (docs/cluster.md)"
        )


BASE_CONF = {"spark.ui.showConsoleProgress": "false", "spark.ui.enabled": "false", "spark.log.level": "WARN"}


def _checked(options: Mapping[str, Any]) -> ApplicationOptions:
    checked = parsed_options(options)
    if not isinstance(checked, ApplicationOptions):
        raise StudyError("\n".join(str(problem.below("runner")) for problem in checked))
    for text in (checked.application, checked.java_class or "", *checked.filled.parts):
        if match := MARK.search(text):
            raise StudyError(f"runner.options: {match[1]} is still to be filled in")
    return checked


def _event_log(folder: Path) -> dict[str, str]:
    return {
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": folder.resolve().as_uri(),
        "spark.eventLog.rolling.enabled": "false",
        "spark.eventLog.compress": "false",
    }


def _text(value: Scalar) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _filled(texts: Any, values: Mapping[str, Scalar]) -> list[str]:
    """Texts with parameters' values in place of their names; each stands alone, and so is never read as code."""
    return [Command((text,)).filled(values)[0] for text in texts]


def _with_master(command: list[str], master: str) -> list[str]:
    place = command.index("--master") + 1
    return [*command[:place], master, *command[place + 1 :]]
