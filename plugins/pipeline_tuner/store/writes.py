"""The writes to the results database: sweeps, plans, results, recommendations, promotions. Each can be repeated."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, func, insert, or_, select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert

from pipeline_tuner.exceptions import DecisionConflictError
from pipeline_tuner.recommendation import Recommendation
from pipeline_tuner.space import Configuration, configuration_id
from pipeline_tuner.store.reads import plan_of
from pipeline_tuner.store.records import SweepStatus
from pipeline_tuner.store.rows import now, upsert
from pipeline_tuner.store.schema import chart, night, production_run, promotion, recommendation, sweep, trial
from pipeline_tuner.study import Study
from pipeline_tuner.sweep import SweepOptions
from pipeline_tuner.trial import TrialPlan, TrialResult


class Writes:
    """The writing half of the Store."""

    def transaction(self) -> AbstractContextManager[Connection]:
        """One transaction, committed at the end."""
        raise NotImplementedError

    def start_sweep(
        self, study: Study, options: SweepOptions, *, dag_id: str, run_id: str, triggered_by: str | None = None
    ) -> None:
        """Record that a sweep begins, or begins again."""
        values = {
            "sweep_id": options.sweep_id,
            "study": study.study,
            "job": study.job,
            "dag_id": dag_id,
            "run_id": run_id,
            "triggered_by": triggered_by,
            "status": "running",
            "reason": "",
            "options": options.model_dump(mode="json"),
            "study_definition": study.model_dump(mode="json"),
            "started_at": now(),
            "ended_at": None,
        }
        with self.transaction() as connection:
            upsert(connection, sweep, [values])

    def record_options(self, sweep_id: str, options: SweepOptions) -> None:
        """Replace what a sweep's planning reads beside the study and the results."""
        self._update_sweep(sweep_id, options=options.model_dump(mode="json"))

    def record_workload(self, sweep_id: str, workload: Mapping[str, Any], fingerprint: str | None) -> None:
        """Record what data the sweep runs on."""
        self._update_sweep(sweep_id, workload=dict(workload), workload_fingerprint=fingerprint)

    def record_environment(self, sweep_id: str, environment: Mapping[str, Any], fingerprint: str | None) -> None:
        """Record the machine and versions that the sweep's trials ran on."""
        self._update_sweep(sweep_id, environment=dict(environment), environment_fingerprint=fingerprint)

    def record_analysis(self, sweep_id: str, markdown: str, path: str, details: str | None = None) -> None:
        """Keep the written analysis and its details."""
        self._update_sweep(sweep_id, analysis=markdown, analysis_path=path, analysis_details=details)

    def record_charts(self, sweep_id: str, charts: Mapping[str, str]) -> None:
        """Keep the plots of the analysis by name (`intervals-throughput`), SVG."""
        rows = [{"sweep_id": sweep_id, "name": name, "svg": svg} for name, svg in charts.items()]
        with self.transaction() as connection:
            connection.execute(delete(chart).where(chart.c.sweep_id == sweep_id))
            if rows:
                connection.execute(insert(chart), rows)

    def end_sweep(self, sweep_id: str, status: SweepStatus, reason: str = "") -> None:
        """Record how a sweep ended, with its counts of trials."""
        counts = {
            name: select(func.count())
            .where(trial.c.sweep_id == sweep_id, trial.c.status.in_(statuses))
            .scalar_subquery()
            for name, statuses in {
                "planned": ("planned", "running", "measured", "failed"),
                "measured": ("measured",),
                "failed": ("failed",),
            }.items()
        }
        values = {"status": status, "reason": reason, "ended_at": now(), **counts}
        with self.transaction() as connection:
            connection.execute(update(sweep).where(sweep.c.sweep_id == sweep_id).values(values))
            if status == "failed":
                of_night = {"status": status, "summary": reason, "ended_at": now()}
                connection.execute(update(night).where(night.c.night_id == sweep_id).values(of_night))

    def plan_trials(self, sweep_id: str, study: str, plans: Sequence[TrialPlan], *, phase: str, round: int) -> None:
        """Write a round's plan as rows `planned`, replacing an earlier plan of the round.

        A row whose trial is planned again just as it was keeps its result.
        """
        rows = [_planned_row(plan, study) for plan in plans]
        of_round = and_(trial.c.sweep_id == sweep_id, trial.c.phase == phase, trial.c.round == round)
        with self.transaction() as connection:
            connection.execute(
                delete(trial).where(of_round, trial.c.trial_id.not_in([plan.trial_id for plan in plans]))
            )
            if rows:
                statement = postgres_insert(trial).values(rows)
                # Not `min_work_s`: what was measured stays measured, however long its work was to be repeated.
                changed = or_(
                    *(
                        trial.c[name].is_distinct_from(statement.excluded[name])
                        for name in ("label", "configuration_id", "block", "position", "fraction", "is_control")
                    )
                )
                replaced = {column.name: statement.excluded[column.name] for column in trial.columns}
                connection.execute(
                    statement.on_conflict_do_update(index_elements=["trial_id"], set_=replaced, where=changed)
                )

    def take_trial(
        self, trial_id: str, *, task_id: str, map_index: int, try_number: int, places: int | None = None
    ) -> TrialPlan | None:
        """The trial that this task instance runs now, marked `running`.

        Where trials run side by side in so many `places`, a block starts together: None as long as there is no room
        for the first trial of a block and all of its others, or as many as there are places.

        A retried or cleared instance gets its own trial again. Otherwise it is the first of the round that is
        not taken, in planned order: Airflow may start mapped instances in any order, blocks must stay together.
        `trial_id` names the trial that was handed to the instance.
        """
        with self.transaction() as connection:
            own = connection.execute(select(trial).where(trial.c.trial_id == trial_id)).one()
            of_round = and_(trial.c.sweep_id == own.sweep_id, trial.c.phase == own.phase, trial.c.round == own.round)
            # The sweep's row is the lock: two instances that start together must not take the same trial.
            connection.execute(select(sweep.c.sweep_id).where(sweep.c.sweep_id == own.sweep_id).with_for_update())
            mine = select(trial).where(of_round, trial.c.task_id == task_id, trial.c.map_index == map_index)
            free = select(trial).where(of_round, trial.c.task_id.is_(None)).order_by(trial.c.block, trial.c.position)
            row = connection.execute(mine).first() or connection.execute(free.limit(1)).first() or own
            if places is not None and row.task_id is None and not _has_room(connection, row, places):
                return None
            connection.execute(
                update(trial)
                .where(trial.c.trial_id == row.trial_id)
                .values(
                    status="running",
                    failure=None,
                    reason="",
                    metrics={},
                    measurement=None,
                    task_id=task_id,
                    map_index=map_index,
                    try_number=try_number,
                    started_at=now(),
                    ended_at=None,
                )
            )
        return plan_of(row)

    def record_result(self, result: TrialResult) -> None:
        """Replace a planned or running trial's row by its result."""
        measurement = result.measurement
        values = {
            "status": result.status,
            "failure": result.failure,
            "reason": result.reason,
            "metrics": dict(result.metrics),
            "measurement": measurement.model_dump(mode="json") if measurement else None,
            "ended_at": now(),
        }
        with self.transaction() as connection:
            connection.execute(update(trial).where(trial.c.trial_id == result.plan.trial_id).values(values))

    def fail_lost_trials(self, sweep_id: str) -> int:
        """Mark the trials that left no result as failed; returns how many."""
        with self.transaction() as connection:
            lost = connection.execute(
                update(trial)
                .where(trial.c.sweep_id == sweep_id, trial.c.status.in_(("planned", "running")))
                .values(
                    status="failed", failure="lost", reason="its task ended without leaving a result", ended_at=now()
                )
            )
        return lost.rowcount

    def record_recommendations(
        self,
        sweep_id: str,
        study: str,
        recommendations: Iterable[Recommendation],
        *,
        valid_days: float | None = None,
        followed: Container[str] | None = None,
    ) -> None:
        """Replace what a sweep recommends. Production may follow the goals in `followed`, by default all."""
        created = now()
        until = created + timedelta(days=valid_days) if valid_days else None
        of_sweep = recommendation.c.sweep_id == sweep_id
        with self.transaction() as connection:
            fingerprints = connection.execute(
                select(sweep.c.workload_fingerprint, sweep.c.environment_fingerprint).where(
                    sweep.c.sweep_id == sweep_id
                )
            ).one()
            shared = {
                **fingerprints._mapping,
                "sweep_id": sweep_id,
                "study": study,
                "created_at": created,
                "valid_until": until,
            }
            connection.execute(delete(recommendation).where(of_sweep))
            rows = [
                shared | _recommendation_row(item) | {"is_followed": followed is None or item.goal in followed}
                for item in recommendations
            ]
            if rows:
                connection.execute(insert(recommendation), rows)

    def promote(
        self,
        study: str,
        goal: str,
        label: str,
        configuration: Configuration,
        *,
        actor: str,
        sweep_id: str | None = None,
        action: str = "promote",
        note: str = "",
        seen: int | None = None,
    ) -> None:
        """Say what production runs with from now on. Adds to the history of decisions; nothing is replaced.

        :param seen: The newest decision of this goal that its maker knew of (0: none). Raises DecisionConflictError
            where there is a newer one; where that is this same decision, sent twice, nothing is added.
        """
        values = {
            "study": study,
            "goal": goal,
            "action": action,
            "label": label,
            "configuration_id": configuration_id(configuration),
            "configuration": dict(configuration),
            "sweep_id": sweep_id,
            "actor": actor,
            "note": note,
            "created_at": now(),
        }
        with self.transaction() as connection:
            if seen is None or not _is_made(connection, values, seen):
                connection.execute(insert(promotion).values(values))

    def record_production_run(self, production_run_id: str, values: Mapping[str, Any]) -> None:
        """Record a production run; `values` are the columns of table `production_run`."""
        with self.transaction() as connection:
            upsert(connection, production_run, [{"production_run_id": production_run_id, "ended_at": now(), **values}])

    def start_production_run(self, production_run_id: str, values: Mapping[str, Any]) -> None:
        """Record that a try of a tuned task begins, or goes on. Its earlier tries that left no end are lost.

        `values` are the columns of table `production_run`, `started_at` and `try_number` among them.
        """
        table = production_run.c
        same_task = (getattr(table, name) == values[name] for name in ("dag_id", "run_id", "task_id", "map_index"))
        earlier = and_(*same_task, table.try_number < values["try_number"], table.status == "running")
        lost = {"status": "failed", "failure": "lost", "reason": "its process ended without a word", "ended_at": now()}
        row = {"production_run_id": production_run_id, **values, "status": "running", "ended_at": None}
        with self.transaction() as connection:
            connection.execute(update(production_run).where(earlier).values(lost))
            upsert(connection, production_run, [row])

    def _update_sweep(self, sweep_id: str, **values: Any) -> None:
        with self.transaction() as connection:
            connection.execute(update(sweep).where(sweep.c.sweep_id == sweep_id).values(values))


def _has_room(connection: Connection, row: Row[Any], places: int) -> bool:
    """Whether a trial may start beside those that run: with its block where it is the first of it."""
    of_sweep = trial.c.sweep_id == row.sweep_id
    of_block = and_(of_sweep, trial.c.phase == row.phase, trial.c.round == row.round, trial.c.block == row.block)
    running = connection.scalar(select(func.count()).where(of_sweep, trial.c.status == "running")) or 0
    waiting = connection.scalar(select(func.count()).where(of_block, trial.c.task_id.is_(None))) or 0
    begun = connection.scalar(select(func.count()).where(of_block, trial.c.task_id.is_not(None))) or 0
    wanted = 1 if begun else min(waiting, places)
    return running + wanted <= places


def _planned_row(plan: TrialPlan, study: str) -> dict[str, Any]:
    """A whole row, so that replacing an outdated one leaves nothing of its result."""
    empty = {column.name: None for column in trial.columns}
    return empty | {
        **plan.to_dict(),
        "study": study,
        "configuration_id": configuration_id(plan.configuration),
        "status": "planned",
        "reason": "",
        "metrics": {},
        "planned_at": now(),
    }


def _recommendation_row(item: Recommendation) -> dict[str, Any]:
    return {
        "goal": item.goal,
        "status": item.status,
        "label": item.label,
        "configuration_id": configuration_id(item.configuration) if item.configuration is not None else None,
        "configuration": dict(item.configuration) if item.configuration is not None else None,
        "unit": item.unit,
        "confidence": item.confidence,
        "ties": list(item.ties),
        "reason": item.reason,
        "document": item.to_dict(),
        **_bounds("estimate", item),
        **_bounds("gain", item),
        **_bounds("reference_gain", item),
        "reference": item.reference,
        "regret_bound": item.regret_bound,
    }


def _bounds(name: str, item: Recommendation) -> dict[str, float | None]:
    interval = getattr(item, name)
    return {
        name: interval.value if interval else None,
        f"{name}_low": interval.low if interval else None,
        f"{name}_high": interval.high if interval else None,
    }


def _is_made(connection: Connection, values: Mapping[str, Any], seen: int) -> bool:
    """Whether a decision was sent before; raises where somebody made another one. Other deciders wait meanwhile."""
    study, goal = values["study"], values["goal"]
    connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(f"decide {study} {goal}"))))
    of_goal = select(promotion).where(promotion.c.study == study, promotion.c.goal == goal)
    newest, before = (*connection.execute(of_goal.order_by(promotion.c.promotion_id.desc()).limit(2)), None, None)[:2]
    if newest is None or newest.promotion_id == seen:
        return False
    is_next = seen == (before.promotion_id if before else 0)
    if is_next and all(getattr(newest, name) == values[name] for name in ("actor", "action", "configuration_id")):
        return True
    done = "rolled back to" if newest.action == "roll_back" else "promoted"
    raise DecisionConflictError(f"Meanwhile {newest.actor} {done} {newest.label} for {goal}. Nothing was changed.")
