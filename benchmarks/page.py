"""How fast the page's lists come from a results database of 1,000 sweeps and 100,000 trials.

A throw-away PostgreSQL is filled by SQL; the page's app is called in this process, login and network left out.
Writes `page.list_ms` (the slowest list page's median) and the median of each page.
"""

from __future__ import annotations

import os
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

RUNS = 15
PAGES = {
    "studies": "/",
    "study": "/studies/study_1",
    "study_last_page": "/studies/study_1?page=5",
    "sweep": "/sweeps/sweep-1",
    "sweep_by_rate": "/sweeps/sweep-1?sort=rate&page=2",
    "trial": "/trials/sweep-1-1",
}
FILL = f"""
INSERT INTO {SCHEMA}.sweep
    (sweep_id, study, job, dag_id, run_id, status, options, study_definition, planned, measured, started_at, ended_at)
SELECT 'sweep-' || s, 'study_' || s % 4, 'migration', 'tune_study_' || s % 4, 'run-' || s, 'recommended', '{{}}',
    '{{}}', 100, 100, now() - s * interval '1 day', now() - s * interval '1 day' + interval '1 hour'
FROM generate_series(1, 1000) s;
INSERT INTO {SCHEMA}.trial
    (trial_id, sweep_id, study, phase, round, block, position, label, is_control, configuration_id, configuration,
     fraction, status, metrics, measurement, planned_at, started_at, ended_at)
SELECT 'sweep-' || s || '-' || t, 'sweep-' || s, 'study_' || s % 4, 'search', 1, t / 10, t % 10, 'candidate ' || t % 10,
    t % 10 = 0, 'c' || t % 10, jsonb_build_object('partitions', t), 1, 'measured',
    jsonb_build_object('duration_s', 1 + random(), 'rows_per_s', 1e5 * random(), 'rows', 336776),
    jsonb_build_object('checks', '[]'::jsonb, 'details', jsonb_build_object('log', repeat('x', 4000))),
    now(), now(), now()
FROM generate_series(1, 1000) s, generate_series(1, 100) t;
INSERT INTO {SCHEMA}.recommendation
    (sweep_id, goal, study, status, label, configuration_id, configuration, estimate, gain, confidence,
     document, created_at)
SELECT 'sweep-' || s, goal, 'study_' || s % 4, 'winner', 'candidate 1', 'c1', '{{}}', 1e5 * random(), 1.2, 0.95,
    '{{"evidence": {{}}}}', now() - s * interval '1 day'
FROM generate_series(1, 1000) s, unnest(ARRAY['throughput', 'latency', 'cost', 'balanced']) goal;
ANALYZE {SCHEMA}.sweep, {SCHEMA}.trial, {SCHEMA}.recommendation;
"""


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
            connection.exec_driver_sql(FILL.replace("%", "%%"))
        medians = _time_pages(url)
    finally:
        server.remove()
        shutil.rmtree(folder, ignore_errors=True)
    slowest = max(medians, key=lambda name: statistics.median(medians[name]))
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
        return {name: [_milliseconds(browser, address) for _ in range(RUNS)] for name, address in PAGES.items()}


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
