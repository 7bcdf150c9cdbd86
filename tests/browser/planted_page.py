"""The page alone, on a port of this machine: its app without Airflow's login, on a database with planted sweeps."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from tests.patience import PATIENCE_S
from tests.unit.planted import measured, planted_options, planted_study, planted_sweep
from tests.unit.planted_jobs import JOBS, job_results, job_study

from pipeline_tuner.charts import style
from pipeline_tuner.local.postgres import PostgresServer
from pipeline_tuner.monitoring.nights import Alert, Champion, NightValue
from pipeline_tuner.monitoring.store import NightStore
from pipeline_tuner.recommend import recommend
from pipeline_tuner.report.files import details_of
from pipeline_tuner.report.written import write_report
from pipeline_tuner.space import configuration_id
from pipeline_tuner.store import Store, migrate
from pipeline_tuner.store.rows import upsert
from pipeline_tuner.store.schema import production_run
from pipeline_tuner.sweep import night_options, sweep_options
from pipeline_tuner.trial import TrialPlan, TrialResult

PREFIX = "/pipeline-tuner"
STUDY = planted_study(
    study="orders",
    claims=({"source": "wiki", "text": "fewer partitions", "better": {"partitions": 8}, "worse": {"partitions": 32}},),
)
BASE = STUDY.control_candidate.configuration
CONFIGURATIONS = {c.label: c.configuration for c in STUDY.preset_candidates} | {
    f"{method} {partitions} x {batch}": {**BASE, "method": method, "partitions": partitions, "batch": batch}
    for method in ("copy", "jdbc")
    for partitions in (4, 8, 16, 32)
    for batch in (50, 400)
}
FINALISTS = ("balanced", "copy 16 x 400", "copy 32 x 400")


def true_duration(configuration) -> float:
    """Seconds that a configuration truly takes: COPY is faster, 16 partitions are best, large batches help a little."""
    method = {"copy": 0.55, "jdbc": 1.0}[configuration["method"]]
    spread = 1 + 0.18 * abs(math.log2(configuration["partitions"] / 16))
    return 10 * method * spread * (1.1 - 0.02 * math.log(configuration["batch"]))


def planted_results(sweep_id="sweep-1", *, blocks=4, confirmed=FINALISTS):
    durations = {label: true_duration(configuration) for label, configuration in CONFIGURATIONS.items()}
    return planted_sweep(
        durations, CONFIGURATIONS, control="balanced", blocks=blocks, confirmed=confirmed, sweep_id=sweep_id
    )


def plant_sweep(
    store: Store, folder: Path, study=STUDY, sweep_id="sweep-1", dag_id=None, run_id="manual__1", results=None
) -> None:
    """A finished sweep with its decisions, its analysis and its charts."""
    options = sweep_options(study, sweep_id)
    results = results or planted_results(sweep_id)
    _start(store, study, options, results, dag_id, run_id)
    for result in results:
        store.record_result(result)
    answers = recommend(study, options, results)
    store.record_recommendations(sweep_id, study.study, answers, valid_days=30)
    store.end_sweep(sweep_id, "recommended", answers[0].reason)
    path = write_report(folder / sweep_id, study, options, results, answers)
    store.record_analysis(
        sweep_id, path.read_text(encoding="utf-8"), str(path), details_of(path).read_text(encoding="utf-8")
    )
    store.record_charts(sweep_id, {file.stem: file.read_text(encoding="utf-8") for file in path.parent.glob("*.svg")})


def _start(store, study, options, results, dag_id=None, run_id="manual__1"):
    store.start_sweep(study, options, dag_id=dag_id or f"tune_{study.study}", run_id=run_id, triggered_by="ada")
    record = results[0].measurement
    store.record_environment(options.sweep_id, record.environment, "e")
    store.record_workload(options.sweep_id, record.workload, "w")
    for phase, number in sorted({(result.plan.phase, result.plan.round) for result in results}):
        plans = [r.plan for r in results if (r.plan.phase, r.plan.round) == (phase, number)]
        store.plan_trials(options.sweep_id, study.study, plans, phase=phase, round=number)


LONG_NAME = "configuration_with_a_name_that_nobody_would_type_" + 18 * "and_so_on_"


def plant_odd_sweeps(store: Store, folder: Path) -> None:
    """Sweeps of studies of their own: `no_trial`, `all_failed`, `one_trial`, and one with a `long_name`."""
    empty = planted_study(study="no_trial")
    store.start_sweep(empty, sweep_options(empty, "no_trial"), dag_id="tune_no_trial", run_id="manual__1")
    store.end_sweep("no_trial", "failed", "The table public.orders does not exist in the source /home/ada/db.")
    pair = {label: CONFIGURATIONS[label] for label in ("balanced", "wide")}
    lost = planted_sweep(dict.fromkeys(pair, 10.0), pair, control="balanced", blocks=3, sweep_id="all_failed")
    study = planted_study(study="all_failed")
    _start(store, study, sweep_options(study, "all_failed"), lost)
    for result in lost:
        store.record_result(TrialResult(result.plan, "failed", failure="out_of_memory", reason="Java heap space"))
    store.end_sweep("all_failed", "failed", "No trial was measured.")
    one = planted_sweep({"balanced": 10.0}, pair, control="balanced", blocks=1, sweep_id="one_trial")
    plant_sweep(store, folder, planted_study(study="one_trial"), "one_trial", results=one)
    plant_long_name(store, folder)


def plant_long_name(store: Store, folder: Path, sweep_id: str = "long_name") -> None:
    """A sweep of a study of its own in which a configuration with a long name ties."""
    named = CONFIGURATIONS | {LONG_NAME: CONFIGURATIONS["copy 16 x 400"] | {"batch": 401}}
    durations = {label: true_duration(configuration) for label, configuration in named.items()}
    fresh = ("balanced", "copy 16 x 400", LONG_NAME)
    results = planted_sweep(durations, named, control="balanced", confirmed=fresh, sweep_id=sweep_id)
    plant_sweep(store, folder, planted_study(study=sweep_id), sweep_id, results=results)


def plant_running(store: Store, sweep_id="sweep-2", done=30):
    """A sweep of which some trials are measured; returns the results that are still to come."""
    results = planted_results(sweep_id, confirmed=())
    _start(store, STUDY, planted_options(STUDY).model_copy(update={"sweep_id": sweep_id}), results, run_id="manual__2")
    for result in results[:done]:
        store.record_result(result)
    return results[done:]


def plant_nights(store: Store, study=STUDY, count=40) -> None:
    """Nights with a slower machine from the 25th on, one of them missed."""
    rng = np.random.default_rng(1)
    champion = Champion(label="copy 16 x 400", configuration=CONFIGURATIONS["copy 16 x 400"], source="recommended")
    first = datetime.now(UTC).replace(hour=1, minute=0, second=0, microsecond=0) - timedelta(days=count)
    for night in range(count):
        due = first + timedelta(days=night)
        name = f"{study.study}-night-{night}"
        store.start_sweep(
            study, night_options(study, name, {"throughput": champion}), dag_id=f"tune_{study.study}", run_id=name
        )
        missed = [due - timedelta(hours=12)] if night == 12 else ()
        NightStore(store).start_night(name, study.study, due, missed=missed)
        record = store.sweep(name)
        level = 0.85 if night >= 25 else 1.0
        if night == 27:
            NightStore(store).record_alerts(record, [Alert("machine", "The machine is 15% slower.", "throughput")])
        figures = [
            NightValue("throughput", label, label, role, base * level * float(np.exp(0.02 * rng.standard_normal())), 3)
            for role, label, base in (("champion", "copy 16 x 400", 18_000), ("control", "balanced", 9_500))
        ]
        NightStore(store).end_night(record, "alert" if night == 27 else "quiet", "Nothing new.", figures)
        store.end_sweep(name, "undecided")
        with store.transaction() as connection:
            connection.exec_driver_sql(
                "UPDATE pipeline_tuner.sweep SET started_at = %(at)s, ended_at = %(at)s WHERE sweep_id = %(id)s",
                {"at": due, "id": name},
            )


def plant_jobs(store: Store, folder: Path) -> None:
    """A finished sweep of each of the four jobs' own studies, by the job's name."""
    for job in JOBS:
        plant_sweep(store, folder, job_study(job), job, run_id=f"manual__{job}", results=job_results(job, job))


def plant_production(store: Store, study=STUDY, goal="throughput") -> None:
    """Two promotions, and production runs before and after them, with the configuration of then."""
    first, rng = datetime.now(UTC) - timedelta(days=20), np.random.default_rng(3)
    for label in ("wide", "copy 16 x 400"):
        store.promote(study.study, goal, label, CONFIGURATIONS[label], actor="ada", note="tried by hand")
    for day in range(20):
        label = "wide" if day < 12 else "copy 16 x 400"
        at = first + timedelta(days=day)
        run_id, seconds = f"scheduled__{day}", true_duration(CONFIGURATIONS[label]) * float(np.exp(0.05 * rng.normal()))
        row = {
            "study": study.study, "goal": goal, "source": "promoted", "source_reason": "", "label": label,
            "configuration_id": configuration_id(CONFIGURATIONS[label]), "configuration": CONFIGURATIONS[label],
            "status": "measured", "metrics": {"duration_s": seconds, "rows": 1e5, "core_seconds": 1.8 * seconds},
            "dag_id": "run_orders", "run_id": run_id, "task_id": "run", "map_index": -1, "try_number": 1,
            "started_at": at, "ended_at": at + timedelta(seconds=seconds), "production_run_id": f"{study.study}/{day}",
        }  # fmt: skip
        with store.transaction() as connection:
            upsert(connection, production_run, [row])


def plant_evidence(store: Store, sweep_id="sweep-1") -> str:
    """A trial with partitions, stages and a throughput curve; its id."""
    plan = TrialPlan("evidence", sweep_id, "search", 9, 9, 0, "copy 16 x 400", CONFIGURATIONS["copy 16 x 400"])
    store.plan_trials(sweep_id, STUDY.study, [plan], phase="search", round=9)
    rng = np.random.default_rng(2)
    partitions = [
        {
            "number": n,
            "state": "PASS",
            "start_s": n // 4 * 1.2,
            "duration_s": float(1 + 0.2 * rng.random() + (n == 9)),
            "read": 6250,
        }
        for n in range(16)
    ]
    stage = {
        "id": 3,
        "name": "collect at /home/someone/jobs/mover.py:12",
        "tasks": 16,
        "duration_s": 5.1,
        "max_task_s": 2.2,
    }
    times = [0.5 * n for n in range(14)]
    details = {
        "partitions": partitions, "stages": [stage],
        "throughput": {"time_s": times, "rows": [100_000 * min(1.0, t / 6.5) for t in times]},
    }  # fmt: skip
    metrics = {
        "duration_s": 5.6, "rows_per_s": 17_900, "latency_p95_s": 1.9, "memory_peak_bytes": 4e8, "core_seconds": 9.1,
        "gc_s": 0.2, "shuffle_write_bytes": 1.2e7, "errors": 0, "partitions": 16, "startup_fraction": 0.2, "rows": 1e5,
    }  # fmt: skip
    store.record_result(measured(plan, metrics, details=details))
    return plan.trial_id


class EverybodyMay:
    """In place of Airflow's auth manager: everybody may read and act. What it refuses is tested with the real one."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get_authorized_dag_ids(self, **_):
        with self._store.transaction() as connection:
            tables = ("pipeline_tuner.sweep", "pipeline_tuner.production_run")
            known = (connection.exec_driver_sql(f"SELECT DISTINCT dag_id FROM {table}").scalars() for table in tables)
            return {dag_id for found in known for dag_id in found}

    def is_authorized_dag(self, **_):
        return True


class Somebody:
    """The user of the page."""

    def get_id(self):
        return "somebody"

    def get_name(self):
        return "somebody"


@contextmanager
def planted_store(postgres: PostgresServer, name: str, folder: Path) -> Iterator[Store]:
    """A results database of this name with a sweep of each job, and a study with nights and production runs."""
    uri = postgres.create_database(name)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("AIRFLOW_CONN_PIPELINE_TUNER_DEFAULT", uri)
        monkeypatch.setenv("AIRFLOW__API__SECRET_KEY", "of-the-tests-only")
        # Drawing takes most of the time, and the page draws its charts itself.
        monkeypatch.setattr(style, "save", lambda folder, name, chart: folder / f"{name}.svg")
        migrate(uri)
        with Store(uri) as store:
            plant_jobs(store, folder)
            plant_nights(store)
            plant_sweep(store, folder)
            plant_production(store)
            yield store
    postgres.drop_database(name)


@contextmanager
def page_app(store: Store, base: str = "") -> Iterator:
    """The page's app, mounted where Airflow mounts it; `base` is the path of Airflow's `base_url`."""
    from fastapi import FastAPI

    from pipeline_tuner.web import security
    from pipeline_tuner.web.app import create_app

    _forget()
    app, outer = create_app(), FastAPI(root_path=base)
    # Routes that are included carry the app's own dependency: it is overridden where Airflow's login would answer.
    app.dependency_overrides = dict.fromkeys([security.get_user, security.page_access.dependency], Somebody)
    outer.mount(PREFIX, app)
    with patch.object(security, "get_auth_manager", lambda: EverybodyMay(store)):
        yield outer
    _forget()


def _forget():
    """The page keeps its engine, and what it read, for the life of its process: here the database changes."""
    from pipeline_tuner.web import in_production, rendering, studies_page, sweep_charts

    for kept in (rendering.results_store, rendering.page_reads, studies_page._lists, sweep_charts._computed):
        kept.cache_clear()
    in_production.stored_studies.cache_clear()


@contextmanager
def served_page(store: Store, base: str = "") -> Iterator[str]:
    """The address of the page, served by this process."""
    import uvicorn

    with page_app(store, base) as app:
        server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.02)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}{base}{PREFIX}"
        server.should_exit = True
        thread.join(timeout=PATIENCE_S)
