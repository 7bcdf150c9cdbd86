"""One batch: finds what is new and what came late, plans tasks, rolls up, commits once.

Exactly once, by one Iceberg commit with a position (position.py) rather than a MERGE by key: MERGE would have to
join the whole batch with the table, and says nothing about the time without rows. The commit fails when
anybody else has committed rows since the batch began, so of two writers one is refused and nothing doubles.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any
from uuid import uuid4

import pyarrow as pa
from pyspark.sql import SparkSession

from pipeline_jobs.contract import JobError
from pipeline_jobs.quantizer import file_access, iceberg
from pipeline_jobs.quantizer.batch_request import Batch, check_batch
from pipeline_jobs.quantizer.coverage import BEGINNING_US, Coverage, Stretch, common, cut, united, without
from pipeline_jobs.quantizer.late import find_late_rows
from pipeline_jobs.quantizer.points_reader import SourceFile, refuse_wrong_units
from pipeline_jobs.quantizer.position import PROPERTY, Position, check_source, read_position
from pipeline_jobs.quantizer.rollup import Counts
from pipeline_jobs.quantizer.source_table import SourceTable, open_source
from pipeline_jobs.quantizer.spark_reader import roll_up_by_spark
from pipeline_jobs.quantizer.step_times import Steps
from pipeline_jobs.quantizer.target_table import OldFile, replaced_files, written_schema
from pipeline_jobs.quantizer.tasks import (
    NeedsSpark,
    Output,
    RangeResult,
    RangeTask,
    Rules,
    Written,
    attempt,
    merge_cut,
    rewrite_without,
    roll_up_range,
    roll_up_rows,
    settled,
)


class ConflictError(JobError):
    """Another writer committed first; nothing of this batch was kept. Running it again is safe."""

    kind = "infrastructure"


@dataclass(frozen=True)
class BatchResult:
    """What a batch did. Times in s; `snapshot` is None where there was nothing to do."""

    snapshot: int | None
    source_snapshot: int | None
    counts: Counts = field(default_factory=Counts)
    files: int = 0
    bytes: int = 0
    rows: int = 0
    partial_files: int = 0
    tasks: int = 0
    read_by_spark: int = 0
    """Tasks whose files only Spark's reader could read, which is slower."""
    steps: dict[str, float] = field(default_factory=dict)


def run_batch(spark: SparkSession, batch: Batch) -> BatchResult:
    """Roll up a batch. Repeating it changes nothing. Raises ConflictError where another writer was first."""
    steps = Steps(spark)
    try:
        return _run_steps(spark, batch, steps)
    finally:
        steps.end()


def _run_steps(spark: SparkSession, batch: Batch, steps: Steps) -> BatchResult:
    steps.begin("plan")
    target = iceberg.load(spark, batch.target)
    base = iceberg.current_snapshot(target)
    position = read_position(target)
    check_batch(batch, position)
    schema = written_schema(spark, target)
    source = open_source(spark, batch.source, batch.source_snapshot)
    check_source(position, batch.target, batch.source, source.uuid, source.columns.ids)
    new = without((batch.start_us, batch.end_us), position.covered)
    late = find_late_rows(spark, source, batch, position, str(target.uuid()))
    if not new and not late.any:
        return BatchResult(None, source.snapshot, steps=steps.seconds)
    before = [(BEGINNING_US, batch.start_us)] if batch.is_from_beginning else []
    covered = united([*position.covered, *new, *before])
    tasks = plan_tasks(spark, source, batch, new, common_all(position.covered, late.redone))
    old = replaced_files(spark, target, late.redone)
    output = _output_of(batch, position, target, schema, source)
    rules = Rules(batch.resolutions_ms, batch.engine, batch.drop_repeats)
    steps.begin("roll_up")
    results, by_spark = roll_up(spark, source, tasks, rules, output)
    steps.begin("merge")
    staged = [file.path for result in results for file in result.cut]
    merged = merge_step(spark, staged, old, late.redone, covered, output)
    steps.begin("commit")
    files = [file for result in results for file in result.files] + merged
    counts = sum((result.counts for result in results), late.counts)
    snapshot = commit(spark, target, base, old, files, _position_after(batch, position, covered, source, counts))
    for path in staged:
        file_access.delete(path)
    steps.end()
    return BatchResult(
        snapshot,
        source.snapshot,
        counts,
        len(files),
        sum(file.size_bytes for file in files),
        sum(file.rows for file in files),
        sum("complete=false" in file.partition for file in files),
        len(tasks),
        by_spark,
        steps.seconds,
    )


def _output_of(batch: Batch, position: Position, target: Any, schema: pa.Schema, source: SourceTable) -> Output:
    """Where the batch's files go, and what they are called."""
    return Output(
        schema,
        data_folder=target.locationProvider().newDataLocation("x").rpartition("/")[0],
        staging_folder=f"{target.location()}/staging",
        name=f"batch-{position.batch + 1:06d}-{uuid4().hex[:8]}",
        source_snapshot=source.snapshot,
        compression=batch.compression,
        target_file_bytes=batch.target_file_bytes,
    )


def _position_after(batch: Batch, before: Position, covered: Coverage, source: SourceTable, counts: Counts) -> Position:
    """How far the table has come with the batch."""
    return Position(
        before.batch + 1,
        covered,
        source.snapshot,
        batch.resolutions_ms,
        asdict(Counts(**before.counts) + counts),
        source.uuid,
        source.columns.ids,
    )


def common_all(covered: Coverage, stretches: Coverage) -> Coverage:
    """What of the stretches is covered."""
    return united(part for stretch in stretches for part in common(covered, stretch))


def plan_tasks(
    spark: SparkSession, source: SourceTable, batch: Batch, new: Coverage, redone: Coverage
) -> list[RangeTask]:
    """The stretches that tasks own, with their files: of about `rows_per_task` rows, at borders of windows."""
    stretches = united([*new, *redone])
    files = source.files_within(spark, stretches)
    rows = sum(file.rows for file in files)
    tasks: list[RangeTask] = []
    for is_late, part in [*((False, each) for each in new), *((True, each) for each in redone)]:
        for piece in _pieces(part, batch, rows, sum(until - after for after, until in stretches)):
            tasks.append(_task(len(tasks), piece, [file for file in files if _may_hold(file, piece)], is_late))
    return tasks


def _task(number: int, piece: Stretch, files: Sequence[iceberg.DataFile], is_late: bool) -> RangeTask:
    reason = next((file.needs_spark for file in files if file.needs_spark), "")
    return RangeTask(number, piece, tuple(SourceFile(file.path, file.constants) for file in files), is_late, reason)


def _pieces(stretch: Stretch, batch: Batch, rows: int, length_us: int) -> list[Stretch]:
    own_us = stretch[1] - stretch[0]
    if batch.chunk_ms and own_us > batch.chunk_above_ms * 1000:
        return cut(stretch, batch.chunk_ms * 1000)
    wanted = max(batch.min_tasks, -(-rows // batch.rows_per_task)) * own_us / max(length_us, 1)
    for resolution_ms in reversed(batch.resolutions_ms):
        windows = own_us // (resolution_ms * 1000)
        if windows >= 4 * wanted or (windows >= wanted and windows % max(1, round(wanted)) == 0):
            return cut(stretch, int(-(-windows // max(1, round(wanted)))) * resolution_ms * 1000)
    return [stretch]


def _may_hold(file: iceberg.DataFile, stretch: Stretch) -> bool:
    return (file.high_us is None or file.high_us > stretch[0]) and (file.low_us is None or file.low_us <= stretch[1])


def roll_up(
    spark: SparkSession, source: SourceTable, tasks: Sequence[RangeTask], rules: Rules, output: Output
) -> tuple[list[RangeResult], int]:
    """Do the tasks, each as a Spark task of its own, and count those whose rows only Spark's reader could read.

    Raises JobError where a task's rows can't become rollups.
    """
    columns = source.columns
    own = [task for task in tasks if not task.needs_spark]
    outcomes = run_tasks(spark, own, lambda task: roll_up_range(task, columns, rules, output))
    results = [each for each in outcomes if isinstance(each, RangeResult)]
    left = [NeedsSpark(task, task.needs_spark) for task in tasks if task.needs_spark]
    left += [each for each in outcomes if isinstance(each, NeedsSpark)]
    if left:
        run_tasks(spark, [each.task.files for each in left], lambda files: refuse_wrong_units(files, columns))
        results += roll_up_by_spark(spark, source, left, lambda task, rows: roll_up_rows(task, rows, rules, output))
    return results, len(left)


def run_tasks(spark: SparkSession, tasks: Sequence[Any], work: Callable[[Any], Any]) -> list[Any]:
    """Run the work for each task as a Spark task of its own. Raises JobError where one refuses its data."""
    if not tasks:
        return []
    return settled(spark.sparkContext.parallelize(tasks, len(tasks)).map(partial(attempt, work)).collect())


def merge_step(
    spark: SparkSession,
    staged: list[str],
    old: Sequence[OldFile],
    redone: Coverage,
    covered: Coverage,
    output: Output,
) -> list[Written]:
    """Merge what borders cut, and carry over what stays of the replaced files, in tasks of their own."""
    partials = [file.path for file in old if file.is_partial]
    others = [(number, file.path) for number, file in enumerate(old) if not file.is_partial]
    jobs: list[tuple[int, str | None]] = [(-1, None)] if staged or partials else []

    def work(job: tuple[int, str | None]) -> tuple[Written, ...]:
        number, path = job
        if path is None:
            return merge_cut(staged, partials, redone, covered, output)
        return rewrite_without(path, redone, number, output)

    jobs += others
    return [file for files in run_tasks(spark, jobs, work) for file in files]


def commit(
    spark: SparkSession,
    target: Any,
    base: int | None,
    old: Sequence[OldFile],
    files: Sequence[Written],
    position: Position,
) -> int:
    """Replace the old files by the new and move the position, in one snapshot whose id is returned."""
    always = iceberg.iceberg(spark).expressions.Expressions.alwaysTrue()
    update = target.newOverwrite()
    for file in old:
        update.deleteFile(file.java)
    for written in files:
        update.addFile(iceberg.to_data_file(spark, target, written.path, written.partition))
    if base is not None:
        update.validateFromSnapshot(base)
    update.conflictDetectionFilter(always).validateNoConflictingData().validateNoConflictingDeletes()
    update.set(PROPERTY, position.to_json())
    try:
        update.commit()
    except Exception as error:
        if any(each in str(error) for each in ("ValidationException", "CommitFailedException")):
            raise ConflictError(
                "another writer committed to the rollups' table while this batch ran; nothing of the batch was kept: "
                "run it again"
            ) from error
        raise
    target.refresh()
    snapshot = iceberg.current_snapshot(target)
    assert snapshot is not None
    return snapshot
