"""The nights in the results database: reads and writes of values, changes and alerts; removal of old trials."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, delete, func, insert, literal, or_, select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert

from pipeline_tuner.monitoring.nights import NIGHTLY, Alert, NightValue, PastNights
from pipeline_tuner.space import configuration_id
from pipeline_tuner.store import Store
from pipeline_tuner.store.records import SweepRecord
from pipeline_tuner.store.rows import FOLLOWED, first_of_each, now, upsert
from pipeline_tuner.store.schema import alert, night, night_value, production_run, promotion, recommendation, sweep
from pipeline_tuner.study import Study

CHANGES = ("change", "worse", "withdrawn", "rolled_back", "machine")
"""Alerts after which the best configuration may be another."""
MAX_SWEEPS_READ = 100
"""How many sweeps back the last whole one is looked for: beyond that it is long ago."""
ACTOR = "the nightly sweep"
"""Who promotes and rolls back where a study lets its nights do so."""


@dataclass(frozen=True)
class Removed:
    """What `retention` removed, or would remove."""

    sweeps: int
    production_runs: int


@dataclass(frozen=True)
class NightRecord:
    """One row of table `night` with its values."""

    night_id: str
    study: str
    due_at: datetime
    status: Literal["running", "quiet", "alert", "failed", "missed"]
    summary: str
    environment: Mapping[str, Any] | None
    workload: Mapping[str, Any] | None
    started_at: datetime | None
    ended_at: datetime | None
    values: tuple[NightValue, ...] = ()


@dataclass(frozen=True)
class NightStore:
    """Monitoring's reads and writes in an open results database; raises InfrastructureError as `Store` does."""

    store: Store

    def transaction(self) -> AbstractContextManager[Connection]:
        """One transaction, committed at the end."""
        return self.store.transaction()

    def start_night(self, night_id: str, study: str, due_at: datetime, *, missed: Iterable[datetime] = ()) -> None:
        """Record that a night begins, or begins again, and the nights before it that never did."""
        begun = {"night_id": night_id, "study": study, "due_at": due_at, "status": "running", "summary": ""}
        with self.transaction() as connection:
            for due in missed:
                _miss(connection, study, due, "the scheduler started no run")
            connection.execute(_never_ended(study, night_id))
            upsert(connection, night, [begun | {"started_at": now(), "ended_at": None}])

    def miss_night(self, study: str, due_at: datetime, reason: str) -> None:
        """Record a night that was not measured."""
        with self.transaction() as connection:
            _miss(connection, study, due_at, reason)

    def end_night(self, record: SweepRecord, status: str, summary: str, values: Sequence[NightValue] = ()) -> None:
        """Replace what a night measured. Its sweep must have ended: the counts come from it."""
        changes = {
            "status": status,
            "summary": summary,
            "environment": record.environment,
            "workload": record.workload,
            "ended_at": now(),
            "measured": select(sweep.c.measured).where(sweep.c.sweep_id == record.sweep_id).scalar_subquery(),
            "failed": select(sweep.c.failed).where(sweep.c.sweep_id == record.sweep_id).scalar_subquery(),
        }
        with self.transaction() as connection:
            connection.execute(update(night).where(night.c.night_id == record.sweep_id).values(changes))
            connection.execute(delete(night_value).where(night_value.c.night_id == record.sweep_id))
            if values:
                rows = [{"night_id": record.sweep_id, **asdict(value)} for value in values]
                connection.execute(insert(night_value), rows)

    def night(self, night_id: str) -> NightRecord | None:
        """One night, without its values."""
        with self.transaction() as connection:
            row = connection.execute(select(night).where(night.c.night_id == night_id)).first()
        return _night_of(row._mapping, ()) if row else None

    def last_night(self, study: str, before: datetime) -> NightRecord | None:
        """The newest night, missed or not, that was due before a time."""
        earlier = (night.c.study == study, night.c.due_at < before)
        with self.transaction() as connection:
            row = connection.execute(select(night).where(*earlier).order_by(night.c.due_at.desc()).limit(1)).first()
        return _night_of(row._mapping, ()) if row else None

    def nights(self, study: str, before: datetime, limit: int = 180) -> tuple[NightRecord, ...]:
        """The last measured nights of a study that were due before a time, oldest first."""
        measured = (night.c.study == study, night.c.due_at < before, night.c.status.in_(("quiet", "alert")))
        query = select(night).where(*measured).order_by(night.c.due_at.desc()).limit(limit)
        with self.transaction() as connection:
            rows = list(connection.execute(query).mappings())[::-1]
            wanted = night_value.c.night_id.in_([row["night_id"] for row in rows])
            values: dict[str, list[NightValue]] = {}
            for found in connection.execute(select(night_value).where(wanted)).mappings():
                named = {name: found[name] for name in NightValue.__dataclass_fields__}
                values.setdefault(found["night_id"], []).append(NightValue(**named))
        return tuple(_night_of(row, tuple(values.get(row["night_id"], ()))) for row in rows)

    def past_nights(self, study: Study, due_at: datetime) -> PastNights:
        """What the results say on whether the night that is due at a time is a whole sweep."""
        ended = (
            sweep.c.study == study.study,
            sweep.c.status.in_(("recommended", "undecided")),
            sweep.c.started_at < due_at,
        )
        query = select(sweep.c.started_at, sweep.c.options).where(*ended).order_by(sweep.c.started_at.desc())
        with self.transaction() as connection:
            found = connection.execute(query.limit(MAX_SWEEPS_READ))
            last = next((row.started_at for row in found if _is_whole(study, row.options)), None)
            if last is None:
                return PastNights(None)
            since = (night.c.study == study.study, night.c.due_at > last, night.c.due_at < due_at)
            nights = connection.scalar(select(func.count()).select_from(night).where(*since)) or 0
            changed = (alert.c.study == study.study, alert.c.created_at > last, alert.c.kind.in_(CHANGES))
            has_changed = connection.scalar(select(func.count()).select_from(alert).where(*changed))
            failed = connection.scalar(_last_night_failed_to_tune(study.study, due_at))
        return PastNights(nights + 1, due_at - last, bool(has_changed), has_failed=bool(failed))

    def record_alerts(self, record: SweepRecord, found: Sequence[Alert]) -> list[str]:
        """Record what a night confirmed, each thing once however often it is said; returns the words not yet told.

        What promotes or rolls back does so together with its first record.
        """
        with self.transaction() as connection:
            for item in found:
                if _is_new(connection, record, item):
                    _carry_out(connection, record, item)
            unnotified = (alert.c.night_id == record.sweep_id, alert.c.notified_at.is_(None))
            return list(connection.execute(select(alert.c.words).where(*unnotified).order_by(alert.c.goal)).scalars())

    def alerts_of(self, night_id: str) -> set[tuple[str, str]]:
        """Goal and kind of what a night confirmed so far."""
        with self.transaction() as connection:
            rows = connection.execute(select(alert.c.goal, alert.c.kind).where(alert.c.night_id == night_id))
            return {(row.goal, row.kind) for row in rows}

    def mark_notified(self, night_id: str) -> None:
        """Record that the notifier was called with a night's alerts."""
        with self.transaction() as connection:
            connection.execute(
                update(alert)
                .where(alert.c.night_id == night_id, alert.c.notified_at.is_(None))
                .values(notified_at=now())
            )

    def renew(self, study: str, goal: str, *, valid_days: float | None) -> None:
        """A night confirmed what production follows: it is valid for `valid_days` from now."""
        until = now() + timedelta(days=valid_days) if valid_days else None
        with self.transaction() as connection:
            connection.execute(_of_followed(study, goal).values(valid_until=until))

    def remove_old(self, study: str, days: int, *, dry_run: bool = False) -> Removed:
        """Remove sweeps (trials, analyses, charts) and production runs that are older than `days`.

        Kept: what is behind the newest decision and the newest followed recommendation of each goal; nights, with
        their values and alerts.
        """
        before = now() - timedelta(days=days)
        old_sweeps = (sweep.c.study == study, sweep.c.started_at < before, sweep.c.sweep_id.not_in(_in_use(study)))
        old_runs = (production_run.c.study == study, production_run.c.started_at < before)
        with self.transaction() as connection:
            if dry_run:
                counts = [
                    connection.scalar(select(func.count()).select_from(table).where(*old))
                    for table, old in ((sweep, old_sweeps), (production_run, old_runs))
                ]
                return Removed(*(count or 0 for count in counts))
            return Removed(
                connection.execute(delete(sweep).where(*old_sweeps)).rowcount,
                connection.execute(delete(production_run).where(*old_runs)).rowcount,
            )


def _is_whole(study: Study, options: Mapping[str, Any]) -> bool:
    """Whether a sweep searched for all goals at the size that counts: a list of a document's is an experiment."""
    strategy = options["strategy"]
    is_search = strategy != NIGHTLY and (strategy == study.strategy or strategy not in study.strategies)
    return is_search and options["size"] == study.workload.default_size and set(study.goals) <= set(options["goals"])


def _last_night_failed_to_tune(study: str, due_at: datetime) -> Any:
    """A query that finds a row where the night before was a whole sweep and failed."""
    last = select(night.c.night_id).where(night.c.study == study, night.c.due_at < due_at)
    newest = last.order_by(night.c.due_at.desc()).limit(1).scalar_subquery()
    is_whole = sweep.c.options["strategy"].as_string() != NIGHTLY
    return select(literal(1)).where(
        night.c.night_id == newest, night.c.status == "failed", sweep.c.sweep_id == night.c.night_id, is_whole
    )


def _never_ended(study: str, night_id: str) -> Any:
    """An update of the nights that were cut off: a study has one active run, so none of them is still running."""
    others = (night.c.study == study, night.c.status == "running", night.c.night_id != night_id)
    return update(night).where(*others).values(status="failed", summary="it was cut off")


def _miss(connection: Connection, study: str, due_at: datetime, reason: str) -> None:
    row = {"night_id": f"{study}-{due_at:%Y%m%dT%H%M%S}-missed", "study": study, "due_at": due_at}
    statement = postgres_insert(night).values(row | {"status": "missed", "summary": reason})
    connection.execute(statement.on_conflict_do_nothing())


def _night_of(row: Any, values: tuple[NightValue, ...]) -> NightRecord:
    names = [name for name in NightRecord.__dataclass_fields__ if name != "values"]
    return NightRecord(**{name: row[name] for name in names}, values=values)


def _is_new(connection: Connection, record: SweepRecord, item: Alert) -> bool:
    row = {
        "night_id": record.sweep_id,
        "goal": item.goal,
        "kind": item.kind,
        "study": record.study,
        "words": item.words,
        "details": item.details,
        "created_at": now(),
    }
    return bool(connection.execute(postgres_insert(alert).values(row).on_conflict_do_nothing()).rowcount)


def _carry_out(connection: Connection, record: SweepRecord, item: Alert) -> None:
    if item.kind == "withdrawn":
        connection.execute(_of_followed(record.study, item.goal).values(valid_until=now()))
    if item.promotes is None:
        return
    label, configuration = item.promotes
    row = {
        "study": record.study,
        "goal": item.goal,
        "action": "roll_back" if item.kind == "rolled_back" else "promote",
        "label": label,
        "configuration_id": configuration_id(configuration),
        "configuration": dict(configuration),
        "sweep_id": record.sweep_id,
        "actor": ACTOR,
        "note": item.words,
        "created_at": now(),
    }
    connection.execute(insert(promotion).values(row))


def _of_followed(study: str, goal: str) -> Any:
    """An update of the recommendation that production follows where nobody promoted anything."""
    newest = (
        select(recommendation.c.sweep_id)
        .where(recommendation.c.study == study, recommendation.c.goal == goal, *FOLLOWED)
        .order_by(recommendation.c.created_at.desc())
        .limit(1)
        .scalar_subquery()
    )
    return update(recommendation).where(recommendation.c.sweep_id == newest, recommendation.c.goal == goal)


def _in_use(study: str) -> Any:
    """The sweeps behind what production runs with."""
    promotions = (
        select(promotion.c.sweep_id)
        .where(promotion.c.study == study)
        .order_by(promotion.c.goal, promotion.c.promotion_id.desc())
    )
    recommendations = (
        select(recommendation.c.sweep_id)
        .where(recommendation.c.study == study, *FOLLOWED)
        .order_by(recommendation.c.goal, recommendation.c.created_at.desc())
    )
    decided = first_of_each(promotions, promotion.c.goal).subquery()
    followed = first_of_each(recommendations, recommendation.c.goal).subquery()
    used = or_(sweep.c.sweep_id.in_(select(decided.c.sweep_id)), sweep.c.sweep_id.in_(select(followed.c.sweep_id)))
    return select(sweep.c.sweep_id).where(used)
