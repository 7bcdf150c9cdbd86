"""A job through spark-submit, on whatever master the Airflow connection names."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook
from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from pipeline_tuner.exceptions import InfrastructureError
from pipeline_tuner.runners.base import TrialRun
from pipeline_tuner.runners.process import ProcessRunner
from pipeline_tuner.space import Configuration

log = logging.getLogger(__name__)

JARS_VARIABLE = "PIPELINE_TUNER_JARS"
DEFAULT_CONN_ID = "spark_default"


class SparkSubmitRunner(ProcessRunner):
    """Runs `script --config FILE --measurement FILE` by the command that the Spark provider's hook builds.

    `options` are the study's `runner.options`: `conf` (settings for every trial), `jars`, `packages`, `name`.
    """

    def __init__(
        self,
        script: Path,
        *,
        modules: Path,
        conn_id: str | None = None,
        options: Mapping[str, Any] | None = None,
        folder: Path | None = None,
    ) -> None:
        super().__init__((), modules=modules, folder=folder)
        self._script = script
        self._conn_id = conn_id or DEFAULT_CONN_ID
        self._options = dict(options or {})

    @property
    def link(self) -> str:
        """`ui_url` in the extra of the Spark connection: the master's or the history server's page."""
        return str(BaseHook.get_connection(self._conn_id).extra_dejson.get("ui_url", ""))

    def command(self, run: TrialRun) -> list[str]:
        """The spark-submit command for one trial."""
        files = ["--config", str(run.config_path), "--measurement", str(run.measurement_path)]
        return self.submit_command(run.configuration, self._script, files)

    def submit_command(self, configuration: Configuration, script: Path, arguments: Sequence[str]) -> list[str]:
        """spark-submit with what only its start can set: driver memory, JVM flags, jars. The job sets the rest."""
        check_spark_connection(self._conn_id)
        hook = SparkSubmitHook(
            conn_id=self._conn_id,
            conf=self._conf(configuration),
            driver_memory=str(configuration["driver_memory"]) if "driver_memory" in configuration else None,
            jars=",".join(filter(None, [self._options.get("jars"), os.environ.get(JARS_VARIABLE)])) or None,
            packages=self._options.get("packages"),
            name=self._options.get("name", script.stem),
            application_args=list(arguments),
            deploy_mode="client",
        )
        return hook._build_spark_submit_command(str(script))

    def _conf(self, configuration: Configuration) -> dict[str, str]:
        conf = {"spark.ui.showConsoleProgress": "false", "spark.ui.enabled": "false", "spark.log.level": "WARN"}
        conf |= {name: str(value) for name, value in self._options.get("conf", {}).items()}
        jvm = {name: str(value) for name, value in configuration.items() if name.startswith("spark.driver.extra")}
        return conf | jvm


def keeps_warm(conn_id: str | None) -> bool:
    """Whether `runner.warm` applies: a JVM is kept on a local master alone. On a cluster each trial submits anew, as
    production does, and no executor is held between trials. Raises InfrastructureError.
    """
    master = check_spark_connection(conn_id or DEFAULT_CONN_ID)
    if master.startswith("local"):
        return True
    log.info("The master is %s: each trial submits anew, runner.warm keeps a JVM on a local master alone", master)
    return False


def check_spark_connection(conn_id: str) -> str:
    """The master of a Spark connection. Raises InfrastructureError where there is none: never silently YARN."""
    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise InfrastructureError(
            f"there is no Airflow connection {conn_id!r}: make one of type Spark, with host 'local[*]' for this "
            "machine or a master such as spark://host:7077 or yarn"
        ) from None
    if not connection.host:
        raise InfrastructureError(f"the Spark connection {conn_id!r} names no master: set its host, e.g. to 'local[*]'")
    if connection.extra_dejson.get("deploy-mode") == "cluster":
        raise InfrastructureError(
            f"the Spark connection {conn_id!r} has deploy-mode cluster, where a job can't be given its passwords "
            "safely nor leave its measurement here: set it to client"
        )
    return connection.host
