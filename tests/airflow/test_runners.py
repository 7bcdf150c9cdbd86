"""Runners with real processes: what a job's ending means, and that nothing of it stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from compress_study import JOB
from tests.patience import eventually

from pipeline_tuner import settings
from pipeline_tuner.exceptions import InfrastructureError, MeasurementError
from pipeline_tuner.runners import TrialFailedError, TrialRun, process
from pipeline_tuner.runners.process import GUARD, ProcessRunner

FILES = ["--config", "{config}", "--measurement", "{measurement}"]


@pytest.fixture
def runner():
    return ProcessRunner(["python", str(JOB), *FILES], modules=settings.jobs_folder())


@pytest.fixture
def trial(tmp_path):
    def make(mode="good", **more):
        workload = {"pids": str(tmp_path / "pids"), "marker": str(tmp_path / "marker")}
        values = {"job": "compress", "trial_id": "t1", "warmups": 0, "workload": workload} | more
        return TrialRun(configuration={"level": 1, "mode": mode}, folder=tmp_path, **values)

    return make


def left_over(pids: Path) -> list[int]:
    return [int(pid) for pid in pids.read_text(encoding="ascii").split() if psutil.pid_exists(int(pid))]


def wait_for(path: Path) -> None:
    eventually(lambda: path.exists() and path.read_text(encoding="ascii").strip(), path.name)


class ClockThatJumps:
    """Stands in for the module `time`: a day passes when a job has written down its processes."""

    def __init__(self, pids: Path) -> None:
        self.pids, self.sleep = pids, time.sleep

    def monotonic(self) -> float:
        has_started = self.pids.exists() and self.pids.read_text(encoding="ascii").strip()
        return time.monotonic() + (86_400 if has_started else 0)


def test_a_good_job_gives_its_measurement(runner, trial):
    measurement = runner.run(trial(repeats=3), 60)
    assert measurement.status == "measured"
    assert len(measurement.samples) == 3
    assert measurement.metrics["bytes"] > 0


def test_short_work_is_repeated_in_the_jobs_process(runner, trial):
    # A hundred repeats are the most: on a fast machine they must suffice.
    measurement = runner.run(trial(min_work_s=0.02), 60)
    worked = [sample.duration_s for sample in measurement.samples]
    assert sum(worked) >= 0.02 > sum(worked[:-1])


def test_a_job_that_knows_no_least_work_is_not_told_of_it(trial):
    run = trial()
    run.write_config()
    assert "min_work_s" not in run.config_path.read_text()


def test_a_failed_check_is_left_to_the_measurement(runner, trial):
    assert [check.name for check in runner.run(trial("wrong"), 60).failed_checks] == ["unpacks"]


def test_the_job_says_why_it_failed_without_the_password(runner, trial, caplog):
    uri = "postgresql://tuner:s3%2Fcr3t@127.0.0.1:1/x"
    more = {"environment": {"SOURCE_URI": uri}, "connections": {"source": "SOURCE_URI"}}
    with caplog.at_level("INFO"):
        measurement = runner.run(trial("crash", **more), 60)
    assert (measurement.status, measurement.failure.kind) == ("failed", "error")
    assert "can't connect to postgresql://tuner:***@" in measurement.failure.reason
    assert "s3%2Fcr3t" not in caplog.text
    assert "s3%2Fcr3t" not in trial(**more).config_path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("mode", "kind", "words"),
    [
        ("exit", "error", "exit code 3: giving up"),
        ("heap", "out_of_memory", "^out of memory .*Java heap space"),
        ("context_away", "out_of_memory", "^out of memory .*Java heap space"),
        ("executor_away", "out_of_memory", "^out of memory .*code 52"),
        ("jvm_away", "out_of_memory", "^out of memory .*GC overhead limit exceeded"),
    ],
)
def test_a_job_that_ends_badly_fails_with_its_last_words(runner, trial, mode, kind, words):
    with pytest.raises(TrialFailedError, match=words) as caught:
        runner.run(trial(mode), 60)
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("silent", "left no measurement"),
        ("foreign", "not of this trial"),
        ("stale", "stale"),
        ("negative", "negative: bytes"),
        ("no_samples", "at least one sample"),
        ("nan", "not valid"),
    ],
)
def test_a_measurement_that_nobody_may_believe_fails_whatever_the_exit_code(runner, trial, mode, words):
    with pytest.raises(MeasurementError, match=words):
        runner.run(trial(mode), 60)


def test_an_old_measurement_in_the_way_is_not_taken_for_the_new_one(runner, trial):
    runner.run(trial(), 60)
    with pytest.raises(MeasurementError, match="stale"):
        runner.run(trial("silent"), 60)


def test_a_job_killed_from_outside_is_no_evidence(runner, trial):
    with pytest.raises(InfrastructureError, match="SIGKILL"):
        runner.run(trial("killed"), 60)


def test_a_job_killed_by_the_kernel_ran_out_of_memory(runner, trial, monkeypatch):
    from pipeline_tuner.runners import base

    # The kernel's counter can't be moved without filling the machine: the count before is made one less.
    count = base.kernel_kills()
    if count is None:
        pytest.skip("the kernel does not tell how many processes it killed")
    monkeypatch.setattr(process, "kernel_kills", lambda: count - 1)
    with pytest.raises(TrialFailedError, match="out of memory") as caught:
        runner.run(trial("killed"), 60)
    assert caught.value.kind == "out_of_memory"


def test_a_program_that_is_not_there_is_named(trial):
    with pytest.raises(TrialFailedError, match="can't run no-such-program: No such file"):
        ProcessRunner(["no-such-program"], modules=settings.jobs_folder()).run(trial(), 60)


def test_after_a_timeout_no_process_is_left(runner, trial, tmp_path, monkeypatch):
    """The clock passes the deadline when the job has started its processes, however long that takes."""
    monkeypatch.setattr(process, "time", ClockThatJumps(tmp_path / "pids"))
    with pytest.raises(TrialFailedError, match="longer than the 3600 s") as caught:
        runner.run(trial("hang"), 3600)
    assert caught.value.kind == "timeout"
    assert left_over(tmp_path / "pids") == []


def test_after_a_cancel_no_process_is_left(runner, trial, tmp_path):
    def cancel():
        wait_for(tmp_path / "pids")
        runner.cancel()
        runner.cancel()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    with pytest.raises(TrialFailedError):
        runner.run(trial("hang"), 60)
    canceller.join()
    assert left_over(tmp_path / "pids") == []


@pytest.mark.parametrize("victim", ["task", "guard"])
def test_when_the_task_or_the_guard_is_killed_no_process_is_left(trial, tmp_path, victim):
    """The task is killed with SIGKILL: it can't clean up, the guard does. The guard is killed: the job dies with it."""
    run = trial("hang")
    run.write_config()
    command = [sys.executable, str(JOB), "--config", str(run.config_path), "--measurement", str(run.measurement_path)]
    program = (
        "import subprocess, sys, time\n"
        "guard = subprocess.Popen([sys.executable, *sys.argv[1:]], stdin=subprocess.PIPE, start_new_session=True)\n"
        "print(guard.pid, flush=True); time.sleep(600)"
    )
    environment = {**os.environ, "PYTHONPATH": str(settings.jobs_folder())}
    task = subprocess.Popen(
        [sys.executable, "-c", program, str(GUARD), "--lifeline", "--", *command],
        stdout=subprocess.PIPE,
        env=environment,
    )
    guard = int(task.stdout.readline())
    wait_for(tmp_path / "pids")
    job = int((tmp_path / "pids").read_text(encoding="ascii").split()[0])
    os.kill(task.pid if victim == "task" else guard, signal.SIGKILL)
    gone = (lambda: left_over(tmp_path / "pids") == []) if victim == "task" else (lambda: not psutil.pid_exists(job))
    try:
        eventually(gone, "the job's end")
    finally:
        task.kill()
        task.wait()
        for pid in left_over(tmp_path / "pids"):
            os.kill(pid, signal.SIGKILL)


def test_airflows_own_secrets_do_not_reach_a_job(trial, tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", "postgresql://u:p@h/d")
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "key")
    runner = ProcessRunner(["sh", "-c", "env; exit 1"], modules=settings.jobs_folder())
    run = trial()
    with pytest.raises(TrialFailedError):
        runner.run(run, 60)
    printed = run.output.text()
    assert "PYTHONPATH" in printed
    assert "AIRFLOW_CONN_OTHER" not in printed
    assert "FERNET" not in printed


def test_parameters_fill_the_command(trial):
    runner = ProcessRunner(["sh", "-c", "echo level={level}; exit 1"], modules=settings.jobs_folder())
    with pytest.raises(TrialFailedError, match="level=1"):
        runner.run(trial(), 60)
