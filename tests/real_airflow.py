"""A real Airflow for tests: scheduler, DAG processor and API server on PostgreSQL with LocalExecutor."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
from tests.patience import PATIENCE_S

from pipeline_tuner.local.paths import one_at_a_time
from pipeline_tuner.local.ports import any_port

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = {
    "api-server": ["api-server"],
    "scheduler": ["scheduler", "--skip-serve-logs"],
    "dag-processor": ["dag-processor"],
}


@dataclass
class RealAirflow:
    """A running Airflow: its REST API and the results database of its sweeps."""

    url: str
    results: str
    folder: Path
    environment: dict[str, str]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    token: str = ""

    def start(self, program: str) -> None:
        """Start one of Airflow's programs."""
        self.processes[program] = start(PROGRAMS[program], self.folder, self.environment)

    def kill(self, program: str) -> None:
        """SIGKILL one of Airflow's programs and every process that it started, as a machine that dies would."""
        process = self.processes.pop(program)
        family = [process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))]
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()

    def rest(self, path: str, body: Any = None, method: str | None = None) -> Any:
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"{self.url}{path}", data=data, method=method)
        request.add_header("Content-Type", "application/json")
        if self.token:
            request.add_header("Authorization", f"Bearer {self.token}")
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)

    def page(self, path: str) -> str:
        """A page's HTML."""
        request = urllib.request.Request(f"{self.url}{path}", headers={"Authorization": f"Bearer {self.token}"})
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.read().decode()

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

    def finished(self, study: str, run_id: str, patience_s: float = PATIENCE_S) -> str:
        return self.until(lambda: self.end_of(study, run_id), patience_s)

    def end_of(self, study: str, run_id: str) -> str:
        """The state that a run has ended in; empty as long as it runs, or a busy server doesn't answer."""
        with contextlib.suppress(TimeoutError):
            state = self.rest(f"/api/v2/dags/tune_{study}/dagRuns/{run_id}")["state"]
            return state if state in ("success", "failed") else ""
        return ""

    def instances(self, study: str, run_id: str) -> list[dict[str, Any]]:
        path = f"/api/v2/dags/tune_{study}/dagRuns/{run_id}/taskInstances?limit=100"
        return self.rest(path)["task_instances"]

    def until(self, condition: Any, patience_s: float = PATIENCE_S) -> Any:
        deadline = time.monotonic() + patience_s
        while not (value := condition()):
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.5)
        return value

    def logs(self) -> str:
        return "\n".join(f"{p.name}: {p.read_text(errors='replace')[-1500:]}" for p in self.folder.glob("*.out"))


@contextmanager
def running_airflow(folder: Path, postgres: Any, **changes: Any) -> Iterator[RealAirflow]:
    """Airflow on `folder`/dags and `folder`/studies; `changes` are further variables of its environment."""
    environment = settings_of(folder, postgres) | {name: str(value) for name, value in changes.items()}
    make_metadata(postgres, environment)
    real = RealAirflow(
        environment["AIRFLOW__API__BASE_URL"], environment["AIRFLOW_CONN_PIPELINE_TUNER_DEFAULT"], folder, environment
    )
    try:
        for program in PROGRAMS:
            real.start(program)
        real.until(lambda: is_healthy(real))
        yield real
    finally:
        for process in real.processes.values():
            stop(process)


def settings_of(folder, postgres):
    port = any_port()
    metadata = postgres.create_database(f"airflow_{uuid.uuid4().hex[:8]}").replace(
        "postgresql://", "postgresql+psycopg2://"
    )
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
        "AIRFLOW_CONN_PIPELINE_TUNER_DEFAULT": postgres.create_database(f"results_{uuid.uuid4().hex[:8]}"),
        "PYTHONPATH": str(ROOT / "plugins"),
    }


def make_metadata(postgres, environment):
    """Airflow's tables in its empty database: made once a version, then restored, as making them takes 10 s."""
    database = environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].replace("postgresql+psycopg2://", "postgresql://")
    kept = ROOT / ".local" / "test" / f"airflow-{version('apache-airflow')}.sql"
    with one_at_a_time(kept.with_name("lock")):
        if kept.exists():
            restore = [postgres.programs / "psql", "-q", "-v", "ON_ERROR_STOP=1", "-f", kept, "-d", database]
            subprocess.run(restore, check=True, capture_output=True, timeout=PATIENCE_S)
            return
        migrate = [sys.executable, "-m", "airflow", "db", "migrate"]
        subprocess.run(migrate, env=environment, check=True, capture_output=True, timeout=PATIENCE_S)
        dump = [postgres.programs / "pg_dump", "--no-owner", "-d", database]
        dumped = subprocess.run(dump, check=True, capture_output=True, timeout=PATIENCE_S)
        unfinished = kept.with_suffix(".part")
        unfinished.write_bytes(dumped.stdout)
        unfinished.rename(kept)


def start(arguments, folder, environment):
    with (folder / f"{arguments[0]}.out").open("ab") as output:
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
