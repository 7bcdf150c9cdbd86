"""Two runs of one load: the second is refused, or takes over where the first can't be seen; nothing is lost between."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg2
import pytest
from tests.jobs.streaming_etl_reference import rows_in, rows_of, some_users, users_mapping
from tests.jobs.test_streaming_etl_at_once import NO_RETRY, Held, put, until
from tests.jobs.test_streaming_etl_load import query

from pipeline_jobs.contract import InfrastructureError
from pipeline_jobs.streaming_etl import one_run
from pipeline_jobs.streaming_etl.load import Target
from pipeline_jobs.streaming_etl.one_run import Turn

MAPPING = users_mapping()
USERS = some_users(60)
ASKING = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_try_advisory_lock%' AND state = 'idle'"
HOLDER = f"{ASKING} AND pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')"
WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
LEDGER = "SELECT sum(documents), sum(loaded) FROM etl_batch"


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    """The first batch of job "left" stands before its commit: its line in the ledger is written."""
    holder = Held(monkeypatch, has_account=True)
    yield holder
    holder.release()


@pytest.fixture
def target(database: str) -> Target:
    return Target(database, MAPPING, backoff=NO_RETRY)


def test_a_second_run_is_refused_and_the_first_one_accounts_for_all(
    target: Target, tmp_path: Path, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would forget batches that the first one has committed behind one that is not committed yet."""
    monkeypatch.setattr(one_run, "PATIENCE_S", 0.5)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(put, target, tmp_path, USERS, "left", batch=10, workers=3)
        until(held.is_there.is_set, first)
        second = threads.submit(put, target, tmp_path, USERS, "left", batch=10)
        until(lambda: query(target.uri, WAITING) != [(0,)], second)
        held.release()
        first.result()
        with pytest.raises(InfrastructureError, match=r"another run of the load 'left' .* a run_id of its own"):
            second.result()
    assert query(target.uri, LEDGER) == [(60, 60)]
    assert rows_in(target.uri, MAPPING) == rows_of(MAPPING, USERS)


def test_a_run_waits_for_one_that_is_about_to_end(target: Target, tmp_path: Path, held: Held) -> None:
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(put, target, tmp_path, USERS, "left", batch=10)
        until(held.is_there.is_set, first)
        second = threads.submit(put, target, tmp_path, USERS, "left", batch=10)
        until(lambda: query(target.uri, ASKING) != query(target.uri, HOLDER), second)
        held.release()
        first.result()
        second.result()
    assert query(target.uri, LEDGER) == [(60, 60)]


@pytest.mark.parametrize("batch", [10, 25])
def test_a_run_that_comes_after_the_lock_was_lost_takes_over(
    target: Target, tmp_path: Path, held: Held, batch: int
) -> None:
    """It waits for the batches that are on their way, and the first run's next ones are refused."""
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(put, target, tmp_path, USERS, "left", batch=10)
        until(held.is_there.is_set, first)
        ended = HOLDER.replace("count(*)", "count(pg_terminate_backend(pid, 60000))")
        assert query(target.uri, ended) == [(1,)]
        second = threads.submit(put, target, tmp_path, USERS, "left", batch=batch)
        until(lambda: query(target.uri, WAITING) != [(0,)], second)
        held.release()
        second.result()
        with pytest.raises(InfrastructureError, match="has taken over"):
            first.result()
    assert query(target.uri, LEDGER) == [(60, 60)]
    assert query(target.uri, "SELECT is_done FROM etl_range") == [(True,)]
    assert rows_in(target.uri, MAPPING) == rows_of(MAPPING, USERS)


def test_a_turn_waits_for_batches_and_ends_earlier_ones(target: Target, tmp_path: Path) -> None:
    put(target, tmp_path, USERS[:1], "left")
    batch, run = psycopg2.connect(target.uri), psycopg2.connect(target.uri)
    with ThreadPoolExecutor(1) as threads, batch.cursor() as of_batch, run.cursor() as of_run:
        turn = Turn.take(of_batch, "public", "left", 0)
        batch.commit()
        turn.check(of_batch)
        taken = threads.submit(Turn.take, of_run, "public", "left", 0)
        until(lambda: query(target.uri, WAITING) != [(0,)], taken)
        assert not taken.done()
        batch.commit()
        assert taken.result().number == turn.number + 1
        run.commit()
        with pytest.raises(InfrastructureError, match="has taken over"):
            turn.check(of_batch)
    batch.close()
    run.close()


def test_a_server_that_ends_idle_sessions_leaves_the_holder(database: str) -> None:
    short = psycopg2.connect(database, options="-c idle_session_timeout=900000")
    connection = one_run.hold(short, "x", "y", threading.Event())
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('idle_session_timeout'), current_setting('tcp_keepalives_idle')")
        assert cursor.fetchone() == ("0", "10")
    connection.close()


def test_names_of_locks_tell_schema_and_load_apart(database: str) -> None:
    open_ones = [psycopg2.connect(database) for _ in range(2)]
    one_run.hold(open_ones[0], "x", "y z", threading.Event())
    one_run.hold(open_ones[1], "x y", "z", threading.Event())
    for connection in open_ones:
        connection.close()


def test_options_of_the_uri_count(database: str) -> None:
    connection = Target(f"{database}?options=-c%20statement_timeout%3D12345", MAPPING).connect()
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('statement_timeout'), current_setting('TimeZone')")
        assert cursor.fetchone() == ("12345ms", "UTC")
    connection.close()


def test_a_role_that_may_make_nothing_loads_into_what_is_there(target: Target, tmp_path: Path) -> None:
    put(target, tmp_path, [], "before")
    name = query(target.uri, "SELECT current_database()")[0][0]
    query(
        target.uri,
        f"CREATE ROLE plain_{name} LOGIN PASSWORD 'plain'; "
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO plain_{name}",
    )
    try:
        address = target.uri.partition("@")[2]
        plain = Target(f"postgresql://plain_{name}:plain@{address}", MAPPING, backoff=NO_RETRY)
        put(plain, tmp_path, USERS, "mine", batch=20)
        assert rows_in(target.uri, MAPPING) == rows_of(MAPPING, USERS)
    finally:
        query(target.uri, f"DROP OWNED BY plain_{name}; DROP ROLE plain_{name}")
