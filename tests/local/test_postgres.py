"""The embedded PostgreSQL: any folder, any user, a password, and nothing left behind."""

from __future__ import annotations

import os
import socket
import stat
import threading
from pathlib import Path

import psutil
import psycopg2
import pytest
from tests.patience import PATIENCE_S

from pipeline_tuner.local import demo_data
from pipeline_tuner.local.postgres import PostgresServer


@pytest.fixture
def server(tmp_path: Path):
    """A server in a folder that only its owner can enter: as root, nobody can't reach it."""
    tmp_path.chmod(0o700)
    server = PostgresServer(tmp_path / "deep er" / "postgres", settings={"fsync": "off"})
    yield server
    server.remove()


def test_starts_in_a_folder_that_only_its_owner_can_enter(server):
    server.start()
    with server.cursor() as cursor:
        cursor.execute("SELECT current_user, current_setting('listen_addresses'), version()")
        user, addresses, version = cursor.fetchone()
    assert (user, addresses) == ("tuner", "127.0.0.1")
    assert version.startswith("PostgreSQL 18")


def test_runs_as_another_user_where_the_caller_is_root(server):
    server.start()
    process = psutil.Process(int((server.data / "postmaster.pid").read_text().split()[0]))
    assert process.uids().real != 0
    assert stat.S_IMODE(server.data.stat().st_mode) == 0o700


def test_asks_for_the_password(server):
    server.start()
    assert stat.S_IMODE((server.folder / "password").stat().st_mode) == 0o600
    for wrong in (server.uri().replace(server.password, "wrong"), server.uri().replace(f":{server.password}", "")):
        with pytest.raises(psycopg2.OperationalError, match="password"):
            psycopg2.connect(wrong)


def test_no_other_address_answers(server):
    server.start()
    listening = {
        c.laddr.ip for c in psutil.net_connections("tcp") if c.laddr.port == server.port and c.status == "LISTEN"
    }
    assert listening == {"127.0.0.1"}


def test_start_twice_and_stop_leave_one_and_no_process(server):
    threads = [threading.Thread(target=server.start) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(_processes_of(server)) == 1
    server.stop()
    assert not server.is_running()
    assert _processes_of(server) == []


def test_data_outlive_a_restart_and_a_kill(server):
    server.start()
    with server.cursor(server.create_database("kept") and "kept") as cursor:
        cursor.execute("CREATE TABLE t AS SELECT 42 AS answer")
    port = server.port
    first = psutil.Process(int((server.data / "postmaster.pid").read_text().split()[0]))
    others = _processes_of(server)
    first.kill()
    psutil.wait_procs([first, *others], timeout=PATIENCE_S)
    assert not server.is_running()
    server.start()
    assert server.port == port
    with server.cursor("kept") as cursor:
        cursor.execute("SELECT answer FROM t")
        assert cursor.fetchone() == (42,)


def test_another_port_where_somebody_took_it(server):
    server.start()
    port = server.port
    server.stop()
    with socket.create_server(("127.0.0.1", port)):
        server.start()
        assert server.port != port


def test_remove_leaves_nothing(server):
    server.start()
    home = server.data.parent
    server.remove()
    assert not home.exists()
    assert not server.folder.exists()


def test_flights_are_whole(flights, postgres):
    with postgres.cursor(flights.rsplit("/", 1)[1]) as cursor:
        counts = {}
        for table in demo_data.TABLES:
            cursor.execute(f"SELECT count(*) FROM {table.name}")
            counts[table.name] = cursor.fetchone()[0]
        cursor.execute("SELECT sum(distance), count(dep_time), min(time_hour)::text FROM flights")
        figures = cursor.fetchone()
    assert counts == demo_data.load(postgres, "flights_source")
    assert counts["flights"] == 336_776
    assert figures == (350_217_607, 328_521, "2013-01-01 10:00:00+00")


def _processes_of(server: PostgresServer) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if process.info["cmdline"] and str(server.data) in process.info["cmdline"] and "-D" in process.info["cmdline"]
    ]


if os.geteuid() != 0:
    test_runs_as_another_user_where_the_caller_is_root = pytest.mark.skip("only root needs another user")(
        test_runs_as_another_user_where_the_caller_is_root
    )
