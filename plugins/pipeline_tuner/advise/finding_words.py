"""The words of findings: title, what was seen with its values, what to do. A table line per kind of finding."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pipeline_tuner.advise.application import Source, Stage
from pipeline_tuner.advise.findings import Finding, Kind, Metric, Overrule, Proposal, Remedy
from pipeline_tuner.wording import byte_words, counted, number, percent, second_words

SOURCES = {
    Source.FILES: "reads files",
    Source.JDBC: "reads a database",
    Source.SQL_SHUFFLE: "after a shuffle",
    Source.SHUFFLE: "after a shuffle",
    Source.CACHE: "reads the cache",
    Source.DRIVER: "data from the driver",
    Source.OTHER: "",
}
TITLES = {
    Kind.SKEW: "skewed data",
    Kind.STRAGGLER: "a slow task",
    Kind.SPILL: "spill to disk",
    Kind.GC: "garbage collection",
    Kind.TOO_FEW_TASKS: "too few tasks",
    Kind.ONE_TASK: "a single task",
    Kind.TOO_MANY_TASKS: "too many small tasks",
    Kind.SMALL_FILES_READ: "small files read",
    Kind.SMALL_FILES_WRITTEN: "small files written",
    Kind.SHUFFLE_WAIT: "waits for shuffled data",
    Kind.FAILED_WORK: "failed and repeated work",
    Kind.LOST_EXECUTORS: "executors lost",
    Kind.STARTUP: "start-up",
    Kind.DRIVER: "driver alone",
    Kind.IDLE_CORES: "idle cores",
    Kind.IDLE_EXECUTORS: "idle executors",
    Kind.UNUSED_MEMORY: "unused memory",
    Kind.SCHEMA: "looking for columns",
}
OVERRULED = {
    Overrule.AQE_COALESCES: (
        "Adaptive execution joins small partitions after each shuffle: spark.sql.shuffle.partitions is only what it "
        "starts from."
    ),
    Overrule.PARALLELISM_FIRST: (
        "It keeps all cores busy first (parallelismFirst), whatever the advisory size is: with false the size holds."
    ),
    Overrule.DATABRICKS_AUTO: "Databricks chooses the number of shuffle partitions itself (auto).",
    Overrule.DYNAMIC_ALLOCATION: (
        "Executors come and go with the work here: spark.executor.instances is only where it starts."
    ),
    Overrule.SIZE_BY_MACHINE: "On this platform the type and number of its machines set memory, cores and executors.",
}


def title(finding: Finding) -> str:
    """What a finding is, in a few words."""
    return TITLES[finding.kind]


def stage_words(stage: Stage) -> str:
    """A stage as people find it again: `stage 3 (saveAsTable at Job.scala:12)`."""
    attempt = f".{stage.attempt}" if stage.attempt else ""
    return f"stage {stage.stage_id}{attempt} ({stage.name})" if stage.name else f"stage {stage.stage_id}{attempt}"


def where(finding: Finding) -> str:
    """What a finding is about: the stage, or the place."""
    if finding.stage is None:
        return finding.place
    more = f" and {finding.stages - 1} more" if finding.stages > 1 else ""
    return stage_words(finding.stage) + more


def proposal_words(proposal: Proposal) -> str:
    """A setting to try: `spark.executor.memory=14g (now 9397M)`."""
    return f"{proposal.setting}={proposal.value} (now {proposal.present or 'the default'})"


def to_do(finding: Finding) -> str:
    """What to do, in a few words: the settings, or the remedy."""
    if finding.proposals:
        return " ".join(f"{each.setting}={each.value}" for each in finding.proposals)
    return SHORT_REMEDIES[finding.remedy](finding)


def seen(finding: Finding) -> str:
    """What was seen, with values."""
    return OBSERVATIONS[finding.kind](finding)


def advice(finding: Finding) -> str:
    """What to do, in sentences; empty where the settings say it all."""
    sentences = [OVERRULED[each] for each in finding.overruled]
    if finding.remedy is not Remedy.SET:
        sentences.append(FULL_REMEDIES[finding.remedy](finding))
    return " ".join(filter(None, sentences))


def _count(finding: Finding, metric: Metric, noun: str) -> str:
    return counted(round(finding.metric(metric)), noun)


def _seconds(finding: Finding, metric: Metric) -> str:
    return second_words(finding.metric(metric))


def _bytes(finding: Finding, metric: Metric) -> str:
    return byte_words(finding.metric(metric))


def _skew(f: Finding) -> str:
    return (
        f"The longest of {_count(f, Metric.TASKS, 'task')} took {_seconds(f, Metric.LONGEST_TASK_S)} and read "
        f"{_bytes(f, Metric.LONGEST_TASK_BYTES)}; the median {_seconds(f, Metric.MEDIAN_TASK_S)} and "
        f"{_bytes(f, Metric.MEDIAN_TASK_BYTES)}."
    )


def _straggler(f: Finding) -> str:
    place = f", on {f.place}" if f.place else ""
    return (
        f"The longest of {_count(f, Metric.TASKS, 'task')} took {_seconds(f, Metric.LONGEST_TASK_S)}{place}, the "
        f"median {_seconds(f, Metric.MEDIAN_TASK_S)}, and it had no more to read in proportion "
        f"({_bytes(f, Metric.LONGEST_TASK_BYTES)} against {_bytes(f, Metric.MEDIAN_TASK_BYTES)}); "
        f"{percent(f.metric(Metric.GC_SHARE))} of it was garbage collection."
    )


def _spill(f: Finding) -> str:
    return (
        f"{_bytes(f, Metric.SPILLED_BYTES)} went to disk and back ({_bytes(f, Metric.SPILLED_IN_MEMORY_BYTES)} in "
        f"memory) in {_count(f, Metric.TASKS, 'task')}; each may count on {_bytes(f, Metric.MEMORY_A_TASK_BYTES)}."
    )


def _gc(f: Finding) -> str:
    peak = f.metric(Metric.PEAK_HEAP_BYTES)
    full = f"; at its fullest it had {byte_words(peak)}" if peak else ""
    return (
        f"{percent(f.metric(Metric.GC_SHARE))} of the tasks' time ({_seconds(f, Metric.GC_S)} over all cores) was "
        f"garbage collection. The heap is {_bytes(f, Metric.HEAP_BYTES)}{full}."
    )


def _too_few(f: Finding) -> str:
    return (
        f"{_count(f, Metric.TASKS, 'task')} for {number(f.metric(Metric.SLOTS))} slots, the longest "
        f"{_seconds(f, Metric.LONGEST_TASK_S)}: slots stand empty while the stage runs."
    )


def _too_many(f: Finding) -> str:
    return (
        f"{_count(f, Metric.TASKS, 'task')} for {number(f.metric(Metric.SLOTS))} slots, half of them under "
        f"{_seconds(f, Metric.MEDIAN_TASK_S)}{_median_read(f)}; about {percent(f.metric(Metric.OVERHEAD_SHARE))} of "
        f"their time is scheduling and starting. About {counted(f.value or 1, 'task')} would do."
    )


def _median_read(f: Finding) -> str:
    size = f.metric(Metric.MEDIAN_TASK_BYTES)
    return f" and {byte_words(size)} to read" if size else ""


def _files_read(f: Finding) -> str:
    return (
        f"{_count(f, Metric.FILES, 'file')} of {_bytes(f, Metric.FILE_BYTES)} on average; no processor worked in the "
        "rest of the tasks' time."
    )


def _files_written(f: Finding) -> str:
    of = f" ({f.place})" if f.place else ""
    return (
        f"A query wrote {_count(f, Metric.FILES, 'file')} of {_bytes(f, Metric.FILE_BYTES)} on average{of}. It costs "
        "whoever reads them."
    )


def _shuffle_wait(f: Finding) -> str:
    return f"{percent(f.metric(Metric.WAIT_SHARE))} of the tasks' time went into waiting for other executors' blocks."


def _failed(f: Finding) -> str:
    parts = [
        f"{_count(f, Metric.FAILED_TASKS, 'task')} failed",
        f"{round(f.metric(Metric.KILLED_TASKS)):,} were killed",
    ]
    if f.metric(Metric.STAGES_AGAIN):
        parts.append(f"{_count(f, Metric.STAGES_AGAIN, 'stage')} ran again")
    causes = _causes(f, {Metric.OUT_OF_MEMORY: "out of memory", Metric.FETCH_FAILED: "could not fetch shuffled data"})
    return f"{', '.join(parts)}{causes and ': '}{causes}."


def _lost(f: Finding) -> str:
    taken = "with their machine or by the cluster's decision"
    causes = _causes(f, {Metric.LOST_MEMORY: "for their memory", Metric.LOST_TAKEN: taken})
    executors = _count(f, Metric.EXECUTORS, "executor")
    return f"{round(f.metric(Metric.LOST)):,} of {executors} were lost{causes and ', '}{causes}."


def _causes(f: Finding, words: Mapping[Metric, str]) -> str:
    return ", ".join(f"{round(f.metric(metric)):,} {cause}" for metric, cause in words.items() if f.metric(metric))


def _startup(f: Finding) -> str:
    first = f.metric(Metric.FIRST_EXECUTOR_S)
    executor = f" The first executor was there after {second_words(first)}." if first else ""
    return f"The first task began {second_words(f.wall_ms / 1000)} after the application.{executor}"


def _driver(f: Finding) -> str:
    return (
        f"No task ran for {second_words(f.wall_ms / 1000)}: {_seconds(f, Metric.PLANNING_S)} in queries before their "
        f"last task (planning, listing files), {_seconds(f, Metric.COMMIT_S)} in queries after it (commit), "
        f"{_seconds(f, Metric.OWN_CODE_S)} outside of queries. The longest wait, "
        f"{_seconds(f, Metric.LONGEST_WAIT_S)}, was {f.place}."
    )


def _idle_cores(f: Finding) -> str:
    return (
        f"{number(f.metric(Metric.IDLE_CORE_HOURS))} of {number(f.metric(Metric.CORE_HOURS))} core-hours held no task, "
        f"{number(f.metric(Metric.QUIET_CORE_HOURS))} of them while no task ran at all."
        + (
            f" With {counted(f.value, f.place)} the run is expected to take {_seconds(f, Metric.PREDICTED_S)}."
            if f.value
            else ""
        )
    )


def _idle_executors(f: Finding) -> str:
    return (
        f"{_count(f, Metric.EXECUTORS, 'executor')} worked for less than 5% of their time: "
        f"{number(f.metric(Metric.CORE_HOURS))} core-hours."
    )


def _unused_memory(f: Finding) -> str:
    return (
        f"No executor was seen with more than {_bytes(f, Metric.PEAK_HEAP_BYTES)} of its "
        f"{_bytes(f, Metric.HEAP_BYTES)} of heap in use (it is looked at every 10 s)."
    )


def _schema(f: Finding) -> str:
    return (
        f"A job of {_count(f, Metric.TASKS, 'task')} and {second_words(f.wall_ms / 1000)} only looked into files for "
        "their columns, before any query."
    )


def _part(f: Finding) -> str:
    return byte_words(f.metric(Metric.LONGEST_TASK_BYTES) / max(1, f.value or 1))


OBSERVATIONS: dict[Kind, Callable[[Finding], str]] = {
    Kind.SKEW: _skew,
    Kind.STRAGGLER: _straggler,
    Kind.SPILL: _spill,
    Kind.GC: _gc,
    Kind.TOO_FEW_TASKS: _too_few,
    Kind.ONE_TASK: _too_few,
    Kind.TOO_MANY_TASKS: _too_many,
    Kind.SMALL_FILES_READ: _files_read,
    Kind.SMALL_FILES_WRITTEN: _files_written,
    Kind.SHUFFLE_WAIT: _shuffle_wait,
    Kind.FAILED_WORK: _failed,
    Kind.LOST_EXECUTORS: _lost,
    Kind.STARTUP: _startup,
    Kind.DRIVER: _driver,
    Kind.IDLE_CORES: _idle_cores,
    Kind.IDLE_EXECUTORS: _idle_executors,
    Kind.UNUSED_MEMORY: _unused_memory,
    Kind.SCHEMA: _schema,
}

SHORT_REMEDIES: dict[Remedy, Callable[[Finding], str]] = {
    Remedy.SET: lambda f: "",
    Remedy.SALT: lambda f: f"salt the key into {f.value}",
    Remedy.SPLIT_FILES: lambda f: f"write the largest file as {f.value} files",
    Remedy.LOOK_AT_HOST: lambda f: f"look at {f.place}",
    Remedy.LOOK_AT_TASK: lambda f: "look at what the longest task does",
    Remedy.PARTITION_JDBC: lambda f: f"numPartitions={f.value or 2} with a partitionColumn",
    Remedy.REPARTITION: lambda f: f"repartition({f.value})" if f.value else "repartition",
    Remedy.AVOID_SINGLE_TASK: lambda f: "no coalesce(1) or window without PARTITION BY",
    Remedy.COMPACT_FILES: lambda f: f"compact into {counted(f.value or 1, 'file')}",
    Remedy.WRITE_FEWER_FILES: lambda f: f"write {counted(f.value or 1, 'file')}",
    Remedy.FIX_CODE: lambda f: "see the first failure's message",
    Remedy.ASK_PLATFORM: lambda f: "fewer or smaller machines" if f.core_ms else "see the cluster manager",
    Remedy.KEEP_WARM: lambda f: "executors that are there already",
    Remedy.PLAN_LESS: lambda f: "fewer files and partitions to list",
    Remedy.COMMIT_FASTER: lambda f: "a committer that doesn't rename",
    Remedy.DRIVER_CODE: lambda f: "see what the driver does then",
    Remedy.STARTING: lambda f: "nothing by a setting",
    Remedy.SMALLER_MACHINES: lambda f: "machines with less memory per core",
    Remedy.FIX_SKEW_FIRST: lambda f: "the skew first",
    Remedy.GIVE_SCHEMA: lambda f: "give the schema",
    Remedy.NOT_THE_HEAP: lambda f: "not more memory",
    Remedy.SESSION: lambda f: "run it as a batch application",
}

FULL_REMEDIES: dict[Remedy, Callable[[Finding], str]] = {
    Remedy.SET: lambda f: "",
    Remedy.SALT: lambda f: (
        f"Split the heaviest key into {f.value} by a second column of the key (a salt), and combine afterwards"
        + ("; for a join, adaptive execution can do it with these settings." if f.proposals else ".")
    ),
    Remedy.SPLIT_FILES: lambda f: (
        f"It read more than a split: a file that can't be divided (compressed text, or one large row group). Write it "
        f"as {f.value} files, or with row groups of {_part(f)} (parquet.block.size)."
    ),
    Remedy.LOOK_AT_HOST: lambda f: (
        f"Look at {f.place}: a slow disk or a busy machine. If it is another one each time, spark.speculation=true "
        "repeats such tasks elsewhere."
    ),
    Remedy.LOOK_AT_TASK: lambda f: "Its rows cost more than others': see what the code does with them.",
    Remedy.PARTITION_JDBC: lambda f: (
        f"Read it by key ranges: partitionColumn, lowerBound, upperBound and numPartitions={f.value or 2}."
    ),
    Remedy.REPARTITION: lambda f: f"Call repartition({f.value}) before the expensive step." if f.value else "",
    Remedy.AVOID_SINGLE_TASK: lambda f: (
        "All data goes through one task: coalesce(1), repartition(1), a window without PARTITION BY or a global "
        "aggregate of many columns. No setting changes that."
    ),
    Remedy.COMPACT_FILES: lambda f: (
        f"Have the writer make {counted(f.value or 1, 'file')} of about 128 MB, or compact."
    ),
    Remedy.WRITE_FEWER_FILES: lambda f: (
        f"Call repartition({f.value or 1}) (or by the partition columns) before the write."
        + (" One task then writes all of it: measure whether that is worth it." if (f.value or 1) == 1 else "")
    ),
    Remedy.FIX_CODE: lambda f: "",
    Remedy.ASK_PLATFORM: lambda f: "",
    Remedy.KEEP_WARM: lambda f: (
        "Most of it is waiting for executors: a pool of machines that are there, or smaller and so sooner free ones."
    ),
    Remedy.PLAN_LESS: lambda f: (
        "Most of it is planning: fewer files and table partitions to list, statistics in the catalog, fewer plans."
    ),
    Remedy.COMMIT_FASTER: lambda f: (
        "Most of it is committing output: fewer files, and a committer (or table format) that doesn't rename them."
    ),
    Remedy.DRIVER_CODE: lambda f: (
        "Most of it is the program's own code on the driver: what it collects, computes or fetches there. More "
        "executors don't help."
    ),
    Remedy.STARTING: lambda f: (
        "It is Spark's own start, the program's code before its first task, and the planning of the first query: no "
        "setting shortens it. One application with more work in it starts once."
    ),
    Remedy.SMALLER_MACHINES: lambda f: "Take a type with less memory per core.",
    Remedy.FIX_SKEW_FIRST: lambda f: "One task has most of the data: more partitions don't divide it.",
    Remedy.GIVE_SCHEMA: lambda f: "Name the columns (spark.read.schema(...)) or read a table of the catalog.",
    Remedy.NOT_THE_HEAP: lambda f: (
        "More memory won't help: it is young objects or the start of fresh JVMs. Executors that live longer, and "
        "fewer objects per row, do."
    ),
    Remedy.SESSION: lambda f: "Somebody typed in a shell or notebook: as a batch application the waits are gone.",
}
