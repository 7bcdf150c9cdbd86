"""Which runner a study gets, by `runner.kind` and options."""

from __future__ import annotations

import sys
from pathlib import Path

from pipeline_tuner import settings
from pipeline_tuner.analysis.glue_prices import load_prices
from pipeline_tuner.exceptions import StudyError
from pipeline_tuner.runners.base import Runner
from pipeline_tuner.runners.kept_process import PlainPython, WarmRunner
from pipeline_tuner.runners.process import ProcessRunner
from pipeline_tuner.runners.unchanged_program import ObservedRunner
from pipeline_tuner.spark_application import is_application
from pipeline_tuner.study import Study

FILES = ("--config", "{config}", "--measurement", "{measurement}")


def runner_for(study: Study, *, sweep_id: str | None = None) -> Runner:
    """The runner of a study's jobs; within a sweep it may keep a process between trials.

    Raises StudyError where the study doesn't say enough.
    """
    if study.runner.kind == "glue":
        return _glue_runner(study)
    if study.runner.kind == "spark_submit":
        return _spark_runner(study, sweep_id)
    if study.runner.kind == "operator":
        from pipeline_tuner.runners.operator_runner import OperatorRunner

        return OperatorRunner(study)
    if study.runner.warm and sweep_id and not study.runner.command:
        return WarmRunner(study.job, PlainPython(), modules=settings.jobs_folder(), sweep_id=sweep_id)
    defaults = {name: parameter.default for name, parameter in study.space.parameters.items()}
    patterns, checks = (study.runner.options.get(name) for name in ("metrics", "checks"))
    if patterns is not None or checks is not None:
        return ObservedRunner(
            study.runner.command,
            patterns=patterns or {},
            checks=checks or {},
            modules=settings.jobs_folder(),
            folder=settings.project_folder(),
            defaults=defaults,
        )
    command = study.runner.command or (sys.executable, str(_script(study)), *FILES)
    return ProcessRunner(command, modules=settings.jobs_folder(), folder=settings.project_folder(), defaults=defaults)


def _spark_runner(study: Study, sweep_id: str | None) -> Runner:
    if is_application(study.runner.options):
        return _application_runner(study)
    # Imported here: the Spark provider takes half a second, which no DAG parse should pay.
    from pipeline_tuner.runners.spark_cluster import ClusterModeRunner
    from pipeline_tuner.runners.spark_submit import SparkSubmitRunner, keeps_warm, spark_target

    target = spark_target(study.runner.conn_id)
    runner_class = ClusterModeRunner if target.is_cluster_mode else SparkSubmitRunner
    submit = runner_class(
        _script(study),
        modules=settings.jobs_folder(),
        conn_id=study.runner.conn_id,
        options=study.runner.options,
        folder=settings.project_folder(),
    )
    if study.runner.warm and sweep_id and keeps_warm(target):
        return WarmRunner(study.job, submit, modules=settings.jobs_folder(), sweep_id=sweep_id)
    return submit


def _application_runner(study: Study) -> Runner:
    from pipeline_tuner.runners.spark_application import SparkApplicationRunner

    return SparkApplicationRunner(
        study.runner.options,
        modules=settings.jobs_folder(),
        folder=settings.project_folder(),
        sizes=study.workload.sizes,
        conn_id=study.runner.conn_id,
        defaults={name: parameter.default for name, parameter in study.space.parameters.items()},
    )


def _glue_runner(study: Study) -> Runner:
    # Imported here: AWS's client takes a second, which no DAG parse should pay.
    from pipeline_tuner.runners.glue import GlueRunner

    return GlueRunner(
        _script(study),
        modules=settings.jobs_folder(),
        prices=load_prices(settings.prices_file()),
        conn_id=study.runner.conn_id,
        options={name: value for name, value in study.runner.options.items() if name != "script"},
    )


def _script(study: Study) -> Path:
    """The program of a study's job: named by `runner.options.script`, or the job's own in the jobs' folder."""
    named = study.runner.options.get("script")
    script = settings.project_folder() / named if named else settings.jobs_folder() / f"{study.job}.py"
    if not script.exists():
        raise StudyError(
            f"study {study.study}: there is no program {script}: name one in runner.options.script or runner.command"
        )
    return script
