"""A migration's sweep in a real Airflow: its mapped tasks, its job and Spark's JVM are killed at random moments."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import re
import signal
import threading

import psutil
import psycopg2
import pytest
import yaml
from tests.real_airflow import ROOT, running_airflow

from pipeline_tuner.exceptions import InfrastructureError
from pipeline_tuner.runners.kept_process import kept_folder
from pipeline_tuner.store import Store

SPARK = '{"conn_type": "spark", "host": "local[2]", "extra": {"deploy-mode": "client"}}'
PRESETS = ("balanced", "copy_2", "copy_8", "copy_16")
BUDGET = {"trials": 24, "blocks": 3, "rounds": 2, "confirm_blocks": 2, "indifference": 0.3, "min_work_s": 0}
TASK = re.compile(r"airflow worker -- [0-9a-f]{8}-[0-9a-f-]{27}")
DAG = """# Airflow
from datetime import timedelta
from pipeline_tuner import dag_factory
dag_factory.RETRIES.update(retries=8, retry_delay=timedelta(seconds=1), retry_exponential_backoff=False)
dag = dag_factory.tuning_dag("migration")
"""


class Killer(threading.Thread):
    """Kills one of a running trial's processes every few seconds: the Airflow task, the job's Python, or the JVM."""

    def __init__(self, results: str, times: int) -> None:
        super().__init__(daemon=True)
        self.results, self.times = results, times
        self.killed: list[str] = []
        self.ended = threading.Event()
        self.dice = random.Random(1)

    def run(self) -> None:
        while len(self.killed) < self.times and not self.ended.wait(self.dice.uniform(0.5, 4.0)):
            kind = self.dice.choice(["task", "job", "jvm"])
            if victims := self.victims(kind):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.dice.choice(victims).pid, signal.SIGKILL)
                    self.killed.append(kind)

    def measuring_sweep(self) -> str | None:
        """The sweep that has a running trial; None as well before the first one has made the tables."""
        query = "SELECT sweep_id FROM pipeline_tuner.trial WHERE status = 'running'"
        with contextlib.suppress(InfrastructureError), Store(self.results) as store, store.transaction() as connection:
            return connection.exec_driver_sql(query).scalar()
        return None

    def victims(self, kind: str) -> list[psutil.Process]:
        sweep_id = self.measuring_sweep()
        if sweep_id is None:
            return []
        if kind == "task":
            return [p for p in psutil.Process().children(recursive=True) if TASK.search(command(p))]
        name = "java" if kind == "jvm" else "python"
        return [p for p in job_processes(sweep_id) if p.info["name"].startswith(name)]


def command(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def job_processes(sweep_id: str) -> list[psutil.Process]:
    """The JVM and the Python of this sweep's kept processes: they name their socket. Not their guards."""
    socket = f"{kept_folder()}/{hashlib.sha256(sweep_id.encode()).hexdigest()[:12]}-"
    lines = [(p, " ".join(p.info["cmdline"] or [])) for p in psutil.process_iter(["name", "cmdline"])]
    return [p for p, line in lines if socket in line and "guard.py" not in line]


@pytest.fixture
def airflow(postgres, flights, new_database, spark_env, tmp_path):
    (tmp_path / "studies").mkdir()
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "tune.py").write_text(DAG, encoding="utf-8")
    study = yaml.safe_load((ROOT / "include/configs/migration.yaml").read_text(encoding="utf-8"))
    study |= {"presets": {name: study["presets"][name] for name in PRESETS}, "strategy": "presets"}
    study["budget"] |= BUDGET
    study["workload"]["default_size"] = "quarter"
    (tmp_path / "studies" / "migration.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
    target = new_database("target")
    connections = {"MIGRATION_SOURCE": flights, "MIGRATION_TARGET": target, "SPARK_DEFAULT": SPARK}
    variables = {f"AIRFLOW_CONN_{name}": value for name, value in connections.items()}
    with running_airflow(tmp_path, postgres, **variables) as real:
        real.token = real.rest("/auth/token")["access_token"]
        yield real, target


@pytest.mark.soak
def test_a_sweep_of_migrations_survives_twenty_kills(airflow):
    real, target = airflow
    killer = Killer(real.results, 20)
    run_id = real.tune("migration")
    killer.start()
    try:
        state = real.finished("migration", run_id, patience_s=1500)
    finally:
        killer.ended.set()
        killer.join()
    with Store(real.results) as store, store.transaction() as connection:
        sweep_id = connection.exec_driver_sql("SELECT sweep_id FROM pipeline_tuner.sweep").scalar_one()
        trials, sweep = store.results(sweep_id), store.sweep(sweep_id)
    counts = {kind: killer.killed.count(kind) for kind in ("task", "job", "jvm")}
    failed = [(t.plan.label, t.failure, t.reason) for t in trials if t.status == "failed"]
    print(f"killed {counts}; sweep {sweep.status}, {len(trials)} trials, failed: {failed}; {sweep.reason}")
    assert len(killer.killed) == 20, counts
    assert {t.status for t in trials} <= {"measured", "failed"}
    assert {failure for _, failure, _ in failed} <= {"infrastructure", "lost"}, failed
    # A trial counts with its whole table, compared by checksum, or not at all.
    assert {t.metrics["rows"] for t in trials if t.status == "measured"} == {84_194.0}
    assert all(check.passed for t in trials if t.measurement for check in t.measurement.checks)
    assert (state == "success" and sweep.status in ("recommended", "undecided")) or sweep.reason
    assert left_on(target) == [("flights", 0)]


def left_on(target: str) -> list[tuple[str, int]]:
    """Tables of the target and their rows: a killed trial's are removed by the trial that comes again in its place."""
    with psycopg2.connect(target) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        names = [name for (name,) in cursor.fetchall()]
        counts = []
        for name in names:
            cursor.execute(f'SELECT count(*) FROM "{name}"')
            counts.append((name, cursor.fetchone()[0]))
    return counts
