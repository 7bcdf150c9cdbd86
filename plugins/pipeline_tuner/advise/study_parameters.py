"""Which parameters a study written by `advise --study` has, with ranges from what the runs showed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from pipeline_tuner.advise.advice import RunAdvice
from pipeline_tuner.advise.application import Source, Stage
from pipeline_tuner.advise.findings import Kind
from pipeline_tuner.advise.platforms import Platform, parsed_size, whole
from pipeline_tuner.wording import counted

MB = 1 << 20
UNITS = {"MB": MB, "KB": 1024}
MUCH_BYTES = 64 * MB
"""Input or shuffle below this isn't worth a parameter of its own."""
MIN_SHARE = 0.02
"""Of the run that its stages take, for a parameter to matter."""


@dataclass(frozen=True)
class ProposedParameter:
    """A parameter of the study, and the setting of Spark that it fills."""

    name: str
    setting: str
    form: str
    """How the setting is written: `{shuffle_partitions}`, `{executor_memory_mb}m`."""
    default: int | bool
    low: int = 0
    high: int = 0
    log: bool = True
    unit: str = ""
    help: str = ""
    why: str = ""
    """Why it can matter for this job: a comment in the study."""

    @property
    def fills(self) -> str:
        """The setting that it stands for; in local mode cores are part of the master."""
        return self.setting or "spark.master"

    @property
    def is_switch(self) -> bool:
        """Whether it is true or false."""
        return isinstance(self.default, bool)

    def parsed(self, value: str) -> int | bool | None:
        """A proposed value of the setting as the parameter's; None where it is none."""
        if self.is_switch:
            return value == "true"
        number = int(value) if value.isdecimal() else None
        if self.unit in UNITS:
            size = parsed_size(value)
            number = None if size is None else max(1, size // UNITS[self.unit])
        if number is None and value.startswith("local["):
            number = int(value[6:-1]) if value[6:-1].isdecimal() else None
        return number if number is None or number >= 1 else None

    def reaching(self, value: str) -> ProposedParameter:
        """The parameter with a range that has a proposed value in it."""
        number = self.parsed(value)
        if self.is_switch or number is None:
            return self
        return replace(self, low=min(self.low, number), high=max(self.high, number))


class ProposedParameters:
    """The parameters for a run, in the order of the study."""

    def __init__(self, advice: RunAdvice) -> None:
        self._advice, self._rules = advice, advice.rules
        self._app = advice.read.application
        self._settings = self._app.settings
        self._kinds = {finding.kind for finding in advice.findings}
        self.cores = max(1, round(self._app.cores.mean(self._app.busy[0][0], self._app.busy[-1][1]))) if (
            self._app.busy
        ) else max(1, self._rules.executor_cores)  # fmt: skip
        self.heap_mb = max(512, self._rules.heap_bytes // MB)

    @property
    def is_local(self) -> bool:
        """Whether driver and executor are one process."""
        return self._rules.is_local

    @property
    def executors(self) -> int:
        """Executors that were there while tasks ran, on average."""
        return max(1, round(self.cores / max(1, self._rules.executor_cores)))

    def found(self) -> tuple[ProposedParameter, ...]:
        """All parameters that can matter."""
        machines = () if self._rules.sizes_fixed else (self._local() if self.is_local else self._cluster())
        return tuple(self._reaching(parameter) for parameter in (*machines, *self._tasks(), *self._joins()))

    def _reaching(self, parameter: ProposedParameter) -> ProposedParameter:
        """The parameter with all proposals for it in its range."""
        for finding in self._advice.findings:
            for each in finding.proposals:
                parameter = parameter.reaching(each.value) if each.setting == parameter.fills else parameter
        return parameter

    def _local(self) -> Iterator[ProposedParameter]:
        has_all = self._settings.text("spark.master").startswith("local[*")  # the machine has no more
        high = max(2, self.cores if has_all else 2 * self.cores)
        yield ProposedParameter(
            "cores", "", "local[{cores}]", self.cores, 1, high, help="cores of this machine to use",
            why=f"the run had {self.cores}",
        )  # fmt: skip
        yield self._memory("driver_memory_mb", "spark.driver.memory", "heap of the one process")

    def _cluster(self) -> Iterator[ProposedParameter]:
        cores = max(1, self._rules.executor_cores)
        yield self._executors()
        yield ProposedParameter(
            "executor_cores", "spark.executor.cores", "{executor_cores}", cores, 1, max(8, 2 * cores),
            help="tasks at once in an executor", why=f"the run had {cores}; more share a heap, fewer waste less of it",
        )  # fmt: skip
        yield self._memory("executor_memory_mb", "spark.executor.memory", "heap of an executor")

    def _executors(self) -> ProposedParameter:
        count = whole(self._settings, "spark.executor.instances", self.executors)
        if self._rules.platform is Platform.STANDALONE and not self._rules.dynamic:
            cores = max(whole(self._settings, "spark.cores.max", self.cores), self._rules.executor_cores)
            return ProposedParameter(
                "total_cores", "spark.cores.max", "{total_cores}", cores, max(1, cores // 4), max(2, 2 * cores),
                help="cores of all executors together", why=f"the run had {self.cores} while tasks ran",
            )  # fmt: skip
        if self._rules.dynamic:
            return ProposedParameter(
                "max_executors", "spark.dynamicAllocation.maxExecutors", "{max_executors}",
                max(count, self._most_executors()), max(1, count // 4), max(2 * self._most_executors(), 2 * count),
                help="the most executors that dynamic allocation may ask for",
                why=f"executors come and go here; {count} were there on average, {self._most_executors()} at most",
            )  # fmt: skip
        return ProposedParameter(
            "executors", "spark.executor.instances", "{executors}", count, max(1, count // 4), max(2, 2 * count),
            help="executors", why=f"{self.executors} were there while tasks ran",
        )  # fmt: skip

    def _most_executors(self) -> int:
        allowed = whole(self._settings, "spark.dynamicAllocation.maxExecutors", 0)
        seen = math.ceil(self._app.cores.most / max(1, self._rules.executor_cores))
        return max(1, allowed or seen)

    def _memory(self, name: str, setting: str, what: str) -> ProposedParameter:
        peak = max((each.peak_heap_bytes for each in self._app.executors), default=0) // MB
        full = f"; at most {peak:,} MB were seen in use" if peak else "; the log doesn't say how full it was"
        low = max(512, min(self.heap_mb, int(1.2 * peak) if peak else self.heap_mb // 2))
        return ProposedParameter(
            name, setting, f"{{{name}}}m", self.heap_mb, min(low, self.heap_mb), 2 * self.heap_mb, unit="MB", help=what,
            why=f"the run had {self.heap_mb:,} MB{full}",
        )  # fmt: skip

    def _tasks(self) -> Iterator[ProposedParameter]:
        shuffles = self._stages(Source.SQL_SHUFFLE)
        if shuffles and not self._rules.auto_partitions:
            yield from self._of_shuffles(shuffles)
        files = self._stages(Source.FILES)
        # Spark counts too few bytes where it reads files by vectored requests; the scans know what they listed.
        listed = sum(query.files.read_bytes for query in self._app.queries)
        read = max(listed, sum(stage.totals.input_bytes for stage in files)) if files else 0
        if read > MUCH_BYTES:
            split = self._rules.split_bytes // MB
            low = max(1, min(split, read // MB // (8 * self.cores) or 1))
            yield ProposedParameter(
                "split_mb", "spark.sql.files.maxPartitionBytes", "{split_mb}m", split, low, max(512, 4 * split),
                unit="MB", help="the most that one task reads of files",
                why=f"{read / 1e6:,.0f} MB of files were read in {sum(s.complete_tasks for s in files):,} tasks",
            )  # fmt: skip
        plain = self._stages(Source.SHUFFLE)
        if plain:
            present = whole(self._settings, "spark.default.parallelism", max(s.planned_tasks for s in plain))
            yield ProposedParameter(
                "parallelism", "spark.default.parallelism", "{parallelism}", present, max(1, min(present, self.cores)),
                max(4 * present, 4 * self.cores), help="tasks after a shuffle of RDDs",
                why=f"{counted(len(plain), 'stage')} of the chain after such a shuffle",
            )  # fmt: skip

    def _of_shuffles(self, stages: list[Stage]) -> Iterator[ProposedParameter]:
        present = self._rules.shuffle_partitions or 200
        tasks = max(stage.complete_tasks for stage in stages)
        yield ProposedParameter(
            "shuffle_partitions", "spark.sql.shuffle.partitions", "{shuffle_partitions}", present,
            max(1, min(present, self.cores)), max(4 * present, 4 * self.cores), help="tasks after a shuffle of a query",
            why=(
                f"{counted(len(stages), 'stage')} of the chain after such a shuffle, the largest of "
                f"{counted(tasks, 'task')}"
                + (", after adaptive execution joined small partitions" if self._rules.coalesces else "")
            ),
        )  # fmt: skip
        if self._rules.has_adaptive and not self._rules.adaptive:
            yield ProposedParameter(
                "adaptive", "spark.sql.adaptive.enabled", "{adaptive}", False,
                help="join small partitions after a shuffle, and split those that are too large",
                why="the run had it off",
            )  # fmt: skip
        if self._rules.coalesces:
            size = max(1, self._rules.advisory_bytes // MB)
            yield ProposedParameter(
                "advisory_mb", "spark.sql.adaptive.advisoryPartitionSizeInBytes", "{advisory_mb}m", size, 1,
                max(256, 4 * size), unit="MB", help="what adaptive execution joins small partitions to",
                why="adaptive execution is on: this, rather than the number above, says how many tasks there are",
            )  # fmt: skip
            if self._app.version_number >= (3, 2):
                yield ProposedParameter(
                    "parallelism_first", "spark.sql.adaptive.coalescePartitions.parallelismFirst",
                    "{parallelism_first}", self._rules.parallelism_first,
                    help="keep all cores busy rather than keep to the advisory size",
                    why="while it is true, Spark aims at a partition for each core, and larger ones only by the next",
                )  # fmt: skip
                smallest = max(1, self._rules.smallest_bytes // 1024)
                yield ProposedParameter(
                    "smallest_kb", "spark.sql.adaptive.coalescePartitions.minPartitionSize", "{smallest_kb}k", smallest,
                    min(smallest, 64), max(4096, smallest), unit="KB", help="no partition is joined to less than this",
                    why="it acts while parallelism_first is true",
                )  # fmt: skip

    def _joins(self) -> Iterator[ProposedParameter]:
        if any(query.joins for query in self._app.queries):
            text = self._settings.text("spark.sql.autoBroadcastJoinThreshold")
            present = (parsed_size(text) or 10 * MB) // MB
            if present > 0:
                yield ProposedParameter(
                    "broadcast_mb", "spark.sql.autoBroadcastJoinThreshold", "{broadcast_mb}m", present, 1,
                    max(256, 2 * present), unit="MB", help="tables up to this size are sent to every executor",
                    why="queries join by a shuffle",
                )  # fmt: skip
        if Kind.STRAGGLER in self._kinds:
            yield ProposedParameter(
                "speculation", "spark.speculation", "{speculation}", self._settings.is_on("spark.speculation", False),
                help="repeat slow tasks elsewhere", why="a task was slow that had no more data than others",
            )  # fmt: skip

    def _stages(self, source: Source) -> list[Stage]:
        """Stages of the chain with that source that take enough of the run together."""
        steps = [step for step in self._advice.breakdown.steps if step.stage.source is source]
        total = sum(step.wall_ms for step in steps)
        matter = total >= MIN_SHARE * self._advice.breakdown.wall_ms
        return [step.stage for step in steps] if matter else []
