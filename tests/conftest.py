"""What the tests share: real servers, started only by the tests that ask for one and gone at the end.

A test without a fixture of this file needs no server, no Java and no Airflow.
"""

from __future__ import annotations

import atexit
import gc
import json
import logging
import os
import random
import shutil
import sqlite3
import sys
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from tests.order_of_files import woven
from tests.process_state import ProcessState, Running, has_running_loop, started_for_the_session
from tests.quick_java import quick_options
from tests.temporary_postgres import temporary_postgres

from pipeline_tuner.local import demo_data, jars
from pipeline_tuner.local.java import QUICKLY_COMPILED, java_home, spark_home
from pipeline_tuner.local.mongodb import MongodbServer
from pipeline_tuner.local.network import loopback_without_proxy
from pipeline_tuner.local.paths import Layout, one_at_a_time
from pipeline_tuner.local.postgres import PostgresServer

ROOT = Path(__file__).resolve().parents[1]
AIRFLOW_HOME = Path(tempfile.gettempdir()) / f"pipeline-tuner-airflow-{os.getpid()}"

# The same cases in every run, however busy the machine is; `--hypothesis-profile random` looks for new ones.
hypothesis.settings.register_profile(
    "same", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.register_profile("random", hypothesis.settings.get_profile("same"), derandomize=False)
hypothesis.settings.load_profile("same")

# Small matrices are slower in two threads than in one, three times so beside other work.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Servers of tests are on loopback: no proxy of this machine's is to be asked for them.
os.environ.update(loopback_without_proxy(os.environ))

# Airflow reads its settings once, when it is first imported: whichever test imports it first must find these.
os.environ.update(
    AIRFLOW_HOME=str(AIRFLOW_HOME),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__DAGS_FOLDER=str(ROOT / "dags"),
    AIRFLOW__CORE__PLUGINS_FOLDER=str(ROOT / "plugins"),
    AIRFLOW__CORE__UNIT_TEST_MODE="False",
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{AIRFLOW_HOME}/airflow.db",
    AIRFLOW__API_AUTH__JWT_SECRET="a secret of the tests only, of sixty-four bytes or more: " + "x" * 16,
    AIRFLOW__USAGE_DATA_COLLECTION__ENABLED="False",
    AIRFLOW__PIPELINE_TUNER__DATA_FOLDER=str(AIRFLOW_HOME / "data"),
    PIPELINE_TUNER_DATA=str(AIRFLOW_HOME / "data"),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fail-on-leaks", action="store_true", help="fail a test that leaves this process changed")
    parser.addoption("--file-order-seed", type=int, help="run the test files in a random order made from this seed")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deal out whole files: those that wait beside those that compute, or shuffled, as none may depend on another."""
    seed, paths = config.getoption("--file-order-seed"), list(dict.fromkeys(item.path for item in items))
    if seed is not None:
        paths.sort(key=lambda path: random.Random(f"{seed} {path}").random())
    else:
        paths = woven(paths)
    places = {path: place for place, path in enumerate(paths)}
    items.sort(key=lambda item: places[item.path])


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    """No garbage is looked for while the tests are read, and never in what was read: all of it stays to the end.

    It took a third of the time in which they are read.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        atexit.register(gc.unfreeze)  # the interpreter's end collects it, or compiled modules say that it leaked
        gc.enable()


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes don't name a test: gzip's hold the time, and processes that list other tests can't share them."""
    return f"{argname}-{len(val)}-bytes" if isinstance(val, bytes) else None


def pytest_unconfigure() -> None:
    # Py4J says at the interpreter's end that it closes, by a handler of Airflow's whose stream pytest has closed.
    logging.raiseExceptions = False
    shutil.rmtree(AIRFLOW_HOME, ignore_errors=True)


@pytest.fixture(scope="module", autouse=True)
def restored_module(request: pytest.FixtureRequest) -> Iterator[None]:
    """This process is after each test file as it was before it, and what the file leaves running is named.

    A running event loop can't be taken back: the file that leaves one fails.
    """
    before, running = ProcessState.now(), Running.now()
    yield
    left = running.left(60.0 if request.config.getoption("--fail-on-leaks") else 1.0)
    running.restore()
    before.restore()
    assert not has_running_loop(), "this file left an event loop running: asyncio refuses another one in this thread"
    _blame(request, "file", left)


@pytest.fixture(autouse=True)
def unchanged_process(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test changes in this process is taken back, with a warning; `--fail-on-leaks` fails the test."""
    before = ProcessState.now()
    yield
    changes = before.changes_until(ProcessState.now())
    before.restore()
    _blame(request, "test", changes)


def _blame(request: pytest.FixtureRequest, who: str, changes: list[str]) -> None:
    if changes:
        said = f"the {who} {request.node.name} left this process changed: {', '.join(changes)}"
        assert not request.config.getoption("--fail-on-leaks"), said
        warnings.warn(said, stacklevel=1)


@pytest.fixture(scope="session")
def layout() -> Layout:
    """The folders of this checkout."""
    return Layout(ROOT)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server of this test session: `.uri(database)`, `.cursor(database)`, `.create_database(name)`."""
    with temporary_postgres(settings={"fsync": "off", "full_page_writes": "off"}) as server:
        yield server


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
        with started_for_the_session():
            server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="module")
def spark_env(layout: Layout, restored_module: None) -> dict[str, str]:
    """The environment that Spark needs, set for this process too: JAVA_HOME, PATH, SPARK_LOCAL_IP, PYTHONPATH
    and PIPELINE_TUNER_JARS with the PostgreSQL driver and Iceberg; options that let JVMs start quickly.

    All tests that start a JVM in this process share it, so all of them get the same jars. `restored_module` takes the
    variables back after the test file.
    """
    home = java_home(layout)
    environment = {
        "JAVA_HOME": str(home),
        "SPARK_LAUNCHER_OPTS": QUICKLY_COMPILED,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), str(home / "bin"), os.environ["PATH"]]),
        "SPARK_HOME": str(spark_home()),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYTHONPATH": os.pathsep.join([str(ROOT / "plugins"), str(ROOT / "spark_jobs")]),
        "PIPELINE_TUNER_JARS": ",".join(map(str, jars.fetch(layout, "postgresql", "iceberg"))),
    }
    environment |= dict.fromkeys(("SPARK_SUBMIT_OPTS", "SPARK_DAEMON_JAVA_OPTS"), quick_options(layout, environment))
    os.environ.update(environment)
    return environment


@pytest.fixture(scope="session")
def airflow_env(layout: Layout) -> Path:
    """Airflow's metadata, ready for DAG runs in this process; the value is AIRFLOW_HOME.

    The empty database is made once per version of Airflow and then copied: making one takes 6 s.
    """
    AIRFLOW_HOME.mkdir(exist_ok=True)
    kept = layout.local / "test" / f"airflow-{version('apache-airflow')}.db"
    with one_at_a_time(layout.local / "test" / "lock"):
        if not kept.exists():
            _make_airflow_database(kept)
    _copy_sqlite(kept, AIRFLOW_HOME / "airflow.db")
    return AIRFLOW_HOME


@pytest.fixture
def run_dag(airflow_env: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """A function that runs a DAG in this process, as `airflow dags test` does, and returns its DagRun.

    `run_dag(dag, {"trials": 4})`; connections come from AIRFLOW_CONN_* (see `results`). Retries come at once.
    """
    from pipeline_tuner import dag_factory

    _check_schemas_once(monkeypatch)
    _look_again_soon(monkeypatch)
    monkeypatch.setitem(dag_factory.RETRIES, "retry_delay", timedelta(seconds=0.1))
    monkeypatch.setitem(dag_factory.RETRIES, "retry_exponential_backoff", False)

    def run(dag: Any, conf: dict[str, Any] | None = None) -> Any:
        from airflow.dag_processing.bundles.manager import DagBundlesManager
        from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

        # A DAG that is no file of the DAGs folder has to be made known first.
        DagBundlesManager().sync_bundles_to_db()
        bag = DagBag(dag_folder=os.devnull)
        bag.bag_dag(dag)
        sync_bag_to_db(bag, "dags-folder", None)
        return dag.test(run_conf=conf or {})

    return run


def _check_schemas_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow validates the schemas of a DAG's parameters with each of its tasks, an eighth of a small sweep's time.

    A schema that is a schema stays one. Values are validated each time, as without this.
    """
    import jsonschema

    known: set[str] = set()

    def validate(instance: Any, schema: Any, **options: Any) -> None:
        kind, text = jsonschema.validators.validator_for(schema), json.dumps(schema, sort_keys=True)
        if text not in known:
            kind.check_schema(schema)
            known.add(text)
        error = jsonschema.exceptions.best_match(kind(schema, **options).iter_errors(instance))
        if error is not None:
            raise error

    monkeypatch.setattr(jsonschema, "validate", validate)


def _look_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow's loop sleeps for a second when it has just expanded a mapped task, twice in each sweep."""
    from airflow.sdk.definitions import dag

    def sleep(seconds: float) -> None:
        sleep_for(0.1 if sys._getframe(1).f_code.co_filename == dag.__file__ else seconds)

    sleep_for = time.sleep
    monkeypatch.setattr(time, "sleep", sleep)


@pytest.fixture(scope="session")
def empty_results(postgres: PostgresServer) -> str:
    """The name of an empty results database, to be copied: making its tables takes longer than all else about one."""
    from pipeline_tuner.store.engine import as_engine
    from pipeline_tuner.store.migrate import migrate

    engine = as_engine(postgres.create_database("empty_results"))
    migrate(engine)
    engine.dispose()  # a database that somebody is connected to can't be copied
    return "empty_results"


@pytest.fixture
def results(new_database: Callable[..., str], empty_results: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URI of an empty results database, which connection `pipeline_tuner_default` names in this test."""
    uri = new_database("results", template=empty_results)
    monkeypatch.setenv("AIRFLOW_CONN_PIPELINE_TUNER_DEFAULT", uri)
    return uri


@pytest.fixture
def work_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that every user can reach, such as PostgreSQL's own when the tests run as root."""
    folder = Path(tempfile.mkdtemp(prefix="pipeline-tuner-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def _make_airflow_database(kept: Path) -> None:
    from airflow.utils.db import initdb

    initdb()
    _copy_sqlite(AIRFLOW_HOME / "airflow.db", kept.with_suffix(".part"))
    kept.with_suffix(".part").rename(kept)


def _copy_sqlite(source: Path, target: Path) -> None:
    """Copy a database that may be open: part of it may lie in its write-ahead log."""
    with closing(sqlite3.connect(source)) as reader, closing(sqlite3.connect(target)) as writer:
        reader.backup(writer)
