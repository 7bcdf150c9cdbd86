"""A user's own job: the files that the documentation shows, run as they are."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from pipeline_tuner.exceptions import StudyError
from pipeline_tuner.store import Store, migrate

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs" / "examples"


@pytest.fixture
def own_job(postgres, flights, results, monkeypatch):
    """The connections and programs that the examples name; the value is the results database."""
    monkeypatch.setenv("AIRFLOW_CONN_MIGRATION_SOURCE", flights.replace("postgresql://", "postgres://"))
    programs = os.pathsep.join([str(Path(sys.executable).parent), str(postgres.programs)])
    monkeypatch.setenv("PATH", programs + os.pathsep + os.environ["PATH"])
    migrate(results)
    return results


def tune(run_dag, study, conf):
    from pipeline_tuner.dag_factory import tuning_dag

    return run_dag(tuning_dag(f"docs/examples/{study}.yaml"), conf)


def newest(url):
    with Store(url) as store:
        from pipeline_tuner.store.page_reads import PageReads

        sweep = PageReads(store).studies(["tune_dump_table", "tune_dump_gzip"])[0]
        return store.results(sweep["sweep_id"]), store.recommendations(sweep["sweep_id"])


def test_a_program_that_writes_its_measurement_is_tuned(run_dag, own_job):
    run = tune(run_dag, "dump_table", {"trials": 8, "blocks": 2, "rounds": 1, "confirm_blocks": 0})
    assert run.state == "success"
    trials, recommendations = newest(own_job)
    assert {trial.status for trial in trials} == {"measured"}
    size = next(r for r in recommendations if r.goal == "size")
    # Sizes don't vary between runs, and more compression is smaller: the answer is known.
    assert (size.status, size.label) == ("keep", "today")
    assert size.gain is None or size.gain.value == pytest.approx(1.0)


def test_programs_that_cannot_be_changed_are_timed_from_outside(run_dag, own_job):
    assert tune(run_dag, "dump_gzip", {"trials": 4, "blocks": 1, "confirm_blocks": 0, "rounds": 1}).state == "success"
    trials, recommendations = newest(own_job)
    assert {trial.status for trial in trials} == {"measured"}
    used = [(trial.metrics["core_seconds"], trial.metrics["duration_s"]) for trial in trials]
    assert all(0 < core_s <= 4 * duration_s for core_s, duration_s in used), used
    assert trials[0].measurement.environment["cores"] >= 1
    sizes = {trial.plan.label: trial.metrics["dump_bytes"] for trial in trials}
    assert sizes["smallest"] < sizes["today"] < sizes["middle"] < sizes["fastest"]
    assert next(r for r in recommendations if r.goal == "size").label in ("smallest", "today")


def observed(tmp_path, command, **options):
    from pipeline_tuner.runners.base import TrialRun
    from pipeline_tuner.runners.unchanged_program import ObservedRunner

    run = TrialRun("own", "t1", {"level": 1}, tmp_path, {}, {}, {})
    return ObservedRunner(command, modules=ROOT / "spark_jobs", **options).run(run, 30)


def test_what_is_not_printed_is_a_failed_check(tmp_path):
    checks = {"whole": "^complete$", "rows": r"\d+ rows"}
    measurement = observed(tmp_path, ["echo", "complete"], patterns={}, checks=checks)
    assert [(check.name, check.passed) for check in measurement.checks] == [("whole", True), ("rows", False)]


@pytest.mark.parametrize(("pattern", "message"), [("took (", "no regular expression"), ("took", "one group")])
def test_a_wrong_pattern_is_refused(pattern, message):
    from pipeline_tuner.runners.unchanged_program import ObservedRunner

    with pytest.raises(StudyError, match=message):
        ObservedRunner(["true"], patterns={"time_s": pattern}, modules=ROOT)
    with pytest.raises(StudyError, match=r"checks\.whole"):
        ObservedRunner(["true"], patterns={}, checks={"whole": "("}, modules=ROOT)
