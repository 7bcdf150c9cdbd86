"""The checks before a sweep starts: connections, servers, programs, free disk and memory. A clear error now
rather than twenty failed trials.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from urllib.parse import urlsplit

import psutil

from pipeline_tuner import settings
from pipeline_tuner.command import Command
from pipeline_tuner.connections import get_connection, job_connections
from pipeline_tuner.exceptions import ConfigurationError, InfrastructureError, StudyError
from pipeline_tuner.runners.process import job_environment
from pipeline_tuner.spark_application import is_application
from pipeline_tuner.study import Study

MIN_FREE_BYTES = 1_000_000_000
CONNECT_TIMEOUT_S = 10


def check_environment(study: Study) -> None:
    """Raises InfrastructureError with all that is missing: connections, servers, programs, disk, memory."""
    problems = [*_connections(study), *_programs(study), *_room()]
    if problems:
        raise InfrastructureError(f"study {study.study} can't run here:\n" + "\n".join(f"- {p}" for p in problems))


def _connections(study: Study) -> Iterator[str]:
    for role, conn_id in study.runner.connections.items():
        try:
            (uri,) = job_connections({role: conn_id}).environment.values()
            _connect(uri)
        except InfrastructureError as error:
            yield str(error)
        except Exception as error:
            yield f"{role} (connection {conn_id!r}) can't be reached: {' '.join(str(error).split())}"


def _connect(uri: str) -> None:
    """Open and close a connection to a server of a kind that we know."""
    kind = urlsplit(uri).scheme
    if kind == "postgresql":
        import psycopg2

        psycopg2.connect(uri, connect_timeout=CONNECT_TIMEOUT_S).close()
    elif kind.startswith("mongodb"):
        import pymongo

        timeout_ms = CONNECT_TIMEOUT_S * 1000
        client: pymongo.MongoClient[dict[str, object]] = pymongo.MongoClient(uri, serverSelectionTimeoutMS=timeout_ms)
        client.admin.command("ping")
        client.close()


def _programs(study: Study) -> Iterator[str]:
    path = job_environment({}, settings.jobs_folder())["PATH"]
    if study.runner.kind == "process" and study.runner.command:
        (program, *_) = Command(study.runner.command).filled(study.control_candidate.configuration)
        if not shutil.which(program, path=path):
            yield f"there is no program {program!r} in PATH (runner.command)"
    if study.runner.kind == "spark_submit":
        yield from _spark(study, path)
    if study.runner.kind == "operator":
        yield from _operator(study)


def _operator(study: Study) -> Iterator[str]:
    """Whether the control's operator can be made, and its connections exist."""
    from pipeline_tuner.runners.operator_runner import OperatorRunner

    try:
        runner = OperatorRunner(study)
        runner.operator_for(study.control_candidate.configuration)
        for conn_id in runner.observations.conn_ids:
            get_connection(conn_id, "runner.options")
    except (ConfigurationError, InfrastructureError, StudyError) as error:
        yield str(error)


def _spark(study: Study, path: str) -> Iterator[str]:
    from pipeline_tuner.runners.spark_application import application_of, refuse_cluster_mode
    from pipeline_tuner.runners.spark_submit import JARS_VARIABLE, spark_target

    try:
        spark_target(study.runner.conn_id)
        if is_application(study.runner.options):
            refuse_cluster_mode(study.runner.conn_id)
            application_of(study.runner.options["application"], settings.project_folder())
    except (InfrastructureError, StudyError) as error:
        yield str(error)
    if not shutil.which("spark-submit", path=path):
        yield "there is no spark-submit in PATH: install pyspark beside Airflow, or a Spark distribution"
    for jar in filter(None, os.environ.get(JARS_VARIABLE, "").split(",")):
        if not os.path.exists(jar):
            yield f"there is no file {jar}, which {JARS_VARIABLE} names"
    java = os.path.join(os.environ.get("JAVA_HOME", ""), "bin", "java") if os.environ.get("JAVA_HOME") else "java"
    if not shutil.which(java, path=path):
        yield "there is no Java: set JAVA_HOME to a Java 17 or 21"


def _room() -> Iterator[str]:
    folder = settings.work_folder()
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        yield f"the folder for trials {folder} can't be used: {error.strerror}"
        return
    if free < MIN_FREE_BYTES:
        yield f"only {free / 1e9:.1f} GB are free in {folder}, at least {MIN_FREE_BYTES / 1e9:.0f} GB are needed"
    available = psutil.virtual_memory().available
    if available < MIN_FREE_BYTES:
        yield f"only {available / 1e9:.1f} GB of memory are free, at least {MIN_FREE_BYTES / 1e9:.0f} GB are needed"
