"""A real Airflow: scheduler, DAG processor and API server on PostgreSQL, LocalExecutor, driven through REST."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from compress_study import COMPRESS

from pipeline_tuner.store import Store

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = (["api-server"], ["scheduler", "--skip-serve-logs"], ["dag-processor"])
PATIENCE_S = 400


@dataclass
class RealAirflow:
    """A running Airflow: its REST API and the results database of its sweeps."""

    url: str
    results: str
    folder: Path
    token: str = ""

    def rest(self, path: str, body: Any = None) -> Any:
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"{self.url}{path}", data=data)
        request.add_header("Content-Type", "application/json")
        if self.token:
            request.add_header("Authorization", f"Bearer {self.token}")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def tune(self, study: str, **conf: Any) -> str:
        dag = f"tune_{study}"
        self.until(lambda: self.knows(dag))
        run = self.rest(f"/api/v2/dags/{dag}/dagRuns", {"logical_date": None, "conf": conf})
        return run["dag_run_id"]

    def knows(self, dag: str) -> bool:
        try:
            return not self.rest(f"/api/v2/dags/{dag}")["is_paused"]
        except urllib.error.HTTPError:
            return False

    def finished(self, study: str, run_id: str) -> str:
        path = f"/api/v2/dags/tune_{study}/dagRuns/{run_id}"
        return self.until(lambda: self.rest(path)["state"] if self.rest(path)["state"] in ("success", "failed") else "")

    def instances(self, study: str, run_id: str) -> list[dict[str, Any]]:
        path = f"/api/v2/dags/tune_{study}/dagRuns/{run_id}/taskInstances?limit=100"
        return self.rest(path)["task_instances"]

    def until(self, condition: Any) -> Any:
        deadline = time.monotonic() + PATIENCE_S
        while not (value := condition()):
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.5)
        return value

    def logs(self) -> str:
        return "\n".join(f"{p.name}: {p.read_text(errors='replace')[-1500:]}" for p in self.folder.glob("*.out"))


@pytest.fixture(scope="module")
def airflow(postgres, tmp_path_factory):
    folder = tmp_path_factory.mktemp("airflow")
    write_studies(folder)
    environment = settings_of(folder, postgres)
    migrate = [sys.executable, "-m", "airflow", "db", "migrate"]
    subprocess.run(migrate, env=environment, check=True, capture_output=True, timeout=PATIENCE_S)
    processes = [start(arguments, folder, environment) for arguments in PROGRAMS]
    real = RealAirflow(
        environment["AIRFLOW__API__BASE_URL"], environment["AIRFLOW_CONN_PIPELINE_TUNER_DEFAULT"], folder
    )
    try:
        real.until(lambda: is_healthy(real))
        real.token = real.rest("/auth/token")["access_token"]
        yield real
    finally:
        for process in processes:
            stop(process)


def write_studies(folder):
    (folder / "studies").mkdir()
    (folder / "dags").mkdir()
    marker = {"name": "text", "options": {"marker": str(folder / "marker")}}
    hanging = {"fast": {"level": 1}, "small": {"level": 9, "mode": "hang_once"}}
    studies = [COMPRESS, {**COMPRESS, "study": "hanging", "workload": marker, "presets": hanging}]
    lines = ["# Airflow", "from pipeline_tuner.dag_factory import tuning_dag"]
    for study in studies:
        name = study["study"]
        (folder / "studies" / f"{name}.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
        (folder / "dags" / f"{name}.py").write_text(
            "\n".join([*lines, f"dag = tuning_dag('{name}')"]), encoding="utf-8"
        )


def settings_of(folder, postgres):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    metadata = postgres.create_database("airflow_of_the_tests").replace("postgresql://", "postgresql+psycopg2://")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    settings = {
        "CORE__DAGS_FOLDER": folder / "dags",
        "CORE__PLUGINS_FOLDER": ROOT / "plugins",
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": 4,
        "CORE__LOAD_EXAMPLES": False,
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": False,
        "CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": True,
        "DATABASE__SQL_ALCHEMY_CONN": metadata,
        "API__HOST": "127.0.0.1",
        "API__PORT": port,
        "API__WORKERS": 1,
        "API__BASE_URL": f"http://127.0.0.1:{port}",
        "API__SECRET_KEY": "of the tests",
        "API_AUTH__JWT_SECRET": "a secret of the tests only " * 4,
        "SCHEDULER__ENABLE_HEALTH_CHECK": False,
        "PIPELINE_TUNER__STUDIES_FOLDER": folder / "studies",
        "PIPELINE_TUNER__REPORTS_FOLDER": folder / "reports",
        "USAGE_DATA_COLLECTION__ENABLED": False,
    }
    return {
        **kept,
        **{f"AIRFLOW__{name}": str(value) for name, value in settings.items()},
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW_CONN_PIPELINE_TUNER_DEFAULT": postgres.create_database("results_of_the_tests"),
        "PYTHONPATH": str(ROOT / "plugins"),
    }


def start(arguments, folder, environment):
    with (folder / f"{arguments[0]}.out").open("wb") as output:
        command = [sys.executable, "-m", "airflow", *arguments]
        return subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)


def stop(process):
    family = [process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))]
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(20)
    for pid in family:
        if psutil.pid_exists(pid):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def is_healthy(real):
    try:
        health = real.rest("/api/v2/monitor/health")
    except OSError:
        return False
    return all(health[part]["status"] == "healthy" for part in ("metadatabase", "scheduler", "dag_processor"))


def newest_results(real, study):
    with Store(real.results) as store:
        with store.transaction() as connection:
            query = "SELECT sweep_id FROM pipeline_tuner.sweep WHERE study = %(study)s ORDER BY started_at DESC LIMIT 1"
            sweep_id = connection.exec_driver_sql(query, {"study": study}).scalar()
        return sweep_id, store.results(sweep_id)


def test_a_sweep_triggered_through_rest_recommends(airflow):
    run_id = airflow.tune("compress", seed=5)
    assert airflow.finished("compress", run_id) == "success", airflow.logs()
    sweep_id, trials = newest_results(airflow, "compress")
    assert {trial.status for trial in trials} == {"measured"}
    xcom = airflow.rest(f"/api/v2/dags/tune_compress/dagRuns/{run_id}/taskInstances/recommend/xcomEntries/return_value")
    told = xcom["value"] if isinstance(xcom["value"], dict) else json.loads(xcom["value"])
    assert told["sweep_id"] == sweep_id
    assert told["goals"]["size"]["label"] == "small"
    with Store(airflow.results) as store:
        assert store.sweep(sweep_id).options.seed == 5
    labels = {i["rendered_map_index"] for i in airflow.instances("compress", run_id) if i["task_id"] == "trial"}
    assert labels == {"block 1 · fast (control)", "block 1 · small"}
    assert airflow.rest("/api/v2/pools/pipeline_tuner")["slots"] == 1


def test_a_wrong_option_is_refused_with_the_schemas_words(airflow):
    airflow.until(lambda: airflow.knows("tune_compress"))
    with pytest.raises(urllib.error.HTTPError) as caught:
        airflow.tune("compress", trials=0)
    assert caught.value.code == 400
    assert "minimum" in caught.value.read().decode()


def test_a_cleared_trial_is_measured_again_and_counts_once(airflow):
    run_id = airflow.tune("compress")
    assert airflow.finished("compress", run_id) == "success"
    sweep_id, before = newest_results(airflow, "compress")
    body = {
        "dry_run": False,
        "dag_run_id": run_id,
        "task_ids": [["trial", 1]],
        "only_failed": False,
        "include_downstream": False,
    }
    cleared = airflow.rest("/api/v2/dags/tune_compress/clearTaskInstances", body)
    assert cleared["total_entries"] == 1
    airflow.until(lambda: [i for i in airflow.instances("compress", run_id) if i["try_number"] == 2])
    assert airflow.finished("compress", run_id) == "success"
    again_id, after = newest_results(airflow, "compress")
    assert again_id == sweep_id
    assert [t.plan for t in after] == [t.plan for t in before]
    differ = [a for a, b in zip(before, after, strict=True) if a.measurement != b.measurement]
    assert len(differ) == 1


def test_a_killed_mapped_task_leaves_no_process_and_the_sweep_goes_on(airflow):
    run_id = airflow.tune("hanging")
    marker = airflow.folder / "marker"
    airflow.until(lambda: marker.exists() and marker.read_text(encoding="ascii"))
    job = psutil.Process(int(marker.read_text(encoding="ascii")))
    # The job's parent is its guard, and the guard's parent is the process of the Airflow task.
    task = job.parent().parent()
    task.send_signal(signal.SIGKILL)
    airflow.until(lambda: not job.is_running())
    assert airflow.finished("hanging", run_id) == "success", airflow.logs()
    _, trials = newest_results(airflow, "hanging")
    assert {trial.status for trial in trials} == {"measured"}
    assert len({trial.plan.trial_id for trial in trials}) == len(trials)
