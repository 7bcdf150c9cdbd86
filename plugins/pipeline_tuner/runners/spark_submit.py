"""The runner of `kind: spark_submit`: the submit command, on whatever master the Airflow connection names."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow.providers.apache.spark.hooks import spark_submit
from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook
from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from pipeline_tuner.exceptions import InfrastructureError
from pipeline_tuner.runners.base import TrialRun
from pipeline_tuner.runners.process import ProcessRunner
from pipeline_tuner.space import Configuration

log = logging.getLogger(__name__)

JARS_VARIABLE = "PIPELINE_TUNER_JARS"
STARTING = ("spark.driver.", "spark.jars")
"""What only the start of the driver's JVM can set: once it runs, the job refuses them."""
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
        spark_target(self._conn_id)
        return self._submission(configuration, str(script), arguments, deploy_mode="client")

    def _submission(
        self, configuration: Configuration, application: str, arguments: Sequence[str], **more: Any
    ) -> list[str]:
        """The hook's command; `more` are further arguments of the hook."""
        jars = [self._options.get("jars"), os.environ.get(JARS_VARIABLE)]
        hook = SparkSubmitHook(
            conn_id=self._conn_id,
            conf=self._conf(configuration),
            driver_memory=str(configuration["driver_memory"]) if "driver_memory" in configuration else None,
            jars=",".join(filter(None, jars)) or None,
            packages=self._options.get("packages"),
            name=self._options.get("name", self._script.stem),
            application_args=list(arguments),
            **more,
        )
        return hook._build_spark_submit_command(application)

    def _conf(self, configuration: Configuration) -> dict[str, str]:
        conf = {"spark.ui.showConsoleProgress": "false", "spark.ui.enabled": "false", "spark.log.level": "WARN"}
        conf |= {name: str(value) for name, value in self._options.get("conf", {}).items()}
        jvm = {name: str(value) for name, value in configuration.items() if name.startswith(STARTING)}
        return conf | jvm


@dataclass(frozen=True)
class SparkTarget:
    """Where a Spark connection sends its applications."""

    master: str
    is_cluster_mode: bool
    """Whether the driver runs on the cluster (deploy mode cluster) rather than beside the task."""

    @property
    def is_local(self) -> bool:
        """Whether the master is this machine."""
        return self.master.startswith("local")

    @property
    def is_standalone(self) -> bool:
        """Whether the master is of Spark's own kind of cluster."""
        return self.master.startswith("spark://")

    @property
    def is_yarn(self) -> bool:
        """Whether the master is Hadoop's."""
        return self.master.startswith("yarn")


def keeps_warm(target: SparkTarget) -> bool:
    """Whether `runner.warm` applies: a JVM is kept on a local master alone. On a cluster each trial submits anew, as
    production does, and no executor is held between trials.
    """
    if target.is_local:
        return True
    log.info(
        "The master is %s: each trial submits anew, runner.warm keeps a JVM on a local master alone", target.master
    )
    return False


def spark_target(conn_id: str | None) -> SparkTarget:
    """What a Spark connection names. Raises InfrastructureError where there is none: never silently YARN."""
    conn_id = conn_id or DEFAULT_CONN_ID
    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise InfrastructureError(
            f"there is no Airflow connection {conn_id!r}: make one of type Spark, with host 'local[*]' for this "
            "machine or a master such as spark://host:7077 or yarn"
        ) from None
    if not connection.host:
        raise InfrastructureError(f"the Spark connection {conn_id!r} names no master: set its host, e.g. to 'local[*]'")
    target = SparkTarget(connection.host, connection.extra_dejson.get("deploy-mode") == "cluster")
    if "k8s" in target.master and not hasattr(spark_submit, "kube_client"):
        raise InfrastructureError(
            f"the Spark connection {conn_id!r} is of Kubernetes: install apache-airflow-providers-cncf-kubernetes "
            "beside Airflow, which the Spark provider needs there"
        )
    if target.is_local and target.is_cluster_mode:
        raise InfrastructureError(
            f"the Spark connection {conn_id!r} has deploy-mode cluster with the master {target.master}, which is no "
            "cluster: set it to client"
        )
    return target
