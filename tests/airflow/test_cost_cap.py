"""A sweep's cap of cost: what is planned within it, what is refused before it starts, and no trial beyond it."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
import yaml
from airflow.sdk.exceptions import AirflowFailException
from compress_study import COMPRESS

from pipeline_tuner.measurement import Measurement
from pipeline_tuner.operators.sweep import PlanOperator, sweep_id_of
from pipeline_tuner.operators.trials import known_sweep, over_the_cap
from pipeline_tuner.store import Store
from pipeline_tuner.study import parse_study
from pipeline_tuner.sweep import sweep_options
from pipeline_tuner.trial import TrialResult

RUN = SimpleNamespace(
    dag_id="tune_compress", run_id="r1", run_type="manual", run_after=datetime(2026, 3, 1, tzinfo=UTC)
)
CONTEXT = {"dag_run": RUN, "params": {}, "ti": RUN}


@pytest.fixture
def planned(compress, results):
    """A function that opens a sweep with a cap, its run before the trials included, and plans its first round."""

    def plan(cap, first=1.0, **changes):
        budget = {**COMPRESS["budget"], "cost": cap}
        name = compress(budget=budget, goals={"cost": {"minimize": "cost"}}, **changes)
        study = parse_study(yaml.safe_dump({**COMPRESS, "budget": budget, "goals": {"cost": {"minimize": "cost"}}}))
        options = sweep_options(study, sweep_id_of(name, CONTEXT)).model_copy(update={"prepared_cost": first})
        with Store(results) as store:
            store.start_sweep(study, options, dag_id="tune_compress", run_id="r1")
        found = PlanOperator(task_id="plan", study=name, round_number=1).execute(CONTEXT)
        return options.sweep_id, [one["trial"] for one in found]

    return plan


def test_blocks_that_there_is_no_money_for_are_not_planned(planned):
    assert {trial["block"] for trial in planned(100)[1]} == {1}
    assert len(planned(4, first=1.0)[1]) == 2


def test_what_can_not_be_had_for_the_money_is_refused_before_it_starts(planned):
    with pytest.raises(AirflowFailException, match=r"at most 3\.5 \(budget\.cost\) may be spent, 1 are.*costs about 1"):
        planned(3.5, first=1.0)
    with pytest.raises(AirflowFailException, match="nothing says what a trial costs"):
        planned(2, first=None)


def measured(store, sweep_id, place, cost):
    plan = store.results(sweep_id)[place].plan
    now = datetime.now(UTC)
    document = {
        "contract": 1, "job": "compress", "trial_id": plan.trial_id, "status": "measured", "started_at": now,
        "ended_at": now, "samples": [{"duration_s": 1.0}], "metrics": {"cost": cost},
    }  # fmt: skip
    store.record_result(TrialResult.of(plan, Measurement.model_validate(document)))


def test_no_trial_starts_beyond_the_cap(planned, results):
    sweep_id, trials = planned(4, first=1.0)
    with Store(results) as store:
        sweep = known_sweep(store, sweep_id)
        assert store.take_trial(trials[0]["trial_id"], task_id="trial", map_index=0, try_number=1)
        assert over_the_cap(store, sweep) is None
        measured(store, sweep_id, 0, cost=2.9)  # dearer than the run before the trials
        assert store.take_trial(trials[1]["trial_id"], task_id="trial", map_index=1, try_number=1)
        assert over_the_cap(store, sweep) == (
            "not started: 3.9 of at most 4 (budget.cost) are spent, a trial costs about 2.9"
        )


def test_trials_that_run_side_by_side_are_counted(planned, results):
    sweep_id, trials = planned(4, first=1.0)
    with Store(results) as store:
        sweep = known_sweep(store, sweep_id)
        for number, trial in enumerate(trials):
            store.take_trial(trial["trial_id"], task_id="trial", map_index=number, try_number=1)
        assert over_the_cap(store, sweep) is None
        capped = sweep.options.model_copy(update={"prepared_cost": 1.4})
        store.record_options(sweep_id, capped)
        assert "1 more are running" in over_the_cap(store, known_sweep(store, sweep_id))
