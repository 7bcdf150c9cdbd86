"""Sections of the analysis: failures, payback, validity, environment, method."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pipeline_tuner.analysis.evidence import FAILURE_WORDS, shortened
from pipeline_tuner.analysis.fidelity import Agreement, agreement, screening_fraction
from pipeline_tuner.analysis.payback import payback as weigh
from pipeline_tuner.monitoring.validity import SIZE_REACH, measured_envelope
from pipeline_tuner.report.data import ReportData
from pipeline_tuner.report.markdown import escaped, table
from pipeline_tuner.wording import byte_words, counted, interval_words, listed, number, percent, second_words


def failures(data: ReportData) -> str:
    """Every failed trial in words; those that say nothing on the configuration are told apart."""
    failed = [result for result in data.results if result.status == "failed"]
    if not failed:
        return f"None: all {counted(len(data.results), 'trial')} were measured."
    rows = [
        (
            result.plan.label,
            f"{result.plan.phase}, block {result.plan.block}",
            FAILURE_WORDS.get(result.failure, "failed"),
            shortened(result.reason),
            "puts it out" if result.is_evidence else "says nothing on it",
        )
        for result in failed
    ]
    head = f"{len(failed)} of {counted(len(data.results), 'trial')} failed."
    return f"{head}\n\n{table(('configuration', 'where', 'what', 'reason', 'as evidence'), rows)}"


def payback(data: ReportData) -> str:
    """What the sweep cost, what the change saves per run, and after how many runs it has paid."""
    if data.subject is None or data.control is None or data.subject.label == data.control.label:
        return _cost_words(data)
    mine, control = data.deciding(data.subject), data.deciding(data.control)
    account = weigh(data.results, mine, control, confidence=data.options.budget.confidence)
    if account is None:
        return f"{_cost_words(data)} What a run saves can't be stated: the two share too few blocks."
    saved = f"A run of this workload with {escaped(data.subject.label)}"
    if account.saved_s.low <= 0 <= account.saved_s.high:
        return f"{_cost_words(data)} {saved} is not shown to save time against the control."
    if account.saved_s.high < 0:
        return f"{_cost_words(data)} {saved} takes {second_words(-account.saved_s.value)} longer than the control."
    return (
        f"{_cost_words(data)} {saved} saves {interval_words(account.saved_s, 's')} of work against the control, "
        f"so the sweep has paid for itself after {_runs(account.runs.value)} ({_runs(account.runs.low)} to "
        f"{_runs(account.runs.high)})."
    )


def _cost_words(data: ReportData) -> str:
    records = [r.measurement for r in data.results if r.measurement is not None]
    spent = sum((m.ended_at - m.started_at).total_seconds() for m in records)
    return f"The trials took {second_words(spent)} of machine time, start-up included."


def _runs(count: float) -> str:
    return counted(int(count), "run") if math.isfinite(count) else "no number of runs"


def validity(data: ReportData) -> str:
    """The measured range outside which the recommendation expires."""
    envelope = measured_envelope(data.results)
    rows = [
        (name, f"{number(low)}" if low == high else f"{number(low)} to {number(high)}", _trusted(low, high))
        for name, (low, high) in envelope.ranges.items()
    ]
    rows += [(name, listed([_shown(name, v) for v in seen]), "the same") for name, seen in envelope.machine.items()]
    rows += [(name, listed(tuple(map(str, seen))), "the same") for name, seen in envelope.versions.items()]
    if not rows:
        return "The job says nothing on its workload and environment, so it can't be said where this holds."
    head = "The recommendation expires when one of these leaves the trusted range."
    return f"{head}\n\n{table(('value', 'measured', 'trusted'), rows)}"


def _trusted(low: float, high: float) -> str:
    return f"{number(low / SIZE_REACH)} to {number(high * SIZE_REACH)}"


def environment(data: ReportData) -> str:
    """The machine, the versions and the workload."""
    rows = [(name, _shown(name, value)) for name, value in _flat(data.environment).items()]
    rows += [(f"workload {name}", _shown(name, value)) for name, value in _flat(data.workload).items()]
    return table(("", "value"), rows)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name} ") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def _shown(name: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return shortened(str(value), 120)
    if name.endswith("bytes"):
        return byte_words(value)
    return f"{value:,}" if isinstance(value, int) else number(value)


def _counted_runs(data: ReportData) -> str:
    """How often a trial ran its work: the same for all, or more often where it was short."""
    lengths = sorted({r.plan.min_work_s for r in data.results})
    if not lengths or not lengths[-1]:
        return counted(data.options.budget.repeats, "counted run")
    found = sorted(len(r.measurement.samples) for r in data.results if r.measurement and r.measurement.samples)
    fewest = f"{found[0]} to " if found and found[0] < found[-1] else ""
    runs = f"{fewest}{counted(found[-1], 'counted run')}" if found else "counted runs"
    shortest = f"{second_words(lengths[0])} to " if lengths[0] < lengths[-1] else ""
    return f"{runs}, short work being repeated until {shortest}{second_words(lengths[-1])} of it were measured"


def _economy(data: ReportData) -> list[str]:
    """What the study saved trials by, in words."""
    budget, lines = data.options.budget, []
    part = screening_fraction(data.study, data.options)
    if part < 1.0:
        lines.append(_screening_words(part, agreement(data.study, data.options, data.results)))
    if budget.payback_runs is not None:
        stopped = "used" if len(data.results) >= budget.trials else "stopped after"
        lines.append(
            f"It {stopped} {len(data.results)} of the {counted(budget.trials, 'trial')} that it may: it ends where "
            f"more cost more time than they are expected to save in {counted(budget.payback_runs, 'run')}."
        )
    return lines


def _screening_words(part: float, check: Agreement | None) -> str:
    size = f"{percent(part)} of the data"
    if check is None:
        return f"Whether {size} rank the configurations as all of it do could not be checked, so all of it was used."
    agreement = (
        f"the ranks of {counted(check.n, 'configuration')} measured at both sizes correlate by {check.correlation:.2f} "
        f"(at least {check.low:.2f}, 95% sure)"
    )
    if check.holds:
        return f"It explored on {size}, which predict the whole: {agreement}. The finalists ran on all of it."
    return f"It explored on {size} at first and stopped, because they do not predict the whole: {agreement}."


def method(data: ReportData) -> str:
    """How the trials were run and compared, and what the answer promises."""
    options, budget = data.options, data.options.budget
    phases = {phase: [r for r in data.results if r.plan.phase == phase] for phase in ("search", "confirm")}
    blocks = {phase: len({(r.plan.round, r.plan.block) for r in found}) for phase, found in phases.items()}
    lines = [
        f"Sweep {escaped(options.sweep_id)}: strategy {escaped(options.strategy)}, workload "
        f"{escaped(data.study.workload.name)} at size {escaped(options.size)}, seed {options.seed}.",
        f"{counted(len(phases['search']), 'trial')} in {counted(blocks['search'], 'block')} to search, "
        f"{counted(len(phases['confirm']), 'trial')} in {counted(blocks['confirm'], 'fresh block')} to confirm. "
        "Each block holds the control and runs in random order.",
        f"Each trial has {counted(budget.warmups, 'warm-up')} and {_counted_runs(data)}; "
        "start-up and tear-down are measured apart.",
        f"Differences under {percent(budget.indifference)} count as none. The chance that an answer is declared and is "
        f"worse than the best by that much or more is at most {percent(1 - budget.confidence)}, over all candidates "
        "and looks.",
        "The stated gain and value come from the confirmation alone, not from the runs that chose the winner.",
        "A trial whose output fails a check can't win; lost trials are counted and decide nothing.",
        *_economy(data),
    ]
    return "\n".join(f"- {line}" for line in lines)
