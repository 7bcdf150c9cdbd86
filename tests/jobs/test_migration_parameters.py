"""Each parameter and each metric of the migration: two values and the difference they make; a truth that is planted.

Generated from the study and the documentation, so that a new one without its test fails.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.jobs.migration_case import Case, TasksHere, passed

from pipeline_jobs.contract import BadConfigurationError, MeasurementWriter, Sample, TrialConfig
from pipeline_jobs.migration import jdbc_method, job, metrics, production, rate_limit
from pipeline_jobs.migration.checksums import Comparison
from pipeline_jobs.migration.comparison import Verdict
from pipeline_jobs.migration.copy_plan import RangeResult
from pipeline_jobs.migration.differences import Difference
from pipeline_jobs.migration.jdbc_method import JdbcPlan
from pipeline_jobs.migration.ledger import Counts
from pipeline_jobs.migration.options import Settings, Workload, read_settings
from pipeline_jobs.migration.production import Production
from pipeline_jobs.migration.rate_limit import Limits, Meter
from pipeline_jobs.session import spark_settings
from pipeline_tuner.jobs import description_of
from pipeline_tuner.jobs.description import HEAP, RESOURCES, SPARK, TIMES
from pipeline_tuner.local.postgres import PostgresServer
from pipeline_tuner.measurement import Measurement
from pipeline_tuner.study import load_study

ROOT = Path(__file__).parents[2]
STUDY = load_study(ROOT / "include" / "configs" / "migration.yaml")
ROWS = 600
SESSION = job._session
"""The job's own, also where a test has put another in its place."""


# Parameters: what the servers and the session see.


class Seen:
    """What the servers were asked by a run of some values, and what the run says of itself."""

    def __init__(self, case: Case, postgres: PostgresServer, tasks: TasksHere, monkeypatch: pytest.MonkeyPatch) -> None:
        self._case, self._postgres, self._tasks, self._monkeypatch = case, postgres, tasks, monkeypatch

    def statements(self, pattern: str, **values: Any) -> int:
        """How often the server's log has what a pattern says, in a run with a table of its own name."""
        name = f"t_{uuid.uuid4().hex[:8]}"
        case = self._case
        case.both(f"CREATE TABLE {name} (k int PRIMARY KEY, v text)")
        case.sql("source", f"INSERT INTO {name} SELECT n, n::text FROM generate_series(1, {ROWS}) n")
        assert passed(case.run({"partitions": 1, "cores": 1} | values, {"table": name, "run_id": name}))
        log = self._postgres.log.read_text(errors="replace")
        return len(re.findall(pattern.format(name=re.escape(f'"public"."{name}"')), log))

    def measured(self, name: str, **values: Any) -> float:
        """A metric of a run."""
        return float(self.run(**values)[name])

    def tasks(self, **values: Any) -> int:
        """How many Spark tasks a run has."""
        self.run(**values)
        return self._tasks.slices

    def run(self, **values: Any) -> dict[str, float]:
        """All metrics of a run."""
        measurement = self._measured(values)
        assert passed(measurement)
        return dict(measurement.metrics)

    def jdbc_plan(self, **values: Any) -> JdbcPlan | None:
        """What Spark's JDBC source is told; None where it is not asked."""
        told: list[JdbcPlan] = []

        class Asked:
            def __init__(self, _: Any, plan: JdbcPlan, __: Any) -> None:
                told.append(plan)

            def move(self, _: Any) -> list[RangeResult]:
                raise BadConfigurationError("that is all that was asked")

        with self._monkeypatch.context() as patch:
            patch.setattr(jdbc_method, "JdbcRun", Asked)
            self._measured(values)
        return told[0] if told else None

    def _measured(self, values: dict[str, Any]) -> Measurement:
        table = f"t_{uuid.uuid4().hex[:8]}"
        self._case.both(f"CREATE TABLE {table} (k int PRIMARY KEY)")
        self._case.sql("source", f"INSERT INTO {table} SELECT generate_series(1, {ROWS})")
        return self._case.run({"cores": 2} | values, {"table": table, "run_id": table})


@pytest.fixture(scope="module")
def logged(postgres: PostgresServer) -> Iterator[tuple[str, str]]:
    """Two databases whose statements are in the server's log."""
    names = [f"parameters_{side}_{uuid.uuid4().hex[:8]}" for side in ("source", "target")]
    source, target = map(postgres.create_database, names)
    for name in names:
        with postgres.cursor() as cursor:
            cursor.execute(f"ALTER DATABASE {name} SET log_statement = 'all'")
    yield source, target
    for name in names:
        postgres.drop_database(name)


@pytest.fixture
def seen(logged: tuple[str, str], postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Runs on servers that keep what they are asked, with tasks in this process."""
    tasks = TasksHere()

    @contextmanager
    def opened(*_: Any) -> Iterator[TasksHere]:
        yield tasks

    monkeypatch.setattr(job, "_session", opened)
    monkeypatch.setattr(job, "record_stages", lambda *_: None)
    return Seen(Case(*logged, tmp_path), postgres, tasks, monkeypatch)


def session_setting(monkeypatch: pytest.MonkeyPatch, name: str, **values: Any) -> str:
    """What the job asks Spark for, of its session's settings."""
    asked: list[dict[str, str]] = []

    def opened(_: str, configuration: Any, **__: Any) -> TasksHere:
        asked.append(spark_settings(configuration))
        return TasksHere()

    monkeypatch.setattr(job, "open_session", opened)
    monkeypatch.setattr(job, "close_session", lambda _: None)
    config = TrialConfig("migration", "t", values)
    with SESSION(config, read_settings(config), ""):
        return asked[0][name]


def slept(monkeypatch: pytest.MonkeyPatch, limits: Limits, *, read: int = 1000, written: int = 1000) -> float:
    """How long a stream of so many rows is held back by its limits, by a clock of the test's own."""
    clock = SimpleNamespace(now=100.0)
    with monkeypatch.context() as patch:
        fake = SimpleNamespace(
            monotonic=lambda: clock.now, time=time.time, sleep=lambda s: setattr(clock, "now", clock.now + s)
        )
        patch.setattr(rate_limit, "time", fake)
        meter = Meter(limits)
        for _ in range(10):
            meter.add(100, read // 10, written // 10)
    return clock.now - 100.0


Check = Callable[[Seen, pytest.MonkeyPatch], bool]
JDBC = {"method": "jdbc"}
PARAMETERS: dict[str, Check] = {
    "method": lambda seen, _: (
        seen.statements("COPY {name} .* FROM STDIN", method="copy") == 1
        and seen.jdbc_plan(method="copy") is None
        and seen.jdbc_plan(method="jdbc") is not None
    ),
    "cores": lambda _, patch: (
        [session_setting(patch, "spark.master", cores=n) for n in (1, 3)] == ["local[1]", "local[3]"]
    ),
    "driver_memory": lambda _, patch: (
        [session_setting(patch, "spark.driver.memory", driver_memory=size) for size in ("1g", "3g")] == ["1g", "3g"]
    ),
    "parallelism": lambda seen, _: [seen.tasks(partitions=4, parallelism=n) for n in (1, 2)] == [1, 2],
    "partitions": lambda seen, _: [seen.measured("partitions", partitions=n) for n in (2, 5)] == [2, 5],
    "batch_size": lambda seen, _: (
        [plan.writer["batchsize"] for n in (10, 600) if (plan := seen.jdbc_plan(**JDBC, batch_size=n))] == ["10", "600"]
    ),
    "fetch_size": lambda seen, _: (
        [plan.reader["fetchsize"] for n in (100, 600) if (plan := seen.jdbc_plan(**JDBC, fetch_size=n))]
        == ["100", "600"]
    ),
    "origin_rate_limit": lambda _, patch: (
        slept(patch, Limits(origin=100.0)) > 9 > 5.5 > slept(patch, Limits(origin=200.0)) > 4
        and slept(patch, Limits(origin=100.0), written=0) > 9
    ),
    "target_rate_limit": lambda _, patch: (
        slept(patch, Limits(target=100.0)) > 9 > 5.5 > slept(patch, Limits(target=200.0)) > 4
        and slept(patch, Limits(target=100.0), written=0) == 0
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STUDY.space.parameters)
def test_a_parameter_does_something(name: str, seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    assert name in PARAMETERS, f"{name} is new in migration.yaml: show here what it does"
    assert PARAMETERS[name](seen, monkeypatch)


def test_the_table_has_no_parameter_that_the_study_lacks() -> None:
    assert set(PARAMETERS) == set(STUDY.space.parameters)


@pytest.mark.parametrize(
    ("values", "reason"),
    [({"partitions": -1}, "0 or more"), ({"method": "jbdc"}, "copy, jdbc"), ({"batchsize": 5}, "batch_size")],
)
def test_what_would_do_nothing_is_refused(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadConfigurationError, match=reason):
        read_settings(TrialConfig("migration", "t", values))


# Metrics: a planted truth of each.


def moved(
    number: int, rows: int, s: float, *, start: float = 0.0, counts: Counts | None = None, **more: Any
) -> RangeResult:
    """A range that passed, its rows landing evenly over its time."""
    result = RangeResult(number, state="PASS", started=start, ended=start + s, counts=counts or Counts(rows, rows))
    result.bytes, result.progress = rows, [(start, 0), (start + s, rows)]
    for name, value in more.items():
        setattr(result, name, value)
    return result


def sampled(results: Sequence[RangeResult], s: float = 10.0, **settings: Any) -> dict[str, float]:
    """The metrics of one repeat that took so long."""
    sample = Sample(is_warmup=False, duration_s=s)
    metrics.record_sample(sample, results, Settings(**{"cores": 2} | settings))
    return sample.metrics


EVEN = [moved(n, 1000, 2.0, start=2.0 * n) for n in range(5)]
SLOW_END = [*EVEN[:4], moved(4, 1000, 8.0, start=8.0)]
FAILED = [*EVEN, RangeResult(5, sqlstate="22003", reason="no"), RangeResult(6, sqlstate="08006", reason="gone")]
LOSSES = [moved(0, 1000, 1.0, counts=Counts(1000, 900, 60, 40))]


def whole(writer_s: tuple[float, float, float], monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """The metrics of a trial as a whole: its start, work and end took so long, and one of its three ranges differs."""
    writer = MeasurementWriter(TrialConfig("migration", "t", {}, warmups=0), "unused")
    writer.startup_s, work_s, writer.teardown_s = writer_s
    for sample in writer.samples():
        sample.duration_s = work_s
    ends: Any = SimpleNamespace(fingerprint=lambda rows: {}, snapshot="", key=None)
    verdict = Verdict(Comparison({}, {}), 0, 0, (2,), False)
    with monkeypatch.context() as patch:
        patch.setattr(metrics, "_size_bytes", lambda _: 12345)
        patch.setattr(metrics, "summarise_event_log", lambda *_, **__: {"stages": [], "tasks": 6, "task_skew": 3.0})
        metrics.record_totals(writer, ends, Settings(), verdict, EVEN)
        metrics.record_stages(writer, "", 0.0)
    return writer.metrics


def looked_closer(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """The metrics of a run that corrects what it finds: three rows missing, two that differ, one too many."""
    found = [Difference(0, kind, ("1",)) for kind in ("MISSING",) * 3 + ("MISMATCH",) * 2 + ("EXTRA",)]
    config = TrialConfig("migration", "t", {})
    workload = Workload("t", run_id="r", autocorrect=True)
    writer, ends = MeasurementWriter(config, "unused"), SimpleNamespace(target=None)
    with monkeypatch.context() as patch:
        patch.setattr(production, "find_differences", lambda *_: iter(found))
        patch.setattr(production, "correct", lambda *_: sum(each.kind != "EXTRA" for each in found))
        Production(config, Settings(), workload, ends)._look_closer(writer, [])  # type: ignore[arg-type]
    return writer.metrics


Planted = Callable[[pytest.MonkeyPatch], bool]
METRICS: dict[str, Planted] = {
    "rows": lambda _: sampled(EVEN)["rows"] == 5000,
    "rows_per_s": lambda _: sampled(EVEN)["rows_per_s"] == 500,
    "peak_rows_per_s": lambda _: (
        abs(sampled([*EVEN, moved(5, 9000, 1.0, start=10.0)])["peak_rows_per_s"] - 9000) < 600
        and abs(sampled(EVEN)["peak_rows_per_s"] - 500) < 50
    ),
    "latency_p50_s": lambda _: sampled(SLOW_END)["latency_p50_s"] == 2.0,
    "latency_p95_s": lambda _: 5.0 < sampled(SLOW_END)["latency_p95_s"] < 8.0,
    "latency_p99_s": lambda _: 7.0 < sampled(SLOW_END)["latency_p99_s"] <= 8.0,
    "partitions": lambda _: sampled(FAILED)["partitions"] == 7,
    "partitions_passed": lambda _: sampled(FAILED)["partitions_passed"] == 5,
    "partitions_failed": lambda _: sampled(FAILED)["partitions_failed"] == 2,
    "errors": lambda _: (sampled(FAILED)["errors"], sampled(EVEN)["errors"]) == (2, 0),
    "connection_errors": lambda _: sampled(FAILED)["connection_errors"] == 1,
    "slow_partitions": lambda _: (sampled(SLOW_END)["slow_partitions"], sampled(EVEN)["slow_partitions"]) == (1, 0),
    "partitions_per_core": lambda _: [sampled(EVEN, cores=n)["partitions_per_core"] for n in (1, 5)] == [5, 1],
    "first_partition_ratio": lambda _: (
        sampled([moved(0, 1000, 6.0), *EVEN[1:]])["first_partition_ratio"] == 3
        and sampled(SLOW_END)["first_partition_ratio"] == 1
    ),
    "last_partition_ratio": lambda _: (
        sampled(SLOW_END)["last_partition_ratio"] == 4 and sampled(EVEN)["last_partition_ratio"] == 1
    ),
    "skipped_rows": lambda _: sampled(LOSSES)["skipped_rows"] == 60,
    "rejected_rows": lambda _: sampled(LOSSES)["rejected_rows"] == 40,
    "rate_limit_binds": lambda _: (
        [sampled(EVEN, origin_rate_limit=n)["rate_limit_binds"] for n in (0, 500, 600)] == [0, 1, 0]
    ),
    "origin_rate_limit_binds": lambda _: (
        sampled(LOSSES, s=1.0, origin_rate_limit=1100)["origin_rate_limit_binds"] == 1
        and sampled(LOSSES, s=1.0, origin_rate_limit=1200)["origin_rate_limit_binds"] == 0
    ),
    "target_rate_limit_binds": lambda _: (
        sampled(LOSSES, s=1.0, target_rate_limit=1000)["target_rate_limit_binds"] == 1
        and sampled(LOSSES, s=1.0, target_rate_limit=1001)["target_rate_limit_binds"] == 0
    ),
    "bytes": lambda patch: whole((1.0, 2.0, 1.0), patch)["bytes"] == 12345,
    "differing_partitions": lambda patch: whole((1.0, 2.0, 1.0), patch)["differing_partitions"] == 1,
    "startup_fraction": lambda patch: whole((1.0, 2.0, 1.0), patch)["startup_fraction"] == 0.25,
    "teardown_fraction": lambda patch: whole((1.0, 2.0, 5.0), patch)["teardown_fraction"] == 0.625,
    "missing_rows": lambda patch: looked_closer(patch)["missing_rows"] == 3,
    "mismatch_rows": lambda patch: looked_closer(patch)["mismatch_rows"] == 2,
    "extra_rows": lambda patch: looked_closer(patch)["extra_rows"] == 1,
    "corrected_rows": lambda patch: looked_closer(patch)["corrected_rows"] == 5,
}  # fmt: skip

SHARED = {*TIMES, *RESOURCES, *HEAP, *SPARK}
"""Those of the modules that all jobs share, which test_shared_modules.py holds to planted truths."""


def documented() -> list[str]:
    """The names in the list of the documentation."""
    section = (ROOT / "docs" / "migration.md").read_text(encoding="utf-8").partition("## What it measures")[2]
    listed = section.partition("`details.partitions`")[0].partition("latency_*")[0]
    return [name for name in re.findall(r"`([a-z_0-9]+)`", listed) if name != "details"]


def test_each_described_metric_has_its_truth() -> None:
    described = description_of("migration")
    assert described is not None
    assert set(described.metrics) - SHARED == METRICS.keys(), "show in METRICS what is true of it"


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_is_the_truth_that_was_planted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert METRICS[name](monkeypatch)


def test_each_documented_metric_has_its_truth() -> None:
    assert len(documented()) > 12
    assert set(documented()) - METRICS.keys() == set()


def test_each_measured_metric_has_its_truth(seen: Seen) -> None:
    measured = seen.run(partitions=5).keys()
    assert measured - METRICS.keys() - SHARED == set(), "show here what is true of it"
    assert {"rows", "partitions", "partitions_passed"} <= measured
