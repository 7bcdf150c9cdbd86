"""What goes wrong is told, loses nothing, and is taken up where it was left."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import closing
from pathlib import Path

import psutil
import psycopg2
import pytest
from tests.jobs.migration_case import Case, passed
from tests.patience import PATIENCE_S

from pipeline_jobs.migration.ledger import Ledger
from pipeline_jobs.migration.leftovers import claim_table

ROWS = 60_000
LEDGER = "pipeline_migration"


@pytest.fixture
def numbers(case: Case) -> Case:
    """A case with a table `t` of some size."""
    case.both("CREATE TABLE t (k int PRIMARY KEY, v text NOT NULL)")
    case.sql(
        "source", f"INSERT INTO t SELECT n, repeat(md5(n::text), 8) FROM generate_series(1, {ROWS}) n", "ANALYZE t"
    )
    return case


def test_rejected_rows_are_kept_with_their_reason_and_the_others_land(numbers: Case) -> None:
    numbers.sql("target", "ALTER TABLE t ADD CHECK (k % 10000 <> 77)", "ALTER TABLE t ADD CHECK (length(v) < 1000)")
    numbers.sql("source", "UPDATE t SET v = repeat('x', 2000) WHERE k = 5")
    for method in ("copy", "jdbc"):
        numbers.sql("target", "TRUNCATE t")
        measurement = numbers.run({"method": method, "partitions": 4}, {"table": "t", "run_id": method})
        assert passed(measurement)
        assert measurement.metrics["rejected_rows"] == 7
        assert measurement.metrics["rows"] == ROWS - 7
        assert numbers.sql("target", "SELECT count(*) FROM t") == [(ROWS - 7,)]
        kept = numbers.sql(
            "target",
            f"SELECT split_part(row_text, E'\\t', 1)::int, sqlstate, reason FROM {LEDGER}.rejected_row "
            f"WHERE run_id = '{method}' ORDER BY 1",
        )
        assert [key for key, _, _ in kept] == [5, 77, 10077, 20077, 30077, 40077, 50077]
        assert {sqlstate for _, sqlstate, _ in kept} == {"23514"}
        assert "check constraint" in kept[0][2]
        assert _sum(numbers, method, "read_rows - written_rows - skipped_rows - rejected_rows") == 0


def test_too_many_rejected_rows_fail_and_leave_nothing(numbers: Case) -> None:
    numbers.sql("target", "ALTER TABLE t ADD CHECK (k < 0)")
    measurement = numbers.run({"partitions": 2}, {"table": "t", "run_id": "r", "max_rejected": 10})
    assert measurement.failure is not None
    assert "more than 10 rows rejected" in measurement.failure.reason
    assert numbers.sql("target", "SELECT count(*) FROM t") == [(0,)]
    assert numbers.sql("target", f"SELECT count(*) FROM {LEDGER}.rejected_row") == [(0,)]


def test_the_guardrail_skips_long_values(numbers: Case) -> None:
    numbers.sql("source", "UPDATE t SET v = repeat('x', 5000) WHERE k IN (1, 2, 30000)")
    for method in ("copy", "jdbc"):
        numbers.sql("target", "TRUNCATE t")
        workload = {"table": "t", "run_id": method, "guardrail_bytes": 1000}
        measurement = numbers.run({"method": method, "partitions": 3}, workload)
        assert passed(measurement)
        assert measurement.metrics["skipped_rows"] == 3
        assert numbers.sql("target", "SELECT count(*) FROM t") == [(ROWS - 3,)]


def test_wrong_credentials_are_told_without_the_password(numbers: Case) -> None:
    numbers.target = numbers.target.replace("://tuner:", "://tuner:wrong")
    measurement = numbers.run({}, {"table": "t"})
    assert measurement.failure is not None
    assert measurement.failure.kind == "infrastructure"
    assert "password authentication failed" in measurement.failure.reason
    assert psycopg2.extensions.parse_dsn(numbers.target)["password"] not in measurement.model_dump_json()


def test_a_target_that_is_read_only(numbers: Case) -> None:
    numbers.sql("target", f"ALTER DATABASE {_database(numbers)} SET default_transaction_read_only = on")
    measurement = numbers.run({}, {"table": "t"})
    assert measurement.failure is not None
    assert "read-only" in measurement.failure.reason


def test_a_target_that_fills_up(numbers: Case) -> None:
    """A disk can't be filled here: a trigger gives the error that a full one does."""
    numbers.sql(
        "target",
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$",
        "CREATE TRIGGER full_disk BEFORE INSERT ON t FOR EACH ROW WHEN (NEW.k > 40000) EXECUTE FUNCTION full_disk()",
    )
    measurement = numbers.run({"partitions": 6}, {"table": "t", "run_id": "r"})
    assert measurement.failure is not None
    assert measurement.failure.kind == "infrastructure"
    assert "No space left" in measurement.failure.reason
    landed = numbers.sql("target", "SELECT count(*) FROM t")[0][0]
    assert landed == _sum(numbers, "r", "written_rows") > 0
    numbers.sql("target", "DROP TRIGGER full_disk ON t")
    measurement = numbers.run({"partitions": 6}, {"table": "t", "run_id": "r"})
    assert passed(measurement)
    assert measurement.metrics["rows"] == ROWS - landed, "only what had not passed is done again"
    assert measurement.metrics["partitions"] > 2, "failed ranges come back smaller"
    assert numbers.same("t")


def test_a_broken_connection_is_tried_again_in_smaller_pieces(numbers: Case) -> None:
    numbers.sql(
        "target",
        "CREATE SEQUENCE hits",
        "CREATE FUNCTION hang_up() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN IF nextval('hits') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF; "
        "RETURN NEW; END $$",
        "CREATE TRIGGER hang_up BEFORE INSERT ON t FOR EACH ROW WHEN (NEW.k = 31234) EXECUTE FUNCTION hang_up()",
    )
    measurement = numbers.run({"partitions": 4}, {"table": "t", "run_id": "r"})
    assert passed(measurement)
    assert measurement.metrics["connection_errors"] == 1
    assert measurement.metrics["rows"] == ROWS
    assert numbers.same("t")


def test_differences_are_listed_and_corrected_but_nothing_is_deleted(numbers: Case) -> None:
    workload = {"table": "t", "run_id": "r"}
    assert passed(numbers.run({"partitions": 4}, workload))
    numbers.sql(
        "target",
        "DELETE FROM t WHERE k IN (3, 4)",
        "UPDATE t SET v = 'other' WHERE k = 50000",
        "INSERT INTO t VALUES (0, 'x')",
    )
    listed = numbers.run({}, workload | {"differences": True})
    assert {check.name for check in listed.failed_checks} == {"row count", "checksum"}
    found = numbers.sql("target", f"SELECT kind, key FROM {LEDGER}.difference ORDER BY kind, key")
    assert found == [("EXTRA", ["0"]), ("MISMATCH", ["50000"]), ("MISSING", ["3"]), ("MISSING", ["4"])]
    assert _states(numbers, "r").count("DIFF") == 2
    corrected = numbers.run({}, workload | {"autocorrect": True})
    assert corrected.metrics["corrected_rows"] == 3
    assert numbers.sql("target", "SELECT k FROM t WHERE v IN ('x', 'other')") == [(0,)]
    numbers.sql("target", "DELETE FROM t WHERE k = 0")
    assert passed(numbers.run({}, workload))
    assert set(_states(numbers, "r")) == {"PASS"}


def test_a_second_job_on_the_same_run_is_refused(numbers: Case) -> None:
    ledger = Ledger(LEDGER, "r")
    connection = psycopg2.connect(numbers.target)
    ledger.lock(connection)
    measurement = numbers.run({}, {"table": "t", "run_id": "r"})
    connection.close()
    assert measurement.failure is not None
    assert "another job" in measurement.failure.reason


@pytest.mark.parametrize("method", ["copy", "jdbc"])
def test_a_rate_limit_holds(numbers: Case, method: str) -> None:
    limit = 4_000
    configuration = {"method": method, "partitions": 4, "target_rate_limit": limit, "origin_rate_limit": 2 * limit}
    measurement = numbers.run(configuration, {"table": "t"}, fraction=0.15)
    assert passed(measurement)
    assert measurement.metrics["rows_per_s"] <= limit * 1.1
    assert measurement.metrics["rate_limit_binds"] == (measurement.metrics["rows_per_s"] >= 0.9 * limit)
    if method == "copy":
        # What a busy machine holds back lands together with what comes next; without a limit all land in a second.
        assert measurement.metrics["rows_per_s"] * 0.4 < measurement.metrics["peak_rows_per_s"] <= limit * 2


def test_a_jdbc_range_takes_as_long_as_its_task_and_not_the_wait_for_a_core(numbers: Case) -> None:
    """Eight ranges of equal work on two cores, all in flight at once."""
    configuration = {"method": "jdbc", "partitions": 8, "parallelism": 8, "target_rate_limit": 20_000}
    measurement = numbers.run(configuration, {"table": "t"})
    assert passed(measurement)
    spans = [(part["start_s"], part["start_s"] + part["duration_s"]) for part in measurement.details["partitions"]]
    assert len(spans) == 8
    # Two cores work twice the time at most. With the wait for a core in it, it would be five times: the mean range
    # would wait for half of the others. A core is free a little before Spark notes the end of what it did.
    assert sum(end - start for start, end in spans) <= 3 * max(end for _, end in spans)
    assert "peak_rows_per_s" not in measurement.metrics
    assert "doesn't say when rows land" in measurement.details["throughput"]["unknown"]


def test_a_jdbc_range_that_is_slow_stands_out(numbers: Case) -> None:
    """A planted delay: the target's trigger sleeps at the first statement of one range's rows."""
    numbers.sql(
        "target",
        "CREATE FUNCTION nap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(4); RETURN NEW; END $$",
        "CREATE TRIGGER nap BEFORE INSERT ON t FOR EACH ROW WHEN (NEW.k = 100) EXECUTE FUNCTION nap()",
    )
    workload = {"table": "t", "run_id": "slow"}
    measurement = numbers.run({"method": "jdbc", "partitions": 8, "parallelism": 8}, workload)
    assert passed(measurement)
    assert 0 in measurement.details["slow_partitions"]
    by_number = {part["number"]: part["duration_s"] for part in measurement.details["partitions"]}
    assert by_number[0] == max(by_number.values()) >= 4
    others = sorted(seconds for number, seconds in by_number.items() if number)
    assert others[len(others) // 2] < 4, "who waited for the core meanwhile did not work"


@pytest.mark.parametrize(("method", "victim"), [("copy", "jvm"), ("jdbc", "job")])
def test_killed_and_started_again(numbers: Case, method: str, victim: str) -> None:
    """The soak has both victims for both methods."""
    for part in (0.15, 0.6):
        _kill_at(numbers, method, victim, part)
    _finish(numbers, method)


def test_a_short_trial_removes_what_killed_ones_left_but_not_what_others_hold(numbers: Case) -> None:
    numbers.sql("target", "CREATE TABLE t__trial_dead ()", "CREATE TABLE t__trial_busy ()", "CREATE TABLE t__tri ()")
    with closing(psycopg2.connect(numbers.target)) as other:
        claim_table(other, "t__trial_busy")
        assert passed(numbers.run({"partitions": 2}, {"table": "t"}, fraction=0.1))
    names = numbers.sql("target", "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    assert [name for (name,) in names] == ["t", "t__tri", "t__trial_busy"]


@pytest.mark.soak
@pytest.mark.parametrize("method", ["copy", "jdbc"])
def test_killed_at_20_random_moments(numbers: Case, method: str) -> None:
    dice = random.Random(method)
    for _ in range(20):
        _kill_at(numbers, method, dice.choice(["job", "jvm"]), dice.random())
        if "STARTED" not in _states(numbers, "r") and "NOT_STARTED" not in _states(numbers, "r"):
            _finish(numbers, method)
            numbers.sql("target", "TRUNCATE t", f"DELETE FROM {LEDGER}.run")
    _finish(numbers, method)


def _kill_at(case: Case, method: str, victim: str, part: float) -> None:
    """Start the job, kill it when about this part of its ranges has begun, and look at the books."""
    case.sql(
        "target",
        "DROP TRIGGER IF EXISTS slow ON t",
        _SLOW,
        "CREATE OR REPLACE TRIGGER slow BEFORE INSERT ON t FOR EACH ROW WHEN (NEW.k % 500 = 0) EXECUTE FUNCTION slow()",
    )
    before = {number for number, state in _ranges(case) if state == "PASS"}
    job = case.start({"method": method, "partitions": 12, "parallelism": 2}, {"table": "t", "run_id": "r"})
    try:
        _wait_for(case, job, part)
        _kill(job, victim)
        job.wait(PATIENCE_S)
    finally:
        _kill(job, "job")
        job.wait()
    _settle(case)
    assert before <= {number for number, state in _ranges(case) if state == "PASS"}, "what passed is never done again"
    written = _sum(case, "r", "written_rows", "state = 'PASS' AND written_rows IS NOT NULL")
    (rows,) = case.sql("target", "SELECT count(*) FROM t")[0]
    uncounted = sum(state == "PASS" for _, state in _ranges(case, "written_rows IS NULL"))
    assert rows >= written
    assert uncounted or rows == written, "no half-written range"


def _finish(case: Case, method: str) -> None:
    case.sql("target", "DROP TRIGGER IF EXISTS slow ON t")
    measurement = case.run({"method": method, "partitions": 12, "parallelism": 2}, {"table": "t", "run_id": "r"})
    assert passed(measurement)
    assert case.same("t")
    assert set(_states(case, "r")) == {"PASS"}
    assert measurement.metrics["rows"] < ROWS


_SLOW = """CREATE OR REPLACE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_sleep(0.02); RETURN NEW; END $$"""


def _wait_for(case: Case, job: object, part: float) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and job.poll() is None:  # type: ignore[attr-defined]
        states = _states(case, "r")
        begun = sum(state != "NOT_STARTED" for state in states)
        if states and begun >= max(1, part * len(states)):
            time.sleep(random.random() * 0.2)
            return
        time.sleep(0.05)


def _kill(job: object, victim: str) -> None:
    """SIGKILL the job's Python, or the JVM below it."""
    try:
        process = psutil.Process(job.pid)  # type: ignore[attr-defined]
        family = process.children(recursive=True)
        chosen = [process] if victim == "job" else [child for child in family if child.name() == "java"]
        for each in chosen:
            os.kill(each.pid, signal.SIGKILL)
    except (psutil.Error, ProcessLookupError):
        return


def _settle(case: Case) -> None:
    """Wait until the killed job's workers have ended."""
    query = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE application_name LIKE 'migration%' AND datname = current_database()"
    )
    for _ in range(1200):
        if case.sql("target", query) == [(0,)]:
            return
        time.sleep(0.1)
    raise AssertionError("a killed job's connections stay")


def _ranges(case: Case, condition: str = "true") -> list[tuple[int, str]]:
    if case.sql("target", f"SELECT to_regclass('{LEDGER}.difference')") == [(None,)]:
        return []
    query = f"SELECT number, state FROM {LEDGER}.partition WHERE run_id = 'r' AND {condition}"
    return [(number, state) for number, state in case.sql("target", query)]


def _states(case: Case, run_id: str) -> list[str]:
    return [state for _, state in _ranges(case, f"run_id = '{run_id}'")]


def _sum(case: Case, run_id: str, what: str, condition: str = "true") -> int:
    query = f"SELECT coalesce(sum({what}), 0)::bigint FROM {LEDGER}.partition WHERE run_id = '{run_id}' AND {condition}"
    return int(case.sql("target", query)[0][0]) if _ranges(case) or run_id != "r" else 0


def _database(case: Case) -> str:
    return psycopg2.extensions.parse_dsn(case.target)["dbname"]


@pytest.mark.parametrize("method", ["copy", "jdbc"])
def test_no_password_reaches_spark_s_event_log(numbers: Case, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    logs: list[str] = []

    def read(folder: str, **_: object) -> dict[str, object]:
        logs.extend(path.read_text() for path in Path(folder).iterdir())
        return {"stages": []}

    monkeypatch.setattr("pipeline_jobs.migration.metrics.summarise_event_log", read)
    measurement = numbers.run({"method": method, "partitions": 2}, {"table": "t"}, fraction=0.1)
    assert passed(measurement)
    assert "SparkListenerTaskEnd" in logs[0]
    password = psycopg2.extensions.parse_dsn(numbers.target)["password"]
    assert password not in logs[0] + measurement.model_dump_json()
