"""The runner of spark-submit in deploy mode cluster: the driver runs on a machine of the cluster.

Configuration, variables and measurement go through a folder that the cluster's machines share.
"""

from __future__ import annotations

import os
import zipfile
from dataclasses import replace
from pathlib import Path

from pipeline_tuner.exceptions import InfrastructureError
from pipeline_tuner.measurement import Measurement
from pipeline_tuner.runners.base import TrialFailedError, TrialRun
from pipeline_tuner.runners.handover import Handover, shared_folder
from pipeline_tuner.runners.job_code import Code
from pipeline_tuner.runners.spark_submit import SparkSubmitRunner, spark_target
from pipeline_tuner.space import Configuration

PYTHON_PROGRAM = "org.apache.spark.deploy.PythonRunner"
"""Spark's own program that runs a Python file. A standalone master takes no Python in this mode, but this class."""
WAITED_FOR = {
    "spark.master.rest.enabled": "false",
    "spark.standalone.submit.waitAppCompletion": "true",
    "spark.yarn.submit.waitAppCompletion": "true",
    "spark.yarn.maxAppAttempts": "1",
    "spark.kubernetes.submission.waitAppCompletion": "true",
}
"""spark-submit ends with its driver, and a driver that was lost is not started again: a trial is measured once."""


class ClusterModeRunner(SparkSubmitRunner):
    """Runs a job's script with its driver on the cluster, and waits for it here.

    The driver ends when its trial is over: cancelled, timed out, or its Airflow task gone (pipeline_jobs/contract.py).
    """

    _handover: Handover | None = None
    _is_over = False
    _modules_conf: tuple[tuple[str, str], ...] = ()

    def start(self, run: TrialRun) -> None:
        """Hand the trial over and submit. The variables are no business of spark-submit, which would pass them on."""
        self._handover, self._is_over = Handover.made(run), False
        super().start(replace(run, environment={}))

    def command(self, run: TrialRun) -> list[str]:
        """The spark-submit command for one trial."""
        if self._handover is None:
            raise RuntimeError("the trial was not handed over")
        files = ["--config", str(self._handover.config_path), "--measurement", str(self._handover.measurement_path)]
        arguments = [*files, "--handover", str(self._handover.folder)]
        script = Code.of(self._script, self._modules, str(shared_folder() / "code")).unpacked()
        target = spark_target(self._conn_id)
        if target.is_standalone:
            return self._submission(
                run.configuration,
                str(_empty_jar()),
                [str(script), "", *arguments],
                deploy_mode="cluster",
                java_class=PYTHON_PROGRAM,
            )
        # YARN copies the program away from its modules; Kubernetes runs it where it lies.
        self._modules_conf = (("spark.yarn.appMasterEnv.PYTHONPATH", str(script.parent)),) if target.is_yarn else ()
        application = str(script) if target.is_yarn else f"local://{script}"
        return self._submission(run.configuration, application, arguments, deploy_mode="cluster")

    def wait(self, timeout_s: float) -> int:
        """Wait for the end of spark-submit, which is that of the driver."""
        exit_code = super().wait(timeout_s)
        # Where spark-submit failed, it may have lost sight of a driver that goes on.
        self._is_over = exit_code == 0
        return exit_code

    def collect(self, exit_code: int) -> Measurement:
        """The measurement that the driver left. Raises InfrastructureError where no driver could take the trial up."""
        handover = self._handover
        if handover is None:
            raise RuntimeError("the trial was not handed over")
        if handover.measurement_path.exists():
            handover.take(self._run)
        elif not handover.has_begun:
            raise InfrastructureError(
                f"no driver on the cluster took the trial up. It must share {handover.folder.parent} with this "
                "machine ([pipeline_tuner] data_folder), as this user, and have this Python (spark.pyspark.python); "
                f"its own log on the cluster says more. spark-submit said:\n{self._run.output.tail()}"
            )
        elif exit_code == 0:
            # On a standalone master spark-submit ends with 0 whatever became of the driver.
            tail = self._run.output.tail()
            raise TrialFailedError(
                "error", f"the driver ended without a measurement; its log on the cluster says why:\n{tail}"
            )
        return super().collect(exit_code)

    def cancel(self) -> None:
        """End spark-submit and the driver."""
        handover, self._handover = self._handover, None
        try:
            super().cancel()
        finally:
            # Whatever becomes of spark-submit: a driver that nobody ends would go on for two minutes.
            if handover is not None:
                handover.end(is_over=self._is_over)

    def _while_waiting(self) -> None:
        super()._while_waiting()
        if self._handover is not None:
            self._handover.beat()

    def _conf(self, configuration: Configuration) -> dict[str, str]:
        return dict(self._modules_conf) | super()._conf(configuration) | WAITED_FOR


def _empty_jar() -> Path:
    """A jar without a class: what spark-submit takes for the program, where the program is one of Spark's own."""
    jar = shared_folder() / "empty.jar"
    if not jar.exists():
        new = jar.with_suffix(f".{os.getpid()}")
        with zipfile.ZipFile(new, "w") as file:
            file.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\n")
        new.rename(jar)
    return jar
