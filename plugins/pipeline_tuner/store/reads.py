"""The reads of the results database for sweeps and production: plans, results, recommendations, promotions."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, select

from pipeline_tuner.measurement import Measurement
from pipeline_tuner.recommendation import Recommendation
from pipeline_tuner.store.records import LastSeen, ProductionConfiguration, SweepRecord, TunedRun, promoted_by
from pipeline_tuner.store.rows import FOLLOWED
from pipeline_tuner.store.schema import production_run, promotion, recommendation, sweep, trial
from pipeline_tuner.study import stored_study
from pipeline_tuner.sweep import SweepOptions
from pipeline_tuner.trial import TrialPlan, TrialResult

PLAN_COLUMNS = tuple(TrialPlan.__dataclass_fields__)


class Reads:
    """The reading half of the Store."""

    def transaction(self) -> AbstractContextManager[Connection]:
        """One transaction, committed at the end."""
        raise NotImplementedError

    def sweep(self, sweep_id: str) -> SweepRecord | None:
        """A sweep, or None where it was never started."""
        with self.transaction() as connection:
            row = connection.execute(select(sweep).where(sweep.c.sweep_id == sweep_id)).first()
        return _sweep_of(row) if row else None

    def results(self, sweep_id: str) -> tuple[TrialResult, ...]:
        """Every planned trial of a sweep with what became of it, in planned order."""
        query = (
            select(trial)
            .where(trial.c.sweep_id == sweep_id)
            # The confirmation runs after every search round, whatever its round number.
            .order_by(trial.c.phase.desc(), trial.c.round, trial.c.block, trial.c.position)
        )
        with self.transaction() as connection:
            return tuple(_result_of(row) for row in connection.execute(query))

    def history_of(self, record: SweepRecord, limit: int = 2000) -> tuple[TrialResult, ...]:
        """Finished trials of earlier sweeps of the same study, data and machine, newest first; none where unknown."""
        return self._earlier(record, sweep.c.workload_fingerprint == record.workload_fingerprint, limit)

    def related_history_of(self, record: SweepRecord, limit: int = 200) -> tuple[TrialResult, ...]:
        """The same of other data: another size, or data that have changed since. Newest first."""
        return self._earlier(record, sweep.c.workload_fingerprint != record.workload_fingerprint, limit)

    def _earlier(self, record: SweepRecord, data: ColumnElement[bool], limit: int) -> tuple[TrialResult, ...]:
        if record.workload_fingerprint is None or record.environment_fingerprint is None:
            return ()
        query = (
            select(trial)
            .join(sweep, sweep.c.sweep_id == trial.c.sweep_id)
            .where(
                trial.c.study == record.study,
                trial.c.sweep_id != record.sweep_id,
                trial.c.status.in_(("measured", "failed")),
                sweep.c.started_at < record.started_at,
                data,
                sweep.c.environment_fingerprint == record.environment_fingerprint,
            )
            .order_by(trial.c.ended_at.desc())
            .limit(limit)
        )
        with self.transaction() as connection:
            return tuple(_result_of(row) for row in connection.execute(query))

    def recommendations(self, sweep_id: str) -> tuple[Recommendation, ...]:
        """What a sweep recommended, its goals in the order in which it was asked for them."""
        query = select(recommendation.c.goal, recommendation.c.document)
        chosen = select(sweep.c.options["goals"]).where(sweep.c.sweep_id == sweep_id)
        with self.transaction() as connection:
            rows = connection.execute(query.where(recommendation.c.sweep_id == sweep_id)).all()
            order = list(connection.execute(chosen).scalar() or ())
        asked = sorted(rows, key=lambda row: (order.index(row.goal) if row.goal in order else len(order), row.goal))
        return tuple(Recommendation.from_dict(row.document) for row in asked)

    def followed_goals(self, sweep_id: str) -> set[str]:
        """The goals of a sweep whose decision production may follow."""
        query = select(recommendation.c.goal).where(recommendation.c.sweep_id == sweep_id, *FOLLOWED)
        with self.transaction() as connection:
            return set(connection.execute(query).scalars())

    def latest_recommendation(self, study: str, goal: str, *, before_sweep: str | None = None) -> Recommendation | None:
        """The newest recommendation of a study for a goal that names a configuration with confidence."""
        row = self._latest_recommendation_row(study, goal, before_sweep)
        return Recommendation.from_dict(row.document) if row else None

    def production(self, study: str, goal: str) -> ProductionConfiguration | None:
        """What production should run with: the newest promotion, else the newest confident recommendation."""
        promoted = and_(promotion.c.study == study, promotion.c.goal == goal)
        query = select(promotion).where(promoted).order_by(promotion.c.promotion_id.desc()).limit(1)
        with self.transaction() as connection:
            row = connection.execute(query).first()
        if row:
            validity = self._validity(row.sweep_id, goal)
            return ProductionConfiguration(
                "promoted", row.label, row.configuration, row.created_at, None, row.sweep_id,
                validity=validity, why=promoted_by(row.actor, row.note),
            )  # fmt: skip
        row = self._latest_recommendation_row(study, goal, None)
        if row is None:
            return None
        return ProductionConfiguration(
            "recommended",
            row.label,
            row.configuration,
            row.created_at,
            row.valid_until,
            row.sweep_id,
            row.workload_fingerprint,
            row.environment_fingerprint,
            row.document.get("validity", {}),
            row.reason,
        )

    def _validity(self, sweep_id: str | None, goal: str) -> Mapping[str, Any]:
        """What a sweep measured, as far as it recommended something for the goal; empty where it isn't known."""
        query = select(recommendation.c.document).where(
            recommendation.c.sweep_id == sweep_id, recommendation.c.goal == goal
        )
        with self.transaction() as connection:
            document = connection.execute(query).scalar()
        return document.get("validity", {}) if document else {}

    def last_seen(self, study: str) -> LastSeen:
        """Data and machine of the newest production run that left a measurement, else of the newest sweep."""
        measured = (production_run.c.study == study, production_run.c.measurement.is_not(None))
        runs = select(production_run.c.measurement).where(*measured).order_by(production_run.c.ended_at.desc()).limit(1)
        known = (sweep.c.study == study, sweep.c.environment.is_not(None))
        sweeps = (
            select(sweep.c.workload, sweep.c.environment).where(*known).order_by(sweep.c.started_at.desc()).limit(1)
        )
        with self.transaction() as connection:
            record = connection.execute(runs).scalar()
            if record:
                return LastSeen(record.get("workload") or {}, record.get("environment") or {})
            row = connection.execute(sweeps).first()
        return LastSeen(row.workload or {}, row.environment or {}) if row else LastSeen()

    def tuned_runs(self, study: str, dag_id: str, task_id: str) -> tuple[TunedRun, ...]:
        """First tries of a tuned task that is not mapped, in the order of their starts, without skipped ones."""
        run = production_run.c
        query = (
            select(*(run[name] for name in TunedRun.__dataclass_fields__))
            .where(run.study == study, run.dag_id == dag_id, run.task_id == task_id)
            .where(run.map_index == -1, run.try_number == 1, run.status != "skipped")
            .order_by(run.started_at)
        )
        with self.transaction() as connection:
            return tuple(TunedRun(**row._mapping) for row in connection.execute(query))

    def _latest_recommendation_row(self, study: str, goal: str, before_sweep: str | None) -> Row[Any] | None:
        query = (
            select(recommendation)
            .where(
                recommendation.c.study == study,
                recommendation.c.goal == goal,
                *FOLLOWED,
            )
            .order_by(recommendation.c.created_at.desc())
            .limit(1)
        )
        if before_sweep is not None:
            query = query.where(recommendation.c.sweep_id != before_sweep)
        with self.transaction() as connection:
            return connection.execute(query).first()


def plan_of(row: Row[Any]) -> TrialPlan:
    """The planned trial in a row of table `trial`."""
    return TrialPlan.from_dict({name: row._mapping[name] for name in PLAN_COLUMNS})


def _result_of(row: Row[Any]) -> TrialResult:
    return TrialResult(
        plan=plan_of(row),
        status=row.status,
        metrics=row.metrics,
        failure=row.failure,
        reason=row.reason,
        measurement=Measurement.model_validate(row.measurement) if row.measurement else None,
    )


def _sweep_of(row: Row[Any]) -> SweepRecord:
    values = {name: row._mapping[name] for name in SweepRecord.__dataclass_fields__}
    values["options"] = SweepOptions.model_validate(row.options)
    values["study_definition"] = stored_study(row.study_definition)
    return SweepRecord(**values)
