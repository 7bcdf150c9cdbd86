"""Out of memory on a real JVM: a trial that ends so is a result in words, and the sweep learns from it."""

# ruff: noqa: F811 - a fixture is imported, and named again where a test asks for it

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import yaml
from dedup_study import CONFIGS, study  # noqa: F401

from pipeline_tuner import settings
from pipeline_tuner.dag_factory import tuning_dag
from pipeline_tuner.operators.job_run import outcome_of
from pipeline_tuner.runners import Runner, TrialRun, runner_for
from pipeline_tuner.search.memory_constraint import MemoryConstraint
from pipeline_tuner.store import Store
from pipeline_tuner.trial import TrialResult

LARGE = {"rows": 4, "duplicates": 2, "row_bytes": 30_000_000, "null_key_fraction": 0.0}
"""Records of 30 MB: a task can't hold what it needs for one in half of 512 MB, and can in half of 2 GB."""


@pytest.fixture
def runners(study: Any) -> Iterator[Any]:
    """A function that makes the study's runner, warm or not; what it kept is gone after the test."""
    made: list[Runner] = []

    def make(*, warm: bool) -> Runner:
        one = settings.load_named_study(study({"baseline": {}}, warm=warm))
        made.append(runner_for(one, sweep_id="memory"))
        return made[-1]

    yield make
    for runner in made:
        runner.end_of_sweep()


@pytest.mark.parametrize(
    "warm", [pytest.param(True, id="kept JVM"), pytest.param(False, id="JVM of its own", marks=pytest.mark.soak)]
)
def test_a_jvm_that_dies_of_it_is_a_result(runners: Any, tmp_path: Path, warm: bool) -> None:
    """One record is larger than the heap has room for: the JVM itself goes away, with no word to the job."""
    configuration = {"strategy": "window", "driver_memory": "512m", "shuffle_partitions": 2}
    giants = {"generator": {"rows": 2, "row_bytes": 60_000_000, "null_key_fraction": 0.0}, "target": {"kind": "none"}}
    workload = {"name": "generated", "data": "generated", "folder": str(tmp_path / "data"), **giants}
    run = TrialRun("dedup", "giants", configuration, tmp_path, workload=workload, warmups=0)
    result = outcome_of(lambda: runners(warm=warm).run(run, 300))
    assert (result.status, result.failure) == ("failed", "out_of_memory"), result.reason
    assert result.reason.startswith("out of memory at driver memory 512m")
    assert "\n" not in result.reason


@pytest.mark.soak
def test_a_sweep_learns_how_much_memory_is_too_little(run_dag: Any, results: str, study: Any, tmp_path: Path) -> None:
    """A study whose choices of memory hold one that is too small for a strategy: found out, told, and left alone."""
    options = {"data": "generated", "generator": LARGE, "target": {"kind": "none"}, "folder": str(tmp_path / "data")}
    parameters = yaml.safe_load((CONFIGS / "dedup.yaml").read_text())["space"]["parameters"]
    parameters["driver_memory"] |= {"values": ["512m", "2g"], "default": "2g", "tried": None}
    parameters["strategy"] |= {"default": "window", "tried": ["window", "max_by", "semi_join"]}
    changes = {
        "workload": {"options": options},
        "space": {"parameters": parameters},
        "strategy": "adaptive",
        "budget": {"trials": 12, "batch": 3, "rounds": 3, "blocks": 1, "confirm_blocks": 0, "warmups": 0},
    }
    path = study(
        {"window": {"strategy": "window"}, "tight": {"strategy": "max_by", "driver_memory": "512m"}},
        changes=changes,
    )
    assert run_dag(tuning_dag(path)).state == "success"
    found = trials(results)
    starved = [r for r in found if r.failure == "out_of_memory"]
    (tight,) = [r for r in starved if r.plan.label == "tight"]
    assert "out of memory at driver memory 512m" in tight.reason
    space = settings.load_named_study(path).space
    for number in (2, 3):
        constraint = MemoryConstraint.of(space, [r for r in found if r.plan.round < number])
        assert [
            r.plan.label for r in found if r.plan.round == number and constraint.forbids(r.plan.configuration)
        ] == []
    measured = {r.plan.configuration["driver_memory"] for r in found if r.status == "measured"}
    assert measured == {"2g"}
    assert len([r for r in starved if r.plan.round > 1]) <= 2, "each other strategy runs out of it once at most"
    (report,) = (tmp_path / "reports").rglob("analysis-details.md")
    assert "Give it more memory than `tight` has" in report.read_text()


def trials(results: str) -> list[TrialResult]:
    with closing(psycopg2.connect(results)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT sweep_id FROM pipeline_tuner.trial")
        ((sweep_id,),) = cursor.fetchall()
    with Store(results) as store:
        return sorted(store.results(sweep_id), key=lambda r: r.plan.trial_id)
