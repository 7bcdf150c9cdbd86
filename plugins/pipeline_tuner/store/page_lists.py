"""The queries of the page's list of studies, for all studies at once: a query per table."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Select, Text, and_, cast, column, func, select, true
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by

from pipeline_tuner.recommendation import DecisionStatus
from pipeline_tuner.store.records import LastSeen, ProductionConfiguration, promoted_by
from pipeline_tuner.store.rows import FOLLOWED, first_of_each
from pipeline_tuner.store.schema import night, night_value, production_run, promotion, recommendation, sweep
from pipeline_tuner.store.store import Store

NIGHTS = 30
"""How many nights a study's line shows."""

Row = dict[str, Any]
Goal = tuple[str, str]
"""Study and goal."""


class PageLists:
    """The queries of the list of studies on a results database."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def recommendations(self, studies: Collection[str]) -> list[Row]:
        """The newest recommendation of each study and goal without its evidence, with `validity`."""
        columns = [one for one in recommendation.columns if one.name != "document"]
        return self._rows(_newest_of_goals(studies, recommendation.c.is_followed).add_columns(*columns))

    def production(self, studies: Collection[str], newest: Sequence[Row] = ()) -> dict[Goal, ProductionConfiguration]:
        """What production is told to run with: as `Store.production` says it for one study and goal.

        :param newest: What `recommendations` found: where production may follow it, it isn't read again.
        """
        return self._recommended(studies, newest) | self._promoted(studies)

    def _recommended(self, studies: Collection[str], newest: Sequence[Row]) -> dict[Goal, ProductionConfiguration]:
        followed = [row for row in newest if _is_followed(row)]
        known = {(row["study"], row["goal"]) for row in followed}
        others = {row["study"] for row in newest if not _is_followed(row)} if newest else studies
        query = _newest_of_goals(others, *FOLLOWED).add_columns(*_CONFIGURATION)
        older = [row for row in self._rows(query) if (row["study"], row["goal"]) not in known] if others else []
        return {
            (row["study"], row["goal"]): ProductionConfiguration(
                "recommended", row["label"], row["configuration"], row["created_at"], row["valid_until"],
                row["sweep_id"], row["workload_fingerprint"], row["environment_fingerprint"], row["validity"] or {},
                row["reason"],
            )
            for row in (*followed, *older)
        }  # fmt: skip

    def _promoted(self, studies: Collection[str]) -> dict[Goal, ProductionConfiguration]:
        same = and_(recommendation.c.sweep_id == promotion.c.sweep_id, recommendation.c.goal == promotion.c.goal)
        validity = recommendation.c.document["validity"].label("validity")
        query = (
            select(promotion, validity)
            .outerjoin(recommendation, same)
            .where(promotion.c.study.in_(studies))
            .order_by(promotion.c.study, promotion.c.goal, promotion.c.promotion_id.desc())
        )
        rows = self._rows(first_of_each(query, promotion.c.study, promotion.c.goal))
        return {
            (row["study"], row["goal"]): ProductionConfiguration(
                "promoted", row["label"], row["configuration"], row["created_at"], None, row["sweep_id"],
                validity=row["validity"] or {}, why=promoted_by(row["actor"], row["note"]),
            )
            for row in rows
        }  # fmt: skip

    def last_seen(self, studies: Sequence[str]) -> dict[str, LastSeen]:
        """Each study's data and machine when a job of it last ran: as `Store.last_seen` says it for one."""
        record = production_run.c.measurement
        of_runs = _newest(
            studies,
            select(record["workload"].label("workload"), record["environment"].label("environment")).where(
                record.is_not(None)
            ),
            production_run.c.study,
            production_run.c.ended_at,
        )
        of_sweeps = _newest(
            studies,
            select(sweep.c.workload, sweep.c.environment).where(sweep.c.environment.is_not(None)),
            sweep.c.study,
            sweep.c.started_at,
        )
        found = {row["study"]: row for row in (*self._rows(of_sweeps), *self._rows(of_runs))}
        known = {study: LastSeen(row["workload"] or {}, row["environment"] or {}) for study, row in found.items()}
        return {study: known.get(study, LastSeen()) for study in studies}

    def definitions(self, sweep_ids: Collection[str]) -> dict[str, Mapping[str, Any]]:
        """The studies as these sweeps had them, by sweep."""
        query = select(sweep.c.sweep_id, sweep.c.study_definition).where(sweep.c.sweep_id.in_(sweep_ids))
        return {row["sweep_id"]: row["study_definition"] for row in self._rows(query)}

    def night_values(self, studies: Sequence[str]) -> dict[Goal, list[float]]:
        """What production reached in the last nights, oldest first, by study and goal."""
        last = _newest(
            studies, select(night.c.night_id, night.c.due_at), night.c.study, night.c.due_at, NIGHTS
        ).subquery()
        joined = and_(night_value.c.night_id == last.c.night_id, night_value.c.role == "champion")
        values = func.array_agg(aggregate_order_by(night_value.c.value, last.c.due_at)).label("values")
        query = select(last.c.study, night_value.c.goal, values).join(night_value, joined)
        rows = self._rows(query.group_by(last.c.study, night_value.c.goal))
        return {(row["study"], row["goal"]): row["values"] for row in rows}

    def _rows(self, query: Select[Any]) -> list[Row]:
        with self._store.transaction() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]


_CONFIGURATION = (
    recommendation.c.study,
    recommendation.c.goal,
    recommendation.c.label,
    recommendation.c.configuration,
    recommendation.c.created_at,
    recommendation.c.valid_until,
    recommendation.c.sweep_id,
    recommendation.c.workload_fingerprint,
    recommendation.c.environment_fingerprint,
    recommendation.c.reason,
)


def _is_followed(row: Row) -> bool:
    """FOLLOWED of a row that was read."""
    is_answer = row["status"] in [status for status in DecisionStatus if status.is_answer]
    return bool(row["is_followed"] and is_answer and row["configuration"] is not None)


def _newest_of_goals(studies: Collection[str], *conditions: Any) -> Select[Any]:
    """The `validity` of the newest recommendation of each study and goal: no other document is opened."""
    ordered = (
        select(recommendation.c.sweep_id, recommendation.c.goal)
        .where(recommendation.c.study.in_(studies), *conditions)
        .order_by(recommendation.c.study, recommendation.c.goal, recommendation.c.created_at.desc())
    )
    newest = first_of_each(ordered, recommendation.c.study, recommendation.c.goal).subquery()
    same = and_(recommendation.c.sweep_id == newest.c.sweep_id, recommendation.c.goal == newest.c.goal)
    validity = recommendation.c.document["validity"].label("validity")
    return select(validity).join(newest, same).order_by(recommendation.c.study, recommendation.c.created_at)


def _newest(studies: Sequence[str], query: Select[Any], study: Any, moment: Any, count: int = 1) -> Select[Any]:
    """The newest rows of a query for each of the studies: the index is entered once per study."""
    names = (
        func.unnest(cast(list(studies), ARRAY(Text)))
        .table_valued(column("study", Text), name="wanted")
        .render_derived()
    )
    newest = query.where(study == names.c.study).order_by(moment.desc()).limit(count).lateral()
    return select(names.c.study, *newest.c).join(newest, true())
