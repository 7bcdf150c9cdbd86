"""The findings on what works and what limits a configuration (start-up, memory, skew, rate limits): rules and their
values.

A finding appears only where its metrics were measured. The thresholds say from when on something is worth a look.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from pipeline_tuner.analysis.comparison import values_of
from pipeline_tuner.measurement import Measurement
from pipeline_tuner.measurement_details import Details, Partition
from pipeline_tuner.space import Configuration
from pipeline_tuner.trial import TrialResult
from pipeline_tuner.wording import byte_words, counted, listed, number, percent, ratio, second_words

STARTUP_SHARE = 0.2
GC_SHARE = 0.1
MEMORY_SHARE = 0.8
OTHERS_SHARE = 0.1
RATE_BINDS = 0.9
IDLE_CPU, FULL_CPU = 0.5, 0.85
SKEW = 2.0


@dataclass(frozen=True)
class Finding:
    """One sentence with its values: what works, or what limits."""

    kind: Literal["works", "limits"]
    text: str


@dataclass(frozen=True)
class Facts:
    """One configuration's measured trials."""

    label: str
    configuration: Configuration
    results: tuple[TrialResult, ...]

    @classmethod
    def of(cls, label: str, configuration: Configuration, results: Sequence[TrialResult]) -> Facts:
        """The facts of a configuration: only measured trials count."""
        return cls(label, configuration, tuple(r for r in results if r.status == "measured"))

    def median(self, metric: str) -> float | None:
        """The median of a metric over the trials; None where none has it."""
        values = values_of(self.results, metric)
        return statistics.median(values) if values else None

    @property
    def measurements(self) -> list[Measurement]:
        """The trials' whole records."""
        return [r.measurement for r in self.results if r.measurement is not None]

    @cached_property
    def details(self) -> tuple[Details, ...]:
        """What the records say beside their metrics."""
        return tuple(Details.of(measurement.details) for measurement in self.measurements)

    def environment(self, key: str) -> Any:
        """A value of the machine, from the first record that has it."""
        return next((m.environment[key] for m in self.measurements if key in m.environment), None)


def findings(facts: Facts) -> list[Finding]:
    """All findings on a configuration, in the order of RULES."""
    found = (rule(facts) for rule in RULES)
    return [finding for finding in found if finding is not None]


def _errors(facts: Facts) -> Finding | None:
    errors = values_of(facts.results, "errors")
    if not errors:
        return None
    if sum(errors) == 0:
        return Finding("works", f"Errors: 0 in {counted(len(errors), 'trial')}.")
    return Finding("limits", f"Errors: {number(sum(errors))} in {counted(len(errors), 'trial')}.")


def _correctness(facts: Facts) -> Finding | None:
    checks = [check for m in facts.measurements for check in m.checks]
    if not checks:
        return Finding("limits", "Correctness: the job makes no check of its output, so speed is all that is known.")
    names = listed(tuple(dict.fromkeys(check.name for check in checks)))
    return Finding("works", f"Correct output: {counted(len(checks), 'check')} passed ({names}).")


def _rate_limits(facts: Facts) -> Finding | None:
    peak = facts.median("peak_rows_per_s")
    word, rate = ("average", facts.median("rows_per_s")) if peak is None else ("peak", peak)
    limits = {k: float(v) for k, v in facts.configuration.items() if "rate_limit" in k and _is_number(v) and v}
    if not limits or rate is None:
        return None
    name, limit = min(limits.items(), key=lambda item: item[1])
    share = rate / limit
    rates = f"{name} {number(limit)} rows/s, {word} {number(rate)} rows/s ({percent(share)})"
    if share >= RATE_BINDS:
        return Finding("limits", f"A rate limit binds: {rates}. A faster configuration can't show.")
    return Finding("works", f"Rate limits don't bind: {rates}.")


def _memory(facts: Facts) -> Finding | None:
    peak, total = facts.median("memory_peak_bytes"), facts.environment("memory_bytes")
    if peak is None:
        return None
    swap = facts.median("swap_bytes")
    swapped = "" if swap is None else ", no swapping" if swap == 0 else f", {byte_words(swap)} swapped"
    if not _is_number(total) or not total:
        return Finding("limits" if swap else "works", f"Memory: peak {byte_words(peak)}{swapped}.")
    share = peak / total
    text = f"peak {byte_words(peak)} of {byte_words(total)} ({percent(share)}){swapped}"
    near = share > MEMORY_SHARE or bool(swap)
    return Finding("limits", f"Memory is near its limit: {text}.") if near else Finding("works", f"Memory: {text}.")


def _heap(facts: Facts) -> Finding | None:
    """The JVM's heap by itself: it can be full while the machine has memory left."""
    share, peak = facts.median("heap_peak_fraction"), facts.median("heap_peak_bytes")
    if share is None or not peak:
        return None
    text = f"{byte_words(peak)} left in use by collections at most ({percent(share)} of it)"
    if share > MEMORY_SHARE:
        return Finding("limits", f"The heap is near its limit: {text}. Give the JVM more, or tasks less at a time.")
    return Finding("works", f"The heap has room: {text}.")


def _spill(facts: Facts) -> Finding | None:
    spill = facts.median("spill_bytes")
    if spill is None:
        return None
    if spill == 0:
        return Finding("works", "Nothing spilled to disk.")
    return Finding("limits", f"{byte_words(spill)} spilled to disk: tasks hold more than their memory.")


def _startup(facts: Facts) -> Finding | None:
    shares = [_overhead(m) for m in facts.measurements if m.startup_s > 0]
    duration = facts.median("duration_s")
    if not shares or duration is None:
        return None
    apart = statistics.median(m.startup_s + m.teardown_s for m in facts.measurements)
    share = statistics.median(shares)
    text = (
        f"start-up and tear-down take {second_words(apart)} beside {second_words(duration)} of work ({percent(share)})"
    )
    if share > STARTUP_SHARE:
        return Finding("limits", f"The {text}: a production run of this size pays it each time.")
    return Finding("works", f"The {text}; they are measured apart and not in the metrics.")


def _overhead(measurement: Measurement) -> float:
    work = statistics.median(sample.duration_s for sample in measurement.samples)
    apart = measurement.startup_s + measurement.teardown_s
    return apart / (apart + work)


def _garbage(facts: Facts) -> Finding | None:
    collected, busy = facts.median("gc_s"), facts.median("executor_run_s") or facts.median("core_seconds")
    if collected is None or not busy:
        return None
    share = collected / busy
    text = f"{second_words(collected)} of garbage collection in {second_words(busy)} of task time ({percent(share)})"
    if share > GC_SHARE:
        return Finding("limits", f"Garbage collection costs: {text}; give tasks more memory or less at a time.")
    return Finding("works", f"Garbage collection is small: {text}.")


def _processor(facts: Facts) -> Finding | None:
    core_seconds, duration, cores = facts.median("core_seconds"), facts.median("duration_s"), facts.environment("cores")
    if not core_seconds or not duration or not _is_number(cores) or not cores:
        return None
    share, whole = core_seconds / (duration * cores), _whole_machine(facts, duration * cores)
    text = (
        f"{number(core_seconds)} core-seconds of the job in {second_words(duration)} on {number(cores)} cores "
        f"({percent(share)}{'' if whole is None else f'; the whole machine was {percent(whole)} busy'})"
    )
    if max(share, whole or 0.0) > FULL_CPU:
        return Finding("limits", f"The processor is the limit: {text}. More parallelism on this machine can't help.")
    if max(share, whole or 0.0) >= IDLE_CPU:
        return Finding("works", f"The processor is in use: {text}.")
    return Finding("limits", f"The processor waits: {text}. The job is bound by something else (disk, network, locks).")


def _whole_machine(facts: Facts, available: float) -> float | None:
    """The part of the machine's core-seconds that were used by anything, a database on the same machine included."""
    used = facts.median("machine_core_seconds")
    return None if used is None else min(used / available, 1.0)


def _others(facts: Facts) -> Finding | None:
    share = facts.median("other_cpu_fraction")
    if share is None:
        return None
    text = f"Other processes used {percent(share)} of the machine's processor meanwhile"
    if share > OTHERS_SHARE:
        whose = "a database that works for the job here is among them; whatever else ran makes times uncertain"
        return Finding("limits", f"{text}: {whose}.")
    return Finding("works", f"{text}.")


def _bottleneck(facts: Facts) -> Finding | None:
    """The stage that the job itself names, from the time that its threads were busy and waited."""
    named = [found.bottleneck for found in facts.details if found.bottleneck]
    if not named:
        return None
    stage = max(sorted(set(named)), key=named.count)
    busy, blocked, idle = (facts.median(name) or 0.0 for name in (f"{stage}_busy_s", "extract_wait_s", "worker_wait_s"))
    return Finding(
        "limits",
        f"The bottleneck is {stage}, in {named.count(stage)} of {counted(len(named), 'trial')}: busy for "
        f"{second_words(busy)}, while the source was held up for {second_words(blocked)} and the workers waited for "
        f"{second_words(idle)}.",
    )


def _slow_parts(facts: Facts) -> Finding | None:
    trials = [found.partitions for found in facts.details if len(found.partitions) > 2]
    if not trials:
        return None
    middle, slowest = typical_time(trials), typical_slowest(trials)
    if not middle:
        return None
    times = slowest.duration_s / middle
    took = second_words(slowest.duration_s)
    text = f"slowest partition {slowest.name} {took}, median {second_words(middle)} ({ratio(times)})"
    if times > SKEW:
        return Finding("limits", f"Uneven partitions: {text}. The run waits for the last one.")
    return Finding("works", f"Partitions are even: {text}.")


def typical_time(trials: Sequence[Sequence[Partition]]) -> float:
    """The median over the trials of the median partition's time, in s."""
    return statistics.median(statistics.median(part.duration_s for part in parts) for parts in trials)


def typical_slowest(trials: Sequence[Sequence[Partition]]) -> Partition:
    """The slowest partition of the median trial: not of the worst of all, which any hiccup makes."""
    slowest = sorted((max(parts, key=lambda part: part.duration_s) for parts in trials), key=lambda p: p.duration_s)
    return slowest[len(slowest) // 2]


def _skew(facts: Facts) -> Finding | None:
    skew = facts.median("task_skew")
    if skew is None:
        return None
    if skew > SKEW:
        return Finding("limits", f"Skewed tasks: the slowest of a stage takes {ratio(skew)} the median's time.")
    return Finding("works", f"Tasks are even: the slowest of a stage takes {ratio(skew)} the median's time.")


def _executors(facts: Facts) -> Finding | None:
    lost = facts.median("executors_lost")
    return Finding("limits", f"{number(lost)} executors were lost in a run.") if lost else None


def _peak(facts: Facts) -> Finding | None:
    peak, average = facts.median("peak_rows_per_s"), facts.median("rows_per_s")
    if not peak or not average:
        return _unknown_peak(facts)
    text = f"peak {number(peak)} rows/s (over windows of 1 s), average {number(average)} ({ratio(peak / average)})"
    if peak / average > 1.5:
        return Finding("limits", f"Throughput is uneven: {text}. Slow phases, not the peak rate, cost the time.")
    return Finding("works", f"Throughput is steady: {text}.")


def _unknown_peak(facts: Facts) -> Finding | None:
    """A job that can't say when its rows landed says why, as `details.throughput.unknown`."""
    reasons = {found.throughput_unknown for found in facts.details if found.throughput_unknown}
    return Finding("limits", f"The peak of the throughput is not known: {min(reasons)}.") if reasons else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


RULES: Sequence[Callable[[Facts], Finding | None]] = (
    _errors, _correctness, _rate_limits, _memory, _heap, _spill, _garbage, _bottleneck, _processor, _others,
    _startup, _peak, _slow_parts, _skew, _executors,
)  # fmt: skip
