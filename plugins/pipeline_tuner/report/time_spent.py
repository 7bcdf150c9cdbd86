"""Section of the analysis on where a run's time goes, step by step and stage by stage, and what it put out.

All of it is read off the measurements' details, so any job that leaves `steps`, `stages`, `iceberg` or `sample` there
gets these parts (docs/contract.md).
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from pipeline_tuner.charts import style
from pipeline_tuner.charts.runs import rollups
from pipeline_tuner.measurement_details import Details, SeriesSample, StageTimes
from pipeline_tuner.report.data import ReportData
from pipeline_tuner.report.markdown import escaped, table
from pipeline_tuner.report.tables import Row
from pipeline_tuner.wording import byte_words, counted, number, percent, ratio, second_words, without_paths

MAX_STAGES = 8
ANOMALY = 2.0
"""A task that takes this many times its stage's median is called anomalous ..."""
ANOMALY_S = 0.1
"""... from this length on."""


def time_spent(data: ReportData) -> str:
    """The steps, Spark's stages and the tables' files, of the control and of the best configuration."""
    rows = _both(data)
    parts = [_steps(data, rows), *(_stages(data, row) for row in rows), _tables(data, rows)]
    return "\n\n".join(filter(None, parts))


def output(data: ReportData) -> str:
    """A chart of a piece of what came out, where the job leaves one."""
    for row in reversed(_both(data)):
        for details in _details(data, row):
            if details.sample is not None:
                return _sample(data, row, details.sample)
    return ""


def _both(data: ReportData) -> list[Row]:
    rows = {row.label: row for row in (data.control, data.subject) if row is not None}
    return list(rows.values())


def _details(data: ReportData, row: Row) -> list[Details]:
    return [Details.of(r.measurement.details) for r in data.deciding(row) if r.status == "measured" and r.measurement]


def _last_details(data: ReportData, row: Row) -> Details:
    return next(iter(reversed(_details(data, row))), Details.of({}))


def _steps(data: ReportData, rows: Sequence[Row]) -> str:
    columns = {row.label: _median_steps(data, row) for row in rows}
    names = list(dict.fromkeys(name for steps in columns.values() for name in steps))
    if not names:
        return ""
    cells = [(name, *(_step(steps, name) for steps in columns.values())) for name in names]
    head = "The job's own steps, medians of the time and its share:"
    return f"{head}\n\n{table(('step', *map(str, columns)), cells)}"


def _median_steps(data: ReportData, row: Row) -> dict[str, float]:
    found: dict[str, list[float]] = defaultdict(list)
    for details in _details(data, row):
        for name, seconds in details.steps.items():
            found[name].append(seconds)
    return {name: statistics.median(values) for name, values in found.items()}


def _step(steps: Mapping[str, float], name: str) -> str:
    if name not in steps:
        return "-"
    return f"{second_words(steps[name])} ({percent(steps[name] / max(sum(steps.values()), 1e-9))})"


def _stages(data: ReportData, row: Row) -> str:
    """The stages of the last deciding trial, those of one name together, the longest first."""
    groups: dict[str, list[StageTimes]] = defaultdict(list)
    for stage in _last_details(data, row).stages:
        groups[without_paths(stage.name)].append(stage)
    if not groups:
        return ""
    longest = sorted(groups.items(), key=lambda item: -sum(stage.duration_s for stage in item[1]))
    cells = [_stage(name, stages) for name, stages in longest[:MAX_STAGES]]
    header = ("stages of", "stages", "tasks", "time", "slowest to median task", "shuffle written", "spilled", "GC")
    head = f"Spark's stages of one trial of {escaped(row.label)}, its repeats added up:"
    return "\n\n".join([head, table(header, cells), *_anomalies(longest)])


def _stage(name: str, stages: Sequence[StageTimes]) -> tuple[str, ...]:
    return (
        name,
        number(len(stages)),
        number(sum(stage.tasks for stage in stages)),
        second_words(sum(stage.duration_s for stage in stages)),
        ratio(max(stage.skew for stage in stages)),
        byte_words(sum(stage.shuffle_write_bytes for stage in stages)),
        byte_words(sum(stage.spill_bytes for stage in stages)),
        second_words(sum(stage.gc_s for stage in stages)),
    )


def _anomalies(groups: Sequence[tuple[str, Sequence[StageTimes]]]) -> Iterator[str]:
    slow = [(name, s) for name, stages in groups for s in stages if s.skew > ANOMALY and s.max_task_s > ANOMALY_S]
    if not slow:
        return
    name, worst = max(slow, key=lambda item: item[1].max_task_s - item[1].median_task_s)
    lost = sum(stage.max_task_s - stage.median_task_s for _, stage in slow)
    yield (
        f"Anomalous tasks: in {counted(len(slow), 'stage')} one took more than {number(ANOMALY)} times the median. "
        f"The worst, in {escaped(name)}: {second_words(worst.max_task_s)} against "
        f"{second_words(worst.median_task_s)} of {counted(int(worst.tasks), 'task')}. Even tasks would save "
        f"{second_words(lost)} at most."
    )


def _tables(data: ReportData, rows: Sequence[Row]) -> str:
    tables = {row.label: _last_details(data, row).table_values for row in rows}
    names = list(dict.fromkeys(name for found in tables.values() for name in found))
    if not names:
        return ""
    found = tables.values()
    cells = [(name.replace("_", " "), *(_value(name, each.get(name)) for each in found)) for name in names]
    return f"What Iceberg's metadata says of the table after a run:\n\n{table(('', *map(str, tables)), cells)}"


def _value(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    if name.endswith("bytes"):
        return byte_words(value)
    return second_words(value) if name.endswith("_s") else number(value)


def _sample(data: ReportData, row: Row, sample: SeriesSample) -> str:
    title = f"{sample.metric} of {sample.org}: raw points and rollups"
    path = style.save(data.folder, "output", rollups(sample.points, sample.windows, title=title, start=sample.start))
    listed = ", ".join(f"{len(windows)} of {second_words(int(ms) / 1000)}" for ms, windows in sample.windows.items())
    return (
        f"One series out of a trial of {escaped(row.label)}: {counted(len(sample.points), 'raw point')} and the "
        f"windows that were made of them ({listed}). A window ends at its label.\n\n![{escaped(title)}]({path.name})"
    )
