"""docker-compose.yaml and Dockerfile, as far as they can be held without Docker; init runs for real."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline_tuner.local.demo_data import TABLES
from pipeline_tuner.local.postgres import PROGRAMS
from pipeline_tuner.local.services import DATABASES

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yaml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]


def test_every_part_of_the_whole_is_there():
    wanted = {"postgres", "mongo", "init", "api-server", "scheduler", "dag-processor", "triggerer"}
    assert set(SERVICES) == wanted | {"spark-master", "spark-worker"}


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "init"])
def test_every_service_says_whether_it_is_well(name: str):
    assert SERVICES[name]["healthcheck"]["test"]


def test_secrets_come_from_the_environment_only():
    secret = re.compile(r"PASSWORD|SECRET|FERNET_KEY|SQL_ALCHEMY_CONN|CONN_(?!SPARK)")
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if secret.search(name) and not name.endswith("PASSWORDS_FILE"):
                assert "${TUNER_" in value, name


def test_ports_open_on_loopback_only():
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_postgresql_is_the_version_of_the_embedded_one():
    assert SERVICES["postgres"]["image"] == f"postgres:{PROGRAMS.removeprefix('pginstall')}"


def test_the_image_runs_as_nobody_special_with_the_locks_versions():
    assert re.search(r"^USER 50000$", DOCKERFILE, re.MULTILINE)
    assert "--constraint requirements.lock --requirement pyproject.toml" in DOCKERFILE
    users = [service for service in SERVICES.values() if service.get("image") == "airflow-pipeline-tuner"]
    assert len(users) == 7


def test_the_images_packages_resolve_within_the_lock(tmp_path: Path):
    (command,) = re.findall(r"uv pip install --system --no-cache (.*)", DOCKERFILE)
    dry = [sys.executable, "-m", "uv", "pip", "install", "--dry-run", "--target", str(tmp_path), *command.split()]
    done = subprocess.run(dry, cwd=ROOT, capture_output=True, text=True)
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
