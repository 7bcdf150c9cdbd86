"""The rules of advice on single stages: skew, stragglers, spill, garbage collection, small files, too few or
too many tasks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import cached_property

from pipeline_tuner.advise.application import Application, Source, Spread, Stage
from pipeline_tuner.advise.findings import Finding, Kind, Metric, Proposal, Remedy
from pipeline_tuner.advise.platforms import Rules
from pipeline_tuner.advise.proposed_values import (
    MB,
    MIN_TASK_MS,
    execution_bytes,
    megabytes,
    more_memory,
    proposal,
    set_tasks,
    tasks_in_waves,
    tasks_worth_it,
)
from pipeline_tuner.advise.time_breakdown import Breakdown, Step

MIN_SHARE = 0.01
"""A finding about less of the run than this is none."""
MIN_MS = 500
SKEWED = 2.0
"""A longest task of so many medians is an outlier."""
BYTES_EXPLAIN = 0.5
"""The longest task's bytes explain its time where they are so much as large in proportion."""
SPILL_BYTES_A_SECOND = 100e6
"""A slow disk that several tasks share; a faster one spills in less, and so costs less than the bound says."""
SHORT_TASK_MS = 250
MUCH_OVERHEAD = 0.2
SMALL_TASK_BYTES = MB
"""A task that reads less, and takes less than MIN_TASK_MS, is mostly its own start, whatever the machine."""
BYTES_A_MS = 10_000
"""What a task gets through at the least, 10 MB/s: time beyond that is its start, before or within its run time."""
FEW_WAVES = 3.0
"""With more waves of tasks than this, an uneven last one doesn't matter."""
AQE_SKEW_FACTOR = 5.0
READERS = ("parquet at ", "orc at ", "csv at ", "json at ", "load at ", "xml at ")
"""Names of stages that look into files for their columns, before any query: the call that made the DataFrame."""
OPEN_COST_BYTES = 4 * MB
"""Spark's default of spark.sql.files.openCostInBytes: no split is smaller where there is more to read."""
SMALL_FILE_BYTES = 16 * MB
GOOD_FILE_BYTES = 128 * MB


class StageRules:
    """The rules for a run's stages. `findings` gives all that hold."""

    def __init__(self, breakdown: Breakdown, rules: Rules) -> None:
        self._breakdown, self._rules = breakdown, rules
        self._app: Application = breakdown.application
        self._settings = self._app.settings

    def findings(self) -> Iterator[Finding]:
        """All findings about stages on the run's chain."""
        skewed: set[tuple[int, int]] = set()
        for stage, wall in self._stages():
            found = self._uneven(stage, wall) if stage.spread else None
            if found is not None:
                skewed.add((stage.stage_id, stage.attempt))
                yield found
        for stage, wall in self._stages():
            is_skewed = (stage.stage_id, stage.attempt) in skewed
            yield from self._found(self._spill(stage, wall, is_skewed=is_skewed))
            yield from self._found(self._shuffle_wait(stage, wall))
            if stage.name.startswith(READERS) and stage.execution is None:
                metrics = ((Metric.TASKS, stage.complete_tasks), *_medians(stage))
                yield Finding(Kind.SCHEMA, Remedy.GIVE_SCHEMA, wall, stage=stage, stages=1, metrics=metrics)
            elif not is_skewed:
                yield from self._found(self._too_few(stage, wall))
        yield from self._too_many()
        yield from self._small_files()

    def _stages(self) -> Iterator[tuple[Stage, int]]:
        """Stages on the chain that take enough of the run to matter, with the time that they take."""
        walls: dict[tuple[int, int], tuple[Stage, int]] = {}
        for step in self._breakdown.steps:
            key = (step.stage.stage_id, step.stage.attempt)
            walls[key] = (step.stage, walls.get(key, (step.stage, 0))[1] + step.wall_ms)
        yield from ((stage, wall) for stage, wall in walls.values() if self._matters(wall))

    def _matters(self, milliseconds: float) -> bool:
        return milliseconds >= max(MIN_MS, MIN_SHARE * self._breakdown.wall_ms)

    def _found(self, finding: Finding | None) -> Iterator[Finding]:
        if finding is not None and self._matters(finding.wall_ms):
            yield finding

    def _uneven(self, stage: Stage, wall: int) -> Finding | None:
        """One task that is far longer than the others, and the stage's end waits for it."""
        spread = stage.spread
        if spread is None or spread.count < 2:
            return None
        longest = spread.longest
        slots = min(self._breakdown.slots(stage) or spread.count, spread.count)
        even = max(spread.median_ms, stage.totals.task_ms / max(1.0, slots))
        lost = min(wall, longest.duration_ms - even)
        if longest.duration_ms < SKEWED * max(1, spread.median_ms) or not self._matters(lost):
            return None
        by_data = _is_data_skew(spread)
        metrics = (
            (Metric.LONGEST_TASK_S, longest.duration_ms / 1000),
            (Metric.MEDIAN_TASK_S, spread.median_ms / 1000),
            (Metric.LONGEST_TASK_BYTES, longest.bytes),
            (Metric.MEDIAN_TASK_BYTES, spread.median_bytes),
            (Metric.TASKS, spread.count),
            (Metric.GC_SHARE, longest.gc_ms / max(1, longest.duration_ms)),
        )
        if not by_data:
            host = "" if longest.executor == "driver" else f"executor {longest.executor} on {longest.host}"
            remedy = Remedy.LOOK_AT_HOST if host else Remedy.LOOK_AT_TASK
            return Finding(Kind.STRAGGLER, remedy, lost, stage=stage, stages=1, place=host, metrics=metrics)
        remedy, proposals, value = self._against_skew(stage, spread, even)
        return Finding(
            Kind.SKEW, remedy, lost, stage=stage, stages=1, metrics=metrics, proposals=proposals, value=value
        )

    def _against_skew(
        self, stage: Stage, spread: Spread, even: float
    ) -> tuple[Remedy, tuple[Proposal, ...], int | None]:
        longest, query = spread.longest, self._app.query(stage)
        parts = max(2, math.ceil(longest.duration_ms / max(1.0, even)))
        if stage.source is Source.FILES:
            small = longest.bytes <= self._split_bytes(stage) * 1.1
            split = proposal(self._settings, "spark.sql.files.maxPartitionBytes", megabytes(longest.bytes / parts))
            return (Remedy.SET, (split,), None) if small else (Remedy.SPLIT_FILES, (), parts)
        if stage.source is Source.JDBC:
            return Remedy.PARTITION_JDBC, (), parts
        if stage.source is Source.SQL_SHUFFLE and query is not None and query.joins:
            return Remedy.SALT, self._adaptive_skew_join(spread), parts
        return Remedy.SALT, (), parts

    def _split_bytes(self, stage: Stage) -> float:
        """The size that Spark cut this stage's input into (FilePartition.maxSplitBytes)."""
        evenly = stage.totals.input_bytes / max(1.0, self._breakdown.slots(stage) or 1.0)
        return min(self._rules.split_bytes, max(OPEN_COST_BYTES, evenly))

    def _adaptive_skew_join(self, spread: Spread) -> tuple[Proposal, ...]:
        """What makes adaptive execution split the longest task's partition of a join; nothing where it can't."""
        threshold_name = "spark.sql.adaptive.skewJoin.skewedPartitionThresholdInBytes"
        ratio = spread.longest.bytes / max(1, spread.median_bytes)
        on = tuple(
            proposal(self._settings, name, "true")
            for name, is_on in (
                ("spark.sql.adaptive.enabled", self._rules.adaptive),
                ("spark.sql.adaptive.skewJoin.enabled", self._rules.skew_join),
            )
            if not is_on
        )
        if ratio <= AQE_SKEW_FACTOR:
            return on
        below = max(MB, spread.longest.bytes // 2)
        small = below < 256 * MB
        return (*on, proposal(self._settings, threshold_name, megabytes(below))) if small else on

    def _spill(self, stage: Stage, wall: int, *, is_skewed: bool) -> Finding | None:
        """Data that did not fit into memory: at most the time that tasks neither computed nor waited for a shuffle."""
        totals = stage.totals
        if not totals.disk_spilled_bytes:
            return None
        at_disk = max(0.0, totals.run_ms - totals.cpu_ns / 1e6 - totals.gc_ms - totals.shuffle_wait_ms)
        transfer = 2 * totals.disk_spilled_bytes / SPILL_BYTES_A_SECOND * 1000
        lost = wall * min(1.0, min(at_disk, transfer) / max(1, totals.run_ms))
        available = execution_bytes(self._settings, self._rules)
        tasks = max(1, stage.complete_tasks)
        need = available + totals.memory_spilled_bytes / tasks
        factor = need / available if available else 2.0
        metrics = (
            (Metric.SPILLED_BYTES, totals.disk_spilled_bytes),
            (Metric.SPILLED_IN_MEMORY_BYTES, totals.memory_spilled_bytes),
            (Metric.MEMORY_A_TASK_BYTES, available),
            (Metric.TASKS, tasks),
        )
        if is_skewed:
            memory, overruled = more_memory(self._settings, self._rules, min(4.0, factor))
            remedy, proposals = Remedy.FIX_SKEW_FIRST, memory
        else:
            slots = self._breakdown.slots(stage) or tasks
            wanted = tasks_in_waves(slots, tasks * factor)
            proposals, overruled, remedy = set_tasks(self._settings, self._rules, stage, wanted, slots, more=True)
        return Finding(
            Kind.SPILL, remedy, lost, stage=stage, stages=1, metrics=metrics, proposals=proposals,
            overruled=overruled, value=None if is_skewed else wanted,
        )  # fmt: skip

    def _shuffle_wait(self, stage: Stage, wall: int) -> Finding | None:
        """Tasks that wait for blocks of a shuffle from other executors."""
        share = stage.totals.shuffle_wait_ms / max(1, stage.totals.task_ms)
        if share < 0.1:
            return None
        metrics = ((Metric.WAIT_SHARE, share), (Metric.TASKS, stage.complete_tasks))
        in_flight = proposal(self._settings, "spark.reducer.maxSizeInFlight", "96m")
        return Finding(
            Kind.SHUFFLE_WAIT, Remedy.SET, wall * share, stage=stage, stages=1, metrics=metrics, proposals=(in_flight,)
        )

    def _too_few(self, stage: Stage, wall: int) -> Finding | None:
        """Slots that stand empty while a stage runs: fewer tasks than slots, or a last wave that is not full."""
        slots = self._breakdown.slots(stage)
        tasks = stage.complete_tasks
        if slots is None or not tasks or slots < 1.5 or tasks > FEW_WAVES * slots:
            return None
        lost = wall - stage.totals.task_ms / slots
        if lost < 0.2 * wall:
            return None
        metrics = ((Metric.TASKS, tasks), (Metric.SLOTS, slots), *_medians(stage))
        query = self._app.query(stage)
        was_joined = self._rules.coalesces and query is not None and query.coalesced
        if tasks == 1 and stage.source in (Source.SQL_SHUFFLE, Source.SHUFFLE) and not was_joined:
            return Finding(Kind.ONE_TASK, Remedy.AVOID_SINGLE_TASK, lost, stage=stage, stages=1, metrics=metrics)
        wanted = tasks_in_waves(slots, 2 * slots if stage.totals.run_ms / tasks > 2000 else slots)
        proposals, overruled, remedy = set_tasks(self._settings, self._rules, stage, wanted, slots, more=True)
        return Finding(
            Kind.TOO_FEW_TASKS, remedy, lost, stage=stage, stages=1, metrics=metrics, proposals=proposals,
            overruled=overruled, value=wanted,
        )  # fmt: skip

    def _too_many(self) -> Iterator[Finding]:
        """Tasks so short that starting them is most of what they do, over all stages that one setting rules."""
        groups: dict[Source, list[tuple[Stage, int, float]]] = {}
        for step in self._breakdown.steps:
            lost = self._overhead(step.stage, step.wall_ms)
            if lost:
                groups.setdefault(step.stage.source, []).append((step.stage, step.wall_ms, lost))
        for found in groups.values():
            total = sum(lost for _, _, lost in found)
            worst = max(found, key=lambda each: each[2])[0]
            if self._matters(total):
                yield self._shorter_than_worth(worst, total, len(found))

    def _overhead(self, stage: Stage, wall: int) -> float:
        slots = self._breakdown.slots(stage)
        spread = stage.spread
        if slots is None or spread is None or spread.count <= FEW_WAVES * slots:
            return 0.0
        share = _start_share(stage, spread)
        fewer = 1 - min(1.0, tasks_worth_it(stage, slots) / spread.count)
        return wall * share * fewer if share >= MUCH_OVERHEAD else 0.0

    def _shorter_than_worth(self, stage: Stage, lost: float, stages: int) -> Finding:
        slots = self._breakdown.slots(stage) or 1.0
        wanted = tasks_worth_it(stage, slots)
        proposals, overruled, remedy = set_tasks(self._settings, self._rules, stage, wanted, slots, more=False)
        metrics = (
            (Metric.TASKS, stage.complete_tasks),
            (Metric.SLOTS, slots),
            *_medians(stage),
            (Metric.OVERHEAD_SHARE, _start_share(stage, stage.spread) if stage.spread else _overhead_share(stage)),
            (Metric.MEDIAN_TASK_BYTES, stage.spread.median_bytes if stage.spread else 0),
        )
        return Finding(
            Kind.TOO_MANY_TASKS, remedy, lost, stage=stage, stages=stages, metrics=metrics, proposals=proposals,
            overruled=overruled, value=wanted,
        )  # fmt: skip

    def _small_files(self) -> Iterator[Finding]:
        """Files so small that opening them is most of reading them; those written are paid for by who reads them."""
        for query in self._app.queries:
            files = query.files
            if _are_small(files.read, files.read_bytes):
                yield from self._found(self._small_reads(query.execution, files.read, files.read_bytes))
            if _are_small(files.written, files.written_bytes):
                metrics = ((Metric.FILES, files.written), (Metric.FILE_BYTES, files.written_bytes / files.written))
                yield Finding(
                    Kind.SMALL_FILES_WRITTEN, Remedy.WRITE_FEWER_FILES, 0.0, place=query.description, metrics=metrics,
                    value=max(1, math.ceil(files.written_bytes / GOOD_FILE_BYTES)),
                )  # fmt: skip

    @cached_property
    def _scans(self) -> Mapping[int, list[Step]]:
        """Query to its steps of the chain that read files."""
        found: dict[int, list[Step]] = {}
        for step in self._breakdown.steps:
            if step.stage.execution is not None and step.stage.source in (Source.FILES, Source.CACHE):
                found.setdefault(step.stage.execution, []).append(step)
        return found

    def _small_reads(self, execution: int, files: int, size: int) -> Finding | None:
        steps = self._scans.get(execution)
        if not steps:
            return None
        lost = sum(step.wall_ms * _not_computing(step.stage) for step in steps)
        worst = max(steps, key=lambda step: step.wall_ms).stage
        metrics = ((Metric.FILES, files), (Metric.FILE_BYTES, size / files), (Metric.TASKS, worst.complete_tasks))
        return Finding(
            Kind.SMALL_FILES_READ, Remedy.COMPACT_FILES, lost, stage=worst, stages=len(steps), metrics=metrics,
            value=max(1, math.ceil(size / GOOD_FILE_BYTES)),
        )  # fmt: skip


def _is_data_skew(spread: Spread) -> bool:
    """Whether the longest task had so much more to read that this explains its time."""
    times = spread.longest.duration_ms / max(1, spread.median_ms)
    sizes = spread.longest.bytes / max(1, spread.median_bytes)
    return spread.longest.bytes > 0 and sizes >= max(1.5, BYTES_EXPLAIN * times)


def _are_small(files: int, size: int) -> bool:
    return files >= 100 and size / files < SMALL_FILE_BYTES


def _not_computing(stage: Stage) -> float:
    """The part of a stage's task time in which no processor worked for it."""
    return max(0.0, 1 - stage.totals.cpu_ns / 1e6 / max(1, stage.totals.task_ms))


def _overhead_share(stage: Stage) -> float:
    """The part of its tasks' time that was scheduling, shipping and starting rather than work."""
    return max(0.0, 1 - stage.totals.run_ms / max(1, stage.totals.task_ms))


def _start_share(stage: Stage, spread: Spread) -> float:
    """The same with what a tiny task spends on its own start while it runs; 0 for tasks that are long enough."""
    share = _overhead_share(stage) if spread.median_ms < SHORT_TASK_MS else 0.0
    if 0 < spread.median_bytes < SMALL_TASK_BYTES and 0 < spread.median_ms < MIN_TASK_MS:
        share = max(share, 1 - spread.median_bytes / BYTES_A_MS / spread.median_ms)
    return share


def _medians(stage: Stage) -> tuple[tuple[Metric, float], ...]:
    if stage.spread is None:
        return ()
    return (
        (Metric.MEDIAN_TASK_S, stage.spread.median_ms / 1000),
        (Metric.LONGEST_TASK_S, stage.spread.longest.duration_ms / 1000),
    )
