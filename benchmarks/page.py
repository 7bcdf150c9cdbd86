"""Benchmark of the page: time and size with 200 studies, 1,000 sweeps, 1,000 nights and 100,000 trials.

A throw-away PostgreSQL is filled by SQL; the page's app is called in this process, login and network left out.
Writes the median of each page (`page.studies_ms`, ...), of these `page.list_ms` (the slowest list page) and
`page.sweep_ms` (a sweep's first screen, another sweep each time), `page.sweep_kb` (what a browser loads for it with an
empty cache, scripts and styles included, compressed as Airflow does) and `page.sweep_later_kb`, and with a browser
`page.sweep_height_px` (at 1,400 pixels' width). `page.list_cpu_ms` and `page.sweep_cpu_ms` are processor time of this
process, PostgreSQL's not included: beside other work on the machine they change less.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from benchmarks.record import Figures
from fastapi.testclient import TestClient
from playwright.sync_api import sync_playwright
from tests.browser.planted_page import page_app, served_page
from tests.temporary_postgres import temporary_postgres

from pipeline_tuner.local.browser import find_browser
from pipeline_tuner.recommendation import (
    ConfigurationEvidence,
    DecisionStatus,
    Interval,
    Recommendation,
    StandingKind,
)
from pipeline_tuner.space import Configuration
from pipeline_tuner.store import Store, migrate
from pipeline_tuner.store.schema import SCHEMA
from pipeline_tuner.study import load_study
from pipeline_tuner.sweep import sweep_options
from pipeline_tuner.web import studies_page

ROOT = Path(__file__).resolve().parents[1]

RUNS = 15
PAGES = {
    "studies": "/",
    "study": "/studies/study_1",
    "study_last_page": "/studies/study_1?page=5",
    "sweep": "/sweeps/sweep-{}",
    "sweep_trials_by_rate": "/sweeps/sweep-1?tab=trials&sort=rate&page=2",
    "sweep_configurations": "/sweeps/sweep-1?tab=configurations",
    "sweep_configurations_first": "/sweeps/sweep-{}?tab=configurations",
    "trial": "/trials/sweep-1-1",
}
LISTS = ("studies", "study", "study_last_page", "sweep_trials_by_rate")
OF_STUDY = "CASE WHEN s % 2 = 0 THEN 'study_1' ELSE 'study_' || (s / 2) % 200 END"
"""Half of the sweeps are one study's, the others are spread over 200."""
PREFIX = "/pipeline-tuner"
WIDE = {"width": 1400, "height": 900}
FILL = f"""
INSERT INTO {SCHEMA}.sweep
    (sweep_id, study, job, dag_id, run_id, status, options, study_definition, planned, measured, started_at, ended_at)
SELECT 'sweep-' || s, {OF_STUDY}, 'migration', 'tune_' || {OF_STUDY}, 'run-' || s, 'recommended',
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
    SELECT 'sweep-' || s || '-' || t AS id, 'sweep-' || s AS sweep_id, {OF_STUDY} AS study, t,
        jsonb_build_object('duration_s', 1 + random(), 'rows_per_s', 1e5 * (1 + random()), 'rows', 336776,
            'latency_p95_s', 0.1 + random(), 'core_seconds', 1 + random(), 'memory_peak_bytes', 1e9) AS metrics
    FROM generate_series(1, 1000) s, generate_series(1, 100) t
) made;
INSERT INTO {SCHEMA}.recommendation
    (sweep_id, goal, study, status, label, configuration_id, configuration, estimate, gain, confidence,
     document, created_at)
SELECT 'sweep-' || s, goal, {OF_STUDY}, 'best', 'candidate 1', 'c1', %(configuration)s, 1e5 * random(), 1.2, 0.95,
    jsonb_set(%(recommendation)s, '{{goal}}', to_jsonb(goal)), now() - s * interval '1 day'
FROM generate_series(1, 1000) s, unnest(ARRAY['throughput', 'latency', 'cost', 'balanced']) goal;
INSERT INTO {SCHEMA}.night (night_id, study, due_at, status, summary, measured, started_at)
SELECT 'sweep-' || s, {OF_STUDY}, now() - s * interval '1 day', 'quiet', 'Nothing new.', 12, now()
FROM generate_series(1, 1000) s;
INSERT INTO {SCHEMA}.night_value (night_id, goal, configuration_id, label, role, value, trials)
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
    configuration = study.control_candidate.configuration
    return {
        "definition": study.model_dump_json(),
        "options": sweep_options(study, "s").model_dump_json(),
        "measurement": json.dumps(measurement),
        "configuration": json.dumps(dict(configuration)),
        "recommendation": json.dumps(_recommendation(configuration).to_dict()),
    }


def _recommendation(configuration: Configuration) -> Recommendation:
    gains = {f"candidate {n}": Interval(1 + n / 10, 0.95 + n / 10, 1.05 + n / 10, 0.95, 5) for n in range(10)}
    evidence = {
        label: ConfigurationEvidence(configuration, StandingKind.WORSE, 10, 10, blocks=5, ratio=gain, confirmed=gain)
        for label, gain in gains.items()
    }
    return Recommendation(
        "throughput", DecisionStatus.BEST, "candidate 1", configuration, gain=gains["candidate 1"], confidence=0.95,
        reference="candidate 0", reference_gain=gains["candidate 1"], regret_bound=0.05, reason="The best.",
        evidence=evidence,
    )  # fmt: skip


def main() -> int:
    """Fill a database, time every page, print and record the figures."""
    with temporary_postgres() as server:
        url = server.create_database("page")
        migrate(url)
        with Store(url) as store, store.transaction() as connection:
            filling = re.sub(r"%(?!\()", "%%", FILL)
            for statement in filter(str.strip, filling.split(";\n")):
                connection.exec_driver_sql(statement, _documents())
        os.environ["AIRFLOW_CONN_PIPELINE_TUNER_DEFAULT"] = url.replace("postgresql://", "postgres://")
        with Store(url) as store:
            _record(store)
    return 0


def _record(store: Store) -> None:
    figures = Figures("page")
    # When a DAG runs next is Airflow's to say, and would need its database.
    without_airflow = patch.object(studies_page, "next_runs", lambda dag_ids: {})
    with without_airflow, page_app(store) as app, TestClient(app) as browser:
        # Another sweep each time where {} stands: what a look at one keeps is not used.
        took = {
            name: [_milliseconds(browser, address.format(101 + 2 * run)) for run in range(RUNS)]
            for name, address in PAGES.items()
        }
        times = {name: [one.passed for one in found] for name, found in took.items()}
        first, later = _kilobytes(browser, PAGES["sweep"].format(7))
    slowest = max(LISTS, key=lambda name: statistics.median(times[name]))
    for name, found in {"list": times[slowest], **times}.items():
        median = figures.add(f"{name}_ms", found, "ms")
        print(f"{name:26} {median:8.1f} ms  ({min(found):.1f} to {max(found):.1f}, {len(found)} runs)")
    for name, page in {"list_cpu": slowest, "sweep_cpu": "sweep"}.items():
        median = figures.add(f"{name}_ms", [one.worked for one in took[page]], "ms")
        print(f"{name:26} {median:8.1f} ms of processor time")
    sizes = {"sweep_kb": (first, "KB"), "sweep_later_kb": (later, "KB")}
    if height := _height(store):
        sizes["sweep_height_px"] = (height, "px")
    for name, (value, unit) in sizes.items():
        figures.add(name, [value], unit)
        print(f"{name:26} {value:8.1f} {unit}")


def _kilobytes(browser: TestClient, address: str) -> tuple[float, float]:
    """What a browser loads for a page with an empty cache, and with what it may keep."""
    page = browser.get(f"{PREFIX}{address}")
    parts = set(re.findall(r'(?:src|href|data-charts)="([^"]+\.(?:js|css))"', page.text))
    kept = sum(_compressed(browser.get(part).content) for part in parts)
    own = _compressed(page.content)
    return (own + kept) / 1000, own / 1000


def _compressed(content: bytes) -> int:
    return len(gzip.compress(content, 5))


def _height(store: Store) -> float | None:
    """How high a sweep's page is in a browser; None without one."""
    program = find_browser()
    if program is None:
        return None
    with served_page(store) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport=WIDE)
        page.goto(f"{address}/sweeps/sweep-7")
        page.locator("[data-drawn]").first.wait_for()
        height = page.evaluate("document.documentElement.scrollHeight")
        browser.close()
    return float(height)


@dataclass(frozen=True)
class Took:
    """Milliseconds of one page: on the clock, and of this process's work."""

    passed: float
    worked: float


def _milliseconds(browser: TestClient, address: str) -> Took:
    began, worked = time.monotonic(), time.process_time()
    answer = browser.get(f"{PREFIX}{address}")
    took = Took(1000 * (time.monotonic() - began), 1000 * (time.process_time() - worked))
    if answer.status_code != 200:
        raise RuntimeError(f"{address} answered {answer.status_code}: {answer.text[:300]}")
    return took


if __name__ == "__main__":
    sys.exit(main())
