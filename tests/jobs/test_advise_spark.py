"""Logs that Spark itself writes, in every compression, held against what its own REST API says of the same run."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.patience import PATIENCE_S

from pipeline_tuner.advise.application import Outcome, Stage
from pipeline_tuner.advise.log_files import find_logs
from pipeline_tuner.advise.log_reader import read_log

COMPRESSIONS = ("plain", "rolling", "zstd", "lz4", "snappy")
RAN = ("COMPLETE", "FAILED")
APPLICATION = Path(__file__).with_name("advise_application.py")


@pytest.fixture(scope="module")
def runs(spark_env, tmp_path_factory):
    """A folder with the log in each compression and the REST API's answers beside it."""
    folder = tmp_path_factory.mktemp("logs")
    program = [sys.executable, str(APPLICATION), str(folder), *COMPRESSIONS]
    done = subprocess.run(program, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def read_one(folder):
    (log,) = find_logs([folder]).logs
    return read_log(log)


def milliseconds(text):
    if text is None:
        return None
    moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fGMT").replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def as_spark_says(stage: Stage) -> dict:
    totals = stage.totals
    return {
        "name": stage.name,
        "numTasks": stage.planned_tasks,
        "numCompleteTasks": stage.complete_tasks,
        "numFailedTasks": stage.wasted.failed,
        "numKilledTasks": stage.wasted.killed,
        "executorRunTime": totals.run_ms,
        "executorCpuTime": totals.cpu_ns,
        "executorDeserializeTime": totals.deserialize_ms,
        "resultSerializationTime": totals.result_ms,
        "jvmGcTime": totals.gc_ms,
        "memoryBytesSpilled": totals.memory_spilled_bytes,
        "diskBytesSpilled": totals.disk_spilled_bytes,
        "inputBytes": totals.input_bytes,
        "inputRecords": totals.input_records,
        "outputBytes": totals.output_bytes,
        "outputRecords": totals.output_records,
        "shuffleReadBytes": totals.shuffle_read_bytes,
        "shuffleReadRecords": totals.shuffle_read_records,
        "shuffleFetchWaitTime": totals.shuffle_wait_ms,
        "shuffleWriteBytes": totals.shuffle_write_bytes,
        "shuffleWriteRecords": totals.shuffle_write_records,
        "shuffleWriteTime": totals.shuffle_write_ns,
    }


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_every_figure_of_every_stage_equals_sparks_own(runs, compression):
    read = read_one(runs / compression)
    answers = json.loads((runs / "answers.json").read_text())
    said = {(each["stageId"], each["attemptId"]): each for each in answers["stages"] if each["status"] in RAN}
    ours = {(stage.stage_id, stage.attempt): stage for stage in read.application.stages}
    assert ours.keys() == said.keys()
    for key, stage in ours.items():
        figures = as_spark_says(stage)
        assert figures == {name: said[key][name] for name in figures}, key
        assert stage.submitted == milliseconds(said[key]["submissionTime"])
        assert stage.completed == milliseconds(said[key]["completionTime"])
        assert stage.first_launch == milliseconds(said[key]["firstTaskLaunchedTime"])
    assert sum(stage.totals.disk_spilled_bytes for stage in ours.values()) > 0
    assert sum(stage.wasted.failed for stage in ours.values()) >= 3


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_the_log_is_read_to_its_end(runs, compression):
    read = read_one(runs / compression)
    assert read.is_complete
    assert read.unfinished_tasks == 0
    assert read.application.outcome is Outcome.FAILED  # its last job failed
    jobs = json.loads((runs / "answers.json").read_text())["jobs"]
    assert {job.job_id: job.succeeded for job in read.application.jobs} == {
        job["jobId"]: job["status"] == "SUCCEEDED" for job in jobs
    }


def test_executors_and_their_tasks_equal_sparks_own(runs):
    read = read_one(runs / "zstd")
    (said,) = json.loads((runs / "answers.json").read_text())["allexecutors"]
    (executor,) = read.application.executors
    assert (executor.cores, executor.tasks) == (2, said["totalTasks"])


def test_files_that_queries_read_and_wrote_are_counted(runs):
    files = [query.files for query in read_one(runs / "plain").application.queries]
    data = [path.stat().st_size for path in (runs / "data").glob("*.parquet")]
    assert max(each.written for each in files) == len(data) == 12
    assert {(each.read, each.read_bytes) for each in files if each.read} >= {(12, sum(data))}


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_log_cut_anywhere_is_read_as_far_as_it_goes(runs, compression, tmp_path):
    whole = read_one(runs / compression)
    (log,) = find_logs([runs / compression]).logs
    content = log.parts[-1].read_bytes()
    for part in (0.5, 0.9, 0.99):
        path = tmp_path / f"{part}{log.parts[-1].suffix}"
        path.write_bytes(content[: int(len(content) * part)])
        read = read_one(path)
        assert not read.is_complete
        assert read.not_events == 0
        assert 0 < read.lines < whole.lines
        assert read.application.outcome is Outcome.CUT


def test_no_secret_of_the_settings_is_kept(runs):
    for compression in COMPRESSIONS:
        read = read_one(runs / compression)
        assert "hunter2" not in repr(read)
        assert "spark.my.url" not in read.application.settings.spark
        assert read.application.settings.text("spark.shuffle.spill.numElementsForceSpillThreshold") == "20000"
