"""Sections of the analysis: settings and metrics of what to run, the table of all configurations."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from pipeline_tuner.analysis.comparison import MetricComparison, compare, values_of
from pipeline_tuner.analysis.earlier_sweeps import HOPELESS, earlier_gains, not_again
from pipeline_tuner.charts import style
from pipeline_tuner.charts.gains import intervals
from pipeline_tuner.metric_names import metric_name, metric_order, metric_words
from pipeline_tuner.recommendation import Interval, Recommendation
from pipeline_tuner.report.chart_values import bars_of, bound_of
from pipeline_tuner.report.data import ReportData
from pipeline_tuner.report.decisions import action_words
from pipeline_tuner.report.markdown import escaped, table
from pipeline_tuner.report.tables import Row
from pipeline_tuner.space import Configuration, configuration_id
from pipeline_tuner.trial import TrialResult
from pipeline_tuner.wording import counted, listed, number, percent

COLUMNS = ("rows_per_s", "peak_rows_per_s", "duration_s", "latency_p95_s", "memory_peak_bytes")
MAX_ROWS = 40


def settings(data: ReportData) -> str:
    """Every setting of the primary goal's pick beside the control's."""
    if data.subject is None:
        return ""
    mine, control = data.subject.evidence.configuration, data.study.control_candidate.configuration
    names = [name for name in data.study.space.parameters if name in mine or name in control]
    rows = [
        (setting_name(data, name), control.get(name, "-"), mine.get(name, "-"), _change(mine, control, name))
        for name in names
    ]
    header = ("setting", f"control ({data.control_label})", f"{data.subject.label}", "")
    return table(header, rows)


def setting_name(data: ReportData, name: str) -> str:
    """A parameter with its unit."""
    unit = data.study.space.parameters[name].unit
    return f"{name} ({unit})" if unit else name


def _change(mine: Configuration, control: Configuration, name: str) -> str:
    return "" if mine.get(name) == control.get(name) else "changed"


def other_goals(data: ReportData) -> str:
    """The intervals of the goals beside the primary one."""
    return "\n\n".join(filter(None, (goal_chart(data, answer) for answer in data.recommendations[1:])))


def goal_chart(data: ReportData, answer: Recommendation) -> str:
    """The chart of a goal's intervals; empty where there is nothing to compare."""
    bars = bars_of(answer.evidence, reference=answer.reference)
    if len(bars) < 2:
        return ""
    bound = bound_of(bars, answer.label, answer.regret_bound)
    chart = intervals(bars, title=_chart_title(answer), zone=data.options.budget.indifference, bound=bound)
    path = style.save(data.folder, f"intervals-{answer.goal}", chart)
    return f"![Gain over the control by configuration, for {escaped(answer.goal)}]({path.name})"


def _chart_title(answer: Recommendation) -> str:
    if answer.status == "best":
        return f"{answer.goal}: {answer.label} is best"
    if answer.status == "tied":
        return f"{answer.goal}: {listed(answer.ties)} tie"
    return f"{answer.goal}: {action_words(answer)}"


def results(data: ReportData) -> str:
    """The metrics of the recommended configuration beside the control's, and their ratio in the same block."""
    mine, control = data.subject, data.control
    if mine is None:
        return ""
    trials = data.deciding(mine)
    phase = "the confirmation" if any(r.plan.phase == "confirm" for r in trials) else "the search (not confirmed)"
    status = f"{escaped(mine.label)}: {mine.evidence.measured} of {counted(mine.evidence.planned, 'trial')} measured"
    status += f", {mine.evidence.failed} failed." if mine.evidence.failed else ", none failed."
    status += f" Values are medians over {counted(len(trials), 'trial')} of {phase}."
    if control is None or control.label == mine.label:
        return f"{status}\n\n{_own_metrics(data, mine)}"
    found = [compare(trials, data.deciding(control), name) for name in _metric_names([*trials])]
    compared = [line for line in found if line is not None]
    rows = [_compared(line) for line in compared if line.differs or line.metric in COLUMNS]
    if not compared:
        nothing = f"The control {escaped(control.label)} has no metrics to compare with."
        return f"{status} {nothing}\n\n{_own_metrics(data, mine)}"
    header = ("metric", f"control ({control.label})", mine.label, "ratio in the same block")
    parts = [status, table(header, rows), _exact_words(compared), _same_words(compared)]
    return "\n\n".join(part for part in parts if part)


def _own_metrics(data: ReportData, row: Row) -> str:
    trials = data.deciding(row)
    lines = [(name, metric_words(row.median(name) or 0.0, name)) for name in _metric_names(trials)]
    return table(("metric", row.label), lines)


def _metric_names(trials: Sequence[TrialResult]) -> list[str]:
    return sorted({name for result in trials for name in result.metrics}, key=metric_order)


def _compared(line: MetricComparison) -> tuple[str, str, str, str]:
    second, first = (metric_words(value, line.metric) for value in (line.second, line.first))
    return metric_name(line.metric).title, second, first, ratio_words(line)


def ratio_words(line: MetricComparison) -> str:
    """The ratio in the same block, and whether a difference is shown."""
    if line.is_exact:
        return (
            "the same, exactly"
            if not line.differs
            else f"{line.first / line.second:.3f}x, exact"
            if line.second
            else "exact"
        )
    if line.ratio is None:
        return ""
    words = f"{line.ratio.value:.2f}x ({line.ratio.low:.2f} to {line.ratio.high:.2f})"
    return words if line.differs else f"{words}, no difference shown"


def _same_words(lines: Sequence[MetricComparison]) -> str:
    """What need not be read one by one: metrics that do not tell the two apart."""
    same = [metric_name(line.metric).title for line in lines if not line.differs and line.metric not in COLUMNS]
    return f"No difference is shown in: {escaped(', '.join(same))}." if same else ""


def _exact_words(lines: Sequence[MetricComparison]) -> str:
    settled = [line for line in lines if line.is_exact and line.differs and line.second]
    if not settled:
        return ""
    ratios = listed(
        [f"{escaped(metric_name(line.metric).title)} ({line.first / line.second:.3f}x)" for line in settled]
    )
    return f"These metrics don't vary between runs, so they are settled without repeats: {ratios}."


def comparison(data: ReportData) -> str:
    """All configurations of the sweep, the best first, with the best of earlier sweeps beside them."""
    columns = [name for name in COLUMNS if any(row.median(name) is not None for row in data.rows)]
    titles = [metric_name(name).title for name in columns]
    header = ["configuration", "trials", *titles, "gain over the control", "standing"]
    pick = "best guess" if data.main.status == "undecided" else "recommended"
    rows = [_comparison_row(row, columns, pick) for row in data.rows[:MAX_ROWS]]
    rows += _earlier_rows(data, columns)
    more = len(data.rows) - MAX_ROWS
    parts = [table(header, rows)]
    if more > 0:
        parts.append(f"{counted(more, 'configuration')} with a smaller gain are not shown.")
    parts.append(_not_again_words(data))
    parts.append(_drift_words(data))
    return "\n\n".join(part for part in parts if part)


def _not_again_words(data: ReportData) -> str:
    """The presets that this sweep left out for what earlier ones showed."""
    measured = {configuration_id(result.plan.configuration) for result in data.results}
    left_out = not_again(data.study, data.options, data.history)
    names = [candidate.label for candidate in left_out if candidate.configuration_id not in measured]
    if not names:
        return ""
    return (
        f"Not measured again: {listed(names)}. Earlier sweeps of the same data on this machine showed them to be more "
        f"than {percent(HOPELESS)} worse than the best one for every goal."
    )


def _comparison_row(row: Row, columns: Sequence[str], pick: str) -> list[str]:
    values = [metric_words(value, n) if (value := row.median(n)) is not None else "" for n in columns]
    known = row.evidence
    gain = known.confirmed if known.confirmed and known.confirmed.low < known.confirmed.high else known.ratio
    label = f"{row.label} (same as {listed(known.same_as)})" if known.same_as else row.label
    return [label, f"{known.measured}/{known.planned}", *values, _bounds(gain, row), _standing(row, pick)]


def _bounds(gain: Interval | None, row: Row) -> str:
    if gain is None:
        return ""
    if gain.low == gain.high == 1.0:
        return "1 (control)"
    fresh = ", confirmed" if gain is row.evidence.confirmed else ""
    return f"{gain.value:.2f}x ({gain.low:.2f} to {gain.high:.2f}){fresh}"


def _standing(row: Row, pick: str) -> str:
    words = {
        "pick": pick,
        "tied": "tied",
        "open": "may be better",
        "worse": "worse",
        "excluded": "excluded",
        "explored": "explored only",
    }
    exclusion = row.evidence.exclusion
    word = words[row.evidence.standing]
    return f"{word}: {exclusion}" if exclusion else word


def _earlier_rows(data: ReportData, columns: Sequence[str]) -> list[list[str]]:
    """The best configuration of earlier sweeps of the same workload and machine, under its newest name."""
    gains = earlier_gains(data.study, data.main.goal, data.history, data.options.budget.confidence)
    if not gains:
        return []
    identity, gain = max(gains.items(), key=lambda item: item[1].value)
    trials = [r for r in data.history if configuration_id(r.plan.configuration) == identity and r.status == "measured"]
    medians = {name: statistics.median(values) for name in columns if (values := values_of(trials, name))}
    cells = [metric_words(medians[name], name) if name in medians else "" for name in columns]
    sweeps = counted(len({result.plan.sweep_id for result in trials}), "earlier sweep")
    bounds = f"{gain.value:.2f}x ({gain.low:.2f} to {gain.high:.2f})"
    return [[f"best so far: {trials[0].plan.label}", f"{len(trials)}", *cells, bounds, sweeps]]


def _drift_words(data: ReportData) -> str:
    if data.control is None:
        return ""
    values = values_of(data.control.results, "duration_s")
    if len(values) < 2:
        return ""
    spread = max(values) / min(values) - 1
    return (
        f"The control took {number(min(values))} to {number(max(values))} s over {counted(len(values), 'trial')} "
        f"(a spread of {percent(spread)}): gains are ratios to the control of the same block, so that a machine "
        "that drifts between blocks doesn't favour anyone."
    )
