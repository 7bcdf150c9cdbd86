"""Section of the analysis on scaling: how the rate grows with workers, partitions or cores."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence

import altair as alt
import numpy as np

from pipeline_tuner.analysis.goals import goal_scores
from pipeline_tuner.analysis.scaling import MIN_LEVELS, Prediction, ScalePoint, Scaling, fit_scaling
from pipeline_tuner.charts import style
from pipeline_tuner.charts.parameters import scaling as draw
from pipeline_tuner.charts.style import Value
from pipeline_tuner.recommendation import Interval
from pipeline_tuner.report.data import ReportData
from pipeline_tuner.report.markdown import escaped, table
from pipeline_tuner.space import configuration_id
from pipeline_tuner.trial import TrialResult
from pipeline_tuner.wording import bounds_words, counted, number, percent, ratio

PARALLEL = ("worker", "core", "partition", "parallel", "pipeline", "executor", "thread", "process", "concurrency")


def scaling(data: ReportData) -> str:
    """One part for each parallelism parameter that was measured at three levels or more, all else equal."""
    return "\n\n".join(_described(data, goal, name, fitted) for name, goal, fitted in _fits(data))


def scaling_charts(data: ReportData) -> Iterator[tuple[str, alt.LayerChart]]:
    """Each parallelism parameter with the chart of its levels and the law that fits them."""
    for name, goal, fitted in _fits(data):
        yield name, _chart(goal, name, fitted)


def _fits(data: ReportData) -> Iterator[tuple[str, str, Scaling]]:
    """Parameter, goal and law, for what was measured at three levels or more, all else equal."""
    goal = next((a.goal for a in data.recommendations if data.study.goals[a.goal].maximize), None)
    for name in data.study.space.parameters if goal else ():
        if goal and _is_parallel(data, name):
            points = _largest_series(data, goal, name)
            fitted = fit_scaling(points, confidence=data.options.budget.confidence) if points else None
            if fitted:
                yield name, goal, fitted


def _is_parallel(data: ReportData, name: str) -> bool:
    return data.study.space.parameters[name].is_ordered and any(word in name for word in PARALLEL)


def _largest_series(data: ReportData, goal: str, name: str) -> list[ScalePoint]:
    """The trials that differ in this parameter only, in the series with the most levels."""
    full = [r for r in data.results if r.plan.fraction == 1.0 and name in r.plan.configuration]
    scores = goal_scores(data.study, goal, full).by_trial
    series: dict[str, list[TrialResult]] = defaultdict(list)
    for result in full:
        if result.plan.trial_id in scores:
            series[configuration_id({k: v for k, v in result.plan.configuration.items() if k != name})].append(result)
    best = max(series.values(), key=lambda found: (_level_count(found, name), len(found)), default=[])
    if _level_count(best, name) < MIN_LEVELS:
        return []
    return [
        ScalePoint(
            float(r.plan.configuration[name]),
            math.exp(scores[r.plan.trial_id]),
            (r.plan.phase, r.plan.round, r.plan.block),
        )
        for r in best
    ]


def _level_count(results: Sequence[TrialResult], name: str) -> int:
    return len({result.plan.configuration[name] for result in results})


def _described(data: ReportData, goal: str, name: str, fitted: Scaling) -> str:
    first = fitted.levels[0]
    rows = [
        (number(p.level), f"{p.speedup.value:.2f}x", _bounds(p.speedup), _of_ideal(p, first)) for p in fitted.measured
    ]
    header = (name, f"{goal} against {number(first)}", "interval", "of proportional growth")
    if not (fitted.is_flat or fitted.is_apt):
        sentence = "no law of scaling passes through these levels, so none is fitted: the table has what was measured."
        return f"**{escaped(name)}**: {sentence}\n\n{table(header, rows)}"
    words = [f"**{escaped(name)}**: {_law_words(fitted)}", table(header, rows), _end_words(name, fitted)]
    further = fitted.predict(2 * fitted.largest)
    if further and not fitted.is_flat:
        here = fitted.speedup(fitted.largest)
        value, low, high = further.speedup.value / here, further.speedup.low / here, further.speedup.high / here
        words.append(
            f"Extrapolated, not measured: {number(further.level)} would give {value:.2f}x ({low:.2f} to {high:.2f}) of "
            f"what {number(fitted.largest)} gives."
        )
    return "\n\n".join([*words, _image(data, goal, name, fitted)])


def _bounds(speedup: Interval) -> str:
    if speedup.low == speedup.high:
        return ""
    return f"{speedup.low:.2f} to {speedup.high:.2f}" if math.isfinite(speedup.high) else "unknown"


def _of_ideal(point: Prediction, first: float) -> str:
    return percent(point.speedup.value / (point.level / first))


def _law_words(fitted: Scaling) -> str:
    if fitted.is_flat:
        return "no level is told from the others."
    if fitted.law == "linear":
        return "the rate grows in proportion."
    bounds = f"{percent(fitted.contention.low)} to {percent(fitted.contention.high)}"
    shared = f"contention {percent(fitted.contention.value)} ({bounds})"
    if fitted.law == "Amdahl":
        return f"Amdahl's law fits: {shared} of the work is not parallel."
    peak = f", with the largest rate at {number(fitted.peak)}" if fitted.peak < fitted.largest * 2 else ""
    return f"the universal scalability law fits: {shared}, crosstalk {percent(fitted.crosstalk.value)}{peak}."


def _end_words(name: str, fitted: Scaling) -> str:
    end = fitted.worthwhile
    if fitted.is_flat:
        return f"{number(fitted.levels[0])} does as well as {number(fitted.largest)} here: no law is fitted to nothing."
    if not math.isfinite(end.value):
        return f"No end of the gains is in sight up to {counted(int(2 * fitted.largest), escaped(name).rstrip('s'))}."
    high = number(end.high) if math.isfinite(end.high) else f"beyond {number(2 * fitted.largest)}"
    return f"Past {number(end.value)} ({number(end.low)} to {high}), doubling {escaped(name)} adds less than 10%."


def _image(data: ReportData, goal: str, name: str, fitted: Scaling) -> str:
    path = style.save(data.folder, f"scaling-{name}", _chart(goal, name, fitted))
    return (
        f"![{escaped(goal)} by {escaped(name)}, {escaped(ratio(fitted.speedup(fitted.largest)))} at most]({path.name})"
    )


def _chart(goal: str, name: str, fitted: Scaling) -> alt.LayerChart:
    base = fitted.speedup(fitted.levels[0])
    predictions = [fitted.predict(float(level)) for level in np.linspace(fitted.levels[0], 2 * fitted.largest, 40)]
    points, law = [_level(point, base) for point in fitted.measured], [_level(point) for point in predictions if point]
    knee = fitted.worthwhile.value if fitted.worthwhile.value <= 2 * fitted.largest else None
    return draw(points, law, title=f"{goal} by {name}", x=name, y=f"speed-up of {goal}", knee=knee)


def _level(point: Prediction, base: float = 1.0) -> Value:
    speedup = point.speedup
    value, low, high = speedup.value * base, speedup.low * base, speedup.high * base
    words = f"{number(point.level)}: {bounds_words(value, low, high)}"
    return Value(point.level, value, low, high, words=words)
