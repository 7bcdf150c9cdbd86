"""Faults: a driver killed before, during and after the write, a worker lost on a cluster, and no memory left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pyspark
import pytest
from dedup_runs import WORKLOAD, config, latest_of, query, run, staging_tables, write_events
from tests.jobs.job_variables import set_variable
from tests.patience import PATIENCE_S, eventually

from pipeline_jobs.contract import BadConfigurationError, measure
from pipeline_jobs.dedup.job import run as run_job
from pipeline_jobs.heap import given_now
from pipeline_jobs.resources import ResourceMonitor
from pipeline_jobs.session import close_session, open_session, stop_jvm
from pipeline_tuner.runners.base import TrialFailedError, TrialRun
from pipeline_tuner.runners.process import ProcessRunner

SCRIPT = Path(__file__).resolve().parents[2] / "spark_jobs" / "dedup.py"
FIRST = [(f"k{n % 50}", n, 1, "active") for n in range(400)]
SECOND = [(f"k{n % 70}", 400 + n, 1, "deleted" if n % 9 == 0 else "active") for n in range(400)]
TARGET = {"kind": "postgresql", "table": "latest", "bookmark": "nightly", "look_back_s": 5}


class Nightly:
    """A target after the first night, and the second night's run as a process of its own."""

    def __init__(self, uri: str, folder: Path) -> None:
        self.uri, self.folder = uri, folder
        self.source = write_events(folder / "events", FIRST, "night-1.parquet")
        self.process: subprocess.Popen[bytes] | None = None

    def config_file(self) -> Path:
        document = {
            "contract": 1,
            "job": "dedup",
            "trial_id": "night",
            "configuration": {
                "strategy": "window",
                "shuffle_partitions": 2,
                "write_partitions": 2,
                "driver_memory": "1g",
            },
            "workload": {**WORKLOAD, "source": {"format": "parquet", "path": self.source}, "target": TARGET},
            "connections": {"target": "DEDUP_TARGET"},
            "warmups": 0,
        }
        path = self.folder / "config.json"
        path.write_text(json.dumps(document))
        return path

    def run_here(self) -> dict[str, Any]:
        set_variable("DEDUP_TARGET", self.uri)
        path = self.folder / "measurement.json"
        assert measure("dedup", run_job, self.config_file(), path) == 0
        return json.loads(path.read_text())

    def start(self) -> None:
        write_events(self.folder / "events", SECOND, "night-2.parquet")
        command = [sys.executable, str(SCRIPT), "--config", str(self.config_file()), "--measurement", "/dev/null"]
        with (self.folder / "log").open("wb") as log:
            environment = {**os.environ, "DEDUP_TARGET": self.uri}
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def kill(self) -> None:
        assert self.process is not None
        children = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        psutil.wait_procs(children, timeout=PATIENCE_S)
        assert not [child for child in children if child.is_running() and child.status() != "zombie"]

    def state(self) -> str:
        rows = query(self.uri, "SELECT id, at, version, status FROM latest ORDER BY 1")
        ((newest,),) = query(self.uri, "SELECT newest FROM pipeline_tuner_bookmarks")
        states = {"before": (latest_of(FIRST), "399"), "after": (latest_of(FIRST + SECOND), "799")}
        found = [name for name, state in states.items() if state == (rows, newest)]
        assert found, f"{len(rows)} rows, bookmark {newest}: neither as before nor as after"
        return found[0]


@pytest.fixture
def nightly(spark_env: dict[str, str], database: str, tmp_path: Path) -> Iterator[Nightly]:
    nights = Nightly(database, tmp_path)
    assert nights.run_here()["status"] == "measured"
    assert nights.state() == "before"
    yield nights
    if nights.process is not None and nights.process.poll() is None:
        nights.kill()


@contextmanager
def held(uri: str, *statements: str) -> Iterator[Any]:
    """Locks that a transaction of the test holds."""
    with closing(psycopg2.connect(uri)) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        yield cursor


COPIES_WAIT = """
CREATE FUNCTION wait_to_copy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  PERFORM pg_advisory_xact_lock_shared(618);
  RETURN NEW;
END $$;
CREATE FUNCTION hold_copies() RETURNS event_trigger LANGUAGE plpgsql AS $$ DECLARE made record; BEGIN
  FOR made IN SELECT * FROM pg_event_trigger_ddl_commands() WHERE object_identity LIKE '%\\_dedup\\_%'
    AND object_type = 'table'
  LOOP
    EXECUTE format('CREATE TRIGGER held BEFORE INSERT ON %s FOR EACH ROW EXECUTE FUNCTION wait_to_copy()',
      made.object_identity);
  END LOOP;
END $$;
CREATE EVENT TRIGGER held ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION hold_copies();
"""


@contextmanager
def copies_held(uri: str) -> Iterator[None]:
    """Whoever copies into a staging table waits: its table is made with a trigger that asks for a lock of ours."""
    with closing(psycopg2.connect(uri)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(COPIES_WAIT)
    with held(uri, "SELECT pg_advisory_lock(618)"):
        yield


def blocked(uri: str) -> bool:
    return bool(
        query(uri, "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()")
    )


@contextmanager
def killed_before_the_write(nightly: Nightly) -> Iterator[None]:
    with held(nightly.uri, "SELECT pg_advisory_lock(hashtext('dedup latest'))"):
        nightly.start()
        eventually(lambda: blocked(nightly.uri), "the run to ask for its target")
        nightly.kill()
    yield


@contextmanager
def killed_during_the_write(nightly: Nightly) -> Iterator[None]:
    with copies_held(nightly.uri):
        nightly.start()
        eventually(lambda: blocked(nightly.uri), "a task to copy")
        nightly.kill()
    yield


@contextmanager
def killed_in_the_merge(nightly: Nightly) -> Iterator[None]:
    with held(nightly.uri, "LOCK TABLE pipeline_tuner_bookmarks IN SHARE MODE"):
        nightly.start()
        eventually(lambda: blocked(nightly.uri), "the merge to move the bookmark")
        nightly.kill()
    yield


@contextmanager
def killed_after_the_write(nightly: Nightly) -> Iterator[None]:
    nightly.start()
    eventually(lambda: query(nightly.uri, "SELECT 1 FROM pipeline_tuner_bookmarks WHERE newest = '799'"), "the end")
    nightly.kill()
    yield


@pytest.mark.parametrize(
    ("kills", "left"),
    [
        pytest.param([killed_before_the_write], "before", marks=pytest.mark.soak),
        ([killed_during_the_write, killed_in_the_merge], "before"),
        pytest.param([killed_after_the_write], "after", marks=pytest.mark.soak),
    ],
)
def test_a_killed_driver_leaves_target_and_bookmark_as_one(
    nightly: Nightly, kills: list[Callable[[Nightly], Any]], left: str
) -> None:
    for killed in kills:
        with killed(nightly):
            eventually(lambda: not blocked(nightly.uri), "the server to drop the dead run")
            assert nightly.state() == left
    assert nightly.run_here()["status"] == "measured"
    assert nightly.state() == "after"
    assert staging_tables(nightly.uri) == []


class Cluster:
    """A standalone master and two workers on loopback."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        port = self._start("master", "master.Master", "--host", "127.0.0.1", "--port", "0", "--webui-port", "0")
        self.master = f"spark://127.0.0.1:{port}"
        for name in ("worker-1", "worker-2"):
            here = ("--host", "127.0.0.1", "--webui-port", "0", "-d", str(folder / name))
            self._start(name, "worker.Worker", "-c", "1", "-m", "1g", *here, self.master)

    def _start(self, name: str, program: str, *arguments: str) -> str:
        spark_class = str(Path(pyspark.__file__).parent / "bin" / "spark-class")
        log = self._folder / f"{name}.log"
        with log.open("wb") as output:
            command = [spark_class, f"org.apache.spark.deploy.{program}", *arguments]
            environment = {**os.environ, "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_DAEMON_MEMORY": "256m"}
            self._processes.append(subprocess.Popen(command, env=environment, stdout=output, stderr=output))
        sign = (
            "Starting Spark master at spark://127.0.0.1:" if name == "master" else "Successfully registered with master"
        )
        eventually(lambda: sign in log.read_text(), name)
        return log.read_text().split(sign)[1].split()[0]

    def lose_a_worker(self) -> None:
        """Kill a worker and its executor at once, as a machine that goes away."""
        worker = psutil.Process(self._processes[-1].pid)
        for process in (*worker.children(recursive=True), worker):
            process.kill()

    def stop(self) -> None:
        for process in self._processes:
            for child in psutil.Process(process.pid).children(recursive=True) if process.poll() is None else ():
                child.kill()
            process.kill()
            process.wait()


@pytest.fixture
def cluster(spark_env: dict[str, str], tmp_path: Path) -> Iterator[Cluster]:
    started = Cluster(tmp_path)
    yield started
    started.stop()


def test_a_cluster_that_loses_a_worker_ends_right(
    cluster: Cluster, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has two cores; a session that asks for three is refused."""
    rows = FIRST + SECOND
    source = {"format": "parquet", "path": write_events(tmp_path / "events", rows)}
    settings = {
        "master": cluster.master,
        "driver_memory": "1g",
        "cores": 2,
        "shuffle_partitions": 6,
        "executor_memory": "512m",
        "adaptive": False,
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.executor.cores": 1,
        "spark.executor.extraJavaOptions": os.environ["SPARK_SUBMIT_OPTS"],
        "spark.pyspark.python": sys.executable,
    }
    from concurrent.futures import ThreadPoolExecutor

    with monkeypatch.context() as hurried:
        hurried.setattr("pipeline_jobs.session.GIVEN_TIMEOUT_S", 1.0)
        with pytest.raises(BadConfigurationError, match="did not give 3 cores within 1 s"):
            open_session("cluster", {**settings, "cores": 3})
    spark = open_session("cluster", settings)
    try:
        # Both have registered; what lists them hears of it a moment later.
        eventually(lambda: given_now().cores == 2, "both executors")
        with ResourceMonitor() as monitor:
            began = time.monotonic()
            spark.range(10).count()
            work_s = time.monotonic() - began
        figures = monitor.metrics()
        assert figures["memory_peak_bytes"] > 2 * (512 + 384) * 2**20, "both executors' heaps and what is beside them"
        assert figures["core_seconds"] >= 2 * work_s, "both executors' cores, used or not"
        assert not {"memory_peak_fraction", "machine_core_seconds"} & set(figures), "they are of the driver's machine"
        given = config(source, {"kind": "postgresql", "table": "latest"}, database, strategy="window")
        with ThreadPoolExecutor(1) as pool:
            with copies_held(database):
                outcome = pool.submit(run, spark, given)
                eventually(lambda: blocked(database) or outcome.done(), "a task to copy")
                if outcome.done():
                    outcome.result()
                cluster.lose_a_worker()
                time.sleep(1)
            merged = outcome.result(PATIENCE_S).merged
    finally:
        close_session(spark)
        stop_jvm()
    assert query(database, "SELECT id, at, version, status FROM latest ORDER BY 1") == latest_of(rows)
    assert merged is not None
    assert merged.staged == 70


@pytest.mark.soak
def test_an_executor_without_memory_is_a_measured_result(cluster: Cluster, tmp_path: Path) -> None:
    """A record of 60 MB is more than a heap of 512 MB has room for: the executor's JVM goes away with exit code 52."""
    configuration = {
        "strategy": "window",
        "master": cluster.master,
        "shuffle_partitions": 2,
        "executor_memory": "512m",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.task.maxFailures": 2,
    }
    giants = {"generator": {"rows": 2, "row_bytes": 60_000_000, "null_key_fraction": 0.0}, "target": {"kind": "none"}}
    workload = {"name": "generated", "folder": str(tmp_path / "data"), **giants}
    command = [sys.executable, str(SCRIPT), "--config", "{config}", "--measurement", "{measurement}"]
    trial = TrialRun("dedup", "giants", configuration, tmp_path, workload=workload, warmups=0)
    kind, reason = how_it_failed(ProcessRunner(command, modules=SCRIPT.parent), trial)
    assert kind == "out_of_memory", reason
    assert reason.startswith("out of memory at executor memory 512m")
    assert len(reason.splitlines()) == 1


def how_it_failed(runner: ProcessRunner, trial: TrialRun) -> tuple[str, str]:
    """Kind and reason, of the job's own measurement or of what its end amounts to."""
    try:
        failure = runner.run(trial, PATIENCE_S).failure
    except TrialFailedError as error:
        return error.kind, str(error)
    assert failure is not None
    return failure.kind, failure.reason
