"""What the jobs share: contract, session, event log, resources, environment, kept process."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from py4j.protocol import CALL_COMMAND_NAME
from tests.jobs.migration_case import Case
from tests.patience import PATIENCE_S

from pipeline_jobs import contract, resources
from pipeline_jobs.environment import environment
from pipeline_jobs.event_log import summarise_event_log
from pipeline_jobs.heap import HeapMonitor, size_bytes
from pipeline_jobs.resources import ResourceMonitor
from pipeline_jobs.session import close_session, open_session, spark_settings
from pipeline_tuner.measurement import read_measurement

CONFIG: dict[str, Any] = {"contract": 1, "job": "toy", "trial_id": "t", "configuration": {}}
SECRET = "hunter%2F2"


def _measure(folder: Path, run: contract.Run, **more: Any) -> int:
    (folder / "c.json").write_text(json.dumps(CONFIG | more))
    return contract.main("toy", run, ["--config", str(folder / "c.json"), "--measurement", str(folder / "m.json")])


def test_a_measured_trial_is_read_back_by_the_tuner(tmp_path: Path) -> None:
    def run(config: contract.TrialConfig, writer: contract.MeasurementWriter) -> None:
        for number, sample in enumerate(writer.samples()):
            sample.timed(lambda: time.sleep(0.01))
            sample.metrics["rows"] = float(number)
        writer.check("fine", True)

    begun = datetime.now(UTC)
    assert _measure(tmp_path, run, warmups=2, repeats=3) == 0
    measurement = read_measurement(tmp_path / "m.json", job="toy", trial_id="t", not_before=begun)
    assert measurement.metrics["rows"] == 3, "the median of repeats 2, 3, 4: warm-ups don't count"
    assert len(measurement.samples) == 3


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (contract.BadConfigurationError("no"), "bad_configuration"),
        (contract.InfrastructureError("no"), "infrastructure"),
        (MemoryError(), "out_of_memory"),
        (RuntimeError("java.lang.OutOfMemoryError: Java heap space"), "out_of_memory"),
        (RuntimeError("can't reach it as hunter/2 or hunter%2F2"), "error"),
    ],
)
def test_a_failed_trial_says_why_and_no_secret(
    tmp_path: Path, error: Exception, kind: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def run(config: contract.TrialConfig, writer: contract.MeasurementWriter) -> None:
        raise error

    monkeypatch.setenv("TOY_URI", f"postgresql://me:{SECRET}@host/db")
    begun = datetime.now(UTC)
    assert _measure(tmp_path, run, connections={"source": "TOY_URI"}) == 0
    measurement = read_measurement(tmp_path / "m.json", job="toy", trial_id="t", not_before=begun)
    assert measurement.failure is not None
    assert measurement.failure.kind == kind
    said = measurement.model_dump_json() + capfd.readouterr().err
    assert "hunter" not in said


def test_a_configuration_of_another_job_or_version_is_refused(tmp_path: Path) -> None:
    assert _measure(tmp_path, lambda config, writer: None, job="other") == 1
    assert _measure(tmp_path, lambda config, writer: None, contract=99) == 1
    assert not (tmp_path / "m.json").exists()


def test_settings_of_a_configuration() -> None:
    wanted = {
        "master": "local[3]",
        "parallelism": 7,
        "adaptive": False,
        "spark.x": 1,
        "batch_size": 5,
        "driver_memory": None,
    }
    assert spark_settings(wanted) == {
        "spark.master": "local[3]",
        "spark.default.parallelism": "7",
        "spark.sql.adaptive.enabled": "false",
        "spark.x": "1",
    }


@pytest.mark.parametrize(
    ("submitted", "configuration", "wanted"),
    [
        (None, {"cores": 3}, {"spark.master": "local[3]"}),
        ("local[*]", {"cores": 3}, {"spark.master": "local[3]"}),
        ("local[*]", {"cores": 0}, {}),
        ("local[*]", {"cores": 3, "master": "local[1]"}, {"spark.master": "local[1]"}),
        (
            "spark://far:7077",
            {"cores": 3},
            {"spark.cores.max": "3", "spark.scheduler.minRegisteredResourcesRatio": "1.0"},
        ),
        (
            "spark://far:7077",
            {"cores": 3, "spark.scheduler.minRegisteredResourcesRatio": 0.5},
            {"spark.cores.max": "3", "spark.scheduler.minRegisteredResourcesRatio": "0.5"},
        ),
        ("yarn", {"cores": 3}, {"spark.executor.instances": "3", "spark.executor.cores": "1"}),
        ("yarn", {"cores": 3, "master": ""}, {"spark.executor.instances": "3", "spark.executor.cores": "1"}),
    ],
)
def test_cores_are_tasks_at_once_on_whatever_master(
    submitted: str | None, configuration: dict[str, Any], wanted: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline_jobs.session._submitted_master", lambda: submitted)
    assert spark_settings(configuration) == wanted


def test_each_session_has_its_own_settings_and_leaves_an_event_log(tmp_path: Path, spark_env: dict[str, str]) -> None:
    first = open_session("first", {"master": "local[2]", "shuffle_partitions": 3, "driver_memory": "1g"})
    assert first.conf.get("spark.sql.shuffle.partitions") == "3"
    second = open_session("second", {"master": "local[1]", "driver_memory": "1g"}, event_log_dir=tmp_path)
    assert second.conf.get("spark.sql.shuffle.partitions") == "200", "nothing is left of the first session"
    assert second.sparkContext.master == "local[1]"
    assert environment()["spark"] == "4.1.3"
    with ResourceMonitor() as monitor:
        second.range(0, 200_000, 1, 4).selectExpr("id % 100 AS k").groupBy("k").count().collect()
        paths = second.sparkContext.parallelize([1], 1).map(lambda _: list(sys.path)).collect()[0]
    close_session(second)
    assert not [path for path in paths if "pyspark.zip" in path or path.endswith(".jar")], "workers read no archives"
    summary = summarise_event_log(tmp_path)
    assert summary["shuffle_write_bytes"] > 0
    assert summary["tasks"] == sum(stage["tasks"] for stage in summary["stages"]) > 2
    assert summarise_event_log(tmp_path, since=time.time())["tasks"] == 0
    figures = monitor.metrics()
    assert figures["core_seconds"] > 0
    assert figures["memory_peak_bytes"] > 1e8, "the JVM and the workers count"


def test_what_a_collection_leaves_in_the_heap_is_measured_and_garbage_is_not(spark_env: dict[str, str]) -> None:
    """200 MB are planted in the JVM's heap; work after them has room again."""
    spark = open_session("heap", {"master": "local[1]", "driver_memory": "1g"})
    try:
        java = spark.sparkContext._jvm.java
        with ResourceMonitor(interval_s=0.02) as monitor:
            planted = java.util.ArrayList(50 * 2**20)  # of references of four bytes
            java.lang.System.gc()
            time.sleep(0.2)
        full = monitor.metrics()
        planted.trimToSize()
        with ResourceMonitor(interval_s=0.02) as monitor:
            spark.range(10).count()
            time.sleep(0.2)
        empty = monitor.metrics()
        heap = java.lang.Runtime.getRuntime().maxMemory()
    finally:
        close_session(spark)
    assert 200 * 2**20 < full["heap_peak_bytes"] <= heap
    assert full["heap_peak_fraction"] == pytest.approx(full["heap_peak_bytes"] / heap)
    assert 0 < empty["heap_peak_bytes"] < full["heap_peak_bytes"] - 100 * 2**20


def test_a_look_at_the_heap_asks_the_jvm_one_thing_per_collector(
    spark_env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is asked of the JVM takes CPU from the work that is measured: 284 questions per look took 8 to 17%."""
    asked: list[str] = []
    spark = open_session("heap", {"master": "local[1]", "driver_memory": "1g"})
    try:
        collectors = len(spark.sparkContext._jvm.java.lang.management.ManagementFactory.getGarbageCollectorMXBeans())
        heap = HeapMonitor()
        heap.start()
        heap.sample()
        client = type(spark.sparkContext._gateway._gateway_client)
        send = client.send_command
        with monkeypatch.context() as patch:
            patch.setattr(client, "send_command", lambda *all, **more: asked.append(all[1]) or send(*all, **more))
            heap.sample()
        calls = [command for command in asked if command.startswith(CALL_COMMAND_NAME)]  # others free what is garbage
    finally:
        close_session(spark)
    assert len(calls) == collectors
    assert heap.metrics()["heap_peak_bytes"] > 0


def test_memory_is_a_part_of_what_the_process_may_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = psutil.virtual_memory().total
    with ResourceMonitor(interval_s=0.05) as monitor:
        time.sleep(0.1)
    figures = monitor.metrics()
    assert figures["memory_peak_fraction"] == figures["memory_peak_bytes"] / resources.memory_limit_bytes()
    for written, limit in (("max", whole), (str(2**30), 2**30), (str(2**62), whole)):
        (tmp_path / "memory.max").write_text(written)
        monkeypatch.setattr(resources, "LIMITS", (str(tmp_path / "memory.max"),))
        assert resources.memory_limit_bytes() == limit
    monkeypatch.setattr(resources, "LIMITS", (str(tmp_path / "missing"),))
    assert resources.memory_limit_bytes() == whole


@pytest.mark.parametrize(
    ("text", "size"), [("2g", 2**31), ("512m", 2**29), ("1024", 2**30), ("3gb", 3 * 2**30), ("x", 0)]
)
def test_sizes_of_memory_as_spark_writes_them(text: str, size: int) -> None:
    assert size_bytes(text) == size


def test_the_monitor_counts_children_that_have_ended() -> None:
    burn = "import time; end = time.process_time() + 0.6\nwhile time.process_time() < end: pass"
    with ResourceMonitor(interval_s=0.05) as monitor:
        subprocess.run([sys.executable, "-c", burn], check=True)
    assert monitor.metrics()["core_seconds"] > 0.4


def test_a_kept_process_answers_and_ends_with_its_client(case: Case, tmp_path: Path) -> None:
    """Two trials in one process; then a client that hangs up takes process, JVM and workers with it."""
    case.both("CREATE TABLE t (k int PRIMARY KEY)")
    case.sql("source", "INSERT INTO t SELECT generate_series(1, 200000)", "ANALYZE t")
    address = str(tmp_path / "jobs.sock")
    command = [sys.executable, "-m", "pipeline_jobs.serve", "--socket", address]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        client = _connect(address)
        assert os.stat(address).st_mode & 0o077 == 0
        answers = client.makefile()
        for _ in range(2):
            _ask(client, case, {"partitions": 2})
            assert json.loads(answers.readline())["exit_code"] == 0
            assert json.loads((case.folder / "measurement.json").read_text())["status"] == "measured"
        family = psutil.Process(server.pid).children(recursive=True)
        assert family
        _ask(client, case, {"partitions": 2, "target_rate_limit": 1000})
        time.sleep(1)
        answers.close()
        client.close()
        assert server.wait(PATIENCE_S) != 0
        _, alive = psutil.wait_procs(family, timeout=PATIENCE_S)
        assert not alive
    finally:
        server.kill()
        server.wait()


def _connect(address: str) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    for _ in range(3000):
        try:
            client.connect(address)
            return client
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the kept process doesn't listen")


def _ask(client: socket.socket, case: Case, configuration: dict[str, Any]) -> None:
    request = {
        "job": "migration",
        "config": str(case.write_config(configuration, {"table": "t"})),
        "measurement": str(case.folder / "measurement.json"),
        "environment": case.environment,
    }
    client.sendall(json.dumps(request).encode() + b"\n")


def test_stages_are_named_after_the_job_s_steps_and_counted_in_the_given_stretches_alone(tmp_path: Path) -> None:
    events = []
    for stage, (at, step) in enumerate([(10, "read"), (20, ""), (30, "write")]):
        info = {"Stage ID": stage, "Stage Attempt ID": 0, "Stage Name": "collect", "Submission Time": at * 1000}
        properties = {"spark.job.description": step} if step else {}
        events.append({"Event": "SparkListenerStageSubmitted", "Stage Info": info, "Properties": properties})
        events.append({"Event": "SparkListenerStageCompleted", "Stage Info": info})
    lines = [json.dumps(event, separators=(",", ":")) for event in events]
    (tmp_path / "log").write_text("\n".join(lines))
    assert [stage["name"] for stage in summarise_event_log(tmp_path)["stages"]] == ["read", "collect", "write"]
    kept = summarise_event_log(tmp_path, during=[(9, 11), (29, 31)])["stages"]
    assert [stage["name"] for stage in kept] == ["read", "write"]


DRIVER = """
import os, sys, time
from pipeline_jobs import contract
contract.PULSE_POLL_S = 0.02
contract.SILENCE_S = float(sys.argv.pop(1))
def run(config, writer):
    print(os.environ["WORD"], flush=True)
    sys.stdin.readline()
sys.exit(contract.main("toy", run))
"""


@pytest.fixture
def handed_over(tmp_path: Path) -> Iterator[Any]:
    """A function that starts a job with a handover, as a driver on a cluster has it; it bears so much silence."""
    folder = tmp_path / "handover"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "variables.json").write_text('{"WORD": "of the handover"}')
    (folder / "pulse").write_text("1")
    begun: list[subprocess.Popen[str]] = []

    def start(silence_s: float = 3600.0) -> tuple[Path, subprocess.Popen[str]]:
        files = ["--config", str(folder / "config.json"), "--measurement", str(folder / "measurement.json")]
        command = [sys.executable, "-c", DRIVER, str(silence_s), *files, "--handover", str(folder)]
        environment = {**os.environ, "PYTHONPATH": str(Path(contract.__file__).parents[1])}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        begun.append(subprocess.Popen(command, env=environment, text=True, **pipes))
        return folder, begun[-1]

    yield start
    for process in begun:
        process.kill()
        process.communicate()


def test_a_driver_gets_its_variables_and_leaves_its_measurement(handed_over: Any) -> None:
    folder, process = handed_over()
    assert process.stdout.readline() == "of the handover\n"
    assert sorted(path.name for path in folder.iterdir()) == ["begun", "config.json", "pulse"], "no secret stays"
    process.communicate("\n")
    assert process.returncode == 0
    assert (folder / "measurement.json").exists()


@pytest.mark.parametrize("how", ["end", "gone", "silent"])
def test_a_driver_that_nobody_waits_for_ends(handed_over: Any, how: str) -> None:
    folder, process = handed_over(0.2 if how == "silent" else 3600.0)
    if how != "silent":
        process.stdout.readline()
    if how == "end":
        (folder / "pulse").write_text("end")
    if how == "gone":
        shutil.rmtree(folder)
    assert process.wait(PATIENCE_S) == 143
    assert not (folder / "begun").exists()


def test_a_driver_whose_trial_is_over_does_not_begin(handed_over: Any, tmp_path: Path) -> None:
    (tmp_path / "handover" / "variables.json").unlink()
    folder, process = handed_over()
    said = process.communicate()[1]
    assert process.returncode == 1
    assert "the trial is over, or this machine doesn't share" in said
    assert not (folder / "begun").exists()
