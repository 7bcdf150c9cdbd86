"""Nights: what they confirm, what that changes for production, whom they tell, and what they leave out."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta

import night_watch
import pytest
from compress_study import COMPRESS
from croniter import croniter

from pipeline_tuner.measurement import Measurement
from pipeline_tuner.monitoring.night_end import conclude_night, end_tuning_night
from pipeline_tuner.monitoring.night_start import begin_night, champions, missed_before
from pipeline_tuner.monitoring.nights import Alert, Champion
from pipeline_tuner.monitoring.store import NightStore
from pipeline_tuner.operators.sweep_end import conclude
from pipeline_tuner.recommendation import DecisionStatus, Recommendation
from pipeline_tuner.search.rounds import plan_confirmation, plan_round
from pipeline_tuner.store import Store
from pipeline_tuner.study import Study
from pipeline_tuner.sweep import night_options, sweep_options
from pipeline_tuner.trial import TrialResult

NIGHTS = {"challengers": 1, "blocks": 3, "confirm_blocks": 3, "notify": "night_watch.tell"}
MACHINE = {"cores": 2, "python": "3.11"}


def rows(url, table, order):
    with Store(url) as store, store.transaction() as connection:
        return connection.exec_driver_sql(f"SELECT * FROM pipeline_tuner.{table} ORDER BY {order}").mappings().all()


def test_a_night_finds_a_better_one_and_the_next_keeps_silent(run_dag, compress, results, tmp_path):
    from pipeline_tuner.dag_factory import tuning_dag

    dag = tuning_dag(compress(nights=NIGHTS))
    night_watch.told.clear()
    assert run_dag(dag, {"strategy": "nightly"}).state == "success"
    (first,) = rows(results, "night", "due_at")
    assert first["status"] == "alert"
    assert "Production follows it from now on, in place of fast" in first["summary"]
    assert night_watch.told == [f"Pipeline Tuner, compress:\n{first['summary']}"]
    (entry,) = rows(results, "alert", "goal")
    assert (entry["kind"], entry["goal"], entry["notified_at"] is None) == ("better", "size", False)
    with Store(results) as store:
        assert store.production("compress", "size").configuration["level"] == 9

    assert run_dag(dag, {"strategy": "nightly"}).state == "success"
    assert [row["status"] for row in rows(results, "night", "due_at")] == ["alert", "quiet"]
    assert len(night_watch.told) == len(rows(results, "alert", "goal")) == 1
    assert len(list((tmp_path / "reports").glob("*/analysis.md"))) == 1
    with Store(results) as store:
        assert store.production("compress", "size").label == "small"
        roles = {f.label: f.role for f in NightStore(store).nights("compress", datetime.now(UTC))[-1].values}
    assert roles == {"fast": "control", "small": "champion"}


class Outlets(defaultdict):
    """Stands for Airflow's outlet events: keeps what is added."""

    def __init__(self):
        super().__init__(lambda: self)
        self.added = []

    def add(self, asset, extra):
        self.added.append((asset.name, extra.get("kind", "decision")))


@pytest.fixture
def store(results):
    with Store(results) as store:
        yield store


@pytest.fixture
def night(store, compress, results, tmp_path):
    """A function that takes a study through a night in which `sizes` are measured, and returns the night's row."""
    count = iter(range(100))

    def run(sizes=lambda level: 1000.0 - 50 * level, machine=MACHINE, *, again=False, **changes):
        changes = {"nights": NIGHTS, **changes}
        study = Study.model_validate({**COMPRESS, **changes})
        compress(**changes)
        number = next(count)
        night_id = f"n{number}"
        options = night_options(study, night_id, champions(store, study))
        store.start_sweep(study, options, dag_id="tune_compress", run_id=night_id)
        NightStore(store).start_night(
            night_id, "compress", datetime(2026, 3, 1, 1, tzinfo=UTC) + timedelta(days=number)
        )
        store.record_environment(night_id, machine, None)
        results_of_night = []
        for plan_more, phase in ((plan_round, "search"), (plan_confirmation, "confirm")):
            extra = (1,) if phase == "search" else ()
            plans = plan_more(study, options, results_of_night, *extra)
            store.plan_trials(night_id, "compress", plans, phase=phase, round=1 if phase == "search" else 2)
            results_of_night += [measured(plan, sizes(plan.configuration["level"]), machine) for plan in plans]
        for result in results_of_night:
            store.record_result(result)
        outlets = Outlets()
        for _ in range(2 if again else 1):
            conclude_night(store, store.sweep(night_id), results_of_night, {"outlet_events": outlets, "ti": Task()})
        return {**rows(results, "night", "due_at")[-1], "assets": outlets.added}

    night_watch.told.clear()
    return run


class Task:
    """Stands for the task instance that a notifier is told of."""

    task_id = "recommend"


def measured(plan, size, machine):
    now = datetime.now(UTC).isoformat()
    document = {
        "contract": 1, "job": "compress", "trial_id": plan.trial_id, "status": "measured", "started_at": now,
        "ended_at": now, "samples": [{"duration_s": 1.0}], "metrics": {"bytes": size}, "environment": machine,
    }  # fmt: skip
    return TrialResult.of(plan, Measurement.model_validate(document))


def in_production(store):
    return store.production("compress", "size")


def test_what_somebody_promoted_stays_unless_the_study_lets_its_nights_promote(night, store, results):
    store.promote("compress", "size", "by hand", {"level": 4, "mode": "good"}, actor="ada")
    row = night()
    assert "which somebody promoted: promote the better one on the page" in row["summary"]
    assert in_production(store).label == "by hand"
    row = night(nights={**NIGHTS, "promote": True}, again=True)
    assert "It is promoted, in place of by hand" in row["summary"]
    assert ("compress_size", "promoted") in row["assets"]
    decisions = [(d["actor"], d["action"], d["label"]) for d in rows(results, "promotion", "promotion_id")]
    assert decisions == [("ada", "promote", "by hand"), ("the nightly sweep", "promote", "small")]
    assert len(night_watch.told) == 2


def larger_is_worse(level):
    return 100.0 + 50 * level


def test_what_became_worse_than_the_control_is_rolled_back(night, store, results):
    store.promote("compress", "size", "old hero", {"level": 5, "mode": "good"}, actor="ada")
    row = night(larger_is_worse)
    assert "Production stays at old hero: roll it back on the page" in row["summary"]
    row = night(larger_is_worse, nights={**NIGHTS, "promote": True}, again=True)
    assert "It is rolled back to fast" in row["summary"]
    assert (in_production(store).label, in_production(store).configuration["level"]) == ("fast", 1)
    assert [d["action"] for d in rows(results, "promotion", "promotion_id")] == ["promote", "roll_back"]


def test_a_recommendation_that_turned_out_a_loss_is_withdrawn(night, store):
    night()
    assert in_production(store).label == "small"
    row = night(larger_is_worse)
    assert "withdrawn: production falls back to preset fast" in row["summary"]
    assert in_production(store).has_expired(datetime.now(UTC))


def test_a_quiet_night_renews_what_production_follows(night, store):
    night()
    with store.transaction() as connection:
        connection.exec_driver_sql("UPDATE pipeline_tuner.recommendation SET valid_until = now() + interval '1 hour'")
    assert night()["status"] == "quiet"
    assert in_production(store).valid_until > datetime.now(UTC) + timedelta(days=20)


def test_on_another_machine_nothing_is_decided_at_first(night, store):
    night(lambda level: 500.0)
    row = night(machine={"cores": 8, "python": "3.11"})
    assert row["summary"].startswith(
        "Machine, versions or data differ from the last night's: cores is 2, measured on 8"
    )
    assert in_production(store) is None
    row = night(machine={"cores": 8, "python": "3.11"})
    assert "Machine" not in row["summary"]
    assert in_production(store).label == "small"


def test_a_loss_of_level_is_told_once_when_it_is_sure(night):
    store_nights = [night(lambda level: 900.0) for _ in range(14)]
    assert {row["status"] for row in store_nights} == {"quiet"}
    later = [night(lambda level: 1200.0) for _ in range(4)]
    found = [row["summary"] for row in later if row["status"] == "alert"]
    assert len(found) == len(night_watch.told) == 1
    assert "size: fast. Worse by 33.3%" in found[0]


def test_what_was_changed_while_the_night_ran_is_left_alone(night, store, monkeypatch):
    store.promote("compress", "size", "by hand", {"level": 4, "mode": "good"}, actor="ada")

    def promote_meanwhile(level):
        if level == 9 and in_production(store).label == "by hand":
            store.promote("compress", "size", "newer", {"level": 6, "mode": "good"}, actor="bob")
        return 1000.0 - 50 * level

    assert night(promote_meanwhile, nights={**NIGHTS, "promote": True})["status"] == "quiet"
    assert in_production(store).label == "newer"


def test_an_airflow_notifier_is_rendered_and_a_broken_one_fails_no_night(night, results):
    template = "{{ alerts | length }}: {{ message }}"
    row = night(nights={**NIGHTS, "notify": {"call": "night_watch.Watch", "arguments": {"text": template}}})
    assert night_watch.told == [f"1: Pipeline Tuner, compress:\n{row['summary']}"]
    row = night(larger_is_worse, nights={**NIGHTS, "notify": "night_watch.fail"})
    assert row["status"] == "alert"
    assert rows(results, "alert", "created_at")[-1]["notified_at"] is None


@pytest.fixture
def a_night(store):
    """A function that stores a night with its sweep, and returns the sweep's record."""
    study = Study.model_validate(COMPRESS)

    def make(night_id, due_at):
        champion = Champion(label="fast", configuration={"level": 1, "mode": "good"}, source="fallback")
        options = night_options(study, night_id, {"size": champion})
        store.start_sweep(study, options, dag_id="tune_compress", run_id=night_id)
        NightStore(store).start_night(night_id, "compress", due_at)
        return store.sweep(night_id)

    return make


def test_the_same_news_counts_and_promotes_once(store, a_night, results):
    record = a_night("n1", datetime.now(UTC))
    alerts = [Alert("promoted", "better", "size", ("small", {"level": 9, "mode": "good"}))]
    assert NightStore(store).record_alerts(record, alerts) == ["better"]
    assert NightStore(store).record_alerts(record, alerts) == ["better"]  # not yet told
    NightStore(store).mark_notified("n1")
    assert NightStore(store).record_alerts(record, alerts) == []
    assert len(rows(results, "promotion", "promotion_id")) == 1


def test_nights_without_a_run_and_cut_off_nights_are_shown(store, a_night, results):
    first = datetime(2026, 3, 1, 1, 0, tzinfo=UTC)
    a_night("n1", first)
    study = Study.model_validate({**COMPRESS, "schedule": "0 1 * * *"})
    due = first + timedelta(days=4)
    missed = missed_before(NightStore(store), study, due)
    assert missed == [first + timedelta(days=n) for n in (1, 2, 3)]
    for _ in range(2):
        NightStore(store).start_night("n5", "compress", due, missed=missed)
    found = [(row["due_at"].day, row["status"]) for row in rows(results, "night", "due_at")]
    assert found == [(1, "failed"), (2, "missed"), (3, "missed"), (4, "missed"), (5, "running")]


def test_a_failed_sweep_is_a_failed_night(store, a_night, results):
    a_night("n1", datetime.now(UTC))
    store.end_sweep("n1", "failed", "the database of the job is away")
    (row,) = rows(results, "night", "due_at")
    assert (row["status"], row["summary"]) == ("failed", "the database of the job is away")


def test_what_is_old_goes_except_what_production_follows(store, a_night, results):
    for name in ("old", "used", "new"):
        a_night(name, datetime.now(UTC))
    store.promote("compress", "size", "small", {"level": 9}, actor="ada", sweep_id="used")
    with store.transaction() as connection:
        query = "UPDATE pipeline_tuner.sweep SET started_at = now() - interval '40 days' WHERE sweep_id <> 'new'"
        connection.exec_driver_sql(query)
    assert NightStore(store).remove_old("compress", 30, dry_run=True).sweeps == 1
    assert len(rows(results, "sweep", "sweep_id")) == 3
    assert NightStore(store).remove_old("compress", 30).sweeps == 1
    assert [row["sweep_id"] for row in rows(results, "sweep", "sweep_id")] == ["new", "used"]
    assert len(rows(results, "night", "due_at")) == 3
    assert NightStore(store).remove_old("other", 30).sweeps == 0


def test_old_trials_are_removed_by_hand_too(store, a_night, results, monkeypatch, capsys):
    from pipeline_tuner.store.__main__ import main

    monkeypatch.setenv("PIPELINE_TUNER_URL", results)
    a_night("old", datetime.now(UTC))
    with store.transaction() as connection:
        connection.exec_driver_sql("UPDATE pipeline_tuner.sweep SET started_at = now() - interval '40 days'")
    assert main(["retention", "--study", "compress", "--days", "30", "--dry-run"]) == 0
    assert capsys.readouterr().out == "1 sweep and 0 production runs of compress would be removed.\n"
    assert main(["retention", "--study", "compress", "--days", "30"]) == 0
    assert rows(results, "sweep", "sweep_id") == []
    assert main(["retention", "--study", "compress", "--days", "0"]) == 1


class ScheduledRun:
    """Stands for Airflow's run of a schedule."""

    run_type = "scheduled"

    def __init__(self, due_at):
        self.run_after = due_at


@pytest.fixture
def tuning(store, compress, results):
    """A function that begins the scheduled night that is due so many nights from now, and ends it like a sweep."""
    begun = datetime.now(UTC)

    def run(night, *, alert=None, fails=False, schedule=None, **nights):
        changes = {"nights": {**NIGHTS, **nights}} | ({"schedule": schedule} if schedule else {})
        study = Study.model_validate({**COMPRESS, **changes})
        compress(**changes)
        night_id, due_at = f"n{night}", begun + timedelta(days=night)
        options = begin_night(store, study, night_id, {"dag_run": ScheduledRun(due_at), "ti": Task(), "params": {}})
        store.start_sweep(study, options, dag_id="tune_compress", run_id=night_id)
        with store.transaction() as connection:
            connection.exec_driver_sql(
                "UPDATE pipeline_tuner.sweep SET started_at = %s, status = %s WHERE sweep_id = %s",
                (due_at + timedelta(minutes=1), "failed" if fails else "recommended", night_id),
            )
            connection.exec_driver_sql(
                "UPDATE pipeline_tuner.night SET status = %s WHERE night_id = %s",
                ("failed" if fails else "quiet", night_id),
            )
        if alert:
            NightStore(store).record_alerts(store.sweep(night_id), [Alert(alert, "words", "size")])
            with store.transaction() as connection:
                moved = "UPDATE pipeline_tuner.alert SET created_at = %s WHERE night_id = %s"
                connection.exec_driver_sql(moved, (due_at + timedelta(minutes=5), night_id))
        return "night" if options.is_night else "sweep"

    run.begun = begun
    return run


def test_every_so_many_nights_are_a_whole_sweep(tuning):
    assert [tuning(night, tune="weekly") for night in range(10)] == ["sweep", *["night"] * 6, "sweep", "night", "night"]


SUNDAYS = "0 1 * * 0"


def days_to_sunday(after):
    return (croniter(SUNDAYS, after).get_next(datetime) - after) / timedelta(days=1)


def test_a_weekly_schedule_tunes_each_week(tuning):
    """`weekly` once was seven nights, which with one night a week is seven weeks."""
    sunday = days_to_sunday(tuning.begun)
    nights = [sunday + week * 7 for week in range(6)]
    assert [tuning(night, schedule=SUNDAYS, tune="weekly") for night in nights[:4]] == ["sweep"] * 4
    every = {"schedule": SUNDAYS, "tune": {"every": 2}}
    assert [tuning(night, **every) for night in nights[4:]] == ["night", "sweep"]


def test_after_a_failed_sweep_a_night_watches_and_the_next_one_tries_again(tuning):
    first = [tuning(night, tune="weekly") for night in range(7)]
    assert first == ["sweep", *["night"] * 6]
    assert [tuning(night, tune="weekly", fails=night in (7, 9)) for night in range(7, 13)] == [
        *("sweep", "night", "sweep", "night"),
        *("sweep", "night"),
    ]


def test_the_first_sweep_is_tried_every_night_until_one_ends(tuning):
    assert [tuning(night, tune="weekly", fails=night < 2) for night in range(4)] == ["sweep"] * 3 + ["night"]


@pytest.mark.parametrize(
    ("chosen", "counts"),
    [
        ({}, True),
        ({"strategy": "one_at_a_time"}, True),
        ({"strategy": "a_document"}, False),
        ({"goals": ["speed"]}, False),
        ({"size": "tenth"}, False),
    ],
)
def test_what_somebody_started_counts_where_it_is_a_whole_sweep(store, tuning, chosen, counts):
    study = Study.model_validate(
        {
            **COMPRESS,
            "goals": {**COMPRESS["goals"], "speed": {"minimize": "duration_s", "unit": "s"}},
            "strategies": {"a_document": [{"level": 1}]},
            "workload": {**COMPRESS["workload"], "sizes": {"tenth": 0.1, "full": 1.0}, "default_size": "full"},
        }
    )
    options = sweep_options(study, "mine", chosen)
    store.start_sweep(study, options, dag_id="tune_compress", run_id="mine")
    store.end_sweep("mine", "recommended")
    past = NightStore(store).past_nights(study, datetime.now(UTC) + timedelta(hours=1))
    assert (past.since_tuning is not None) == counts


def test_what_expires_before_the_next_night_of_a_weekly_schedule(store, tuning):
    """It expires three days after a night: the day after is well, a week after is not."""
    after = {"tune": {"after": ["expiry"]}, "schedule": SUNDAYS}
    assert tuning(0, **after) == "sweep"
    days = days_to_sunday(tuning.begun)
    answer = Recommendation("size", DecisionStatus.BEST, "small", {"level": 9, "mode": "good"})
    store.record_recommendations("n0", "compress", [answer], valid_days=days + 3)
    assert [tuning(night, **after) for night in (days / 2, days)] == ["night", "sweep"]


def test_a_change_makes_the_next_night_a_whole_sweep_and_none_by_default(tuning):
    after = {"tune": {"after": ["change"]}}
    assert [tuning(0, **after), tuning(1, **after), tuning(2, alert="worse", **after)] == ["sweep", "night", "night"]
    assert [tuning(3, **after), tuning(4, **after)] == ["sweep", "night"]
    assert tuning(5, alert="change") == tuning(6) == "night"


def test_what_expires_before_the_next_night_makes_a_whole_sweep(store, tuning):
    after = {"tune": {"after": ["expiry"]}}
    assert [tuning(0, **after), tuning(1, **after)] == ["sweep", "night"]
    answer = Recommendation("size", DecisionStatus.BEST, "small", {"level": 9, "mode": "good"})
    store.record_recommendations("n0", "compress", [answer], valid_days=2.5)
    assert [tuning(night, **after) for night in (1, 2)] == ["night", "sweep"]


def test_a_night_that_was_a_whole_sweep_is_a_night_with_figures_and_tells_what_it_changes(store, compress, results):
    changes = {"nights": {**NIGHTS, "tune": "nightly"}, "strategy": "presets"}
    study = Study.model_validate({**COMPRESS, **changes})
    compress(**changes)
    night_watch.told.clear()
    context = {"dag_run": ScheduledRun(datetime.now(UTC)), "ti": Task(), "params": {}, "outlet_events": Outlets()}
    options = begin_night(store, study, "n0", context)
    store.start_sweep(study, options, dag_id="tune_compress", run_id="n0")
    store.record_environment("n0", MACHINE, None)
    search = plan_round(study, options, [], 1)
    store.plan_trials("n0", "compress", search, phase="search", round=1)
    found = [measured(plan, 1000.0 - 50 * plan.configuration["level"], MACHINE) for plan in search]
    fresh = plan_confirmation(study, options, found)
    store.plan_trials("n0", "compress", fresh, phase="confirm", round=2)
    found += [measured(plan, 1000.0 - 50 * plan.configuration["level"], MACHINE) for plan in fresh]
    for result in found:
        store.record_result(result)
    conclude(store, store.sweep("n0"), found, context)
    for _ in range(2):
        end_tuning_night(store, store.sweep("n0"), found, context)
    (row,) = rows(results, "night", "due_at")
    assert row["status"] == "alert"
    assert "small" in row["summary"]
    assert len(night_watch.told) == 1
    assert store.production("compress", "size").label == "small"
    assert {figure.role for figure in NightStore(store).nights("compress", datetime.now(UTC) + timedelta(1))[0].values}
