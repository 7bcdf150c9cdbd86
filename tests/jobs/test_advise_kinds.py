"""Advice on logs of runs of many kinds, which Spark itself wrote: each is read to its end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline_tuner.__main__ import main
from pipeline_tuner.advise.advice import advise
from pipeline_tuner.advise.application import Outcome
from pipeline_tuner.advise.findings import Kind
from pipeline_tuner.advise.log_files import find_logs
from pipeline_tuner.advise.log_reader import read_log

PROGRAM = Path(__file__).with_name("advise_kinds.py")
KINDS = ("skew", "stream", "failed", "nothing", "lost", "dynamic")
pytestmark = pytest.mark.soak


@pytest.fixture(scope="module")
def logs(spark_env, tmp_path_factory):
    """A folder with the log of each kind."""
    folder = tmp_path_factory.mktemp("kinds")
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(folder), *KINDS], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def advised(folder):
    (log,) = find_logs([folder]).logs
    return advise(read_log(log))


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_read_to_its_end_and_said_in_words(logs, kind, capsys):
    assert advised(logs / kind).read.is_complete
    assert main(["advise", str(logs / kind)]) == 0
    assert f"{kind} run" in capsys.readouterr().out


@pytest.mark.parametrize("kind", KINDS)
def test_its_study_is_written_or_refused_in_a_line(logs, kind, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = main(["advise", str(logs / kind), "--study", "kind"])
    assert (tmp_path / "kind.yaml").exists() is (code == 0)
    if code:
        assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_stream_waits_by_design(logs):
    found = advised(logs / "stream")
    assert found.read.application.is_streaming
    assert {Kind.DRIVER, Kind.STARTUP} & {finding.kind for finding in found.findings} == set()


def test_a_job_that_failed(logs):
    app = advised(logs / "failed").read.application
    assert app.outcome is Outcome.FAILED
    assert sum(stage.wasted.failed for stage in app.stages) >= 1


def test_an_executor_that_was_lost(logs):
    app = advised(logs / "lost").read.application
    assert app.outcome is Outcome.SUCCEEDED
    lost = [executor for executor in app.executors if executor.reason]
    assert lost
    assert sum(stage.wasted.failed for stage in app.stages) >= 1


def test_executors_that_come_and_go(logs, capsys):
    app = advised(logs / "dynamic").read.application
    gone = [executor for executor in app.executors if executor.removed is not None]
    assert gone
    assert len(app.executors) > len(gone)
    assert main(["advise", str(logs / "dynamic")]) == 0
    assert "spark.executor.instances=" not in capsys.readouterr().out
