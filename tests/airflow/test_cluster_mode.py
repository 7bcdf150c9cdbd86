# ruff: noqa: F811 (fixtures are imported, and are parameters)
"""Deploy mode cluster: the driver runs on a worker of a real standalone cluster, and is watched from here.

Jobs of this project by kind `spark_submit`; an application that knows nothing of it (of Java, for a standalone cluster
takes no Python program in this mode, compiled by the test) by its operator.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pyarrow.parquet
import pyspark
import pytest
from operator_study import SPARK, integer, operator_study
from test_operator_runner import measure  # noqa: F401
from tests.patience import PATIENCE_S, eventually

from pipeline_tuner import settings
from pipeline_tuner.exceptions import InfrastructureError
from pipeline_tuner.local.ports import kept_port
from pipeline_tuner.runners import TrialFailedError, TrialRun
from pipeline_tuner.runners.spark_cluster import ClusterModeRunner

PROGRAM = "ClusterCopy"
pytestmark = pytest.mark.soak
needs_compiler = pytest.mark.skipif(not shutil.which("javac"), reason="there is no Java compiler here")
LOOPBACK = {"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"}
JOBS = {
    "migration": (
        {"method": "copy", "cores": 1, "partitions": 2, "driver_memory": "600m", "executor_memory": "600m"},
        {"name": "airports", "table": "airports"},
    ),
    "dedup": (
        {"strategy": "window", "cores": 1, "shuffle_partitions": 2, "driver_memory": "600m", "executor_memory": "600m"},
        {"name": "generated", "generator": {"rows": 2000, "row_bytes": 100}, "target": {"kind": "none"}},
    ),
    "quantizer": (
        {"shape": "tasks", "engine": "duckdb", "cores": 1, "driver_memory": "800m", "executor_memory": "800m"},
        {"name": "generated", "kind": "generated", "points": 20000, "hours": 1, "batches": 1},
    ),
}


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
def cluster_folder(tmp_path_factory):
    """Where the cluster's machines write."""
    return tmp_path_factory.mktemp("cluster")


@pytest.fixture(scope="module")
def cluster(spark_env, cluster_folder):
    """A standalone master with a REST port and one worker of two cores; the value is the connection to it."""
    folder, processes = cluster_folder, []
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
    conf |= {"spark.sql.adaptive.enabled": "false", "spark.cores.max": "1", **LOOPBACK}
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


def drivers(mark):
    """Processes of a driver, wherever the cluster put it; not those of another run of these tests."""
    lines = [" ".join(p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"])]
    return [line for line in lines if "DriverWrapper" in line and str(mark) in line]


@pytest.fixture
def shared(tmp_path, monkeypatch):
    """The folder that the cluster's machines share with this one."""
    folder = tmp_path / "shared"
    monkeypatch.setenv("AIRFLOW__PIPELINE_TUNER__DATA_FOLDER", str(folder))
    return folder


@pytest.fixture
def trial(tmp_path, flights, database, cluster, shared, airflow_env, monkeypatch):
    """A function that makes a runner and a trial of one of the project's jobs."""
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_CLUSTER", cluster)
    options = {"conf": {**LOOPBACK, "spark.executor.cores": 1, "spark.pyspark.python": sys.executable}}

    def make(job, **more):
        configuration, workload = JOBS[job]
        modules = settings.jobs_folder()
        folder = tmp_path / f"trial-{job}"
        folder.mkdir()
        runner = ClusterModeRunner(modules / f"{job}.py", modules=modules, conn_id="spark_cluster", options=options)
        return runner, TrialRun(
            job=job,
            trial_id=f"on the cluster/{job}",
            configuration={**configuration, **more},
            folder=folder,
            workload=workload,
            environment={"SOURCE_URI": flights, "TARGET_URI": database},
            connections={"source": "SOURCE_URI", "target": "TARGET_URI", "catalog": "TARGET_URI"},
            warmups=0,
        )

    return make


def password_of(uri):
    return uri.split(":")[2].split("@")[0]


@pytest.mark.parametrize("job", JOBS)
def test_a_job_of_this_project_runs_on_the_cluster(trial, shared, cluster_folder, database, job):
    runner, run = trial(job)
    found = runner.run(run, PATIENCE_S)
    assert found.status == "measured", found.failure
    assert [check.name for check in found.checks if not check.passed] == []
    assert [place.name for place in (shared / "handover").glob("trial-*")] == []
    said = [path for path in cluster_folder.rglob("*") if path.is_file() and b"DriverWrapper" in path.read_bytes()]
    assert said, "the driver ran on a worker"
    words = password_of(database).encode()
    assert [path for path in said if words in path.read_bytes()] == [], "no password is in what the cluster writes"


def test_a_driver_ends_with_its_trial(trial, shared):
    runner, run = trial("migration", origin_rate_limit=10)
    run.write_config()
    runner.start(run)
    try:
        (folder,) = (shared / "handover").glob("trial-*")
        eventually((folder / "begun").exists, "a driver to take it up")
        assert drivers(shared)
    finally:
        runner.cancel()
    assert not folder.exists()
    eventually(lambda: not drivers(shared), "the driver's end")


def test_a_driver_that_does_not_share_the_folder_is_said(trial, shared, monkeypatch):
    """As on a machine where the folder isn't mounted: what was handed over is gone when the driver looks."""
    runner, run = trial("migration")
    made = runner.command

    def hidden(run):
        command = made(run)
        place = command.index("--handover") + 1
        return [*command[:place], "/not/mounted", *command[place + 1 :]]

    monkeypatch.setattr(runner, "command", hidden)
    with pytest.raises(InfrastructureError, match="no driver on the cluster took the trial up"):
        runner.run(run, PATIENCE_S)


@needs_compiler
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


@needs_compiler
def test_a_trial_that_takes_too_long_leaves_no_driver_on_the_cluster(measure, cluster, jar, tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_CLUSTER", cluster)
    with pytest.raises(TrialFailedError) as caught:
        measure(study(jar, tmp_path, seconds=3600), timeout_s=45)
    assert caught.value.kind == "timeout"
    eventually(lambda: not drivers(jar), "the driver's end")
