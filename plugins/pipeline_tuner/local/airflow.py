"""Airflow on the embedded services: its environment and connections, its metadata, and the programs behind
`make ui`.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

from pipeline_tuner.exceptions import InfrastructureError
from pipeline_tuner.local import jars
from pipeline_tuner.local.background_process import BackgroundProgram
from pipeline_tuner.local.java import java_home, spark_home
from pipeline_tuner.local.network import loopback_without_proxy
from pipeline_tuner.local.ports import kept_port
from pipeline_tuner.local.postgres import USER
from pipeline_tuner.local.services import Services
from pipeline_tuner.local.usable_folders import java_variables, writable_home
from pipeline_tuner.store.migrate import migrate

LOGIN = "admin"
PROGRAMS = {
    "api-server": ["api-server"],
    "scheduler": ["scheduler", "--skip-serve-logs"],
    "dag-processor": ["dag-processor"],
    "triggerer": ["triggerer", "--skip-serve-logs"],
}
START_TIMEOUT_S = 300


@dataclass(frozen=True)
class Airflow:
    """Airflow with LocalExecutor on the embedded PostgreSQL, in the project's `.local/airflow`."""

    services: Services

    @property
    def home(self) -> Path:
        """AIRFLOW_HOME."""
        return self.services.layout.local / "airflow"

    @cached_property
    def environment(self) -> dict[str, str]:
        """All variables that Airflow, its jobs and Spark need, secrets among them; PATH is not one of them."""
        layout = self.services.layout
        return {
            "AIRFLOW_HOME": str(self.home),
            "PYTHONPATH": str(layout.root / "plugins"),
            "JAVA_HOME": str(java_home(layout)),
            # Spark's scripts look for it with a program that stumbles over blanks in folder names.
            "SPARK_HOME": str(spark_home()),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "PIPELINE_TUNER_JARS": ",".join(map(str, jars.present(layout))),
            **java_variables(layout.local),
            **loopback_without_proxy(os.environ),
            **self._caches(),
            **self._settings(),
            **{f"AIRFLOW_CONN_{name.upper()}": value for name, value in self._connections().items()},
        }

    @property
    def path(self) -> list[str]:
        """The folders that go before PATH: this environment's programs (spark-submit needs them), PostgreSQL's, Java's.

        psql and pg_dump must be those of the server: older ones refuse to dump it.
        """
        programs = Path(sys.executable).parent
        return [str(programs), str(self.services.postgres.programs), str(Path(self.environment["JAVA_HOME"]) / "bin")]

    def process_environment(self) -> dict[str, str]:
        """The environment of a program that uses Airflow."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        return {**kept, **self.environment, "PATH": os.pathsep.join([*self.path, os.environ.get("PATH", "")])}

    def migrate(self) -> None:
        """Make or update Airflow's metadata and the results' schema, once per version of the two."""
        wanted = f"{version('apache-airflow')} {_newest_migration(self.services.layout.root)}"
        marker = self.home / "migrated"
        if marker.exists() and marker.read_text(encoding="utf-8") == wanted:
            return
        self.home.mkdir(parents=True, exist_ok=True)
        self._run([sys.executable, "-m", "airflow", "db", "migrate"])
        migrate(self.services.postgres.uri("tuner"))
        marker.write_text(wanted, encoding="utf-8")

    def start(self) -> None:
        """Start the web server, scheduler, DAG processor and triggerer, and wait until the web server answers."""
        self._write_login()
        for name, arguments in PROGRAMS.items():
            program = self._program(name)
            if not program.is_running():
                program.start([sys.executable, "-m", "airflow", *arguments], self.process_environment())
        self._wait_until_healthy()

    def stop(self) -> None:
        """Stop Airflow's programs and all that they started."""
        with ThreadPoolExecutor(len(PROGRAMS)) as pool:
            list(pool.map(lambda name: self._program(name).stop(), PROGRAMS))

    def remove(self) -> None:
        """Stop Airflow and delete its folder (logs, settings, login) and what the jobs made."""
        self.stop()
        shutil.rmtree(self._data, ignore_errors=True)
        shutil.rmtree(self.home, ignore_errors=True)

    def is_running(self) -> bool:
        """True where the web server lives."""
        return self._program("api-server").is_running()

    @cached_property
    def url(self) -> str:
        """The address of Airflow's page, on loopback. The port stays from start to start where it is free."""
        self.home.mkdir(parents=True, exist_ok=True)
        file = self.home / "port"
        if self.is_running():
            return f"http://127.0.0.1:{file.read_text(encoding='ascii')}"
        return f"http://127.0.0.1:{kept_port(file, preferred=8080)}"

    @property
    def password(self) -> str:
        """The password of the page's only user, LOGIN."""
        return self.services.layout.secret("airflow-password", size_bytes=12)

    def _program(self, name: str) -> BackgroundProgram:
        return BackgroundProgram(self.home, name)

    def _caches(self) -> dict[str, str]:
        if writable_home():
            return {}
        return {"MPLCONFIGDIR": str(self.services.layout.local / "cache" / "matplotlib")}

    def _settings(self) -> dict[str, str]:
        layout = self.services.layout
        settings = {
            "CORE__DAGS_FOLDER": layout.root / "dags",
            "CORE__PLUGINS_FOLDER": layout.root / "plugins",
            "CORE__EXECUTOR": "LocalExecutor",
            "CORE__PARALLELISM": 4,
            "CORE__LOAD_EXAMPLES": False,
            "CORE__FERNET_KEY": layout.secret("fernet") + "=",
            "CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{LOGIN}:admin",
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": self._passwords_file,
            "DATABASE__SQL_ALCHEMY_CONN": self.services.postgres.uri("airflow").replace("://", "+psycopg2://", 1),
            "API__HOST": "127.0.0.1",
            "API__PORT": self.url.rsplit(":", 1)[1],
            "API__BASE_URL": self.url,
            "API__WORKERS": 1,
            "API__SECRET_KEY": layout.secret("api"),
            "API_AUTH__JWT_SECRET": layout.secret("jwt", size_bytes=64),
            "USAGE_DATA_COLLECTION__ENABLED": False,
            "PIPELINE_TUNER__DATA_FOLDER": self._data,
        }
        return {f"AIRFLOW__{name}": str(value) for name, value in settings.items()}

    def _connections(self) -> dict[str, str]:
        postgres = self.services.postgres
        connections = {
            "pipeline_tuner_default": postgres.uri("tuner"),
            "migration_source": postgres.uri("source"),
            "migration_target": postgres.uri("target"),
            "streaming_target": postgres.uri("streaming"),
            "dedup_target": postgres.uri("dedup"),
            "quantizer_catalog": postgres.uri("quantizer"),
            "spark_default": json.dumps({"conn_type": "spark", "host": "local[*]", "extra": {"deploy-mode": "client"}}),
        }
        if self.services.mongodb.is_initialised():
            connections["streaming_source"] = self._mongodb_connection()
        return connections

    def _mongodb_connection(self) -> str:
        mongodb = self.services.mongodb
        address = {"conn_type": "mongo", "host": "127.0.0.1", "port": mongodb.port, "schema": "source"}
        options = {"authSource": "admin", "directConnection": "true"}
        return json.dumps({**address, "login": "tuner", "password": mongodb.password, "extra": options})

    @property
    def _data(self) -> Path:
        return self.services.layout.local / "data"

    @property
    def _passwords_file(self) -> Path:
        return self.home / "passwords.json"

    def _write_login(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        self._passwords_file.touch(mode=0o600)
        self._passwords_file.write_text(json.dumps({LOGIN: self.password}), encoding="utf-8")

    def _wait_until_healthy(self) -> None:
        end = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < end:
            for name in PROGRAMS:
                if not self._program(name).is_running():
                    log = self._program(name).log_end()
                    raise InfrastructureError(f"Airflow's {name} ended:\n{log}")
            if _is_healthy(self.url):
                return
            time.sleep(0.5)
        raise InfrastructureError(f"Airflow does not answer at {self.url}; its logs are in {self.home}")

    def _run(self, command: list[str]) -> None:
        done = subprocess.run(command, env=self.process_environment(), capture_output=True, text=True)
        if done.returncode:
            raise InfrastructureError(f"{' '.join(command[2:4])} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def shell_lines(airflow: Airflow) -> str:
    """Lines for a shell's `eval` after which plain `airflow` commands, and `psql` on the results, work there."""
    postgres = airflow.services.postgres
    # Variables and not a URI: an argument of psql's is seen by everybody on the machine.
    psql = {"PGHOST": "127.0.0.1", "PGPORT": str(postgres.port), "PGUSER": USER, "PGDATABASE": "tuner"}
    variables = {**airflow.environment, **psql, "PGPASSWORD": postgres.password}
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    before = shlex.quote(os.pathsep.join(airflow.path))
    return "\n".join([*lines, f'export PATH={before}:"$PATH":{shlex.quote(str(postgres.programs))}'])


def _is_healthy(url: str) -> bool:
    without_proxy = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with without_proxy.open(f"{url}/api/v2/monitor/health", timeout=5) as answer:
            health = json.load(answer)
    except (OSError, ValueError):
        return False
    return all(health[part]["status"] == "healthy" for part in ("metadatabase", "scheduler", "dag_processor"))


def _newest_migration(root: Path) -> str:
    versions = root / "plugins" / "pipeline_tuner" / "store" / "migrations" / "versions"
    return max((path.stem for path in versions.glob("*.py")), default="")
