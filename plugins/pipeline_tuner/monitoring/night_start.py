"""The start of a night: whether a run is a night, whether it comes too late, and what production runs with."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowSkipException
from croniter import croniter

from pipeline_tuner.monitoring.nights import NIGHTLY, Champion, TuningReason, tuning_reason
from pipeline_tuner.monitoring.store import NightStore
from pipeline_tuner.operators.configuration import RECOMMENDED, choose_configuration
from pipeline_tuner.store import Store
from pipeline_tuner.study import Study
from pipeline_tuner.sweep import SweepOptions, night_options, tuning_night_options

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

BY_SCHEDULE = ("scheduled", "backfill")
MISSED = "missed"
"""Key of the XCom that says that a night was not measured."""
MAX_MISSED = 60


def is_night(context: Context) -> bool:
    """Whether this run watches over production: a scheduled one, or one that was triggered to do so."""
    return _by_schedule(context) or context["params"].get("strategy") == NIGHTLY


def _by_schedule(context: Context) -> bool:
    return context["dag_run"].run_type in BY_SCHEDULE


def was_missed(context: Context) -> bool:
    """Whether this run is a night that task `check` found to be too late."""
    return bool(context["ti"].xcom_pull(task_ids="check", key=MISSED))


def begin_night(store: Store, study: Study, night_id: str, context: Context) -> SweepOptions:
    """Record that a night begins and return its options. Raises AirflowSkipException where it is too late for it."""
    nights, due_at = NightStore(store), context["dag_run"].run_after
    late = datetime.now(UTC) - due_at
    if _by_schedule(context) and late > timedelta(hours=study.nights.latest_start_hours):
        hours = late.total_seconds() / 3600
        reason = (
            f"it could start only {hours:.1f} h late, nights.latest_start_hours is {study.nights.latest_start_hours:g}"
        )
        if nights.last_night(study.study, due_at) is not None:
            nights.miss_night(study.study, due_at, reason)
        context["ti"].xcom_push(key=MISSED, value=True)
        raise AirflowSkipException(f"This night is missed: {reason}")
    nights.start_night(night_id, study.study, due_at, missed=missed_before(nights, study, due_at))
    tuning = _tuning_reason(store, study, due_at) if _by_schedule(context) else None
    if tuning is None:
        return night_options(study, night_id, champions(store, study))
    log.info("This night is a whole sweep (%s)", tuning)
    return tuning_night_options(study, night_id, champions(store, study))


def _tuning_reason(store: Store, study: Study, due_at: datetime) -> TuningReason | None:
    past = NightStore(store).past_nights(study, due_at)
    followed = [store.production(study.study, goal) for goal in study.goals]
    after = next(_ticks(study.schedule or "", due_at), due_at + timedelta(days=1))
    expires = any(found.has_expired(after) for found in followed if found is not None)
    return tuning_reason(study.nights.tune, replace(past, expires=expires))


def missed_before(nights: NightStore, study: Study, due_at: datetime) -> list[datetime]:
    """The scheduled times since the last known night for which there was no run."""
    last = nights.last_night(study.study, due_at)
    if last is None or study.schedule is None:
        return []
    return [due for due in _ticks(study.schedule, last.due_at) if due < due_at][:MAX_MISSED]


def _ticks(schedule: str, after: datetime) -> Iterator[datetime]:
    """The first times of a cron schedule after a moment. Other kinds of schedules have none that we know."""
    if not croniter.is_valid(schedule):
        return
    times = croniter(schedule, after.astimezone(UTC))
    for _ in range(MAX_MISSED):
        yield times.get_next(datetime)


def champions(store: Store, study: Study) -> dict[str, Champion]:
    """What a production run would use for each goal now."""
    found = {}
    for goal in study.goals:
        choice = choose_configuration(
            study, f"{RECOMMENDED}{goal}", fallback=None, open_store=lambda: Store(store.engine)
        )
        found[goal] = Champion(label=choice.label, configuration=dict(choice.configuration), source=choice.source)
    return found
