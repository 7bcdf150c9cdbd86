"""Section of the analysis on how the search went: the convergence chart."""

from __future__ import annotations

import math
import statistics

from pipeline_tuner.analysis.goals import goal_scores
from pipeline_tuner.charts import style
from pipeline_tuner.charts.gains import convergence
from pipeline_tuner.charts.style import Value
from pipeline_tuner.report.data import ReportData

MANY_CONFIGURATIONS = 6


def how_the_search_went(data: ReportData) -> str:
    """The best gain seen after each trial of the search: a chart, where more than a few configurations competed."""
    if len(data.rows) < MANY_CONFIGURATIONS:
        return ""
    steps = convergence_steps(data)
    if len(steps) < 2:
        return ""
    gain = data.main.gain
    final = Value(len(steps) + 1, gain.value, kind="second", words="confirmed") if gain else None
    chart = convergence(steps, title=f"How the search for {data.main.goal} went", confirmed=final)
    path = style.save(data.folder, f"convergence-{data.main.goal}", chart)
    return f"![Best gain seen after each trial]({path.name})"


def convergence_steps(data: ReportData) -> list[Value]:
    """The best gain over the control of the same block after each trial of the search."""
    search = [r for r in data.results if r.plan.phase == "search" and r.plan.fraction == 1.0]
    search.sort(key=lambda r: (r.plan.round, r.plan.block, r.plan.position))
    scores = goal_scores(data.study, data.main.goal, search).by_trial
    controls: dict[tuple[int, int], list[float]] = {}
    for result in search:
        if result.plan.is_control and result.plan.trial_id in scores:
            controls.setdefault((result.plan.round, result.plan.block), []).append(scores[result.plan.trial_id])
    if not controls:
        return []
    best, steps = 1.0, list[Value]()
    for count, result in enumerate(search, start=1):
        base = controls.get((result.plan.round, result.plan.block))
        if base and result.plan.trial_id in scores:
            best = max(best, math.exp(scores[result.plan.trial_id] - statistics.fmean(base)))
        steps.append(Value(count, best, kind="tied"))
    return steps
