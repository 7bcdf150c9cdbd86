"""The Spark runners with the real migration job: one process a trial, and the process that is kept for a sweep."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from dataclasses import replace

import psutil
import pytest
from airflow.providers.apache.spark.hooks import spark_submit
from tests.patience import PATIENCE_S, eventually

from pipeline_tuner import settings
from pipeline_tuner.exceptions import InfrastructureError
from pipeline_tuner.runners import TrialFailedError, TrialRun
from pipeline_tuner.runners.handover import Handover
from pipeline_tuner.runners.kept_process import WarmRunner, kept_folder
from pipeline_tuner.runners.process import ProcessRunner
from pipeline_tuner.runners.spark_cluster import ClusterModeRunner
from pipeline_tuner.runners.spark_submit import SparkSubmitRunner, spark_target

CONNECTION = '{"conn_type": "spark", "host": "local[2]", "extra": {"deploy-mode": "client"}}'


@pytest.fixture(scope="module")
def submit(airflow_env, spark_env):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", CONNECTION)
        jobs = settings.jobs_folder()
        yield SparkSubmitRunner(jobs / "migration.py", modules=jobs)


@pytest.fixture(scope="module")
def warm(submit):
    """One sweep's runner for the whole file: each test's first trial takes the process that the last test left, or
    starts one, which is most of what these tests take."""
    runner = WarmRunner("migration", submit, modules=settings.jobs_folder(), sweep_id=f"test-{os.getpid()}")
    yield runner
    runner.cancel()
    runner.end_of_sweep()


@pytest.fixture
def trial(tmp_path, flights, database):
    """A function that makes a trial: the airports from one database to another."""

    def make(number=1, **configuration):
        folder = tmp_path / str(number)
        folder.mkdir(exist_ok=True)
        return TrialRun(
            job="migration",
            trial_id=f"t{number}",
            configuration={"method": "copy", "cores": 2, "partitions": 2, **configuration},
            folder=folder,
            workload={"name": "airports", "table": "airports"},
            environment={"SOURCE_URI": flights, "TARGET_URI": database},
            connections={"source": "SOURCE_URI", "target": "TARGET_URI"},
            warmups=0,
        )

    return make


def of_serve(process):
    return any("pipeline_jobs/serve.py" in part or "migration.py" in part for part in process.info["cmdline"] or [])


def spark_processes(config=""):
    """Processes of Spark jobs, this user's, whose command line holds `config`."""
    found = psutil.process_iter(["cmdline", "pid"])
    return [p for p in found if of_serve(p) and config in " ".join(p.info["cmdline"])]


def jvms(runner):
    """The processes that are kept for this runner's sweep: they all name its socket."""
    return [p for p in psutil.process_iter(["cmdline"]) if runner._key() in " ".join(p.info["cmdline"] or [])]


def test_spark_submit_runs_a_trial_and_leaves_no_process(submit, trial, tmp_path):
    measurement = submit.run(trial(), PATIENCE_S)
    assert measurement.status == "measured", measurement.failure
    assert measurement.metrics["rows"] == 1458
    assert spark_processes(str(tmp_path)) == []


def test_no_password_is_on_the_command_line(submit, trial, database):
    run = trial()
    password = database.split(":")[2].split("@")[0]
    assert password not in " ".join(submit.command(run))
    run.write_config()
    assert password not in run.config_path.read_text(encoding="utf-8")


def test_a_missing_connection_is_an_error_and_not_yarn(airflow_env):
    jobs = settings.jobs_folder()
    runner = SparkSubmitRunner(jobs / "migration.py", modules=jobs, conn_id="no_such_spark")
    with pytest.raises(InfrastructureError, match="make one of type Spark"):
        runner.submit_command({}, jobs / "migration.py", [])


def test_cluster_mode_on_this_machine_is_refused(airflow_env, monkeypatch):
    monkeypatch.setenv(
        "AIRFLOW_CONN_FAR", '{"conn_type": "spark", "host": "local[2]", "extra": {"deploy-mode": "cluster"}}'
    )
    with pytest.raises(InfrastructureError, match="no cluster: set it to client"):
        spark_target("far")


def test_a_retry_ends_the_driver_that_its_killed_task_left(submit, trial, tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW__PIPELINE_TUNER__DATA_FOLDER", str(tmp_path / "shared"))
    run = trial()
    run.write_config()
    left, others = Handover.made(run), Handover.made(replace(run, trial_id="another"))
    old = Handover.made(replace(run, trial_id="of yesterday"))
    os.utime(old.folder / "pulse", (0, 0))
    (left.folder / "begun").touch()

    def driver():
        """What a driver does, as pipeline_jobs/contract.py has it."""
        while (left.folder / "pulse").read_text() != "end":
            time.sleep(0.01)
        (left.folder / "begun").unlink()

    thread = threading.Thread(target=driver)
    thread.start()
    again = Handover.made(run)
    thread.join()
    kept = sorted(path for path in again.folder.parent.glob("trial-*"))
    assert kept == sorted([again.folder, others.folder])


def test_kubernetes_without_its_package_is_said(airflow_env, monkeypatch):
    monkeypatch.delattr(spark_submit, "kube_client", raising=False)
    monkeypatch.setenv("AIRFLOW_CONN_FAR", '{"conn_type": "spark", "host": "k8s://https://api.example"}')
    with pytest.raises(InfrastructureError, match="install apache-airflow-providers-cncf-kubernetes"):
        spark_target("far")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("yarn", ["migration.py", "spark.yarn.appMasterEnv.PYTHONPATH="]),
        ("k8s://https://api.example", ["local:///", "spark.kubernetes.submission.waitAppCompletion=true"]),
        ("spark://master", ["empty.jar", "org.apache.spark.deploy.PythonRunner"]),
    ],
)
def test_in_cluster_mode_a_trial_is_handed_over(submit, trial, tmp_path, monkeypatch, host, expected):
    monkeypatch.setattr(spark_submit, "kube_client", object(), raising=False)
    connection = {"conn_type": "spark", "host": host, "extra": {"deploy-mode": "cluster", "namespace": "jobs"}}
    monkeypatch.setenv("AIRFLOW_CONN_FAR", json.dumps(connection))
    monkeypatch.setenv("AIRFLOW__PIPELINE_TUNER__DATA_FOLDER", str(tmp_path / "shared"))
    jobs, run = settings.jobs_folder(), trial()
    run.write_config()
    # What would let spark-submit end before its driver is not the study's to set.
    options = {"conf": {"spark.yarn.submit.waitAppCompletion": "false"}}
    runner = ClusterModeRunner(jobs / "migration.py", modules=jobs, conn_id="far", options=options)
    monkeypatch.setattr(ProcessRunner, "start", lambda self, run: seen.append((self.command(run), run.environment)))
    seen: list = []
    runner.start(run)
    ((command, environment),) = seen
    said = " ".join(command)
    assert "--deploy-mode cluster" in said
    assert "spark.yarn.submit.waitAppCompletion=true" in said
    assert [words for words in expected if words not in said] == []
    (folder,) = (tmp_path / "shared" / "handover").glob("trial-*")
    assert f"--handover {folder}" in said
    assert json.loads((folder / "variables.json").read_text())["TARGET_URI"] == run.environment["TARGET_URI"]
    assert (folder.stat().st_mode & 0o77, (folder / "variables.json").stat().st_mode & 0o77) == (0, 0)
    assert environment == {}, "spark-submit has no secret that it could pass on"
    runner.cancel()
    assert not folder.exists()


@pytest.mark.parametrize("exit_code", [0, 1])
def test_what_became_of_a_driver_is_told_by_what_it_left(submit, trial, tmp_path, monkeypatch, exit_code):
    # On a standalone master spark-submit ends with 0 whatever became of the driver.
    connection = {"conn_type": "spark", "host": "spark://master", "extra": {"deploy-mode": "cluster"}}
    monkeypatch.setenv("AIRFLOW_CONN_FAR", json.dumps(connection))
    monkeypatch.setenv("AIRFLOW__PIPELINE_TUNER__DATA_FOLDER", str(tmp_path / "shared"))
    monkeypatch.setattr(ProcessRunner, "start", lambda self, run: setattr(self, "_run", run))
    jobs, run = settings.jobs_folder(), trial()
    run.write_config()
    runner = ClusterModeRunner(jobs / "migration.py", modules=jobs, conn_id="far")
    runner.start(run)
    with pytest.raises(InfrastructureError, match="no driver on the cluster took the trial up"):
        runner.collect(exit_code)
    (folder,) = (tmp_path / "shared" / "handover").glob("trial-*")
    (folder / "begun").touch()
    with pytest.raises(TrialFailedError, match=r"without a measurement|exit code 1"):
        runner.collect(exit_code)
    (folder / "begun").unlink()
    runner.cancel()


def test_a_setting_that_cannot_work_fails_and_keeps_the_process(warm, trial):
    assert warm.run(trial(1), PATIENCE_S).status == "measured"
    kept = {process.pid for process in jvms(warm)}
    bad = warm.run(trial(2, method="jdbc", batch_size=-1), PATIENCE_S)
    assert (bad.status, bad.failure.kind) == ("failed", "bad_configuration")
    assert {process.pid for process in jvms(warm)} == kept


@pytest.mark.parametrize("victim", ["java", "serve.py"])
def test_a_killed_kept_process_is_no_evidence_and_the_next_trial_gets_a_new_one(warm, trial, victim):
    assert warm.run(trial(1), PATIENCE_S).status == "measured"
    before = {process.pid for process in jvms(warm)}
    run = trial(2)
    run.write_config()
    warm.start(run)
    for process in jvms(warm):
        command = process.info["cmdline"]
        if os.path.basename(command[0]).startswith("java") == (victim == "java") and "guard.py" not in " ".join(
            command
        ):
            process.send_signal(signal.SIGKILL)
    code = warm.wait(PATIENCE_S)
    with pytest.raises((InfrastructureError, TrialFailedError)):
        warm.collect(code)
    warm.cancel()
    assert jvms(warm) == []
    assert warm.run(trial(3), PATIENCE_S).status == "measured"
    assert not before & {process.pid for process in jvms(warm)}


def test_a_trial_that_takes_too_long_takes_the_kept_process_with_it(warm, trial):
    assert warm.run(trial(1), PATIENCE_S).status == "measured"
    with pytest.raises(TrialFailedError, match="longer") as caught:
        warm.run(trial(2, origin_rate_limit=10), 3)
    assert caught.value.kind == "timeout"
    assert jvms(warm) == []


def test_a_cancelled_trial_leaves_no_process(warm, trial):
    assert warm.run(trial(1), PATIENCE_S).status == "measured"
    run = trial(2, origin_rate_limit=10)
    threading.Timer(2, warm.cancel).start()
    with pytest.raises((InfrastructureError, TrialFailedError, OSError)):
        warm.run(run, 60)
    eventually(lambda: jvms(warm) == [], "the processes' end")


def test_trials_share_a_kept_process_that_ends_with_the_sweep(warm, trial):
    first = warm.run(trial(1), PATIENCE_S)
    kept = {process.pid for process in jvms(warm)}
    second = warm.run(trial(2, cores=1), PATIENCE_S)
    assert (first.status, second.status) == ("measured", "measured")
    assert second.trial_id == "t2"
    assert {process.pid for process in jvms(warm)} == kept
    # Another heap needs another JVM; the first stays.
    assert warm.run(trial(3, driver_memory="1g"), PATIENCE_S).status == "measured"
    assert {process.pid for process in jvms(warm)} > kept
    warm.end_of_sweep()
    assert jvms(warm) == []
    assert list(kept_folder().glob(f"{warm._key()}*")) == []
