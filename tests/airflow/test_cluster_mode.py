# ruff: noqa: F811 (fixtures are imported, and are parameters)
"""Deploy mode cluster: the driver runs on a worker of a real standalone cluster, the operator watches it from here.

Standalone clusters take no Python program in this mode, so the job is one of Java, compiled by the test.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pyarrow.parquet
import pyspark
import pytest
from operator_study import SPARK, integer, operator_study
from test_operator_runner import measure  # noqa: F401

from pipeline_tuner.local.ports import kept_port
from pipeline_tuner.runners import TrialFailedError

PROGRAM = "ClusterCopy"
PATIENCE_S = 120
pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(not shutil.which("javac"), reason="there is no Java compiler here"),
]


def eventually(condition, what):
    deadline = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited too long for {what}"
        time.sleep(0.2)
    return found


@pytest.fixture(scope="module")
def jar(spark_env, tmp_path_factory):
    """The job, compiled against the Spark that the tests have."""
    folder = tmp_path_factory.mktemp("jar")
    classes = f"{Path(pyspark.__file__).parent / 'jars'}/*"
    source = Path(__file__).with_name(f"{PROGRAM}.java")
    subprocess.run(["javac", "--release", "17", "-cp", classes, "-d", str(folder), str(source)], check=True)
    shutil.make_archive(str(folder / "job"), "zip", folder, f"{PROGRAM}.class")
    return (folder / "job.zip").rename(folder / "job.jar")


@pytest.fixture(scope="module")
def cluster(spark_env, tmp_path_factory):
    """A standalone master with a REST port and one worker of two cores; the value is the connection to it."""
    folder, processes = tmp_path_factory.mktemp("cluster"), []
    rest = kept_port(folder / "rest")

    def start(name, program, sign, *arguments):
        options = f"-Dspark.master.rest.enabled=true -Dspark.master.rest.port={rest}"
        environment = {**os.environ, "SPARK_DAEMON_MEMORY": "256m", "SPARK_MASTER_OPTS": options}
        spark_class = str(Path(pyspark.__file__).parent / "bin" / "spark-class")
        command = [spark_class, f"org.apache.spark.deploy.{program}", "--host", "127.0.0.1", "--webui-port", "0"]
        log = folder / f"{name}.log"
        with log.open("wb") as output:
            processes.append(subprocess.Popen([*command, *arguments], env=environment, stdout=output, stderr=output))
        eventually(lambda: sign in log.read_text(), name)
        return log.read_text().split(sign)[1].split()[0]

    try:
        port = start("master", "master.Master", "Starting Spark master at spark://127.0.0.1:", "--port", "0")
        where = ("-c", "2", "-m", "3g", "-d", str(folder / "work"), f"spark://127.0.0.1:{port}")
        start("worker", "worker.Worker", "Successfully registered with master", *where)
        extra = {"deploy-mode": "cluster", "rest-port": rest}
        yield json.dumps({"conn_type": "spark", "host": "spark://127.0.0.1", "port": int(port), "extra": extra})
    finally:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.kill()
            process.kill()
            process.wait()


def study(jar, tmp_path, seconds=0):
    (tmp_path / "logs").mkdir()
    conf = {"spark.eventLog.enabled": "true", "spark.eventLog.dir": (tmp_path / "logs").as_uri()}
    conf |= {"spark.sql.adaptive.enabled": "false", "spark.cores.max": "1", "spark.driver.bindAddress": "127.0.0.1"}
    return operator_study(
        SPARK,
        {
            "application": str(jar),
            "java_class": PROGRAM,
            "conn_id": "spark_cluster",
            "application_args": ["1000", str(tmp_path / "copied"), str(seconds)],
            "driver_memory": "600m",
            "executor_memory": "600m",
            "status_poll_interval": 1,
            "conf": {**conf, "spark.ui.enabled": "false"},
        },
        {"partitions": integer(1, 50, 9, "conf.spark.sql.shuffle.partitions")},
    )


def drivers(jar):
    """Processes of the job's driver, wherever the cluster put it; not those of another run of these tests."""
    lines = [" ".join(p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"])]
    return [line for line in lines if "DriverWrapper" in line and str(jar) in line]


def test_a_trial_runs_on_the_cluster_and_its_metrics_come_from_the_event_log(
    measure, cluster, jar, tmp_path, monkeypatch
):
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_CLUSTER", cluster)
    found = measure(study(jar, tmp_path), {"partitions": 3}, timeout_s=PATIENCE_S)
    assert found.metrics["tasks"] == 2 + 3
    assert found.metrics["output_rows"] == 100
    assert found.metrics["allocated_core_seconds"] > 0
    assert found.metrics["duration_s"] > found.metrics["application_s"]
    assert pyarrow.parquet.read_table(tmp_path / "copied").num_rows == 100


def test_a_trial_that_takes_too_long_leaves_no_driver_on_the_cluster(measure, cluster, jar, tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_CLUSTER", cluster)
    with pytest.raises(TrialFailedError) as caught:
        measure(study(jar, tmp_path, seconds=3600), timeout_s=45)
    assert caught.value.kind == "timeout"
    eventually(lambda: not drivers(jar), "the driver's end")
