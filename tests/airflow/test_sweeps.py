"""Whole sweeps, as `airflow dags test` runs them, with a small real job."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from compress_study import COMPRESS
from tests.airflow.xcom import xcom

from pipeline_tuner.runners.process import ProcessRunner
from pipeline_tuner.store import Store

SHORT = {"blocks": 1, "rounds": 1, "confirm_blocks": 0}
"""For sweeps whose answer is not what a test is about."""
WITHOUT_CONFIRMATION = {"rounds": 1, "confirm_blocks": 0}


@pytest.fixture
def tune(run_dag, compress, results):
    """A function that runs a sweep of the study and returns the DAG run and the sweep's results."""

    def run(conf=None, **changes):
        from pipeline_tuner.dag_factory import tuning_dag

        dag_run = run_dag(tuning_dag(compress(**changes)), conf)
        with Store(results) as store:
            return dag_run, store.results(sweep_of(dag_run))

    return run


def sweep_of(dag_run):
    import hashlib

    code = hashlib.sha256(f"{dag_run.dag_id} {dag_run.run_id}".encode()).hexdigest()[:6]
    return f"compress-{dag_run.run_after:%Y%m%dT%H%M%S}-{code}"


def states(dag_run):
    return {(ti.task_id, ti.map_index): ti.state for ti in dag_run.get_task_instances()}


def recommendations(url, dag_run):
    with Store(url) as store:
        return {item.goal: item for item in store.recommendations(sweep_of(dag_run))}


def test_many_trials_lead_to_a_recommendation_in_tables_xcom_and_analysis(tune, results, tmp_path):
    presets = {"fast": {"level": 1}, "middle": {"level": 5}, "small": {"level": 9}}
    dag_run, trials = tune(presets=presets)
    assert dag_run.state == "success"
    assert {trial.status for trial in trials} == {"measured"}
    answer = recommendations(results, dag_run)["size"]
    assert (answer.status, answer.label) == ("best", "small")
    told = xcom(dag_run, "recommend")
    assert told["sweep_id"] == sweep_of(dag_run)
    assert (told["planned"], told["measured"], told["failed"]) == (len(trials), len(trials), 0)
    assert told["goals"]["size"]["configuration"] == {"level": 9, "mode": "good"}
    assert told["goals"]["size"]["gain"]["value"] > 1
    with Store(results) as store:
        sweep = store.sweep(sweep_of(dag_run))
    assert sweep.status == "recommended"
    assert sweep.workload_fingerprint == "text"
    analysis, details = Path(told["analysis"]), Path(told["analysis_details"])
    assert analysis == tmp_path / "reports" / sweep.sweep_id / "analysis.md"
    assert "use small" in analysis.read_text(encoding="utf-8")
    assert "## Environment" in details.read_text(encoding="utf-8")
    assert f"({details.name})" in analysis.read_text(encoding="utf-8")


def test_the_default_search_explores_on_a_part_of_the_data_and_decides_on_all_of_it(tune, results, tmp_path):
    parameters = {
        "level": {"type": "integer", "low": 1, "high": 9, "default": 1},
        "mode": {"type": "categorical", "values": ["good", "wrong"], "default": "good", "tried": []},
    }
    presets = {
        "fast": {"level": 1},
        "two": {"level": 2},
        "three": {"level": 3},
        "four": {"level": 4},
        "five": {"level": 5},
    }
    dag_run, trials = tune(
        strategy="adaptive",
        space={"parameters": parameters},
        presets=presets,
        workload={"name": "text", "sizes": {"half": 0.5, "full": 1.0}, "screening": "half"},
        budget={"trials": 26, "rounds": 3, "batch": 5, "confirm_blocks": 2, "warmups": 0, "trial_timeout_s": 600},
    )
    assert dag_run.state == "success"
    first = [trial for trial in trials if trial.plan.round == 1]
    assert {(trial.plan.fraction, trial.measurement.workload["rows"]) for trial in first} == {
        (0.5, 10_000),
        (1.0, 20_000),
    }
    assert {trial.plan.configuration["mode"] for trial in trials} == {"good"}
    answer = recommendations(results, dag_run)["size"]
    best = min((t for t in trials if t.plan.fraction == 1.0), key=lambda trial: trial.metrics["bytes"])
    assert answer.status in ("best", "tied")
    assert answer.gain.value > 1
    assert best.metrics["bytes"] >= 0.95 * answer.estimate.value
    assert answer.validity["ranges"]["rows"] == [20_000, 20_000]
    analysis = (tmp_path / "reports" / sweep_of(dag_run) / "analysis-details.md").read_text(encoding="utf-8")
    assert "It explored on 50% of the data, which predict the whole" in analysis


def test_a_block_runs_together_whatever_order_airflow_starts_instances_in(tune, results):
    presets = {f"level_{level}": {"level": level} for level in range(1, 6)}
    tune({"blocks": 2, "confirm_blocks": 0}, presets=presets, control="level_1")
    with Store(results) as store, store.transaction() as connection:
        rows = connection.exec_driver_sql(
            "SELECT round, block, position FROM pipeline_tuner.trial WHERE phase = 'search' ORDER BY started_at"
        ).all()
    assert [tuple(row) for row in rows] == sorted(map(tuple, rows))


def test_a_trial_tells_its_place_and_whole_configuration(tune):
    dag_run, trials = tune(SHORT)
    told = xcom(dag_run, "trial", 0)
    trial = next(trial for trial in trials if trial.plan.trial_id == told["trial_id"])
    assert told["configuration"] == trial.plan.configuration
    assert told["metrics"] == trial.metrics
    assert (told["block"], told["status"], told["repeats"]) == (1, "measured", 1)
    instance = next(ti for ti in dag_run.get_task_instances() if (ti.task_id, ti.map_index) == ("trial", 0))
    assert instance.rendered_map_index.startswith("block 1 · ")


def test_a_single_configuration_is_its_own_recommendation(tune, results):
    dag_run, trials = tune(WITHOUT_CONFIRMATION, presets={"fast": {"level": 1}})
    assert {trial.plan.label for trial in trials} == {"fast"}
    assert dag_run.state == "success"
    assert recommendations(results, dag_run)["size"].label == "fast"


def test_a_failing_trial_is_a_result_and_never_wins(tune, results):
    presets = {"fast": {"level": 1}, "middle": {"level": 5}, "wrong": {"level": 9, "mode": "wrong"}}
    dag_run, trials = tune(WITHOUT_CONFIRMATION, presets=presets)
    assert dag_run.state == "success"
    failed = [trial for trial in trials if trial.plan.label == "wrong"]
    assert {(trial.status, trial.failure) for trial in failed} == {("failed", "check_failed")}
    assert "not the same text" in failed[0].reason
    assert recommendations(results, dag_run)["size"].label == "middle"
    state = states(dag_run)
    assert "failed" in [state[key] for key in state if key[0] == "trial"]
    told = xcom(dag_run, "recommend")
    assert told["failed"] == len(failed)
    assert told["planned"] == told["measured"] + told["failed"]


def test_where_every_trial_fails_the_sweep_fails_and_says_why(tune, results):
    # The control fails in a way that the first try-out lets pass: too slow is a finding about a configuration.
    presets = {"fast": {"level": 1, "mode": "heap"}, "small": {"level": 9, "mode": "wrong"}}
    dag_run, trials = tune(SHORT, presets=presets)
    assert dag_run.state == "failed"
    assert {trial.status for trial in trials} == {"failed"}
    assert states(dag_run)[("recommend", -1)] == "failed"
    with Store(results) as store:
        sweep = store.sweep(sweep_of(dag_run))
    assert sweep.status == "failed"
    assert "out_of_memory" in sweep.reason or "out of memory" in sweep.reason
    assert (sweep.planned, sweep.measured, sweep.failed) == (len(trials), 0, len(trials))


def test_a_job_that_does_not_work_ends_the_sweep_before_its_trials(tune, results):
    dag_run, trials = tune(presets={"fast": {"level": 1, "mode": "crash"}, "small": {"level": 9}})
    assert dag_run.state == "failed"
    assert trials == ()
    with Store(results) as store:
        assert "can't connect" in store.sweep(sweep_of(dag_run)).reason


def test_nothing_to_plan_fails_instead_of_passing_with_nothing(tune):
    dag_run, trials = tune({"trials": 1, "confirm_blocks": 0}, presets={"fast": {"level": 1}, "small": {"level": 9}})
    # One trial pays for the control alone: below three blocks, whatever it says, it says without confidence.
    assert len(trials) <= 1
    assert dag_run.state == "success" or states(dag_run)[("recommend", -1)] == "failed"


def test_two_names_for_one_configuration_tie(tune, results):
    presets = {"fast": {"level": 1}, "small": {"level": 9}, "small_too": {"level": 9}}
    dag_run, _ = tune(WITHOUT_CONFIRMATION, presets=presets)
    answer = recommendations(results, dag_run)["size"]
    assert answer.status == "tied"
    assert set(answer.ties) == {"small", "small_too"}


def test_a_killed_job_is_run_again_and_counts_once(tune, tmp_path):
    workload = {"name": "text", "options": {"marker": str(tmp_path / "killed")}}
    presets = {"fast": {"level": 1}, "small": {"level": 9, "mode": "killed_once"}}
    dag_run, trials = tune(SHORT, presets=presets, workload=workload)
    assert (tmp_path / "killed").exists()
    assert dag_run.state == "success"
    assert {trial.status for trial in trials} == {"measured"}
    assert len({trial.plan.trial_id for trial in trials}) == len(trials)
    assert max(ti.try_number for ti in dag_run.get_task_instances() if ti.task_id == "trial") == 2


def test_a_wrong_choice_is_refused_with_the_option_and_what_would_be_right(tune):
    from airflow.sdk.exceptions import ParamValidationError

    with pytest.raises((ParamValidationError, ValueError), match="strategy"):
        tune({"strategy": "everything"})


def test_a_missing_connection_fails_the_check_with_its_name(tune):
    runner = {
        "kind": "process",
        "command": ["no-such-program", "{level}", "{mode}", "{measurement}"],
        "connections": {"source": "nobody_made_this"},
    }
    dag_run, trials = tune(runner=runner)
    state = states(dag_run)
    assert dag_run.state == "failed"
    assert trials == ()
    assert state[("check", -1)] == "failed"
    assert state[("recommend", -1)] == "failed"


@pytest.mark.parametrize("also", [True, False])
def test_a_companion_has_a_sweep_of_its_own_in_the_same_run(run_dag, compress, results, also):
    from pipeline_tuner.dag_factory import tuning_dag

    more = {
        "study": "squeeze",
        "strategies": {"two": [{"level": 1}, {"level": 3}]},
        "budget": COMPRESS["budget"] | WITHOUT_CONFIRMATION,
    }
    dag = tuning_dag(compress(strategies={"two": [{"level": 1}, {"level": 2}]}), companions=[compress(**more)])
    dag_run = run_dag(dag, {"strategy": "two", "seed": 3, **SHORT} | ({} if also else {"also": None}))
    assert dag_run.state == "success"
    assert states(dag_run)["answered", -1] == "success"
    with Store(results) as store:
        own = store.sweep(sweep_of(dag_run))
        other = store.sweep(sweep_of(dag_run).replace("compress", "squeeze"))
        assert own.options.strategy == "two"
        if not also:
            assert other is None
            assert states(dag_run)["squeeze.recommend", -1] == "skipped"
            return
        assert (other.status, other.options.strategy, other.options.seed) == ("recommended", "two", 3)
        assert other.options.budget.blocks == 3
        levels = {trial.plan.configuration["level"] for trial in store.results(other.sweep_id)}
        assert levels == {1, 3}


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_sweep_with_what_was_measured(tune, results, monkeypatch, ending):
    # Who starts the tests in the background has SIGINT ignored in them.
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    waited = []
    wait = ProcessRunner.wait

    def wait_and_be_met(self, timeout_s):
        waited.append(self)
        if len(waited) == 4:
            signal.raise_signal(ending)
        return wait(self, timeout_s)

    monkeypatch.setattr(ProcessRunner, "wait", wait_and_be_met)
    try:
        dag_run, trials = tune(presets={"fast": {"level": 1}, "small": {"level": 9}})
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert len(waited) == 4, "no trial starts after the signal"
    assert {trial.status for trial in trials} == {"measured", "failed"}
    assert sum(trial.status == "measured" for trial in trials) == 2
    with Store(results) as store:
        sweep = store.sweep(sweep_of(dag_run))
    assert sweep.status != "running"
    assert sweep.ended_at is not None
    assert states(dag_run)["recommend", -1] in ("success", "failed")
