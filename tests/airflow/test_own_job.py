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

        sweep = PageReads(store).studies(["tune_dump_table", "tune_compress_file"])[0]
        return store.results(sweep["sweep_id"]), store.recommendations(sweep["sweep_id"])


def test_a_program_that_writes_its_measurement_is_tuned(run_dag, own_job):
    run = tune(run_dag, "dump_table", {"trials": 20, "confirm_blocks": 2})
    assert run.state == "success"
    trials, recommendations = newest(own_job)
    assert {trial.status for trial in trials} == {"measured"}
    size = next(r for r in recommendations if r.goal == "size")
    # Sizes don't vary between runs, and more compression is smaller: the answer is known.
    assert (size.status, size.label) == ("winner", "today")
    assert size.gain is None or size.gain.value == pytest.approx(1.0)


def test_a_program_that_cannot_be_changed_is_timed_from_outside(run_dag, own_job):
    assert tune(run_dag, "compress_file", {"trials": 10, "confirm_blocks": 2}).state == "success"
    trials, _ = newest(own_job)
    measured = [trial for trial in trials if trial.status == "measured"]
    assert len(measured) == len(trials)
    used = [(trial.metrics["core_seconds"], trial.metrics["duration_s"]) for trial in measured]
    assert all(0 < core_s <= 2 * duration_s for core_s, duration_s in used), used
    assert all(0 < trial.metrics["first_run_ms"] < 1000 * trial.metrics["duration_s"] for trial in measured)


@pytest.mark.parametrize(("pattern", "message"), [("took (", "no regular expression"), ("took", "one group")])
def test_a_wrong_pattern_is_refused(pattern, message):
    from pipeline_tuner.runners.observed import ObservedRunner

    with pytest.raises(StudyError, match=message):
        ObservedRunner(["true"], patterns={"time_s": pattern}, modules=ROOT)
