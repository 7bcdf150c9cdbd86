"""The event log of one task's run is found by its settings and its time, or refused in one line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from event_logs import START, FakeApplication, even_stage, zstd_framed

from pipeline_tuner.advise import run_of_task
from pipeline_tuner.advise.run_metrics import run_metrics
from pipeline_tuner.advise.run_of_task import Submitted, log_folder, run_between
from pipeline_tuner.exceptions import MeasurementError

BEGAN = datetime.fromtimestamp(START / 1000, UTC) - timedelta(seconds=2)
ENDED = BEGAN + timedelta(minutes=5)
COMMAND = "org.apache.spark.deploy.SparkSubmit --conf a=b /jobs/load.py 2024-01-01 7"
SUBMITTED = Submitted({"spark.executor.memory": "2g", "spark.my.flag": True}, "/jobs/load.py", ("2024-01-01", "7"))


def log_of(folder, name="app-1"):
    return FakeApplication([even_stage(0, 1000, 5000)], 6000, java_command=COMMAND).write(folder / name)


def test_the_application_of_the_runs_time_is_read(tmp_path):
    log_of(tmp_path)
    metrics = run_metrics(run_between(tmp_path, BEGAN, ENDED, SUBMITTED))
    assert metrics["tasks"] == 4
    assert metrics["allocated_core_seconds"] > 0


def test_a_compressed_and_a_rolled_log_are_found_too(tmp_path):
    text = FakeApplication([even_stage(0, 1000, 5000)], 6000, java_command=COMMAND).text()
    (tmp_path / "app.zstd").write_bytes(zstd_framed(text))
    assert run_between(tmp_path, BEGAN, ENDED, SUBMITTED).read.application.stages
    (tmp_path / "app.zstd").unlink()
    rolled = tmp_path / "eventlog_v2_app"
    rolled.mkdir()
    (rolled / "events_1_app").write_bytes(text)
    assert run_between(tmp_path, BEGAN, ENDED, SUBMITTED).read.application.stages


def test_runs_of_other_times_do_not_count(tmp_path):
    log_of(tmp_path)
    with pytest.raises(MeasurementError, match="no application of this run's time"):
        run_between(tmp_path, ENDED, ENDED + timedelta(minutes=5), SUBMITTED)


def test_two_applications_at_once_are_not_guessed_between(tmp_path):
    log_of(tmp_path)
    log_of(tmp_path, "app-2")
    with pytest.raises(MeasurementError, match="2 applications of this run's time"):
        run_between(tmp_path, BEGAN, ENDED, SUBMITTED)


OWN = {"spark.executor.memory": "2g", "spark.my.flag": "True"}
OTHERS = {
    "another program": ({}, COMMAND.replace("load", "other")),
    "another day": ({}, COMMAND.replace("01-01", "01-02")),
    "other settings": ({"spark.executor.memory": "4g", "spark.my.flag": "True"}, COMMAND),
    "hidden": ({"spark.executor.memory": "4g"}, "*********(redacted)"),
}


@pytest.mark.parametrize("other", OTHERS)
def test_of_several_applications_at_once_the_task_has_its_own(tmp_path, other):
    """A cluster has one folder for the logs of all its jobs."""
    for name, (settings, command), stages in (("other", OTHERS[other], 1), ("own", (OWN, COMMAND), 2)):
        made = [even_stage(number, 1000, 5000) for number in range(stages)]
        FakeApplication(made, 6000, settings=settings, java_command=command).write(tmp_path / name)
    found = run_between(tmp_path, BEGAN, ENDED, SUBMITTED)
    assert len(found.read.application.stages) == 2
    (tmp_path / "own").unlink()
    if other.startswith("another"):
        with pytest.raises(MeasurementError, match="no application of this run's time and settings"):
            run_between(tmp_path, BEGAN, ENDED, SUBMITTED)


def test_what_is_no_log_is_passed_over(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing", encoding="utf-8")
    (tmp_path / "empty").touch()
    (tmp_path / "folder").mkdir()
    log_of(tmp_path)
    assert run_between(tmp_path, BEGAN, ENDED, SUBMITTED).read.application.stages


def test_a_cut_log_a_large_one_and_a_missing_folder_are_refused(tmp_path, monkeypatch):
    with pytest.raises(MeasurementError, match="no event log that can be read"):
        run_between(tmp_path / "nowhere", BEGAN, ENDED, SUBMITTED)
    path = log_of(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    with pytest.raises(MeasurementError, match="has no end"):
        run_between(tmp_path, BEGAN, ENDED, SUBMITTED)
    monkeypatch.setattr(run_of_task, "MAX_BYTES", 10)
    with pytest.raises(MeasurementError, match="too many to read in a task"):
        run_between(tmp_path, BEGAN, ENDED, SUBMITTED)


@pytest.mark.parametrize(
    ("conf", "folder"),
    [
        ({}, None),
        ({"spark.eventLog.enabled": "false", "spark.eventLog.dir": "/logs"}, None),
        ({"spark.eventLog.enabled": True}, "/tmp/spark-events"),
        ({"spark.eventLog.enabled": "true", "spark.eventLog.dir": "file:///a%20b"}, "/a b"),
        ({"spark.eventLog.enabled": "true", "spark.eventLog.dir": "/logs"}, "/logs"),
        ({"spark.eventLog.enabled": "true", "spark.eventLog.dir": "s3a://bucket/logs"}, None),
    ],
    ids=["none", "off", "default", "address", "path", "elsewhere"],
)
def test_where_the_settings_say_that_logs_go(conf, folder):
    assert log_folder(conf) == (Path(folder) if folder else None)
