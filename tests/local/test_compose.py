"""docker-compose.yaml and Dockerfile, as far as they can be held without Docker; init runs for real."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.local.compose_file import COMPOSE_FILE, IMAGE, ROOT, Compose, Image

from pipeline_jobs.contract import TrialConfig, data_folder
from pipeline_jobs.dedup.options import made_options
from pipeline_jobs.quantizer.settings import read_workload
from pipeline_jobs.streaming_etl.workload import Options
from pipeline_tuner import settings
from pipeline_tuner.local import spark_health
from pipeline_tuner.local.demo_data import TABLES
from pipeline_tuner.local.network import Network
from pipeline_tuner.local.postgres import PROGRAMS
from pipeline_tuner.local.services import DATABASES
from pipeline_tuner.runners import runner_for
from pipeline_tuner.runners.process import job_environment
from pipeline_tuner.runners.spark_submit import SparkSubmitRunner
from pipeline_tuner.study import load_study

COMPOSE = Compose.read()
BUILT = Image.read()
SERVICES = COMPOSE.services
SCHEDULER = SERVICES["scheduler"]
"""Under LocalExecutor tasks run in its container, and Spark's drivers with them."""
SECRETS = {
    f"TUNER_{name}": "a-secret" for name in ("DB_PASSWORD", "MONGO_PASSWORD", "ADMIN_PASSWORD", "SECRET", "FERNET_KEY")
}


@dataclass(frozen=True)
class Place:
    """A path that programs write."""

    path: PurePosixPath
    writers: tuple[str, ...]
    readers: tuple[str, ...] = ()
    is_kept: bool = True
    """It must be there after the containers were made anew."""


@pytest.fixture
def container(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The scheduler's variables, set for this process too, as far as they say where things lie."""
    variables = {**BUILT.variables, **SCHEDULER.variables(SECRETS)}
    # What the settings find without an option: the checkout, which lies in the image's working folder.
    places = {"AIRFLOW__PIPELINE_TUNER__PROJECT_FOLDER": str(BUILT.folder)} | {
        name: value
        for name, value in variables.items()
        if name.startswith(("AIRFLOW__PIPELINE_TUNER", "AIRFLOW_HOME", "AIRFLOW_CONN_"))
    }
    monkeypatch.delenv("AIRFLOW__PIPELINE_TUNER__DATA_FOLDER")
    for name, value in places.items():
        monkeypatch.setenv(name, value)
    return variables


@pytest.fixture
def places(container: dict[str, str]) -> list[Place]:
    """All that is written, by the settings in a container."""
    home = PurePosixPath(container["AIRFLOW_HOME"])
    login = PurePosixPath(container["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"])
    airflow = ("scheduler", "triggerer", "dag-processor")
    words = SERVICES["spark-worker"].command or ()
    work = words[words.index("--work-dir") + 1] if "--work-dir" in words else "/usr/local/lib/python3.11/work"
    return [
        Place(PurePosixPath(settings.data_folder()), ("scheduler", "spark-worker")),
        Place(PurePosixPath(settings.reports_folder()), ("scheduler",), ("api-server",)),
        Place(home / "logs", airflow, ("api-server",)),
        Place(login, ("init",), ("api-server",)),
        Place(PurePosixPath(settings.work_folder()), ("scheduler",), is_kept=False),
        Place(PurePosixPath(work), ("spark-worker",), is_kept=False),
    ]


def test_every_part_of_the_whole_is_there():
    wanted = {"postgres", "mongo", "init", "api-server", "scheduler", "dag-processor", "triggerer"}
    assert set(SERVICES) == wanted | {"spark-master", "spark-worker"}


def test_what_is_written_lies_where_its_writers_may_write_and_all_who_need_it_look(places: list[Place]):
    for place in places:
        found = {SERVICES[name].mount_of(place.path) for name in (*place.writers, *place.readers)}
        assert BUILT.may_write(place.path), f"{place.path} is root's"
        assert len(found) == 1, f"{place.path} is another folder for each of {place.writers} and {place.readers}"
        assert not place.is_kept or found != {None}, f"{place.path} goes with its container"


def test_volumes_are_the_users_where_they_are_mounted_first():
    """An engine makes a new volume like the image's folder of that name: contents, owner and mode."""
    for name, service in SERVICES.items():
        for mount, volume in service.mounts.items() if service.image == IMAGE else ():
            assert mount in BUILT.owned, f"{name} mounts {volume} at {mount}, which is root's"
            assert volume in COMPOSE.volumes


@pytest.mark.parametrize("path", sorted((ROOT / "dags").glob("*.py")), ids=lambda path: path.stem)
def test_every_path_that_a_dag_names_is_below_the_data_folder(path: Path, container: dict[str, str], monkeypatch):
    monkeypatch.setenv("PIPELINE_TUNER_DATA", job_environment({}, ROOT / "spark_jobs")["PIPELINE_TUNER_DATA"])
    monkeypatch.setenv("AIRFLOW__PIPELINE_TUNER__STUDIES_FOLDER", str(ROOT / "include" / "configs"))
    monkeypatch.delenv("AIRFLOW__PIPELINE_TUNER__PROJECT_FOLDER")
    dag = runpy.run_path(str(path))["dag"]
    for task in dag.tasks:
        study = settings.load_named_study(task.study) if getattr(task, "study", "") else None
        workload = {**study.workload.options, **(getattr(task, "workload", None) or {})} if study else {}
        for made in made_by(study.job, workload) if study else ():
            assert PurePosixPath(made).is_relative_to(container["AIRFLOW__PIPELINE_TUNER__DATA_FOLDER"]), task.task_id


def made_by(job: str, options: dict[str, Any]) -> list[str]:
    """Where a job makes its data and tables."""
    config = TrialConfig(job, "t", {}, workload={k: v for k, v in options.items() if not str(v).startswith("{{")})
    if job == "dedup":
        return [str(data_folder() / made_options(config).folder)]
    if job == "streaming_etl":
        return [str(data_folder() / Options.of(config).folder)]
    if job == "quantizer":
        return [urlsplit(read_workload(config).warehouse).path]
    assert job == "migration", "say where this job writes"
    return []


def test_jobs_know_one_folder_for_what_they_keep():
    """By the working folder a kept process, a cold one and an executor would each find another."""
    sources = [path for path in (ROOT / "spark_jobs").rglob("*.py") if path.name != "contract.py"]
    naming = [path.name for path in sources if re.search(r"[\"'/]\.local|Path\.cwd|os\.getcwd", path.read_text())]
    assert naming == []


SPARK_STUDIES = [
    path.stem
    for path in (ROOT / "include" / "configs").glob("*.yaml")
    if "kind: spark_submit" in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", SPARK_STUDIES)
def test_the_studies_run_on_the_cluster_and_keep_no_jvm(name: str, container: dict[str, str], monkeypatch):
    monkeypatch.delenv("AIRFLOW__PIPELINE_TUNER__PROJECT_FOLDER")
    study = load_study(ROOT / "include" / "configs" / f"{name}.yaml")
    assert "local[" not in study.model_dump_json()
    runner = runner_for(study, sweep_id="a sweep")
    assert isinstance(runner, SparkSubmitRunner)
    command = runner.submit_command({}, ROOT / "spark_jobs" / "dedup.py", [])
    assert command[command.index("--master") + 1] == "spark://spark-master:7077"


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "init"])
def test_every_service_says_whether_it_is_well(name: str):
    check = SERVICES[name].healthcheck
    assert check is not None
    # The shell that runs such a search has the pattern in its own arguments, and finds itself.
    assert not re.search(r"\b(pgrep|pidof|ps)\b", " ".join(check.command))


def test_whoever_depends_on_a_service_with_a_check_waits_until_it_is_well():
    for service in SERVICES.values():
        for name, wanted in service.depends_on.items():
            assert wanted.condition == ("service_healthy" if name != "init" else "service_completed_successfully")


ALIVE = {"status": "ALIVE", "workers": [{"host": "spark-worker", "state": "ALIVE"}]}


@pytest.mark.parametrize(
    ("role", "state", "said"),
    [
        ("master", ALIVE, "well"),
        ("master", {**ALIVE, "workers": []}, "well"),
        ("master", {**ALIVE, "status": "STANDBY"}, "the master is STANDBY"),
        ("worker", ALIVE, "well"),
        ("worker", {**ALIVE, "workers": []}, "no living worker on spark-worker: none at all"),
        ("worker", {**ALIVE, "workers": [{"host": "spark-worker", "state": "DEAD"}]}, "spark-worker: DEAD"),
        ("worker", {**ALIVE, "workers": [{"host": "another", "state": "ALIVE"}]}, "none at all"),
        ("worker", None, "does not answer"),
    ],
)
def test_sparks_checks_say_what_is_wrong(role: str, state: Any, said: str, httpserver_of, capsys):
    assert spark_health.main([role, "--page", httpserver_of(state)]) == (said != "well")
    out = capsys.readouterr()
    assert said in out.out + out.err


@pytest.fixture
def httpserver_of() -> Iterator[Callable[[Any], str]]:
    """A function that serves a JSON document (None: nobody serves it) and returns its address."""
    servers: list[ThreadingHTTPServer] = []

    def serve(document: Any) -> str:
        class Page(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps(document).encode())

            def log_message(self, *arguments: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
        address = f"http://127.0.0.1:{server.server_port}/json/"
        if document is None:
            server.server_close()
            return address
        servers.append(server)
        Thread(target=server.serve_forever, daemon=True).start()
        return address

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_secrets_come_from_the_environment_only():
    secret = re.compile(r"PASSWORD|SECRET|FERNET_KEY|SQL_ALCHEMY_CONN|CONN_(?!SPARK)")
    for service in SERVICES.values():
        for name, value in service.environment.items():
            if secret.search(name) and not name.endswith("PASSWORDS_FILE"):
                assert "${TUNER_" in value, name


def test_no_secret_has_a_default():
    text = COMPOSE_FILE.read_text(encoding="utf-8")
    assert not re.search(r"\$\{\w+:?[-+]", text)
    assert set(re.findall(r"\$\{(\w+):\?", text)) == set(re.findall(r"\$\{(\w+)", text)) == set(SECRETS)


def test_ports_open_on_loopback_only():
    ports = [port for service in SERVICES.values() for port in service.ports]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_postgresql_is_the_version_of_the_embedded_one():
    assert SERVICES["postgres"].image == f"postgres:{PROGRAMS.removeprefix('pginstall')}"


def test_the_image_runs_as_nobody_special_with_the_locks_versions():
    assert BUILT.user == 50000
    assert "--constraint requirements.lock --requirement pyproject.toml" in " ".join(BUILT.runs)
    users = [service for service in SERVICES.values() if service.image == IMAGE]
    assert len(users) == 7


def test_the_images_packages_resolve_within_the_lock(tmp_path: Path):
    (command,) = re.findall(r"uv pip install --system --no-cache (.*)", "\n".join(BUILT.runs))
    dry = [sys.executable, "-m", "uv", "pip", "install", "--dry-run", "--target", str(tmp_path), *command.split()]
    # As `make setup` downloads: with the machine's own certificates, proxy and index.
    network, bundle = Network.of_machine(sys.executable), tmp_path / "trusted.pem"
    network.certificates.write(bundle)
    variables = network.uv_variables(bundle, None)
    done = subprocess.run(dry, cwd=ROOT, capture_output=True, text=True, env=variables)
    assert done.returncode == 0, done.stderr
    locked = set(re.findall(r"^([\w.-]+==[^ ;]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    wanted = set(re.findall(r"^ \+ (\S+)", done.stderr, re.MULTILINE))
    assert "apache-airflow==3.3.2" in wanted
    assert wanted <= locked


def test_init_makes_login_databases_data_and_tables_and_may_run_again(postgres, tmp_path):
    uri = postgres.create_database("airflow").rsplit("/", 1)[0]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "plugins"),
        "TUNER_ADMIN_PASSWORD": "a word",
        "AIRFLOW_CONN_PIPELINE_TUNER_DEFAULT": f"{uri}/tuner",
        "AIRFLOW_CONN_MIGRATION_SOURCE": f"{uri}/source",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(tmp_path / "passwords.json"),
    }
    for _ in range(2):
        subprocess.run([sys.executable, "-m", "pipeline_tuner.local.compose"], env=environment, check=True)
    assert json.loads((tmp_path / "passwords.json").read_text()) == {"admin": "a word"}
    assert (tmp_path / "passwords.json").stat().st_mode & 0o077 == 0
    with postgres.cursor("source") as cursor:
        cursor.execute("SELECT count(*) FROM flights")
        assert cursor.fetchone() == (TABLES[-1].rows,)
    with postgres.cursor("tuner") as cursor:
        cursor.execute("SELECT count(*) FROM pipeline_tuner.sweep")
        assert cursor.fetchone() == (0,)
    for database in DATABASES:
        postgres.drop_database(database)
