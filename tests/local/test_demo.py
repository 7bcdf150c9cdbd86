"""The demo's lines and its estimate of the time left; the shell that `make env` makes."""

from __future__ import annotations

import io
import json
import os
import shlex
import subprocess
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from rich.console import Console

from pipeline_tuner.exceptions import InfrastructureError
from pipeline_tuner.local.airflow import Airflow, shell_lines
from pipeline_tuner.local.demo import OPTIONS, Demo, Follower, longer_sweep, time_left_s
from pipeline_tuner.local.paths import Layout
from pipeline_tuner.local.services import Needs, Services
from pipeline_tuner.measurement import Measurement
from pipeline_tuner.recommendation import DecisionStatus, Recommendation
from pipeline_tuner.study import load_study
from pipeline_tuner.sweep import sweep_options
from pipeline_tuner.trial import TrialPlan, TrialResult

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory):
    """The embedded services of a project in a folder of its own, started."""
    services = Services(Layout(tmp_path_factory.mktemp("a project")))
    services.start(Needs())
    yield Airflow(services)
    services.remove()


def test_a_shell_gets_all_that_airflow_and_psql_need(airflow: Airflow):
    script = f"{shell_lines(airflow)}\npsql -Atc 'SELECT current_database()'; airflow config get-value core executor"
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    done = subprocess.run(["sh", "-c", script], env=environment, capture_output=True, text=True, cwd="/")
    assert done.stdout.split() == ["tuner", "LocalExecutor"], done.stderr


def test_the_environment_names_every_connection_and_no_file_is_open_to_others(airflow: Airflow):
    wanted = {"PIPELINE_TUNER_DEFAULT", "MIGRATION_SOURCE", "MIGRATION_TARGET", "SPARK_DEFAULT", "DEDUP_TARGET"}
    assert {f"AIRFLOW_CONN_{name}" for name in wanted} <= set(airflow.environment)
    secrets = list((airflow.services.layout.local / "secrets").iterdir())
    assert secrets
    assert not [path for path in secrets if path.stat().st_mode & 0o077]


def test_a_study_that_does_not_exist_is_named(airflow: Airflow):
    dags = airflow.services.layout.root / "dags"
    dags.mkdir()
    (dags / "tune_migration.py").touch()
    with pytest.raises(InfrastructureError, match="no study 'compost': choose JOB=migration"):
        Demo(airflow, "compost").run()


@pytest.mark.parametrize("name", OPTIONS)
def test_the_demos_options_are_options_of_the_study(name: str):
    study = load_study(Layout.default().root / "include" / "configs" / f"{name}.yaml")
    assert sweep_options(study, "s", OPTIONS[name]).budget.trials >= len(study.presets)


@pytest.mark.parametrize(
    ("more", "wanted"), [((None, 65, 24), 101), ((None, None), None), ((4000,), None), ((0,), None), ((4000, 24), 60)]
)
def test_the_trials_that_an_answer_asks_for_are_a_command_away(more: tuple[int | None, ...], wanted: int | None):
    study = load_study(Layout.default().root / "include" / "configs" / "migration.yaml")
    record = SimpleNamespace(study="migration", planned=36, options=sweep_options(study, "s", OPTIONS["migration"]))
    answers = [Recommendation("latency", DecisionStatus.KEEP, "copy_8", {}, more_trials=number) for number in more]
    command = longer_sweep(record, answers)
    if wanted is None:
        assert command == ""
        return
    *words, conf = shlex.split(command)
    assert words == ["airflow", "dags", "test", "tune_migration", "-c"]
    assert sweep_options(study, "s", json.loads(conf)).budget.trials == wanted


def test_time_left_follows_the_pace_so_far():
    done = [_result(number, measured=True) for number in range(3)]
    assert time_left_s([]) is None
    assert time_left_s([_result(9)]) is None
    assert time_left_s(done) == 0
    # Three trials took 30 s with all between them, two wait.
    assert time_left_s([*done, _result(4), _result(5)]) == pytest.approx(20)


def test_each_finished_trial_is_told_once():
    out = io.StringIO()
    follower = Follower(Console(file=out, width=200), _NoProgress(), lambda begun: ["sweep"])
    store = _Rows([_result(0, measured=True), _result(1)])
    follower.look(store, BEGIN)
    store.rows[1] = TrialResult(store.rows[1].plan, "failed", failure="timeout", reason="took too long\nstack")
    follower.look(store, BEGIN)
    follower.look(store, BEGIN)
    lines = out.getvalue().splitlines()
    assert len(lines) == 2
    assert "5,000 rows/s" in lines[0]
    assert lines[1].endswith("failed: took too long")


class _NoProgress:
    """Stands where rich's bar stands: what it draws is not this test's business."""

    def add_task(self, *_: object, **__: object) -> int:
        return 0

    def update(self, *_: object, **__: object) -> None:
        return None


class _Rows:
    def __init__(self, rows: list[TrialResult]) -> None:
        self.rows = rows

    def results(self, sweep_id: str) -> tuple[TrialResult, ...]:
        return tuple(self.rows)


def _result(number: int, *, measured: bool = False) -> TrialResult:
    plan = TrialPlan(f"t{number}", "sweep", "search", 1, 1, number, "copy_8", {"cores": 2})
    if not measured:
        return TrialResult(plan, "planned")
    begin = BEGIN + timedelta(seconds=10 * number)
    document = {
        "contract": 1,
        "job": "migration",
        "trial_id": plan.trial_id,
        "status": "measured",
        "started_at": begin,
        "ended_at": begin + timedelta(seconds=10),
        "metrics": {"duration_s": 2.0, "rows_per_s": 5000.0},
        "samples": [{"duration_s": 2.0, "metrics": {}}],
    }
    measurement = Measurement.model_validate(document)
    return TrialResult(plan, "measured", metrics=measurement.metrics, measurement=measurement)
