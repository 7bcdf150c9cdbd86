"""One batch: find what is new and what came late, roll it up in tasks, commit once.

Exactly once, by one Iceberg commit with a position (position.py) rather than a MERGE by key: MERGE would have to
join the whole batch with the table, and says nothing about the time without rows. The commit fails when
anybody else has committed rows since the batch began, so of two writers one is refused and nothing doubles.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import uuid4

from pyspark.sql import SparkSession

from pipeline_jobs.contract import BadConfigurationError, JobError
from pipeline_jobs.quantizer import lake, storage
from pipeline_jobs.quantizer.coverage import Coverage, Stretch, common, cut, united, without
from pipeline_jobs.quantizer.late import find_late_rows
from pipeline_jobs.quantizer.position import PROPERTY, Position, read_position
from pipeline_jobs.quantizer.rollup import Counts, check_resolutions
from pipeline_jobs.quantizer.steps import Steps
from pipeline_jobs.quantizer.tasks import (
    Output,
    RangeResult,
    RangeTask,
    Rules,
    Written,
    merge_cut,
    rewrite_without,
    roll_up_range,
)


class ConflictError(JobError):
    """Another writer committed first; nothing of this batch was kept. Running it again is safe."""

    kind = "infrastructure"


@dataclass(frozen=True)
class Batch:
    """What to roll up: the points of (start_us, end_us] in `source`, into `target` (names like lake.db.table)."""

    source: str
    target: str
    start_us: int
    end_us: int
    resolutions_ms: tuple[int, ...] = (60_000, 300_000, 3_600_000)
    lateness_ms: int = 3_600_000
    """A late row updates its windows until its largest window has been over for this long."""
    source_snapshot: int | None = None
    """Read the source as it was then (time travel); the current snapshot by default."""
    engine: str = "compiled"
    drop_repeats: bool = True
    rows_per_task: int = 4_000_000
    min_tasks: int = 2
    chunk_ms: int = 0
    """Cut the batch at multiples of this; 0 leaves it to the tasks' size."""
    chunk_above_ms: int = 600_000
    """Only batches longer than this are cut into chunks."""
    compression: str = "zstd"
    target_file_bytes: int = 128 << 20


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
    steps: dict[str, float] = field(default_factory=dict)


def check_batch(batch: Batch, position: Position) -> None:
    """Raises BadConfigurationError for a batch that can't be rolled up as it is asked for."""
    try:
        check_resolutions(batch.resolutions_ms)
    except ValueError as error:
        raise BadConfigurationError(str(error)) from None
    if batch.end_us <= batch.start_us:
        raise BadConfigurationError("the batch ends before it starts")
    if position.resolutions_ms and position.resolutions_ms != batch.resolutions_ms:
        raise BadConfigurationError(
            f"{batch.target} has the resolutions {position.resolutions_ms} ms, the batch {batch.resolutions_ms}: "
            "other resolutions need a table of their own"
        )


def run_batch(spark: SparkSession, batch: Batch) -> BatchResult:
    """Roll up a batch. Repeating it changes nothing. Raises ConflictError where another writer was first."""
    steps = Steps(spark)
    try:
        return _run_steps(spark, batch, steps)
    finally:
        steps.end()


def _run_steps(spark: SparkSession, batch: Batch, steps: Steps) -> BatchResult:
    steps.begin("plan")
    source, target = lake.load(spark, batch.source), lake.load(spark, batch.target)
    base = lake.current_snapshot(target)
    position = read_position(target)
    check_batch(batch, position)
    source_snapshot = batch.source_snapshot or lake.current_snapshot(source)
    if source_snapshot is None:
        raise BadConfigurationError(f"{batch.source} is empty: there is nothing to roll up")
    new = without((batch.start_us, batch.end_us), position.covered)
    late = find_late_rows(spark, source, batch, position, source_snapshot)
    if not new and not late.any:
        return BatchResult(None, source_snapshot, steps=steps.seconds)
    covered = united([*position.covered, *new])
    tasks = plan_tasks(spark, source, batch, source_snapshot, new, common_all(position.covered, late.redone))
    output = Output(
        lake.arrow_schema(spark, target),
        data_folder=target.locationProvider().newDataLocation("x").rpartition("/")[0],
        staging_folder=f"{target.location()}/staging",
        name=f"batch-{position.batch + 1:06d}-{uuid4().hex[:8]}",
        source_snapshot=source_snapshot,
        compression=batch.compression,
        target_file_bytes=batch.target_file_bytes,
    )
    rules = Rules(batch.resolutions_ms, batch.engine, batch.drop_repeats)
    steps.begin("roll_up")
    results = run_tasks(spark, tasks, lambda task: roll_up_range(task, rules, output))
    steps.begin("merge")
    staged = [file.path for result in results for file in result.cut]
    old = replaced_files(spark, target, late.redone)
    merged = merge_step(spark, staged, old, late.redone, covered, output)
    steps.begin("commit")
    files = [file for result in results for file in result.files] + merged
    counts = sum((result.counts for result in results), late.counts)
    after = Position(
        position.batch + 1,
        covered,
        source_snapshot,
        batch.resolutions_ms,
        asdict(Counts(**position.counts) + counts),
    )
    snapshot = commit(spark, target, base, old, files, after)
    for path in staged:
        storage.delete(path)
    steps.end()
    return BatchResult(
        snapshot,
        source_snapshot,
        counts,
        len(files),
        sum(file.size_bytes for file in files),
        sum(file.rows for file in files),
        sum("complete=false" in file.partition for file in files),
        len(tasks),
        steps.seconds,
    )


def common_all(covered: Coverage, stretches: Coverage) -> Coverage:
    """What of the stretches is covered."""
    return united(part for stretch in stretches for part in common(covered, stretch))


def plan_tasks(
    spark: SparkSession, source: Any, batch: Batch, snapshot: int, new: Coverage, redone: Coverage
) -> list[RangeTask]:
    """The stretches that tasks own, with their files: of about `rows_per_task` rows, at borders of windows."""
    stretches = united([*new, *redone])
    where = lake.within(spark, "wall_timestamp", stretches)
    files = lake.files_at(spark, source, snapshot, where, "wall_timestamp")
    rows = sum(file.rows for file in files)
    tasks: list[RangeTask] = []
    for is_late, part in [*((False, each) for each in new), *((True, each) for each in redone)]:
        for piece in _pieces(part, batch, rows, sum(until - after for after, until in stretches)):
            inside = tuple(file.path for file in files if _may_hold(file, piece))
            tasks.append(RangeTask(len(tasks), piece, inside, is_late))
    return tasks


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


def _may_hold(file: lake.DataFile, stretch: Stretch) -> bool:
    return (file.high_us is None or file.high_us > stretch[0]) and (file.low_us is None or file.low_us <= stretch[1])


def run_tasks(spark: SparkSession, tasks: Sequence[Any], work: Callable[[Any], RangeResult]) -> list[RangeResult]:
    """Run the work for each task as a Spark task of its own."""
    if not tasks:
        return []
    return spark.sparkContext.parallelize(tasks, len(tasks)).map(work).collect()


def replaced_files(spark: SparkSession, target: Any, redone: Coverage) -> list[lake.DataFile]:
    """The target's files that the commit replaces: all partials, and those with windows that are done anew."""
    snapshot = lake.current_snapshot(target)
    if snapshot is None:
        return []
    expressions = lake.iceberg(spark).expressions.Expressions
    is_partial = expressions.equal("complete", False)
    where = getattr(expressions, "or")(is_partial, lake.within(spark, "window_end", redone))
    return lake.files_at(spark, target, snapshot, where, "window_end")


def merge_step(
    spark: SparkSession,
    staged: list[str],
    old: Sequence[lake.DataFile],
    redone: Coverage,
    covered: Coverage,
    output: Output,
) -> list[Written]:
    """Merge what borders cut, and carry over what stays of the replaced files, in tasks of their own."""
    partials = [file.path for file in old if "complete=false" in file.path]
    others = [(number, file.path) for number, file in enumerate(old) if "complete=false" not in file.path]
    jobs: list[tuple[int, str | None]] = [(-1, None)] if staged or partials else []

    def work(job: tuple[int, str | None]) -> tuple[Written, ...]:
        number, path = job
        if path is None:
            return merge_cut(staged, partials, redone, covered, output)
        return rewrite_without(path, redone, number, output)

    jobs += others
    if not jobs:
        return []
    done = spark.sparkContext.parallelize(jobs, len(jobs)).map(work).collect()
    return [file for files in done for file in files]


def commit(
    spark: SparkSession,
    target: Any,
    base: int | None,
    old: Sequence[lake.DataFile],
    files: Sequence[Written],
    position: Position,
) -> int:
    """Replace the old files by the new and move the position, in one snapshot whose id is returned."""
    always = lake.iceberg(spark).expressions.Expressions.alwaysTrue()
    update = target.newOverwrite()
    for file in old:
        update.deleteFile(file.java)
    for written in files:
        update.addFile(lake.to_data_file(spark, target, written.path, written.partition))
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
    snapshot = lake.current_snapshot(target)
    assert snapshot is not None
    return snapshot
