"""What runs inside a Spark task: one stretch of time from its files to rollup rows in files of its own.

A task owns its stretch, so nothing is shuffled. It writes the windows that lie wholly inside as data files of the
table; windows that its borders cut go to one staging file, which a second, small step merges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline_jobs.contract import JobError
from pipeline_jobs.quantizer import file_access
from pipeline_jobs.quantizer.columns import PointColumns
from pipeline_jobs.quantizer.coverage import Coverage, Stretch, holds
from pipeline_jobs.quantizer.engines import finest_by
from pipeline_jobs.quantizer.points_reader import FIELD_ID, NeedsSparkError, SourceFile, read_points
from pipeline_jobs.quantizer.rollup import (
    ROWS_SCHEMA,
    Counts,
    cascade,
    merge_rows,
    rows_of,
    usable_points,
)

Item = TypeVar("Item")
Result = TypeVar("Result")
DAY_US = 86_400_000_000
REPETITIVE = (
    "org_id", "metric_name", "resolution_ms", "window_end", "complete", "source_snapshot", "count", "resets",
    "sketch.key_value.key", "sketch.key_value.value",
)  # fmt: skip
"""Columns written with a dictionary. The others' values hardly repeat: to try one costs half of the writing and makes
larger files."""


@dataclass(frozen=True)
class Output:
    """How and where tasks write. `data_folder`, `staging_folder`: addresses as Iceberg names them."""

    schema: pa.Schema
    data_folder: str
    staging_folder: str
    name: str
    source_snapshot: int
    compression: str = "zstd"
    target_file_bytes: int = 128 << 20


@dataclass(frozen=True)
class Rules:
    """How points become rows."""

    resolutions_ms: tuple[int, ...]
    engine: str
    drop_repeats: bool = True


@dataclass(frozen=True)
class RangeTask:
    """Points to roll up: those of `stretch` in these files."""

    number: int
    stretch: Stretch
    files: tuple[SourceFile, ...]
    is_late: bool = False
    """The stretch was rolled up before and is done anew for late rows: its rows were counted already."""
    needs_spark: str = ""
    """Why only Iceberg's reader for Spark can read the files; empty where this task can."""


@dataclass(frozen=True)
class Written:
    """A Parquet file that a task wrote; `partition` as Iceberg writes it, empty for a staging file."""

    path: str
    partition: str
    rows: int
    size_bytes: int


@dataclass(frozen=True)
class RangeResult:
    """What a task did."""

    counts: Counts
    files: tuple[Written, ...]
    cut: tuple[Written, ...]


@dataclass(frozen=True)
class NeedsSpark:
    """A task that did nothing, because only Spark's reader can read its files."""

    task: RangeTask
    reason: str


@dataclass(frozen=True)
class Refused:
    """Why a task failed, where its data are to blame: the driver says it in this line, without a stack trace."""

    reason: str


def attempt(work: Callable[[Item], Result], item: Item) -> Result | Refused:
    """The work's result, or what it refused (JobError)."""
    try:
        return work(item)
    except JobError as error:
        return Refused(str(error))


def settled(outcomes: Iterable[Result | Refused]) -> list[Result]:
    """The results of attempts. Raises JobError with the first reason where one was refused."""
    results: list[Result] = []
    for each in outcomes:
        if isinstance(each, Refused):
            raise JobError(each.reason)
        results.append(each)
    return results


def roll_up_range(task: RangeTask, columns: PointColumns, rules: Rules, output: Output) -> RangeResult | NeedsSpark:
    """Read, roll up and write one stretch of time. Raises JobError for rows that can't become rollups."""
    try:
        rows = read_points(task.files, task.stretch, columns)
    except NeedsSparkError as error:
        return NeedsSpark(task, str(error))
    return roll_up_rows(task, rows, rules, output)


def roll_up_rows(task: RangeTask, rows: pa.Table, rules: Rules, output: Output) -> RangeResult:
    """Roll up and write the rows of a task's stretch of time."""
    points = usable_points(rows)
    finest, repeated = finest_by(rules.engine, points, rules.resolutions_ms[0] * 1000, rules.drop_repeats)
    counts = replace(points.counts, points=points.counts.points - repeated, repeated=repeated)
    files: list[Written] = []
    cut: list[pa.Table] = []
    for states, resolution_ms in zip(cascade(finest, rules.resolutions_ms), rules.resolutions_ms, strict=True):
        windows = rows_of(states, points.series, resolution_ms)
        inside = _is_inside(states.window_end, resolution_ms * 1000, task.stretch)
        if inside.all():
            files += write_rows(windows, output, complete=True, label=f"range-{task.number:05d}")
        else:
            files += write_rows(windows.filter(inside), output, complete=True, label=f"range-{task.number:05d}")
            cut.append(windows.filter(~inside))
    staged = _stage(pa.concat_tables(cut), output, f"cut-{task.number:05d}") if cut else ()
    return RangeResult(Counts() if task.is_late else counts, tuple(files), staged)


def _is_inside(window_end: np.ndarray, resolution_us: int, stretch: Stretch) -> np.ndarray:
    return (window_end - resolution_us >= stretch[0]) & (window_end <= stretch[1])


def merge_cut(
    staged: Sequence[str], partials: Sequence[str], redone: Coverage, covered: Coverage, output: Output
) -> tuple[Written, ...]:
    """Merge windows cut by the borders of tasks with the partials of earlier batches, and write them.

    `redone`: stretches that were rolled up anew, whose old partials no longer hold. `covered`: all that is rolled
    up after this batch; a window inside it is complete.
    """
    old = [_open_partials(_read_rows(path, output.schema), redone) for path in partials]
    new = [_read_rows(path, output.schema) for path in staged]
    parts = pa.concat_tables([ROWS_SCHEMA.empty_table(), *new, *old])
    rows = pa.concat_tables([merge_rows(part) for part in _by_stretch(parts, covered)])
    complete = pa.array(
        [
            holds(covered, (end - resolution * 1000, end))
            for end, resolution in zip(_ends(rows), rows["resolution_ms"].to_pylist(), strict=True)
        ],
        pa.bool_(),
    )
    written = write_rows(rows.filter(complete), output, complete=True, label="merged")
    return (*written, *write_rows(rows.filter(pc.invert(complete)), output, complete=False, label="partial"))


def _by_stretch(parts: pa.Table, covered: Coverage) -> list[pa.Table]:
    """Parts by the covered stretch that they lie in: with a gap between them they can't be merged yet."""
    starts = np.array([after for after, _ in covered])
    stretch = np.searchsorted(starts, parts["first_ts"].cast(pa.int64()).to_numpy())
    return [parts.filter(pa.array(stretch == number)) for number in np.unique(stretch)] or [parts]


def _ends(rows: pa.Table) -> list[int]:
    found: list[int] = rows["window_end"].cast(pa.int64()).to_pylist()
    return found


def _open_partials(rows: pa.Table, redone: Coverage) -> pa.Table:
    rows = rows.filter(pc.invert(rows["complete"]))
    keep = [not any(after < end <= until for after, until in redone) for end in _ends(rows)]
    return rows.filter(pa.array(keep, pa.bool_()))


def rewrite_without(path: str, redone: Coverage, number: int, output: Output) -> tuple[Written, ...]:
    """Write the complete windows of a data file anew, without those that end in redone stretches."""
    rows = _read_rows(path, output.schema)
    rows = rows.filter(rows["complete"])
    keep = pa.array([not any(after < end <= until for after, until in redone) for end in _ends(rows)], pa.bool_())
    return write_rows(rows.filter(keep), output, complete=True, label=f"kept-{number:05d}", keeps_snapshot=True)


def _read_rows(location: str, schema: pa.Schema) -> pa.Table:
    """A file's rollups, with columns by the table's field ids. Raises JobError for a file from before a column."""
    system, path = file_access.open_path(location)
    table = pq.read_table(path, filesystem=system, partitioning=None)
    names = {(field.metadata or {}).get(FIELD_ID): field.name for field in table.schema}
    missing = [field.name for field in schema if field.metadata and field.metadata[FIELD_ID] not in names]
    if missing:
        raise JobError(
            f"{location} is from before the rollups' columns {', '.join(missing)} were dropped and added again: roll "
            "up into a new table"
        )
    columns = [table[names[field.metadata[FIELD_ID]] if field.metadata else field.name] for field in schema]
    return pa.table(columns, schema=ROWS_SCHEMA)


def write_rows(
    rows: pa.Table, output: Output, *, complete: bool, label: str, keeps_snapshot: bool = False
) -> tuple[Written, ...]:
    """Write rows as data files, at least one per partition (resolution and day)."""
    written: list[Written] = []
    if not len(rows):
        return ()
    rows = rows.set_column(4, ROWS_SCHEMA.field(4), pa.array(np.full(len(rows), complete)))
    if not keeps_snapshot:
        rows = rows.set_column(5, ROWS_SCHEMA.field(5), pa.array(np.full(len(rows), output.source_snapshot)))
    days = rows["window_end"].cast(pa.int64()).to_numpy() // DAY_US
    resolutions = rows["resolution_ms"].to_numpy()
    for resolution in np.unique(resolutions):
        for day in np.unique(days[resolutions == resolution]):
            chosen = (resolutions == resolution) & (days == day)
            part = rows if chosen.all() else rows.filter(pa.array(chosen))
            date = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=int(day))
            partition = f"resolution_ms={resolution}/complete={str(complete).lower()}/window_end_day={date.date()}"
            written += _write_partition(part, output, partition, label)
    return tuple(written)


def _write_partition(rows: pa.Table, output: Output, partition: str, label: str) -> list[Written]:
    rows_a_file = max(1, output.target_file_bytes // max(1, rows.nbytes // len(rows) // 3))
    files = []
    for start in range(0, len(rows), rows_a_file):
        name = f"{output.name}-{label}-{uuid4().hex[:12]}.parquet"
        files.append(
            _write(rows.slice(start, rows_a_file), f"{output.data_folder}/{partition}/{name}", output, partition)
        )
    return files


def _stage(rows: pa.Table, output: Output, label: str) -> tuple[Written, ...]:
    if not len(rows):
        return ()
    path = f"{output.staging_folder}/{output.name}-{label}-{uuid4().hex[:12]}.parquet"
    return (_write(rows, path, output, ""),)


def _write(rows: pa.Table, location: str, output: Output, partition: str) -> Written:
    file_access.make_folder(location)
    system, path = file_access.open_path(location)
    columns = [column.cast(field.type) for column, field in zip(rows.columns, output.schema, strict=True)]
    table = pa.table(columns, schema=output.schema)
    codec = "none" if output.compression == "uncompressed" else output.compression
    options = {"compression": codec, "use_dictionary": list(REPETITIVE)}
    pq.write_table(table, path, filesystem=system, **options)
    return Written(location, partition, len(rows), system.get_file_info(path).size)
