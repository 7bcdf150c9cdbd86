"""The charts on a study's page: each goal over nights, sweeps and production runs, with what changed and who did."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pipeline_tuner.analysis.goals import GoalError, larger_is_better, production_score
from pipeline_tuner.charts.runs import HELD_AGAINST, RUNS, history
from pipeline_tuner.charts.style import Value, page_specification
from pipeline_tuner.store.page_reads import Row
from pipeline_tuner.study import Study
from pipeline_tuner.web.rendering import page_reads
from pipeline_tuner.web.sweep_charts import Specification
from pipeline_tuner.wording import with_unit

PRODUCTION, SWEEPS = "production", "recommended"
SERIES = {"champion": PRODUCTION, "control": HELD_AGAINST}
MIN_POINTS = 2
"""Values of a series without which it is no history."""


@dataclass(frozen=True)
class Past:
    """What is known of a study: nights and what they confirmed, production runs, and decisions about production.

    `definition` is None where it can't be read any more: production runs then have no points.
    """

    study: str
    definition: Study | None
    nights: Sequence[Row]
    alerts: Sequence[Row]
    runs: Sequence[Row]
    promotions: Sequence[Row]


def histories(past: Past, units: Mapping[str, str]) -> dict[str, Specification]:
    """A chart for each goal with a history. `units` are the goals with their units."""
    values = page_reads().night_values([night["night_id"] for night in past.nights])
    goals = dict.fromkeys([*units, *(value["goal"] for value in values)])
    found = {goal: _history(past, goal, units.get(goal, ""), values) for goal in goals}
    return {goal: chart for goal, chart in found.items() if chart is not None}


def _history(past: Past, goal: str, unit: str, values: Sequence[Row]) -> Specification | None:
    nights = list(_of_nights(past, goal, unit, values))
    sweeps = [] if nights else list(_of_sweeps(past.study, goal))
    runs = list(_of_runs(past, goal, unit))
    if not nights and len(sweeps) < MIN_POINTS and len(runs) < MIN_POINTS:
        return None
    main = PRODUCTION if nights else SWEEPS
    events = [*_decisions(past, goal), *(_of_watch(past, goal) if nights else ())]
    events.sort(key=lambda event: str(event.at))
    return page_specification(history([*nights, *sweeps, *runs], events, main=main, y=unit or goal))


def _of_nights(past: Past, goal: str, unit: str, values: Sequence[Row]) -> Iterator[Value]:
    """The points of production and control night by night; a night without one breaks the line."""
    known = {(value["night_id"], value["role"]): value for value in values if value["goal"] == goal}
    for night in past.nights if known else ():
        for role, name in SERIES.items():
            value, link = known.get((night["night_id"], role)), f"../sweeps/{night['night_id']}"
            if value is None:
                yield Value(night["due_at"].isoformat(), None, kind=name)
            else:
                yield _point(night["due_at"], name, value["label"], value["value"], unit, link)


def _of_sweeps(study: str, goal: str) -> Iterator[Value]:
    for row in page_reads().history(study, goal):
        if row["estimate"]:
            link = f"../sweeps/{row['sweep_id']}"
            yield _point(row["created_at"], SWEEPS, row["label"], row["estimate"], row["unit"], link)


def _of_runs(past: Past, goal: str, unit: str) -> Iterator[Value]:
    """Production runs with the goal's value; a balanced goal has none outside a sweep."""
    study = past.definition
    if study is None or goal not in study.goals or study.goals[goal].balance:
        return
    sign = 1.0 if larger_is_better(study, goal) else -1.0
    for run in past.runs:
        if run["status"] == "measured" and run["ended_at"]:
            try:
                score = production_score(study, goal, run["configuration"], run["metrics"])
            except GoalError:
                continue
            yield _point(run["ended_at"], RUNS, run["label"], math.exp(sign * score), unit, "")


def _point(at: datetime, series: str, label: str, value: float, unit: str, link: str) -> Value:
    words = f"{at:%Y-%m-%d} {series} {label}: {with_unit(value, unit)}"
    return Value(at.isoformat(), value, kind=series, words=words, href=link)


def _of_watch(past: Past, goal: str) -> Iterator[Value]:
    """What nights confirmed, and nights without points."""
    due = {night["night_id"]: night["due_at"] for night in past.nights}
    for item in past.alerts:
        if item["goal"] in (goal, "") and item["night_id"] in due:
            yield _event(due[item["night_id"]], item["kind"].replace("_", " "), item["words"])
    for night in past.nights:
        if night["status"] in ("missed", "failed"):
            yield _event(night["due_at"], night["status"], night["summary"])


def _decisions(past: Past, goal: str) -> Iterator[Value]:
    """Who promoted or rolled back what."""
    for row in past.promotions:
        if row["goal"] == goal:
            name = "rolled back" if row["action"] == "roll_back" else "promoted"
            note = f"{row['label']} by {row['actor']}{': ' if row['note'] else ''}{row['note'] or ''}"
            yield _event(row["created_at"], name, note)


def _event(at: datetime, name: str, words: str) -> Value:
    return Value(at.isoformat(), None, kind=name, words=words)
