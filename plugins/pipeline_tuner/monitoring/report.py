"""The section of the written analysis on the nights: the primary goal's value over them, with what changed."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pipeline_tuner.analysis.goals import GoalError, goal_value, larger_is_better
from pipeline_tuner.charts import style
from pipeline_tuner.charts.runs import HELD_AGAINST, history
from pipeline_tuner.charts.style import Value
from pipeline_tuner.monitoring.drift import QUIET_NIGHTS, Change, changes
from pipeline_tuner.monitoring.night_values import CAUSES, moved_words
from pipeline_tuner.report.data import ReportData
from pipeline_tuner.report.markdown import escaped
from pipeline_tuner.space import configuration_id
from pipeline_tuner.trial import TrialResult
from pipeline_tuner.wording import counted, percent

MIN_NIGHTS = 3


@dataclass(frozen=True)
class Night:
    """One sweep's medians of the control and of the configuration that the analysis is about."""

    began: datetime
    control: float | None
    subject: float | None


def over_the_nights(data: ReportData) -> str:
    """The primary goal over earlier sweeps and this one, with the changes of level; empty with fewer than three."""
    nights = nights_of(data)
    if len(nights) < MIN_NIGHTS or data.subject is None:
        return ""
    better_if_larger = larger_is_better(data.study, data.main.goal)
    control, subject = [n.control for n in nights], [n.subject for n in nights]
    series = subject if sum(v is not None for v in subject) > len(nights) / 2 else control
    found = changes(series, control if series is subject else (), larger_is_better=better_if_larger)
    words = [change_words(change, nights, larger_is_better=better_if_larger) for change in found]
    if not words:
        quiet = counted(len(nights), "night")
        early = f" A change can be told from {QUIET_NIGHTS + 2} nights on." if len(nights) <= QUIET_NIGHTS + 1 else ""
        words = [f"No change of level in {quiet}.{early}"]
    points = [
        Value(night.began.isoformat(), value, kind=name)
        for night in nights
        for name, value in ((data.subject.label, night.subject), (HELD_AGAINST, night.control))
    ]
    events = [Value(nights[change.night].began.isoformat(), None, kind=_short_words(change)) for change in found]
    title, unit = f"{data.main.goal} over the nights", data.main.unit or data.main.goal
    path = style.save(data.folder, "history", history(points, events, main=data.subject.label, y=unit, title=title))
    return "\n\n".join([*words, f"![{escaped(data.main.goal)} over the nights]({path.name})"])


def _short_words(change: Change) -> str:
    shift = change.ratio.value - 1
    return f"{'+' if shift > 0 else '-'}{percent(abs(shift))}, {change.cause}"


def nights_of(data: ReportData) -> list[Night]:
    """Earlier sweeps and this one, in the order in which they ran."""
    sweeps: dict[str, list[TrialResult]] = {}
    for result in (*data.history, *data.results):
        if result.status == "measured" and result.measurement is not None and result.plan.fraction == 1.0:
            sweeps.setdefault(result.plan.sweep_id, []).append(result)
    wanted = configuration_id(data.subject.evidence.configuration) if data.subject else ""
    control = configuration_id(data.study.control_candidate.configuration)
    nights = [
        Night(
            min(r.measurement.started_at for r in found if r.measurement is not None),
            _median(data, [r for r in found if configuration_id(r.plan.configuration) == control]),
            _median(data, [r for r in found if configuration_id(r.plan.configuration) == wanted]),
        )
        for found in sweeps.values()
    ]
    return sorted(nights, key=lambda night: night.began)


def _median(data: ReportData, results: Sequence[TrialResult]) -> float | None:
    values = []
    for result in results:
        try:
            values.append(goal_value(data.study, data.main.goal, result))
        except GoalError:
            continue
    return statistics.median(values) if values else None


def change_words(change: Change, nights: Sequence[Night], *, larger_is_better: bool) -> str:
    """One change in words: when, by how much, and what changed."""
    since, told = nights[change.night].began, nights[change.noticed].began
    moved = moved_words(change, larger_is_better=larger_is_better)
    return f"{moved} since {since:%Y-%m-%d}, told on {told:%Y-%m-%d}: {CAUSES[change.cause]}."
