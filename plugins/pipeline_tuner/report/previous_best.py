"""Section of the analysis on earlier sweeps: the gap to the previous best, and the best on this machine."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline_tuner.analysis.comparison import values_of
from pipeline_tuner.analysis.earlier_sweeps import BestKnown, best_known
from pipeline_tuner.metric_names import metric_name, metric_words
from pipeline_tuner.report.data import ReportData
from pipeline_tuner.report.markdown import escaped, table
from pipeline_tuner.space import difference
from pipeline_tuner.trial import TrialResult
from pipeline_tuner.wording import byte_words, counted, listed, number, percent

METRICS = ("rows_per_s", "records_per_s", "peak_rows_per_s", "duration_s", "latency_p95_s", "memory_peak_bytes")


@dataclass(frozen=True)
class _Previous:
    """What the result of this sweep is held against."""

    label: str
    words: str
    trials: Sequence[TrialResult]


def gap(data: ReportData) -> str:
    """Previous best, current and their gap, absolute and in per cent; empty where there is nothing before."""
    previous = _previous(data)
    if previous is None or data.subject is None:
        return ""
    current = data.deciding(data.subject)
    rows = list(_gaps(previous.trials, current))
    if not rows:
        return ""
    header = ("metric", f"previous best ({previous.label})", f"current ({data.subject.label})", "gap", "gap, per cent")
    head = f"The previous best is {previous.words}. Values are medians."
    return f"{head}\n\n{table(header, rows)}"


def _previous(data: ReportData) -> _Previous | None:
    """The best of earlier sweeps on this machine, else what production ran with when the sweep began."""
    earlier = best_known(data.study, data.main.goal, data.history, data.options.budget.confidence)
    if earlier is not None:
        where = f"{counted(len(earlier.trials), 'trial')} of {counted(earlier.sweeps, 'earlier sweep')} on this machine"
        words = f"{escaped(earlier.label)}, from {where}; the days differ, so gains over the control tell more"
        return _Previous(earlier.label, words, earlier.trials)
    reference = next((row for row in data.rows if row.label == data.main.reference), None)
    if reference is None or data.subject is None or reference.label == data.subject.label:
        return None
    words = f"{escaped(reference.label)}, which production ran with (there is no earlier sweep on this machine)"
    return _Previous(reference.label, words, data.deciding(reference))


def _gaps(before: Sequence[TrialResult], now: Sequence[TrialResult]) -> Iterator[tuple[str, ...]]:
    for metric in METRICS:
        first, second = values_of(before, metric), values_of(now, metric)
        if not first or not second:
            continue
        old, new = statistics.median(first), statistics.median(second)
        sign = "-" if new < old else "+"
        yield (
            metric_name(metric).title,
            metric_words(old, metric),
            metric_words(new, metric),
            f"{sign}{metric_words(abs(new - old), metric)}",
            f"{sign}{percent(abs(new / old - 1))}" if old else "",
        )


def best_on_this_machine(data: ReportData) -> str:
    """The best known configuration for each goal, out of this sweep and all earlier ones of the same environment."""
    confidence = data.options.budget.confidence
    pool = (*data.results, *data.history)
    found = [(a.goal, best_known(data.study, a.goal, pool, confidence)) for a in data.recommendations]
    rows = [_known(data, goal, known) for goal, known in found if known is not None]
    if not rows:
        return ""
    earlier = len({result.plan.sweep_id for result in data.history})
    sweeps = f"this sweep and {counted(earlier, 'earlier one')}" if earlier else "this sweep; there is no earlier one"
    head = (
        f"On {_machine(data)}, from {sweeps} of the same data, machine and versions. Trials on other machines are not "
        "among them. Best is what is surest to be better than the control. It is picked out of many, so a sweep's "
        "decision counts for more."
    )
    header = ("goal", "configuration", "against the control", "gain over the control", "trials", "sweeps")
    return f"{head}\n\n{table(header, rows)}"


def _known(data: ReportData, goal: str, known: BestKnown) -> tuple[str, ...]:
    gain = known.gain
    control = data.study.control_candidate.configuration
    return (
        goal,
        known.label,
        difference(known.trials[0].plan.configuration, control),
        "1 (control)" if gain.low == gain.high == 1.0 else f"{gain.value:.2f}x ({gain.low:.2f} to {gain.high:.2f})",
        number(len(known.trials)),
        number(known.sweeps),
    )


def _machine(data: ReportData) -> str:
    known = data.environment
    parts = [escaped(known["cpu_model"])] if known.get("cpu_model") else []
    parts += [f"{number(known['cores'])} cores"] if known.get("cores") else []
    parts += [byte_words(known["memory_bytes"])] if known.get("memory_bytes") else []
    parts += [f"{name.capitalize()} {escaped(known[name])}" for name in ("spark", "java") if known.get(name)]
    return f"this machine ({listed(parts)})" if parts else "this machine (which the job does not describe)"
