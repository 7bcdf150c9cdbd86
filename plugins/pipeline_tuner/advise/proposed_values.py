"""How proposed values are computed: numbers of tasks, sizes of splits, memory and memory overhead."""

from __future__ import annotations

import math

from pipeline_tuner.advise.application import Settings, Source, Stage
from pipeline_tuner.advise.findings import Overrule, Proposal, Remedy
from pipeline_tuner.advise.platforms import Platform, Rules, parsed_size

MB = 1 << 20
GB = 1 << 30
RESERVED_BYTES = 300 * MB
"""Of the heap, Spark keeps so much for itself (UnifiedMemoryManager)."""
MEMORY_FRACTION = 0.6
"""Spark's own default: of the rest, what execution and storage share."""
TASK_BYTES = 128 * MB
"""Input of a task that is worth its start on any disk and network."""
MIN_TASK_MS = 1000
"""A task that takes less is mostly start, scheduling and end."""
ADVISORY = "spark.sql.adaptive.advisoryPartitionSizeInBytes"
PARALLELISM_FIRST = "spark.sql.adaptive.coalescePartitions.parallelismFirst"
SMALLEST = "spark.sql.adaptive.coalescePartitions.minPartitionSize"


def tasks_in_waves(slots: float, at_least: float) -> int:
    """The number of tasks nearest above `at_least` that fills all slots in each wave."""
    whole = max(1, round(slots))
    return whole * max(1, math.ceil(at_least / whole))


def tasks_worth_it(stage: Stage, slots: float) -> int:
    """Tasks for the work of a stage: none smaller than a second and 128 MB, and all slots in use."""
    by_time = stage.totals.run_ms / MIN_TASK_MS
    by_bytes = stage.read_bytes / TASK_BYTES
    return tasks_in_waves(slots, max(by_time, by_bytes, 1))


def set_tasks(
    settings: Settings, rules: Rules, stage: Stage, tasks: int, slots: float, *, more: bool
) -> tuple[tuple[Proposal, ...], tuple[Overrule, ...], Remedy]:
    """The settings that give a stage so many tasks, what overrules the obvious one, and what to do where none does."""
    if stage.source is Source.FILES and more and stage.totals.input_bytes < tasks * MB:
        return (), (), Remedy.REPARTITION  # so small a file isn't split for less than a megabyte
    if stage.source is Source.FILES:
        return (proposal(settings, "spark.sql.files.maxPartitionBytes", split_for(stage, tasks)),), (), Remedy.SET
    if stage.source is Source.JDBC:
        return (), (), Remedy.PARTITION_JDBC
    if stage.source is Source.SQL_SHUFFLE:
        return _shuffle_tasks(settings, rules, stage, tasks, slots, more=more)
    if stage.source is Source.SHUFFLE:
        return (proposal(settings, "spark.default.parallelism", str(tasks)),), (), Remedy.SET
    return (), (), Remedy.REPARTITION


def _shuffle_tasks(
    settings: Settings, rules: Rules, stage: Stage, tasks: int, slots: float, *, more: bool
) -> tuple[tuple[Proposal, ...], tuple[Overrule, ...], Remedy]:
    if rules.auto_partitions:
        return (), (Overrule.DATABRICKS_AUTO,), Remedy.REPARTITION
    partitions = proposal(settings, "spark.sql.shuffle.partitions", str(tasks))
    if not rules.coalesces:
        return (*(() if more else _joining(settings, rules)), partitions), (), Remedy.SET
    size = stage.totals.shuffle_read_bytes // max(1, tasks)
    if not more:
        first = (proposal(settings, PARALLELISM_FIRST, "false"),) if rules.parallelism_first else ()
        overruled = (Overrule.AQE_COALESCES, *((Overrule.PARALLELISM_FIRST,) if first else ()))
        return (*first, proposal(settings, ADVISORY, megabytes(size))), overruled, Remedy.SET
    found = (
        *((partitions,) if (rules.shuffle_partitions or 0) < tasks else ()),
        *_smaller_partitions(settings, rules, size, is_more_than_slots=tasks > 1.5 * slots),
    )
    return found, (Overrule.AQE_COALESCES,), Remedy.SET if found else Remedy.REPARTITION


def _joining(settings: Settings, rules: Rules) -> tuple[Proposal, ...]:
    """What has adaptive execution join small partitions, where it is off and this version of Spark has it."""
    if not rules.has_adaptive:
        return ()
    names = ("spark.sql.adaptive.coalescePartitions.enabled",) if rules.adaptive else ("spark.sql.adaptive.enabled",)
    return tuple(proposal(settings, name, "true") for name in names)


def _smaller_partitions(
    settings: Settings, rules: Rules, size: int, *, is_more_than_slots: bool
) -> tuple[Proposal, ...]:
    """What keeps adaptive execution from joining partitions beyond a size.

    With parallelism first it aims at one partition for each core by itself, but never below the smallest size; without,
    it aims at the advisory size.
    """
    found = []
    if size < rules.advisory_bytes and (is_more_than_slots or not rules.parallelism_first):
        found.append(proposal(settings, ADVISORY, megabytes(size)))
    if rules.parallelism_first and size < rules.smallest_bytes:
        found.append(proposal(settings, SMALLEST, f"{max(1, size // 1024)}k"))
    return tuple(found)


def split_for(stage: Stage, tasks: int) -> str:
    """The size of a split that gives so many tasks."""
    return megabytes(max(MB, stage.totals.input_bytes // max(1, tasks)))


def proposal(settings: Settings, name: str, value: str) -> Proposal:
    """A setting with its present value."""
    return Proposal(name, settings.text(name), value)


def megabytes(size: float) -> str:
    """A size as Spark reads it, in whole megabytes (up)."""
    return f"{max(1, math.ceil(size / MB))}m"


def gigabytes(size: float) -> str:
    """A size as Spark reads it: in whole gigabytes (up), below two of them in steps of 256 MB."""
    return f"{math.ceil(size / GB)}g" if size > 2 * GB else f"{max(1, math.ceil(size / (256 * MB))) * 256}m"


def execution_bytes(settings: Settings, rules: Rules) -> float:
    """Memory that a task may count on for sorts and joins, with all cores in use and nothing cached."""
    fraction = _number(settings.text("spark.memory.fraction"), MEMORY_FRACTION)
    pool = max(0, rules.heap_bytes - RESERVED_BYTES) * fraction
    return pool / max(1, rules.executor_cores // rules.task_cpus)


def more_memory(settings: Settings, rules: Rules, factor: float) -> tuple[tuple[Proposal, ...], tuple[Overrule, ...]]:
    """More heap, where the platform leaves that to a setting."""
    if rules.sizes_fixed:
        return (), (Overrule.SIZE_BY_MACHINE,)
    return (proposal(settings, rules.heap_setting, gigabytes(rules.heap_bytes * factor)),), ()


def more_overhead(settings: Settings, rules: Rules) -> tuple[Proposal, ...]:
    """Twice the memory beside the heap; Spark gives a tenth of the heap by default, 384 MB at least."""
    if rules.sizes_fixed or rules.is_local or rules.platform is Platform.STANDALONE:
        return ()
    name = "spark.executor.memoryOverhead"
    text = settings.text(name) or settings.text("spark.yarn.executor.memoryOverhead")
    present = parsed_size(text, unit="m") or max(384 * MB, rules.heap_bytes // 10)
    return (Proposal(name, text, gigabytes(2 * present)),)


def _number(text: str, default: float) -> float:
    try:
        value = float(text)
    except ValueError:
        return default
    return value if 0 < value <= 1 else default
