"""The queries of the page for sweeps, trials and one study, with the columns of their lists: bounded, sorted
and cut into pages.

Rows come as plain dicts. `dag_ids` are the DAGs that the asker may read: nothing else is returned.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, desc, func, select

from pipeline_tuner.monitoring.nights import NIGHTLY
from pipeline_tuner.store.reads import PLAN_COLUMNS
from pipeline_tuner.store.records import LastSeen, ProductionConfiguration
from pipeline_tuner.store.rows import first_of_each
from pipeline_tuner.store.schema import (
    alert,
    chart,
    night,
    night_value,
    production_run,
    promotion,
    recommendation,
    sweep,
    trial,
)
from pipeline_tuner.store.store import Store
from pipeline_tuner.trial import TrialPlan, TrialResult

PAGE_SIZE = 50
SWEEP_COLUMNS = [
    column
    for column in sweep.columns
    if column.name not in ("study_definition", "workload", "environment", "analysis", "analysis_details", "options")
]
TRIAL_COLUMNS = [column for column in trial.columns if column.name != "measurement"]
SORTABLE = {
    "planned": (trial.c.phase.desc(), trial.c.round, trial.c.block, trial.c.position),
    "label": (trial.c.label, trial.c.block),
    "status": (trial.c.status, trial.c.failure, trial.c.label),
    "duration": (trial.c.metrics["duration_s"].as_float(),),
    "rate": (desc(trial.c.metrics["rows_per_s"].as_float()).nulls_last(),),
}
"""Orders of the trial table by name. Names from the address are looked up here, never put into SQL."""

Row = dict[str, Any]


@dataclass(frozen=True)
class TrialCounts:
    """The trials of a sweep by their status, and how long one took in the mean, in s (0: none has ended)."""

    planned: int = 0
    measured: int = 0
    failed: int = 0
    running: int = 0
    trial_s: float = 0.0


class PageReads:
    """The page's queries on a results database."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def studies(self, dag_ids: Collection[str]) -> list[Row]:
        """The newest sweep of each study, by name."""
        query = (
            select(*SWEEP_COLUMNS).where(sweep.c.dag_id.in_(dag_ids)).order_by(sweep.c.study, sweep.c.started_at.desc())
        )
        return self._rows(first_of_each(query, sweep.c.study))

    def newest_recommendations(self, studies: Collection[str]) -> list[Row]:
        """The newest recommendation of each study and goal, whatever it says; a night's only where it is followed."""
        row = recommendation.c
        ordered = (
            select(row.sweep_id, row.goal)
            .where(row.study.in_(studies), row.is_followed)
            .order_by(row.study, row.goal, row.created_at.desc())
        )
        # Keys are sorted and not whole rows: documents are large, and only the newest are read.
        newest = first_of_each(ordered, row.study, row.goal).subquery()
        same = (row.sweep_id == newest.c.sweep_id) & (row.goal == newest.c.goal)
        return self._rows(select(recommendation).join(newest, same).order_by(row.study, row.goal))

    def newest_promotions(self, studies: Collection[str]) -> list[Row]:
        """What production was last told to run with, by study and goal."""
        query = (
            select(promotion)
            .where(promotion.c.study.in_(studies))
            .order_by(promotion.c.study, promotion.c.goal, promotion.c.created_at.desc())
        )
        return self._rows(first_of_each(query, promotion.c.study, promotion.c.goal))

    def promotions(self, study: str, goal: str | None = None, limit: int = PAGE_SIZE) -> list[Row]:
        """The decisions about production, newest first."""
        query = select(promotion).where(promotion.c.study == study)
        if goal is not None:
            query = query.where(promotion.c.goal == goal)
        return self._rows(query.order_by(promotion.c.promotion_id.desc()).limit(limit))

    def production_runs(self, study: str, limit: int = PAGE_SIZE) -> list[Row]:
        """Production runs, newest first, without their whole measurements."""
        columns = [column for column in production_run.columns if column.name != "measurement"]
        query = select(*columns).where(production_run.c.study == study)
        return self._rows(query.order_by(production_run.c.ended_at.desc()).limit(limit))

    def tuned_runs(self, study: str, dag_ids: Collection[str], limit: int = 1000) -> list[Row]:
        """The newest first tries of a study's tuned tasks that ended, in the order of their starts; no skipped ones."""
        run = production_run.c
        names = (
            "dag_id",
            "task_id",
            "goal",
            "label",
            "configuration_id",
            "configuration",
            "status",
            "failure",
            "metrics",
        )
        query = (
            select(*(run[name] for name in ("production_run_id", *names)))
            .where(run.study == study, run.dag_id.in_(dag_ids), run.task_id.is_not(None))
            .where(run.map_index == -1, run.try_number == 1, run.status.in_(("measured", "failed")))
            .order_by(run.started_at.desc())
            .limit(limit)
        )
        return self._rows(query)[::-1]

    def noted_studies(self, dag_ids: Collection[str]) -> list[str]:
        """The studies of tuned tasks' runs in these DAGs, by name."""
        query = (
            select(production_run.c.study)
            .where(production_run.c.dag_id.in_(dag_ids), production_run.c.task_id.is_not(None))
            .distinct()
            .order_by(production_run.c.study)
        )
        return [row["study"] for row in self._rows(query)]

    def study_of_task(self, dag_id: str, task_id: str) -> str | None:
        """The study that a tuned task follows, by its newest run; None for any other task."""
        of_task = (production_run.c.dag_id == dag_id, production_run.c.task_id == task_id)
        query = select(production_run.c.study).where(*of_task).order_by(production_run.c.started_at.desc()).limit(1)
        return next((row["study"] for row in self._rows(query)), None)

    def study_of_dag(self, dag_id: str) -> str | None:
        """The study of a DAG's newest run, of several that it swept the first; else of its newest production run."""
        swept = select(sweep.c.study).where(sweep.c.dag_id == dag_id)
        newest = select(sweep.c.run_id).where(sweep.c.dag_id == dag_id).order_by(sweep.c.started_at.desc()).limit(1)
        of_run = swept.where(sweep.c.run_id == newest.scalar_subquery()).order_by(sweep.c.started_at)
        used = select(production_run.c.study).where(production_run.c.dag_id == dag_id)
        row = self._first(of_run) or self._first(used.order_by(production_run.c.started_at.desc()))
        return row["study"] if row else None

    def newest_dag(self, study: str, dag_ids: Collection[str]) -> str | None:
        """Which of these DAGs swept the study last, nights included."""
        query = select(sweep.c.dag_id).where(sweep.c.study == study, sweep.c.dag_id.in_(dag_ids))
        row = self._first(query.order_by(sweep.c.started_at.desc()))
        return row["dag_id"] if row else None

    def sweeps(self, study: str, dag_ids: Collection[str], page: int = 1) -> tuple[list[Row], int]:
        """One page of a study's sweeps, newest first, and how many there are; nights that watched are no sweeps."""
        watched = (sweep.c.options["strategy"].as_string() == NIGHTLY) & (sweep.c.status != "running")
        condition = (sweep.c.study == study) & sweep.c.dag_id.in_(dag_ids) & ~watched
        query = select(*SWEEP_COLUMNS).where(condition).order_by(sweep.c.started_at.desc())
        return self._page(query, page), self._count(select(func.count()).select_from(sweep).where(condition))

    def sweep(self, sweep_id: str) -> Row | None:
        """The whole row of a sweep."""
        return self._first(select(sweep).where(sweep.c.sweep_id == sweep_id))

    def newest_sweep(self, study: str) -> Row | None:
        """The whole row of a study's newest sweep."""
        return self._first(select(sweep).where(sweep.c.study == study).order_by(sweep.c.started_at.desc()))

    def sweeps_of_run(self, dag_id: str, run_id: str) -> list[Row]:
        """The sweeps that a DAG run made, one per study, in their order: `sweep_id`, `study` and `status`."""
        columns = (sweep.c.sweep_id, sweep.c.study, sweep.c.status)
        query = select(*columns).where(sweep.c.dag_id == dag_id, sweep.c.run_id == run_id)
        return self._rows(query.order_by(sweep.c.started_at))

    def trial_of_task(self, sweep_ids: Collection[str], task_id: str, map_index: int) -> str | None:
        """The trial that a mapped task instance took."""
        condition = (trial.c.sweep_id.in_(sweep_ids), trial.c.task_id == task_id, trial.c.map_index == map_index)
        row = self._first(select(trial.c.trial_id).where(*condition).limit(1))
        return row["trial_id"] if row else None

    def chart_names(self, sweep_id: str) -> set[str]:
        """The names of a sweep's plots."""
        return {row["name"] for row in self._rows(select(chart.c.name).where(chart.c.sweep_id == sweep_id))}

    def chart(self, sweep_id: str, name: str) -> str | None:
        """A sweep's plot as SVG."""
        row = self._first(select(chart.c.svg).where(chart.c.sweep_id == sweep_id, chart.c.name == name))
        return row["svg"] if row else None

    def recommendations(self, sweep_id: str) -> list[Row]:
        """What a sweep recommends, by goal."""
        return self._rows(
            select(recommendation).where(recommendation.c.sweep_id == sweep_id).order_by(recommendation.c.goal)
        )

    def history(self, study: str, goal: str, limit: int = 90) -> list[Row]:
        """The last recommendations for a goal without their evidence, oldest first."""
        columns = [column for column in recommendation.columns if column.name != "document"]
        query = (
            select(*columns)
            .where(recommendation.c.study == study, recommendation.c.goal == goal, recommendation.c.is_followed)
            .order_by(recommendation.c.created_at.desc())
            .limit(limit)
        )
        return self._rows(query)[::-1]

    def last_seen(self, study: str) -> LastSeen:
        """What the study's data and machine were like when a job of it last ran."""
        return self._store.last_seen(study)

    def production(self, study: str, goal: str) -> ProductionConfiguration | None:
        """What production is told to run with."""
        return self._store.production(study, goal)

    def nights(self, study: str, limit: int = 90) -> list[Row]:
        """The last nights, missed ones too, oldest first."""
        columns = [column for column in night.columns if column.name not in ("environment", "workload")]
        return self._rows(select(*columns).where(night.c.study == study).order_by(night.c.due_at.desc()).limit(limit))[
            ::-1
        ]

    def newest_nights(self, studies: Collection[str]) -> list[Row]:
        """The newest night of each study that was measured or missed."""
        query = (
            select(night.c.study, night.c.due_at, night.c.status, night.c.summary)
            .where(night.c.study.in_(studies))
            .order_by(night.c.study, night.c.due_at.desc())
        )
        return self._rows(first_of_each(query, night.c.study))

    def night_values(self, night_ids: Sequence[str]) -> list[Row]:
        """The values of control and champion in some nights."""
        wanted = (night_value.c.night_id.in_(night_ids), night_value.c.role.in_(("champion", "control")))
        return self._rows(select(night_value).where(*wanted))

    def alerts(self, study: str, limit: int = PAGE_SIZE) -> list[Row]:
        """What the nights confirmed, newest first."""
        query = select(alert, night.c.due_at).join(night, night.c.night_id == alert.c.night_id)
        return self._rows(query.where(alert.c.study == study).order_by(alert.c.created_at.desc()).limit(limit))

    def trials(self, sweep_id: str, *, sort: str = "planned", page: int = 1) -> list[Row]:
        """One page of a sweep's trials without their measurements."""
        query = select(*TRIAL_COLUMNS).where(trial.c.sweep_id == sweep_id)
        return self._page(query.order_by(*SORTABLE.get(sort, SORTABLE["planned"])), page)

    def trial_count(self, sweep_id: str) -> int:
        """How many trials a sweep has planned."""
        return self._count(select(func.count()).select_from(trial).where(trial.c.sweep_id == sweep_id))

    def all_trials(self, sweep_id: str) -> list[Row]:
        """A sweep's trials in planned order, at most 10,000."""
        query = select(*TRIAL_COLUMNS).where(trial.c.sweep_id == sweep_id).order_by(*SORTABLE["planned"])
        return self._rows(query.limit(10_000))

    def progress(self, sweep_id: str) -> TrialCounts:
        """The counts of a sweep's trials."""
        took = func.extract("epoch", trial.c.ended_at - trial.c.started_at)
        query = select(
            func.count().label("planned"),
            func.count().filter(trial.c.status == "measured").label("measured"),
            func.count().filter(trial.c.status == "failed").label("failed"),
            func.count().filter(trial.c.status == "running").label("running"),
            func.avg(took).label("trial_s"),
        ).where(trial.c.sweep_id == sweep_id)
        found = self._first(query) or {}
        return TrialCounts(**{**found, "trial_s": float(found.get("trial_s") or 0.0)})

    def trials_of(self, sweep_id: str, labels: Sequence[str]) -> list[Row]:
        """The trials of some configurations in a sweep, by block: what a comparison needs."""
        query = (
            select(*TRIAL_COLUMNS)
            .where(trial.c.sweep_id == sweep_id, trial.c.label.in_(labels))
            .order_by(*SORTABLE["planned"])
        )
        return self._rows(query.limit(1000))

    def results_of(self, rows: Sequence[Row]) -> dict[str, list[TrialResult]]:
        """Trial rows as results by label, without their whole measurements."""
        grouped: dict[str, list[TrialResult]] = {}
        for row in rows:
            plan = TrialPlan(**{name: row[name] for name in PLAN_COLUMNS})
            grouped.setdefault(plan.label, []).append(TrialResult(plan, row["status"], metrics=row["metrics"]))
        return grouped

    def results_of_sweep(self, sweep_id: str) -> tuple[TrialResult, ...]:
        """Every planned trial of a sweep with its whole measurement."""
        return self._store.results(sweep_id)

    def labels(self, sweep_id: str) -> list[str]:
        """The names of the configurations in a sweep."""
        query = select(trial.c.label).distinct().where(trial.c.sweep_id == sweep_id).order_by(trial.c.label)
        return [row["label"] for row in self._rows(query.limit(1000))]

    def trial(self, trial_id: str) -> Row | None:
        """The whole row of a trial with its sweep's DAG and run."""
        query = select(trial, sweep.c.dag_id, sweep.c.run_id).join(sweep, sweep.c.sweep_id == trial.c.sweep_id)
        return self._first(query.where(trial.c.trial_id == trial_id))

    def control_beside(self, row: Row) -> Row | None:
        """The control's trial in the block of a trial, where it was measured and is another one."""
        block = (trial.c[name] == row[name] for name in ("sweep_id", "phase", "round", "block"))
        wanted = (trial.c.is_control, trial.c.status == "measured", trial.c.trial_id != row["trial_id"])
        return self._first(select(*TRIAL_COLUMNS).where(*block, *wanted))

    def _rows(self, query: Select[Any]) -> list[Row]:
        with self._store.transaction() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def _first(self, query: Select[Any]) -> Row | None:
        rows = self._rows(query.limit(1))
        return rows[0] if rows else None

    def _page(self, query: Select[Any], page: int) -> list[Row]:
        return self._rows(query.limit(PAGE_SIZE).offset((max(page, 1) - 1) * PAGE_SIZE))

    def _count(self, query: Select[Any]) -> int:
        with self._store.transaction() as connection:
            return int(connection.scalar(query) or 0)
