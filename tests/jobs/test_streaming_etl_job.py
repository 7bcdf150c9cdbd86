"""The job as its program: trials in memory and with databases, production runs, and what SIGKILL can't break."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bson
import psutil
import psycopg2
import pytest
from pymongo import MongoClient
from tests.jobs.streaming_etl_gate import Gate, gate
from tests.jobs.streaming_etl_reference import damaged, rows_in, rows_of, some_users, users_mapping, write_bson
from tests.jobs.test_streaming_etl_load import query
from tests.jobs.test_streaming_etl_mongodb import Shop, change_everything
from tests.patience import PATIENCE_S

from pipeline_jobs.contract import MeasurementWriter, TrialConfig, measure
from pipeline_jobs.streaming_etl.bson_file import BsonFile
from pipeline_jobs.streaming_etl.in_place import MIN_DOCUMENTS
from pipeline_jobs.streaming_etl.job import run
from pipeline_jobs.streaming_etl.load import Target, load
from pipeline_jobs.streaming_etl.settings import Settings
from pipeline_jobs.streaming_etl.trial import SCHEMA
from pipeline_tuner.local.mongodb import MongodbServer
from pipeline_tuner.measurement import Measurement

MAPPING = users_mapping()
ROOT = Path(__file__).parents[2]


def config_file(folder: Path, **parts: Any) -> Path:
    document = {
        "contract": 1,
        "job": "streaming_etl",
        "trial_id": "t",
        "connections": {"source": "ETL_SOURCE", "target": "ETL_TARGET"},
        "warmups": 0,
        **parts,
    }
    path = folder / "config.json"
    path.write_text(json.dumps(document))
    return path


def measured(folder: Path, **parts: Any) -> Measurement:
    """Run the job in this process and read its measurement as the tuner does."""
    assert measure("streaming_etl", run, config_file(folder, **parts), folder / "m.json") == 0
    return Measurement.model_validate_json((folder / "m.json").read_bytes())


@pytest.fixture
def target(database: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("ETL_TARGET", database)
    return database


def test_a_trial_from_a_file_is_measured_and_checked(target: str, tmp_path: Path) -> None:
    measurement = measured(
        tmp_path,
        configuration={"batch_size": 40, "worker_num": 2},
        workload={"documents": 200, "folder": str(tmp_path)},
        warmups=1,
        repeats=2,
    )
    assert measurement.status == "measured", measurement.failure
    assert len(measurement.samples) == 2
    assert [check.name for check in measurement.checks if check.passed] == [
        "documents are accounted for", "the load ran to its end", "rows are accounted for",
        "every table holds what it should",
    ]  # fmt: skip
    metrics = measurement.metrics
    assert (metrics["records"], metrics["batches"], metrics["errors"]) == (200, 5, 0)
    assert 0 < metrics["latency_p50_s"] <= metrics["latency_p95_s"] <= metrics["latency_p99_s"]
    assert metrics["rows_per_s"] == pytest.approx(
        metrics["rows"] / metrics["records"] * metrics["records_per_s"], rel=0.2
    )
    for name in ("extract_busy_s", "transform_busy_s", "load_busy_s", "cpu_per_worker", "s_per_1000_records"):
        assert metrics[name] > 0
    assert metrics["worker_wait_s"] >= 0
    assert measurement.details["bottleneck"] in ("extract", "transform", "load")
    assert measurement.workload["fingerprint"]


def test_a_wrong_row_fails_the_trial(target: str, tmp_path: Path) -> None:
    workload = {"documents": 100, "folder": str(tmp_path)}
    measured(tmp_path, configuration={}, workload=workload)
    query(target, f"CREATE FUNCTION wrong() RETURNS trigger LANGUAGE plpgsql AS "
          f"'BEGIN NEW.likes := NEW.likes + 1; RETURN NEW; END'; CREATE TRIGGER wrong BEFORE INSERT ON {SCHEMA}.posts "
          f"FOR EACH ROW WHEN (NEW.user_id = 7) EXECUTE FUNCTION wrong()")  # fmt: skip
    measurement = measured(tmp_path, configuration={}, workload=workload)
    assert [(check.name, check.detail) for check in measurement.failed_checks] == [
        ("every table holds what it should", "posts")
    ]


@pytest.mark.parametrize(("pipelines", "keys"), [(1, "after"), (3, "during")])
def test_a_trial_on_a_part_of_a_collection(
    target: str, mongodb: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pipelines: int, keys: str
) -> None:
    monkeypatch.setenv("ETL_SOURCE", mongodb.uri("trial"))
    configuration = {"batch_size": 50, "manager_worker_num": pipelines, "foreign_keys": keys, "async_commit": True}
    workload = {"documents": 200, "source": "mongodb", "folder": str(tmp_path)}
    whole = measured(tmp_path, configuration=configuration, workload=workload)
    half = measured(tmp_path, configuration=configuration, workload=workload, fraction=0.5)
    assert (whole.failed_checks, half.failed_checks) == ((), ())
    assert whole.metrics["records"] == 200
    assert 60 <= half.metrics["records"] <= 140


@pytest.mark.parametrize(
    "configuration",
    [
        {"record": "compact", "records": 20_000, "batch_size": 128, "worker_num": 4},
        {"record": "compact", "transform": "light", "records": 20_000, "batch_size": 999, "worker_num": 2},
        {"record": "compact", "transform": "heavy", "records": 5000, "batch_size": 500, "manager_worker_num": 2},
        {"record": "compact", "transform": "network", "records": 500, "batch_size": 50, "transform_concurrency": 10},
        {"record": "heavy", "records": 300, "batch_size": 50, "worker_num": 2},
        {"record": "heavy", "transform": "light", "records": 300, "batch_size": 7, "manager_worker_num": 2},
        {"record": "compact", "records": 20_000, "batch_size": 128, "made_before": True},
    ],
)
def test_in_memory_trials(tmp_path: Path, configuration: dict[str, Any]) -> None:
    measurement = measured(tmp_path, configuration=configuration, workload={"kind": "memory"})
    assert measurement.status == "measured", measurement.failure
    assert measurement.failed_checks == ()
    assert measurement.metrics["records_per_s"] > 0
    assert measurement.metrics["rows"] == measurement.metrics["records"]


@pytest.mark.parametrize(
    ("configuration", "workload", "reason"),
    [
        ({"batch_size": 0}, {}, "batch_size is 0"),
        ({"batchsize": 5}, {}, r"parameter batchsize \(did you mean batch_size\?\): no such option"),
        ({}, {"kind": "tables", "docs": 5}, r"docs \(did you mean documents\?\): no such option"),
        ({"batchsize": 5}, {"kind": "memory"}, "no such option"),
        ({"record": "huge"}, {"kind": "memory"}, "record is 'huge', must be one of compact, heavy"),
        ({}, {"source": "bson", "path": "/no/such/file.bson"}, "can't be read"),
        ({"adaptive": True}, {"documents": 5}, "needs target_records_per_s"),
    ],
)
def test_what_can_not_work_is_a_bad_configuration(
    target: str, tmp_path: Path, configuration: dict[str, Any], workload: dict[str, Any], reason: str
) -> None:
    measurement = measured(tmp_path, configuration=configuration, workload=workload)
    assert measurement.failure is not None
    assert measurement.failure.kind == "bad_configuration"
    assert pytest.importorskip("re").search(reason, measurement.failure.reason)


def test_a_target_away_is_infrastructure_and_its_password_stays_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETL_TARGET", "postgresql://u:very-secret@127.0.0.1:9/nothing")
    measurement = measured(tmp_path, configuration={}, workload={"documents": 5, "folder": str(tmp_path)})
    assert measurement.failure is not None
    assert measurement.failure.kind == "infrastructure"
    assert "very-secret" not in (tmp_path / "m.json").read_text()


def test_production_loads_follows_and_goes_on(
    target: str, mongodb: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = mongodb.uri("production")
    monkeypatch.setenv("ETL_SOURCE", uri)
    documents = some_users(50)
    with MongoClient(uri) as client:
        client.get_default_database()["users"].insert_many(documents)
        workload = {"run_id": "nightly", "source": "mongodb", "follow_s": 0.5}
        first = measured(tmp_path, configuration={"batch_size": 20}, workload=workload)
        assert (first.status, first.metrics["records"], first.failed_checks) == ("measured", 50, ())
        client.get_default_database()["users"].delete_one({"_id": 3})
        client.get_default_database()["users"].update_one({"_id": 4}, {"$set": {"age": 44}})
    second = measured(tmp_path, configuration={"batch_size": 20}, workload=workload)
    assert second.metrics["records"] == 2
    documents[3]["age"] = 44
    assert rows_in(target, MAPPING) == rows_of(MAPPING, documents[:2] + documents[3:])


class Run:
    """The job's program in production, killed and started again. `source` is a BSON file or a MongoDB URI."""

    def __init__(
        self, folder: Path, uri: str, source: Path | str, *, follow_s: float = -1, **configuration: Any
    ) -> None:
        self.folder, self.uri = folder, uri
        place = {"path": str(source)} if isinstance(source, Path) else {"source": "mongodb"}
        workload = {"run_id": "killed", "follow_s": follow_s, **place}
        self.config = config_file(folder, configuration=configuration, workload=workload)
        self.environment = {
            **os.environ, "ETL_SOURCE": str(source), "ETL_TARGET": uri, "PYTHONPATH": str(ROOT / "spark_jobs"),
        }  # fmt: skip

    def start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(ROOT / "spark_jobs" / "streaming_etl.py"), "--config", str(self.config)]
        return subprocess.Popen(
            [*command, "--measurement", str(self.folder / "m.json")], env=self.environment, stderr=subprocess.PIPE
        )

    def committed(self) -> int:
        """Documents in the target's books; 0 before there are any."""
        try:
            return int(query(self.uri, "SELECT coalesce(sum(documents), 0) FROM etl_batch")[0][0])
        except psycopg2.errors.UndefinedTable:
            return 0

    def started_moving(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until the process has committed a batch or ended.

        A load that goes on first forgets the batches that were committed after one that was not.
        """
        lowest, end = self.committed(), time.monotonic() + PATIENCE_S
        while (now := self.committed()) <= lowest and process.poll() is None:
            lowest = now
            assert time.monotonic() < end, "nothing moves"
            time.sleep(0.02)

    def finish(self) -> Measurement:
        process = self.start()
        assert process.wait(timeout=PATIENCE_S) == 0, process.stderr.read().decode() if process.stderr else ""
        return Measurement.model_validate_json((self.folder / "m.json").read_bytes())


def bson_of(folder: Path, documents: list[dict[str, Any]]) -> Path:
    return write_bson(folder / "users.bson", [bson.encode(document) for document in documents])


def kill_near(etl: Run, held: Gate, documents: int, rng: random.Random) -> None:
    """Start the load, and kill it at some moment before it has committed more than so many documents."""
    held.close_at(documents)
    process = etl.start()
    etl.started_moving(process)
    time.sleep(rng.uniform(0, 0.2))
    process.send_signal(signal.SIGKILL)
    process.wait()
    held.open()
    held.until_nobody_is_connected()


def killed_again_and_again(folder: Path, uri: str, kills: int, count: int) -> None:
    rng = random.Random(kills)
    documents = some_users(count)
    made = list(damaged(documents, 100, rng))
    file = write_bson(folder / "users.bson", [raw for raw, _ in made])
    etl = Run(folder, uri, file, batch_size=10, worker_num=3, manager_worker_num=2)
    with gate(uri, folder) as held:
        for kill in range(1, kills + 1):
            kill_near(etl, held, kill * count // (kills + 1), rng)
    assert 0 < etl.committed() < count
    measurement = etl.finish()
    assert (measurement.status, measurement.failed_checks) == ("measured", ())
    good = [document for document, (_, reason) in zip(documents, made, strict=True) if reason is None]
    assert rows_in(uri, MAPPING) == rows_of(MAPPING, good)
    books = query(uri, "SELECT sum(documents), sum(loaded), sum(rejected) FROM etl_batch")[0]
    assert tuple(map(int, books)) == (count, len(good), count - len(good))
    assert query(uri, "SELECT count(*) FROM etl_dead_letter")[0][0] == count - len(good)


def test_killed_at_random_moments_nothing_is_lost_or_doubled(database: str, tmp_path: Path) -> None:
    killed_again_and_again(tmp_path, database, kills=3, count=1200)


def test_killed_while_documents_are_replaced_in_place(database: str, tmp_path: Path) -> None:
    """Of documents that are there, in large batches: what a kill cuts off is as it was, or as it shall be."""
    rng, count = random.Random(1), 1500
    old, new = some_users(count), some_users(count, seed=9)
    load(BsonFile(bson_of(tmp_path, old)), Target(database, MAPPING), Settings(batch_size=500), job="old")
    etl = Run(tmp_path, database, bson_of(tmp_path, new), batch_size=MIN_DOCUMENTS, worker_num=2)
    with gate(database, tmp_path) as held:
        for kill in (1, 2):
            kill_near(etl, held, count + kill * count // 3, rng)
    assert 0 < etl.committed() - count < count
    assert etl.finish().failed_checks == ()
    assert rows_in(database, MAPPING) == rows_of(MAPPING, new)
    books = query(database, "SELECT sum(documents), sum(loaded) FROM etl_batch WHERE job <> 'old'")[0]
    assert tuple(map(int, books)) == (count, count)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_killed_at_twenty_random_moments(database: str, tmp_path: Path) -> None:
    killed_again_and_again(tmp_path, database, kills=20, count=20_000)


def test_sigterm_drains_and_says_that_it_was_cancelled(database: str, tmp_path: Path) -> None:
    documents = some_users(1500)
    etl = Run(tmp_path, database, bson_of(tmp_path, documents), batch_size=10, worker_num=2)
    with gate(database, tmp_path) as held:
        held.close_at(300)
        process = etl.start()
        etl.started_moving(process)
        process.terminate()
        held.open()
    assert process.wait(timeout=PATIENCE_S) == 0
    first = Measurement.model_validate_json((tmp_path / "m.json").read_bytes())
    assert [check.name for check in first.failed_checks] == ["the load ran to its end"]
    assert rows_in(database, MAPPING) == rows_of(MAPPING, documents[: etl.committed()])
    assert etl.finish().metrics["records_in_all_runs"] == 1500
    assert rows_in(database, MAPPING) == rows_of(MAPPING, documents)


def test_the_database_restarted_under_a_load(tmp_path: Path, work_folder: Path) -> None:
    from pipeline_tuner.local.postgres import PostgresServer

    server = PostgresServer(work_folder)
    documents = some_users(1500)
    try:
        server.start()
        uri = server.create_database("etl")
        etl = Run(tmp_path, uri, bson_of(tmp_path, documents), batch_size=10, worker_num=2)
        with gate(uri, tmp_path) as held:
            held.close_at(300)
            process = etl.start()
            etl.started_moving(process)
            server.stop()
        server.start()
        assert process.wait(timeout=PATIENCE_S) == 0
        measurement = Measurement.model_validate_json((tmp_path / "m.json").read_bytes())
        assert measurement.status == "measured", measurement.failure
        assert measurement.metrics["records"] == 1500
        assert rows_in(uri, MAPPING) == rows_of(MAPPING, documents)
    finally:
        server.remove()


@pytest.fixture
def own_mongodb(work_folder: Path) -> Iterator[MongodbServer]:
    """A MongoDB-compatible server that a test may kill."""
    server = MongodbServer(work_folder)
    try:
        server.start()
        yield server
    finally:
        server.remove()


def kill(server: MongodbServer) -> None:
    process = psutil.Process(int((server.folder / "secantusdb.pid").read_text().split()[0]))
    for member in (*process.children(recursive=True), process):
        member.kill()
    process.wait()
    assert not server.is_running()


def source_killed_again_and_again(folder: Path, uri: str, server: MongodbServer, kills: int, count: int) -> None:
    documents = some_users(count)
    with MongoClient(server.uri("shop")) as client:
        client.get_default_database()["users"].insert_many(documents)
    etl = Run(folder, uri, server.uri("shop"), batch_size=10, worker_num=2)
    rng = random.Random(kills)
    with gate(uri, folder) as held:
        held.close_at(count // (kills + 1))
        process = etl.start()
        for number in range(1, kills + 1):
            etl.started_moving(process)
            time.sleep(rng.uniform(0, 0.1))
            kill(server)
            server.start()
            assert process.poll() is None
            held.open()
            if number < kills:
                held.close_at((number + 1) * count // (kills + 1))
    assert process.wait(timeout=PATIENCE_S) == 0
    measurement = Measurement.model_validate_json((folder / "m.json").read_bytes())
    assert (measurement.status, measurement.failed_checks) == ("measured", ()), measurement.failure
    assert measurement.metrics["records"] == count
    assert rows_in(uri, MAPPING) == rows_of(MAPPING, documents)


def test_the_source_killed_under_a_load_and_started_again(
    database: str, tmp_path: Path, own_mongodb: MongodbServer
) -> None:
    source_killed_again_and_again(tmp_path, database, own_mongodb, kills=1, count=1500)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_the_source_killed_ten_times(database: str, tmp_path: Path, own_mongodb: MongodbServer) -> None:
    source_killed_again_and_again(tmp_path, database, own_mongodb, kills=10, count=10_000)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_source_that_stays_away_fails_the_run_and_the_next_one_goes_on(
    database: str, tmp_path: Path, own_mongodb: MongodbServer
) -> None:
    documents = some_users(1500)
    with MongoClient(own_mongodb.uri("shop")) as client:
        client.get_default_database()["users"].insert_many(documents)
    etl = Run(tmp_path, database, own_mongodb.uri("shop"), batch_size=10, worker_num=2)
    process = etl.start()
    etl.started_moving(process)
    kill(own_mongodb)
    assert process.wait(timeout=PATIENCE_S) == 0
    failure = Measurement.model_validate_json((tmp_path / "m.json").read_bytes()).failure
    assert failure is not None
    assert failure.kind == "infrastructure"
    assert "start again to go on" in failure.reason
    assert own_mongodb.password not in (tmp_path / "m.json").read_text()
    assert rows_in(database, MAPPING) == rows_of(MAPPING, documents[: etl.committed()])
    own_mongodb.start()
    assert etl.finish().metrics["records_in_all_runs"] == 1500
    assert rows_in(database, MAPPING) == rows_of(MAPPING, documents)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_the_source_killed_while_its_changes_are_followed(
    database: str, tmp_path: Path, own_mongodb: MongodbServer
) -> None:
    documents, rng = some_users(300), random.Random(5)
    with MongoClient(own_mongodb.uri("shop")) as client:
        shop = Shop(own_mongodb.uri("shop"), client.get_default_database()["users"])
        shop.users.insert_many(documents)
        etl = Run(tmp_path, database, shop.uri, follow_s=15, batch_size=10, timeout_s=0.1)
        process = etl.start()
        for _ in range(3):
            etl.started_moving(process)
            documents = change_everything(shop, documents, rng)
            time.sleep(rng.uniform(0, 0.5))
            kill(own_mongodb)
            time.sleep(rng.uniform(0, 2))
            own_mongodb.start()
            documents = change_everything(shop, documents, rng)
        assert process.wait(timeout=PATIENCE_S) == 0
    measurement = Measurement.model_validate_json((tmp_path / "m.json").read_bytes())
    assert measurement.status == "measured", measurement.failure
    assert rows_in(database, MAPPING) == rows_of(MAPPING, documents)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_hundred_thousand_documents_with_five_hundred_damaged_ones(database: str, tmp_path: Path) -> None:
    documents = some_users(100_000)
    made = list(damaged(documents, 200, random.Random(1)))
    etl = Run(tmp_path, database, write_bson(tmp_path / "users.bson", [raw for raw, _ in made]), worker_num=2)
    measurement = etl.finish()
    assert (measurement.metrics["records"], measurement.metrics["errors"]) == (100_000, 500)
    good = [document for document, (_, reason) in zip(documents, made, strict=True) if reason is None]
    found, expected = rows_in(database, MAPPING), rows_of(MAPPING, good)
    assert all(found[name] == rows for name, rows in expected.items())
    letters = query(database, "SELECT document, reason FROM etl_dead_letter")
    assert {bytes(document): reason for document, reason in letters} == {raw: reason for raw, reason in made if reason}


def test_the_writer_is_the_contracts(tmp_path: Path) -> None:
    config = TrialConfig("streaming_etl", "t", {"records": 1000}, {"kind": "memory"}, warmups=0)
    writer = MeasurementWriter(config, tmp_path / "m.json")
    run(config, writer)
    writer.write()
    assert Measurement.model_validate_json((tmp_path / "m.json").read_bytes()).status == "measured"
