"""The streaming ETL's sections of the written analysis: where the time goes, what workers, volume, pipelines and
batches do.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import accumulate

from pipeline_tuner.analysis.scaling import fit_growth
from pipeline_tuner.analysis.series import Series, median_of, oversized, paired_ratio, series_of
from pipeline_tuner.charts import style
from pipeline_tuner.charts.runs import PARTS, SOURCE, thread_time
from pipeline_tuner.charts.style import Value, plain
from pipeline_tuner.measurement_details import Details
from pipeline_tuner.recommendation import Interval
from pipeline_tuner.report.data import ReportData, Section
from pipeline_tuner.report.markdown import escaped, table
from pipeline_tuner.report.tables import Row
from pipeline_tuner.space import Scalar
from pipeline_tuner.trial import TrialResult
from pipeline_tuner.wording import byte_words, number, percent, ratio, second_words

RATE = "records_per_s"
RESOURCES = ("batch_size", "worker_num", "manager_worker_num")
"""What a configuration can take more of."""
MAX_ROWS, MAX_CRITICAL_VALUES = 40, 20
ORIGINAL, OPTIMISED = (500, 8), (128, 4)
"""Batch size and workers before and after the optimisation that the in-memory benchmark report describes."""


def where_the_time_goes(data: ReportData) -> str:
    """Busy and waiting time, bottleneck, latency, CPU and memory by configuration; empty where nothing was measured."""
    rows = [row for row in data.rows if row.evidence.measured and row.median("extract_busy_s") is not None]
    if not rows:
        return ""
    header = (
        "configuration", "bottleneck", "extract busy", "extract blocked", "transform", "load", "workers idle",
        "CPU a worker", "latency p50", "p95", "p99", "memory growth",
    )  # fmt: skip
    head = (
        "Parts of the threads' own time, medians. The bottleneck is the stage whose threads wait least: more of it "
        "helps. An extractor that is blocked has a full channel before it, an idle worker an empty one."
    )
    return "\n\n".join([head, _busy_chart(data, rows), table(header, [_stages(row) for row in rows[:MAX_ROWS]])])


def _busy_chart(data: ReportData, rows: Sequence[Row]) -> str:
    parts: list[Value] = []
    sources: list[Value] = []
    for row in rows[:MAX_CRITICAL_VALUES]:
        extract, workers = ([value / max(sum(found), 1e-9) for value in found] for found in _seconds(row.results))
        name, ends = plain(row.label, 34), accumulate(workers)
        sources.append(Value(name, extract[0], kind=SOURCE, words=percent(extract[0])))
        parts += [
            Value(name, part, end - part, end, kind, percent(part))
            for kind, part, end in zip(PARTS, workers, ends, strict=True)
        ]
    path = style.save(data.folder, "busy", thread_time(parts, sources, title="Where the time goes"))
    return f"![Busy and waiting threads by configuration]({path.name})"


def _seconds(trials: Sequence[TrialResult]) -> tuple[list[float], list[float]]:
    """What the source's and the workers' threads did: busy and blocked; transforming, loading and idle."""
    extract, workers = ("extract_busy_s", "extract_wait_s"), ("transform_busy_s", "load_busy_s", "worker_wait_s")
    return [median_of(trials, name) for name in extract], [median_of(trials, name) for name in workers]


def _stages(row: Row) -> tuple[str, ...]:
    trials = [r for r in row.results if r.status == "measured"]
    extract, workers = _seconds(trials)
    return (
        row.label,
        _bottleneck(trials),
        *(_part(value, extract) for value in extract),
        *(_part(value, workers) for value in workers),
        _median(trials, "cpu_per_worker", percent),
        *(_median(trials, f"latency_p{part}_s", second_words) for part in (50, 95, 99)),
        _median(trials, "memory_growth_bytes_per_s", lambda growth: f"{byte_words(growth)}/s"),
    )


def _median(trials: Sequence[TrialResult], metric: str, words: Callable[[float], str]) -> str:
    """The median of a metric in words; empty where it was not measured."""
    value = median_of(trials, metric)
    return words(value) if math.isfinite(value) else ""


def _part(value: float, values: Sequence[float]) -> str:
    total = sum(values)
    return percent(round(value / total, 3)) if total > 0 else ""


def _bottleneck(trials: Sequence[TrialResult]) -> str:
    """The stage that most trials name, with their number where they don't agree."""
    details = [Details.of(trial.measurement.details) for trial in trials if trial.measurement]
    named = Counter(found.bottleneck for found in details if found.bottleneck)
    if not named:
        return ""
    stage, count = named.most_common(1)[0]
    return stage if count == len(trials) else f"{stage} ({count} of {len(trials)})"


def workers_volume_batches(data: ReportData) -> str:
    """Speed-up, volume, pipelines, batches and over-sized configurations."""
    parts = [*_workers(data), *_volume(data), *_pipelines(data), *_batches(data), _oversized(data), _equal(data)]
    return "\n\n".join(part for part in parts if part)


def _workers(data: ReportData) -> list[str]:
    return [f"### Workers: {_words(data, s)}\n\n{_speedups(data, s)}" for s in series_of(data.results, "worker_num")]


def _speedups(data: ReportData, series: Series) -> str:
    levels = series.levels
    rows: list[tuple[str, ...]] = []
    end: Scalar | None = None
    for before, level in zip([None, *levels], levels, strict=False):
        against_first = series.ratio(level, levels[0], RATE, _confidence(data))
        step = series.ratio(level, before, RATE, _confidence(data)) if before is not None else None
        rows.append((number(float(level)), number(series.median(level, RATE)), _gain(against_first), _gain(step)))
        if before is not None and step is not None and end is None and step.value < 1 + _per_worker(before, level):
            end = before
    header = ("workers", "records/s", f"against {number(float(levels[0]))}", "against the row before")
    last = (
        f"Past {number(float(end))}, another worker adds less than 5% for each doubling: it is not worth it."
        if end is not None
        else f"Up to {number(float(levels[-1]))} each step was worth it."
    )
    return f"{table(header, rows)}\n\n{last}"


def _per_worker(before: Scalar, level: Scalar) -> float:
    """What a step must bring to be worth it: 5% for each doubling."""
    return 0.05 * math.log2(float(level) / float(before))


def _volume(data: ReportData) -> list[str]:
    return [f"### Volume: {_words(data, s)}\n\n{_times(data, s)}" for s in series_of(data.results, "records")]


def _times(data: ReportData, series: Series) -> str:
    rows = [
        (
            number(float(level)),
            second_words(series.median(level, "s_per_1000_records")),
            number(series.median(level, RATE)),
            _gain(series.ratio(level, series.levels[0], RATE, _confidence(data))),
        )
        for level in series.levels
    ]
    header = ("records", "time for 1,000", "records/s", f"against {number(float(series.levels[0]))} records")
    return f"{table(header, rows)}\n\n{_linearity(series)}"


def _linearity(series: Series) -> str:
    points = [(float(level), trial) for level, trials in series.trials.items() for trial in trials]
    durations = [size * trial.metrics["s_per_1000_records"] / 1000 for size, trial in points]
    grown = fit_growth([size for size, _ in points], durations)
    if grown is None:
        return ""
    power = f"{grown.power.value:.2f} ({grown.power.low:.2f} to {grown.power.high:.2f})"
    growth = f"Time grows with the records to the power of {power}: {grown.words}."
    return f"{growth} {_starting(series)}" if grown.words == "less than linear" else growth


def _starting(series: Series) -> str:
    """What every run pays whatever its size, if all records cost what they cost in the largest run."""
    small, large = series.levels[0], series.levels[-1]
    each_s = [series.median(level, "s_per_1000_records") / 1000 for level in (small, large)]
    fixed_s = (each_s[0] - each_s[1]) * float(small)
    return f"Starting a pipeline takes about {second_words(fixed_s)}; the rest is in proportion."


def _pipelines(data: ReportData) -> list[str]:
    found = series_of(data.results, "manager_worker_num", fewest=2)
    return [f"### Pipelines: {_words(data, s)}\n\n{_totals(data, s)}" for s in found]


def _totals(data: ReportData, series: Series) -> str:
    first = series.levels[0]
    rows = []
    for level in series.levels:
        total = series.ratio(level, first, RATE, _confidence(data))
        each = series.median(level, "records_per_s_per_pipeline")
        part = total.value / (float(level) / float(first)) if total else math.nan
        rows.append(
            (number(float(level)), number(series.median(level, RATE)), _gain(total), number(each), percent(part))
        )
    header = ("pipelines", "records/s in all", f"against {number(float(first))}", "each", "of proportional growth")
    return table(header, rows)


def _batches(data: ReportData) -> list[str]:
    return [f"### Batches: {_words(data, s)}\n\n{_penalty(data, s)}" for s in series_of(data.results, "batch_size")]


def _penalty(data: ReportData, series: Series) -> str:
    best = max(series.levels, key=lambda level: series.median(level, RATE))
    against_best = {level: series.ratio(level, best, RATE, _confidence(data)) for level in series.levels}
    rows = [
        (
            number(float(level)),
            number(series.median(level, RATE)),
            _gain(against_best[level]),
            second_words(series.median(level, "latency_p95_s")),
        )
        for level in series.levels
    ]
    largest = series.levels[-1]
    return f"{table(('batch', 'records/s', f'against {number(float(best))}', 'latency p95'), rows)}\n\n" + _of_largest(
        number(float(largest)), number(float(best)), against_best[largest] if largest != best else None
    )


def _of_largest(largest: str, best: str, found: Interval | None) -> str:
    if found is None:
        return f"The largest batches, {largest}, are the fastest measured: no penalty."
    if found.high < 1:
        return f"Batches of {largest} are {percent(round(1 - found.value, 3))} slower than batches of {best}."
    return f"Batches of {largest} are not shown to be slower than batches of {best}."


def _oversized(data: ReportData) -> str:
    found = oversized(data.results, RESOURCES, RATE, _confidence(data))
    rows = [(one.label, one.leaner, _gain(one.ratio)) for one in found]
    if not rows:
        return "### Over-optimised\n\nNo configuration is shown to be slower than one that takes less of everything."
    head = (
        "Each takes at least as much of everything as the other, more of some, and is slower, by the interval of the "
        "blocks that held both."
    )
    header = ("configuration", "is beaten by", "its rate over that one's")
    return f"### Over-optimised\n\n{head}\n\n{table(header, rows)}"


def _equal(data: ReportData) -> str:
    """Original and optimised settings, each with both records; empty where these were not measured."""
    pairs = series_of(data.results, "record", fewest=2)
    rows = [
        (
            f"{_name(pair)}batch {pair.rest['batch_size']}, {pair.rest['worker_num']} workers",
            *(_rates(pair.trials[record]) for record in pair.levels),
            ratio(pair.median("compact", RATE) / pair.median("heavy", RATE)),
        )
        for pair in pairs
        if set(pair.levels) == {"compact", "heavy"}
    ]
    if not rows:
        return ""
    header = ("settings", "compact record", "heavy record", "compact over heavy")
    note = (
        "Compare down a column. Across a row only the record differs, and that makes most of what the report calls its "
        "optimisation: records of different sizes can't be compared in records per second, only in bytes per second."
    )
    return f"### Original and optimised at equal record size\n\n{table(header, rows)}\n\n{_worth(data, pairs)}{note}"


def _name(pair: Series) -> str:
    settings = (pair.rest["batch_size"], pair.rest["worker_num"])
    return "original: " if settings == ORIGINAL else "optimised: " if settings == OPTIMISED else ""


def _rates(trials: Sequence[TrialResult]) -> str:
    rate = median_of(trials, RATE)
    size = median_of(trials, "bytes") / median_of(trials, "records")
    return f"{number(rate)} records/s, {byte_words(rate * size)}/s"


def _worth(data: ReportData, pairs: Sequence[Series]) -> str:
    """What the optimised settings gain with each record."""
    by_name = {_name(pair): pair for pair in pairs}
    if not {"original: ", "optimised: "} <= set(by_name):
        return ""
    before, after = by_name["original: "], by_name["optimised: "]
    gains = {
        record: paired_ratio(after.trials[record], before.trials[record], RATE, _confidence(data))
        for record in ("compact", "heavy")
    }
    words = " and ".join(f"{_gain(gain)} with the {record} record" for record, gain in gains.items())
    return f"The optimised settings make {words} of the original ones' rate. "


def _words(data: ReportData, series: Series) -> str:
    """What a series has in common, in what differs from the control."""
    control = data.study.control_candidate.configuration
    named = [f"{name} {value}" for name, value in series.rest.items() if value != control.get(name)]
    return escaped(", ".join(named)) if named else "all else as the control"


def _gain(found: Interval | None) -> str:
    if found is None:
        return ""
    if found.low == found.high:
        return "1"
    return (
        f"{ratio(found.value)} ({found.low:.2f} to {found.high:.2f})"
        if math.isfinite(found.high)
        else ratio(found.value)
    )


def _confidence(data: ReportData) -> float:
    return data.options.budget.confidence


SECTIONS = (
    Section("Where the time goes", where_the_time_goes, after="Scaling"),
    Section("Workers, volume, pipelines and batches", workers_volume_batches, after="Scaling"),
)
