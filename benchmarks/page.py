"""How fast the page's lists come from a results database of 1,000 sweeps, 1,000 nights and 100,000 trials.

A throw-away PostgreSQL is filled by SQL; the page's app is called in this process, login and network left out.
Writes `page.list_ms` (the slowest list page's median) and the median of each page.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.record import Figures

from pipeline_tuner.local.postgres import PostgresServer
from pipeline_tuner.store import Store, migrate
from pipeline_tuner.store.schema import SCHEMA
from pipeline_tuner.study import load_study
from pipeline_tuner.sweep import sweep_options

ROOT = Path(__file__).resolve().parents[1]

RUNS = 15
PAGES = {
    "studies": "/",
    "study": "/studies/study_1",
    "study_last_page": "/studies/study_1?page=5",
    "sweep": "/sweeps/sweep-1",
    "sweep_first_view": "/sweeps/sweep-{}",
    "sweep_by_rate": "/sweeps/sweep-1?sort=rate&page=2",
    "trial": "/trials/sweep-1-1",
}
FILL = f"""
INSERT INTO {SCHEMA}.sweep
    (sweep_id, study, job, dag_id, run_id, status, options, study_definition, planned, measured, started_at, ended_at)
SELECT 'sweep-' || s, 'study_' || s % 4, 'migration', 'tune_study_' || s % 4, 'run-' || s, 'recommended',
    jsonb_set(%(options)s, '{{sweep_id}}', to_jsonb('sweep-' || s)), %(definition)s, 100, 100,
    now() - s * interval '1 day', now() - s * interval '1 day' + interval '1 hour'
FROM generate_series(1, 1000) s;
INSERT INTO {SCHEMA}.trial
    (trial_id, sweep_id, study, phase, round, block, position, label, is_control, configuration_id, configuration,
     fraction, status, metrics, measurement, planned_at, started_at, ended_at)
SELECT id, sweep_id, study, 'search', 1, t / 10, t % 10, 'candidate ' || t % 10, t % 10 = 0, 'c' || t % 10,
    jsonb_build_object('method', 'copy', 'partitions', 2 + t % 10, 'parallelism', 1 + t % 3, 'cores', 2),
    1, 'measured', metrics, %(measurement)s || jsonb_build_object('trial_id', id, 'metrics', metrics,
        'details', jsonb_build_object('log', repeat('x', 4000))),
    now(), now(), now()
FROM (
    SELECT 'sweep-' || s || '-' || t AS id, 'sweep-' || s AS sweep_id, 'study_' || s % 4 AS study, t,
        jsonb_build_object('duration_s', 1 + random(), 'rows_per_s', 1e5 * (1 + random()), 'rows', 336776,
            'latency_p95_s', 0.1 + random(), 'core_seconds', 1 + random(), 'memory_peak_bytes', 1e9) AS metrics
    FROM generate_series(1, 1000) s, generate_series(1, 100) t
) made;
INSERT INTO {SCHEMA}.recommendation
    (sweep_id, goal, study, status, label, configuration_id, configuration, estimate, gain, confidence,
     document, created_at)
SELECT 'sweep-' || s, goal, 'study_' || s % 4, 'winner', 'candidate 1', 'c1', '{{}}', 1e5 * random(), 1.2, 0.95,
    '{{"evidence": {{}}}}', now() - s * interval '1 day'
FROM generate_series(1, 1000) s, unnest(ARRAY['throughput', 'latency', 'cost', 'balanced']) goal;
INSERT INTO {SCHEMA}.night (night_id, study, due_at, status, summary, measured, started_at)
SELECT 'sweep-' || s, 'study_' || s % 4, now() - s * interval '1 day', 'quiet', 'Nothing new.', 12, now()
FROM generate_series(1, 1000) s;
INSERT INTO {SCHEMA}.night_value (night_id, goal, configuration_id, label, role, figure, trials)
SELECT 'sweep-' || s, goal, role, role, role, 1e5 * (1 + random()), 3
FROM generate_series(1, 1000) s, unnest(ARRAY['throughput', 'latency', 'cost']) goal,
    unnest(ARRAY['champion', 'control', 'challenger']) role;
ANALYZE {SCHEMA}.sweep, {SCHEMA}.trial, {SCHEMA}.recommendation, {SCHEMA}.night, {SCHEMA}.night_value;
"""


def _documents() -> dict[str, str]:
    """A real study, its options and the frame of a measurement, as JSON for the filling."""
    study = load_study(ROOT / "include" / "configs" / "migration.yaml")
    moment = "2026-01-01T00:00:00Z"
    measurement = {
        "contract": 1, "job": "migration", "trial_id": "", "status": "measured", "started_at": moment,
        "ended_at": moment, "samples": [{"duration_s": 1.0}], "workload": {"rows": 336_776},
    }  # fmt: skip
    return {
        "definition": study.model_dump_json(),
        "options": sweep_options(study, "s").model_dump_json(),
        "measurement": json.dumps(measurement),
    }


def main() -> int:
    """Fill a database, time every page, print and record the figures."""
    folder = Path(tempfile.mkdtemp(prefix="pipeline-tuner-page-"))
    folder.chmod(0o755)
    server = PostgresServer(folder)
    try:
        server.start()
        url = server.create_database("page")
        migrate(url)
        with Store(url) as store, store.transaction() as connection:
            filling = re.sub(r"%(?!\()", "%%", FILL)
            for statement in filter(str.strip, filling.split(";\n")):
                connection.exec_driver_sql(statement, _documents())
        medians = _time_pages(url)
    finally:
        server.remove()
        shutil.rmtree(folder, ignore_errors=True)
    lists = [name for name in medians if name not in ("sweep_first_view", "trial")]
    slowest = max(lists, key=lambda name: statistics.median(medians[name]))
    figures = Figures("page")
    for name, times in {"list": medians[slowest], **medians}.items():
        median = figures.add(f"{name}_ms", times, "ms")
        print(f"{name:16} {median:6.1f} ms  ({min(times):.1f} to {max(times):.1f}, {len(times)} runs)")
    return 0


def _time_pages(url: str) -> dict[str, list[float]]:
    os.environ["AIRFLOW_CONN_PIPELINE_TUNER_DEFAULT"] = url.replace("postgresql://", "postgres://")
    from fastapi.testclient import TestClient

    from pipeline_tuner.web import security
    from pipeline_tuner.web.app import create_app

    app = create_app()
    app.router.dependencies.clear()
    app.dependency_overrides = dict.fromkeys([security.get_user, security.page_access.dependency], _Reader)
    # The permissions are Airflow's own work and would need its whole server; the page's work is what is timed.
    everything = [f"tune_study_{n}" for n in range(4)]
    for module in ("pages", "sweeps"):
        web = sys.modules[f"pipeline_tuner.web.{module}"]
        web.require_read = lambda user, dag_id: None
    pages = sys.modules["pipeline_tuner.web.pages"]
    pages.readable_dags = lambda user: everything
    pages.may_trigger = lambda user, dag_id: True
    with TestClient(app) as browser:
        # A sweep's charts are computed when it is looked at first: {} is another sweep each time.
        return {
            name: [_milliseconds(browser, address.format(100 + run)) for run in range(RUNS)]
            for name, address in PAGES.items()
        }


class _Reader:
    def get_id(self) -> str:
        return "reader"


def _milliseconds(browser, address: str) -> float:
    began = time.monotonic()
    answer = browser.get(address)
    took = 1000 * (time.monotonic() - began)
    if answer.status_code != 200:
        raise RuntimeError(f"{address} answered {answer.status_code}: {answer.text[:300]}")
    return took


if __name__ == "__main__":
    sys.exit(main())
