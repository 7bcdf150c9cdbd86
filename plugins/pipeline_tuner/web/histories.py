"""A study's history as charts: each goal over its nights, with what changed, or else over its sweeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pipeline_tuner.charts.history import HELD_AGAINST, Event, Figure, history
from pipeline_tuner.charts.look import page_specification
from pipeline_tuner.store.page_reads import Row
from pipeline_tuner.web.insights import Specification
from pipeline_tuner.web.rendering import page_reads
from pipeline_tuner.wording import number

PRODUCTION, SWEEPS = "production", "recommended"
SERIES = {"champion": PRODUCTION, "control": HELD_AGAINST}
FEWEST_SWEEPS = 2


def histories(
    study: str, units: Mapping[str, str], nights: Sequence[Row], alerts: Sequence[Row]
) -> dict[str, Specification]:
    """A chart a goal, where nights have figures of it or two sweeps have. `units` are the goals with their units."""
    values = page_reads().night_values([night["night_id"] for night in nights])
    goals = dict.fromkeys([*units, *(value["goal"] for value in values)])
    return {
        goal: chart
        for goal in goals
        if (chart := _of_nights(goal, units.get(goal, ""), nights, values, alerts) or _of_sweeps(study, goal, units))
    }


def _of_nights(
    goal: str, unit: str, nights: Sequence[Row], values: Sequence[Row], alerts: Sequence[Row]
) -> Specification | None:
    found = {(value["night_id"], value["role"]): value for value in values if value["goal"] == goal}
    if not found:
        return None
    figures = [
        _figure(night, name, found.get((night["night_id"], role)), unit)
        for night in nights
        for role, name in SERIES.items()
    ]
    return page_specification(history(figures, list(_events(goal, nights, alerts)), main=PRODUCTION, y=unit or goal))


def _figure(night: Row, series: str, value: Row | None, unit: str) -> Figure:
    """One night's figure; a night without one breaks the line."""
    at = night["due_at"].isoformat()
    if value is None:
        return Figure(at, series, None)
    words = f"{night['due_at']:%Y-%m-%d} {series} {value['label']}: {number(value['value'])} {unit}".strip()
    return Figure(at, series, value["value"], words, f"../sweeps/{night['night_id']}")


def _events(goal: str, nights: Sequence[Row], alerts: Sequence[Row]) -> Iterator[Event]:
    due = {night["night_id"]: night["due_at"] for night in nights}
    for item in alerts:
        if item["goal"] in (goal, "") and item["night_id"] in due:
            yield Event(due[item["night_id"]].isoformat(), item["kind"].replace("_", " "), item["words"])
    for night in nights:
        if night["status"] in ("missed", "failed"):
            yield Event(night["due_at"].isoformat(), night["status"], night["summary"])


def _of_sweeps(study: str, goal: str, units: Mapping[str, str]) -> Specification | None:
    rows = [row for row in page_reads().history(study, goal) if row["estimate"]]
    if len(rows) < FEWEST_SWEEPS:
        return None
    figures = [
        Figure(row["created_at"].isoformat(), SWEEPS, row["estimate"],
               f"{row['created_at']:%Y-%m-%d} {row['label']}: {number(row['estimate'])} {row['unit']}".strip(),
               f"../sweeps/{row['sweep_id']}")
        for row in rows
    ]  # fmt: skip
    return page_specification(history(figures, main=SWEEPS, y=units.get(goal) or goal))
