"""Tuned tasks that try something in production, night after night: what they run with, and what comes of it."""

from __future__ import annotations

import datetime as dt
import random
from functools import partial
from types import SimpleNamespace

import pytest
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG
from airflow.sdk.definitions.callback import SyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference
from task_instance import TaskInstance

from pipeline_tuner import tuned
from pipeline_tuner.store import Store

PARAMETERS = {
    "level": {"type": "integer", "low": 1, "high": 9, "default": 1, "sets": "op_kwargs.level"},
    "mode": {"type": "categorical", "values": ["good", "wrong"], "default": "good", "tried": ["good"],
             "sets": "op_kwargs.mode"},
}  # fmt: skip
USUAL = (2, "good")


class NightInstance(TaskInstance):
    """The task's instance of one night."""

    def __init__(self, night, try_number=1, map_index=-1, max_tries=1):
        super().__init__(try_number)
        self.run_id, self.map_index, self.max_tries = f"night {night}", map_index, max_tries


@pytest.fixture
def study(compress, results):
    """A study whose goal is the cost of a row."""
    return compress(space={"parameters": PARAMETERS}, goals={"cost": {"minimize": "cost / rows"}})


@pytest.fixture
def noted(production_runs):
    """A function that returns the rows of production runs in their order."""
    return partial(production_runs, "started_at")


def begun(keyword, ti, run_type="scheduled", deadline=None):
    """A task that is about to run."""
    kwargs = {"level": USUAL[0], "mode": USUAL[1]}
    with DAG("nightly", schedule=None, deadline=deadline):
        load = PythonOperator(task_id="load", python_callable=lambda level, mode: None, op_kwargs=kwargs, **keyword)
    now = dt.datetime.now(dt.UTC)
    run = SimpleNamespace(run_type=run_type, logical_date=now, start_date=now)
    load._pre_execute_hook({"ti": ti, "task": load, "dag_run": run})
    return load


def night(keyword, number, costs, rng, **changes):
    """One run with a workload of its own size; returns what it ran with and the limit of its time."""
    ti = NightInstance(number, **{k: v for k, v in changes.items() if k not in ("run_type", "deadline")})
    operator = begun(keyword, ti, changes.get("run_type", "scheduled"), changes.get("deadline"))
    used = operator.op_kwargs["level"], operator.op_kwargs["mode"]
    rows = rng.randrange(1000, 9000)
    cost = rows * costs(*used) * rng.lognormvariate(0, 0.03)
    operator._post_execute_hook({"ti": ti, "task": operator}, {"rows": rows, "cost": cost})
    return used, operator.execution_timeout


def test_within_thirty_nights_a_cheaper_setting_is_found_and_promoted(study, results, noted):
    rng = random.Random(1)
    used = [
        night(tuned(study, explore=0.5), n, lambda level, mode: 1.4 if level == 1 else 0.75 if level == 9 else 1.0, rng)
        for n in range(30)
    ]
    with Store(results) as store:
        promoted = store.production(study, "cost")
    assert (promoted.label, promoted.configuration) == ("small", {"level": 9, "mode": "good"})
    assert [one for one, _ in used].count((1, "good")) <= 2
    rows = noted()
    assert {row.source for row in rows} >= {"fallback", "explored", "promoted"}
    challenges = [row for row in rows if row.source == "explored"]
    assert len(challenges) <= 15
    assert all(row.source_reason.startswith("tried against") for row in challenges)
    assert rows[-1].source in ("promoted", "explored")


def test_a_promotion_that_was_a_mistake_is_rolled_back(study, results):
    rng, keyword = random.Random(7), tuned(study, explore=0.5)
    for number in range(40):
        if number == 4:
            with Store(results) as store:
                store.promote(study, "cost", "mistake", {"level": 9}, actor="ada")
        night(keyword, number, lambda level, _: 1.0 if level == USUAL[0] else 1.3, rng)
    with Store(results) as store, store.transaction() as connection:
        query = "SELECT actor, action, label, configuration FROM pipeline_tuner.promotion ORDER BY promotion_id"
        decided = [tuple(row) for row in connection.exec_driver_sql(query)]
    assert len(decided) == 2
    assert decided[1] == (
        "exploration of nightly.load", "roll_back", "as written", {"level": USUAL[0], "mode": "good"},
    )  # fmt: skip


def test_a_challenge_is_limited_in_time_and_its_retry_has_the_reference(study, noted):
    rng, keyword = random.Random(2), tuned(study, explore=0.5)
    number, limit = 0, None
    while limit is None:
        used, limit = night(keyword, number, lambda *_: 1.0, rng)
        number += 1
    assert used != USUAL
    assert limit >= dt.timedelta(seconds=60)
    ti = NightInstance(number - 1, try_number=2)
    assert begun(keyword, ti).op_kwargs["level"] == USUAL[0]


@pytest.mark.parametrize(
    "changes",
    [{"max_tries": 0}, {"map_index": 0}, {"run_type": "backfill"}, {"run_type": "manual"}, {"try_number": 2}],
    ids=lambda changes: next(iter(changes)),
)
def test_only_scheduled_first_tries_that_can_be_retried_try_anything(study, changes):
    rng = random.Random(3)
    assert {night(tuned(study, explore=0.5), n, lambda *_: 1.0, rng, **changes)[0] for n in range(12)} == {USUAL}


def test_a_freeze_and_a_share_of_nothing_try_nothing(study, monkeypatch):
    rng = random.Random(4)
    assert {night(tuned(study), n, lambda *_: 1.0, rng)[0] for n in range(12)} == {USUAL}
    monkeypatch.setenv("AIRFLOW__PIPELINE_TUNER__FREEZE", "true")
    assert {night(tuned(study, explore=0.5), n, lambda *_: 1.0, rng)[0] for n in range(12, 24)} == {USUAL}


NOW = dt.datetime.now(dt.UTC)


def alert(reference, hours):
    return DeadlineAlert(reference=reference, interval=dt.timedelta(hours=hours), callback=SyncCallback(print))


@pytest.mark.parametrize(
    ("deadline", "is_tried"),
    [
        (alert(DeadlineReference.DAGRUN_LOGICAL_DATE, 5), True),
        (alert(DeadlineReference.DAGRUN_LOGICAL_DATE, -1), False),
        (alert(DeadlineReference.DAGRUN_QUEUED_AT, 5), True),
        # Sooner than a challenger would be ended for being slow.
        (alert(DeadlineReference.DAGRUN_QUEUED_AT, 0.001), False),
        (alert(DeadlineReference.FIXED_DATETIME(NOW), 500), True),
        ([alert(DeadlineReference.FIXED_DATETIME(NOW), 500), alert(DeadlineReference.FIXED_DATETIME(NOW), -1)], False),
        (alert(DeadlineReference.AVERAGE_RUNTIME(3), -1), True),
    ],
)
def test_nothing_is_tried_past_a_deadline_or_near_it(study, deadline, is_tried):
    rng, keyword = random.Random(4), tuned(study, explore=0.5)
    # Three runs of the reference, then a pair at the latest.
    used = {night(keyword, n, lambda *_: 1.0, rng, deadline=deadline)[0] for n in range(6)}
    assert (used != {USUAL}) is is_tried


def test_more_than_a_half_is_refused_where_the_dag_is_parsed():
    with pytest.raises(ValueError, match=r"explore is 0\.6, must be from 0 to 0\.5"):
        tuned("any", explore=0.6)
