"""What the tests share: real servers, started only by the tests that ask for one and gone at the end.

A test without a fixture of this file needs no server, no Java and no Airflow.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline_tuner.local import demo_data, jars
from pipeline_tuner.local.java import java_home
from pipeline_tuner.local.layout import Layout
from pipeline_tuner.local.mongodb import MongodbServer
from pipeline_tuner.local.postgres import PostgresServer

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def layout() -> Layout:
    """The folders of this checkout."""
    return Layout(ROOT)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server of this test session: `.uri(database)`, `.cursor(database)`, `.create_database(name)`."""
    folder = Path(tempfile.mkdtemp(prefix="pipeline-tuner-postgres-"))
    folder.chmod(0o755)
    server = PostgresServer(folder, settings={"fsync": "off", "full_page_writes": "off"})
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def new_database(postgres: PostgresServer) -> Iterator[Callable[..., str]]:
    """A function that makes an empty database (or a copy of `template`) and returns its URI; dropped after the test."""
    names: list[str] = []

    def make(prefix: str = "test", *, template: str = "template1") -> str:
        names.append(f"{prefix}_{uuid.uuid4().hex[:8]}")
        return postgres.create_database(names[-1], template=template)

    yield make
    for name in names:
        postgres.drop_database(name)


@pytest.fixture
def database(new_database: Callable[..., str]) -> str:
    """The URI of an empty database of this test."""
    return new_database()


@pytest.fixture(scope="session")
def flights(postgres: PostgresServer) -> str:
    """The URI of a database with the 336,776 real flights, airports, planes and weather. Only read it."""
    demo_data.load(postgres, "flights_source")
    return postgres.uri("flights_source")


@pytest.fixture(scope="session")
def mongodb() -> Iterator[MongodbServer]:
    """A MongoDB-compatible server of this test session: `.uri(database)`."""
    server = MongodbServer(Path(tempfile.mkdtemp(prefix="pipeline-tuner-mongodb-")))
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def spark_env(layout: Layout) -> dict[str, str]:
    """The environment that Spark needs, set for this process too: JAVA_HOME, PATH, SPARK_LOCAL_IP, PYTHONPATH
    and PIPELINE_TUNER_JARS with the PostgreSQL driver."""
    return _use_spark(layout, "postgresql")


@pytest.fixture(scope="session")
def iceberg_env(layout: Layout) -> dict[str, str]:
    """`spark_env` with Iceberg's jar beside the PostgreSQL driver."""
    return _use_spark(layout, "postgresql", "iceberg")


@pytest.fixture
def work_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that every user can reach, such as PostgreSQL's own when the tests run as root."""
    folder = Path(tempfile.mkdtemp(prefix="pipeline-tuner-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def _use_spark(layout: Layout, *groups: str) -> dict[str, str]:
    home = java_home(layout)
    environment = {
        "JAVA_HOME": str(home),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), str(home / "bin"), os.environ["PATH"]]),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYTHONPATH": os.pathsep.join([str(ROOT / "plugins"), str(ROOT / "spark_jobs")]),
        "PIPELINE_TUNER_JARS": ",".join(map(str, jars.fetch(layout, *groups))),
    }
    os.environ.update(environment)
    return environment
