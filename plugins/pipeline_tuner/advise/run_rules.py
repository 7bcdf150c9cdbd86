"""The rules of advice on a run as a whole: lost executors, failed work, start-up, driver alone, idle cores,
unused memory.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from enum import Enum

from pipeline_tuner.advise.application import Executor, Query
from pipeline_tuner.advise.findings import Finding, Kind, Metric, Overrule, Proposal, Remedy
from pipeline_tuner.advise.platforms import Platform, Rules
from pipeline_tuner.advise.proposed_values import GB, gigabytes, more_memory, more_overhead, proposal
from pipeline_tuner.advise.time_breakdown import Breakdown
from pipeline_tuner.advise.timeline import Span

HOUR_MS = 3_600_000
MIN_WAIT_SHARE = 0.03
MIN_WAIT_MS = 1000
MUCH_GC = 0.1
MUCH_IDLE = 0.3
SLOWER_AT_MOST = 1.1
"""Fewer executors are proposed where the run is expected to take at most this much longer."""
MAX_AT_ONCE = 50
"""Queries that are looked at for what a wait belongs to."""
LITTLE_USED = 0.05
LITTLE_MEMORY = 0.5
SAMPLED_MS = 60_000
"""Executors say how full their heap is every 10 s: of a shorter run too seldom to give any of it away."""


class Loss(Enum):
    """Why an executor went away."""

    MEMORY = "memory"
    TAKEN = "taken"
    ORDERLY = "orderly"
    OTHER = "other"


MEMORY_WORDS = r"memory limits|exit(?: ?code|ed with code| status)?:? ?(?:137|52|143)\b|OOM|OutOfMemory"
TAKEN_WORDS = r"decommission|spot|preempt|node (?:was )?(?:lost|removed)|lost node|worker lost"
ORDERLY_WORDS = r"idle|killed by driver|no longer needed|shut ?down|exited with code 0|removed by"
REASONS = (
    (Loss.MEMORY, re.compile(MEMORY_WORDS, re.IGNORECASE)),
    (Loss.TAKEN, re.compile(TAKEN_WORDS, re.IGNORECASE)),
    (Loss.ORDERLY, re.compile(ORDERLY_WORDS, re.IGNORECASE)),
)
"""The words of cluster managers and of Spark; the first that matches counts."""


class RunRules:
    """The rules for a run as a whole. `findings` gives all that hold."""

    def __init__(self, breakdown: Breakdown, rules: Rules) -> None:
        self._breakdown, self._rules = breakdown, rules
        self._app = breakdown.application
        self._settings = self._app.settings

    def findings(self) -> Iterator[Finding]:
        """All findings about the run."""
        found = [self._gc(), self._failed_work(), self._lost_executors(), self._unused_memory()]
        # A stream waits for data by design; where a part of the log is missing, what looks like a wait may be work.
        is_known = not self._app.is_streaming and not self._app.has_gaps
        if is_known:
            found += [self._startup(), self._driver()]
        if is_known and not self._app.is_session:
            found += [self._idle_executors(), self._idle_cores()]
        yield from (finding for finding in found if finding is not None)

    def _startup(self) -> Finding | None:
        """The time before the first task: starting the driver, getting executors, the program's own preparation."""
        wait = self._breakdown.startup_ms
        if not self._is_much(wait) or not self._app.busy:
            return None
        first = min((each.added for each in self._app.executors), default=None)
        executor = max(0, first - self._app.started) if first is not None and first >= self._app.started else 0
        metrics = ((Metric.FIRST_EXECUTOR_S, executor / 1000), (Metric.CORE_HOURS, self._core_hours(wait)))
        remedy = Remedy.KEEP_WARM if executor > wait / 2 and not self._rules.is_local else Remedy.STARTING
        remedy = Remedy.SESSION if self._app.is_session else remedy
        return Finding(Kind.STARTUP, remedy, wait, metrics=metrics)

    def _driver(self) -> Finding | None:
        """The time without any task after the first one, told apart by what the driver was about."""
        waits = self._breakdown.waits_ms
        if not self._is_much(waits):
            return None
        start = self._app.started + self._breakdown.startup_ms
        quiet = [(max(begin, start), end) for begin, end in self._breakdown.quiet if end > start]
        planning, commit, own = self._driver_parts(quiet)
        longest = max(quiet, key=lambda span: span[1] - span[0])
        metrics = (
            (Metric.PLANNING_S, planning / 1000),
            (Metric.COMMIT_S, commit / 1000),
            (Metric.OWN_CODE_S, own / 1000),
            (Metric.LONGEST_WAIT_S, (longest[1] - longest[0]) / 1000),
        )
        parts = {Remedy.PLAN_LESS: planning, Remedy.COMMIT_FASTER: commit, Remedy.DRIVER_CODE: own}
        remedy = max(parts, key=parts.__getitem__)
        remedy = Remedy.SESSION if self._app.is_session and remedy is Remedy.DRIVER_CODE else remedy
        return Finding(Kind.DRIVER, remedy, waits, place=self._around(longest), metrics=metrics)

    def _driver_parts(self, quiet: list[Span]) -> tuple[int, int, int]:
        """Quiet time in queries before their last job, in queries after it, and outside of queries (ms)."""
        jobs: dict[int, int] = {}
        for stage in self._app.stages:
            if stage.execution is not None and stage.end:
                jobs[stage.execution] = max(jobs.get(stage.execution, 0), stage.end)
        queries = sorted(self._app.queries, key=lambda query: query.started)
        starts = [query.started for query in queries]
        planning = commit = own = 0
        for begin, end in quiet:
            covered = 0
            query = self._query_within(queries, bisect_left(starts, end), begin)
            if query is not None:
                until = min(end, query.ended or self._app.ended)
                last = jobs.get(query.execution, until)
                after = max(0, until - max(begin, last))
                before = max(0, min(until, last) - max(begin, query.started))
                commit, planning, covered = commit + after, planning + before, after + before
            own += end - begin - covered
        return planning, commit, own

    def _query_within(self, queries: list[Query], until: int, begin: int) -> Query | None:
        """The newest of the queries up to a place that was running after a time; few run at once."""
        newest = reversed(queries[max(0, until - MAX_AT_ONCE) : until])
        return next((query for query in newest if (query.ended or self._app.ended) > begin), None)

    def _around(self, wait: Span) -> str:
        """The jobs before and after a wait, by number."""
        before = [job.job_id for job in self._app.jobs if job.ended is not None and job.ended <= wait[0] + 1000]
        after = [job.job_id for job in self._app.jobs if job.submitted >= wait[0]]
        parts = [f"after job {max(before)}"] if before else []
        return " ".join([*parts, f"before job {min(after)}"] if after else [*parts, "at the end"])

    def _gc(self) -> Finding | None:
        """Time in garbage collection, over the stages of the chain."""
        steps = self._breakdown.steps
        run = sum(step.stage.totals.run_ms for step in steps)
        share = sum(step.stage.totals.gc_ms for step in steps) / max(1, run)
        lost = sum(s.wall_ms * min(1.0, s.stage.totals.gc_ms / max(1, s.stage.totals.run_ms)) for s in steps)
        if share < MUCH_GC or not self._is_much(lost):
            return None
        worst = max(steps, key=lambda step: step.stage.totals.gc_ms).stage
        proposals, overruled = more_memory(self._settings, self._rules, 1.5)
        remedy = Remedy.ASK_PLATFORM if overruled else Remedy.SET
        if 0 < self._peak_heap() < LITTLE_MEMORY * self._rules.heap_bytes:
            remedy, proposals, overruled = Remedy.NOT_THE_HEAP, (), ()
        gc_s = sum(step.stage.totals.gc_ms for step in steps) / 1000
        metrics = ((Metric.GC_SHARE, share), (Metric.GC_S, gc_s), *self._heap_metrics())
        return Finding(
            Kind.GC, remedy, lost, stage=worst, stages=len(steps), metrics=metrics, proposals=proposals,
            overruled=overruled,
        )  # fmt: skip

    def _failed_work(self) -> Finding | None:
        """Tasks that failed or were killed, and stages that ran again."""
        stages = self._app.stages
        wasted_ms = sum(each.wasted.failed_ms + each.wasted.killed_ms for each in stages)
        again = [each for each in stages if each.attempt > 0]
        retried_ms = sum(self._breakdown.wall_of(each) for each in again)
        failed, killed = sum(s.wasted.failed for s in stages), sum(s.wasted.killed for s in stages)
        if not failed and not killed and not again:
            return None
        cores = max(1.0, self._app.cores.mean(self._app.started, self._app.ended) / self._rules.task_cpus)
        memory = sum(each.wasted.out_of_memory for each in stages)
        fetch = sum(each.wasted.fetch_failed for each in stages)
        metrics = (
            (Metric.FAILED_TASKS, failed), (Metric.KILLED_TASKS, killed), (Metric.STAGES_AGAIN, len(again)),
            (Metric.OUT_OF_MEMORY, memory), (Metric.FETCH_FAILED, fetch),
        )  # fmt: skip
        proposals, overruled = more_memory(self._settings, self._rules, 1.5) if memory else ((), ())
        lost_for_memory = self._losses()[Loss.MEMORY]
        remedy = Remedy.SET if proposals else Remedy.ASK_PLATFORM if fetch or lost_for_memory else Remedy.FIX_CODE
        worst = max(stages, key=lambda each: each.wasted.failed_ms + each.wasted.killed_ms)
        return Finding(
            Kind.FAILED_WORK, remedy, min(self._breakdown.wall_ms, retried_ms + wasted_ms / cores), core_ms=wasted_ms,
            stage=worst, stages=sum(bool(s.wasted.failed or s.wasted.killed) for s in stages), metrics=metrics,
            proposals=proposals, overruled=overruled,
        )  # fmt: skip

    def _lost_executors(self) -> Finding | None:
        """Executors that did not go by themselves."""
        losses = self._losses()
        lost = losses[Loss.MEMORY] + losses[Loss.TAKEN] + losses[Loss.OTHER]
        if not lost:
            return None
        metrics = (
            (Metric.LOST, lost), (Metric.LOST_MEMORY, losses[Loss.MEMORY]), (Metric.LOST_TAKEN, losses[Loss.TAKEN]),
            (Metric.EXECUTORS, len(self._real_executors())),
        )  # fmt: skip
        failed = sum(each.wasted.failed_ms for each in self._app.stages if each.wasted.executor_lost)
        cores = max(1.0, self._app.cores.mean(self._app.started, self._app.ended))
        proposals = more_overhead(self._settings, self._rules) if losses[Loss.MEMORY] else ()
        remedy = Remedy.SET if proposals else Remedy.ASK_PLATFORM
        return Finding(Kind.LOST_EXECUTORS, remedy, failed / cores, metrics=metrics, proposals=proposals)

    def _losses(self) -> Counter[Loss]:
        gone = (each for each in self._app.executors if each.removed is not None and each.removed < self._app.ended)
        return Counter(loss_of(each) for each in gone)

    def _idle_executors(self) -> Finding | None:
        """Executors that did next to nothing."""
        if self._breakdown.core_ms is None:
            return None
        idle = [each for each in self._real_executors() if self._use(each) < LITTLE_USED]
        everyone = self._real_executors()
        if not idle or len(everyone) < 2:
            return None
        core_ms = sum(self._life_ms(each) * each.cores for each in idle)
        metrics = ((Metric.EXECUTORS, len(idle)), (Metric.CORE_HOURS, core_ms / HOUR_MS))
        proposals, overruled = self._fewer(len(everyone) - len(idle))
        remedy = Remedy.SET if proposals else Remedy.ASK_PLATFORM
        return Finding(
            Kind.IDLE_EXECUTORS, remedy, core_ms=core_ms, metrics=metrics, proposals=proposals, overruled=overruled
        )

    def _idle_cores(self) -> Finding | None:
        """Cores that were paid for and held no task; fewer executors where that costs little time."""
        core_ms, idle = self._breakdown.core_ms, self._breakdown.idle_core_ms
        if core_ms is None or idle is None or idle < MUCH_IDLE * core_ms:
            return None
        count, predicted = self._enough_executors()
        metrics = (
            (Metric.CORE_HOURS, core_ms / HOUR_MS),
            (Metric.IDLE_CORE_HOURS, idle / HOUR_MS),
            (Metric.QUIET_CORE_HOURS, (self._breakdown.quiet_core_ms or 0) / HOUR_MS),
            (Metric.PREDICTED_S, predicted / 1000),
        )
        proposals, overruled = self._fewer(count) if count else ((), ())
        remedy = Remedy.SET if proposals else Remedy.ASK_PLATFORM
        return Finding(
            Kind.IDLE_CORES, remedy, core_ms=idle, metrics=metrics, proposals=proposals, overruled=overruled,
            value=count or None, place="core" if self._counts_cores() else "executor",
        )  # fmt: skip

    def _enough_executors(self) -> tuple[int, float]:
        """The fewest executors (on one machine: cores) with which the run takes little longer; 0 for all."""
        size = 1 if self._counts_cores() else max(1, self._rules.executor_cores)
        most = max(1, math.ceil(self._app.cores.mean(self._app.started, self._app.ended) / size))
        now = self._breakdown.predicted_ms(1.0) or 0.0
        for count in _counts_below(most):
            predicted = self._breakdown.predicted_ms(count / most) or 0.0
            if predicted <= SLOWER_AT_MOST * now:
                return count, self._breakdown.wall_ms * predicted / max(1.0, now)
        return 0, float(self._breakdown.wall_ms)

    def _counts_cores(self) -> bool:
        """Whether it is cores that there can be fewer of: on one machine, or with a single executor."""
        return self._rules.is_local or len(self._real_executors()) < 2

    def _fewer(self, count: int) -> tuple[tuple[Proposal, ...], tuple[Overrule, ...]]:
        count = max(1, count)
        if self._rules.sizes_fixed:
            return (), (Overrule.SIZE_BY_MACHINE,)
        if self._rules.is_local:
            return (proposal(self._settings, "spark.master", f"local[{count}]"),), ()
        if self._rules.dynamic:
            name = "spark.dynamicAllocation.maxExecutors"
            return (proposal(self._settings, name, str(count)),), (Overrule.DYNAMIC_ALLOCATION,)
        if self._counts_cores():
            return (proposal(self._settings, "spark.executor.cores", str(count)),), ()
        if self._rules.platform is Platform.STANDALONE:
            cores = str(count * max(1, self._rules.executor_cores))
            return (proposal(self._settings, "spark.cores.max", cores),), ()
        return (proposal(self._settings, "spark.executor.instances", str(count)),), ()

    def _unused_memory(self) -> Finding | None:
        """Heap that no task came near to, where the log has executors' peaks."""
        heap, peak = self._rules.heap_bytes, self._peak_heap()
        share = 1 - peak / heap if heap else 0.0
        spilled = any(each.totals.memory_spilled_bytes or each.wasted.out_of_memory for each in self._app.stages)
        long_enough = self._breakdown.wall_ms - self._breakdown.quiet_ms >= SAMPLED_MS
        if not peak or heap < 2 * GB or share < LITTLE_MEMORY or spilled or not long_enough:
            return None
        metrics = self._heap_metrics()
        if self._rules.sizes_fixed:
            return Finding(
                Kind.UNUSED_MEMORY, Remedy.SMALLER_MACHINES, memory_share=share, metrics=metrics,
                overruled=(Overrule.SIZE_BY_MACHINE,),
            )  # fmt: skip
        less = proposal(self._settings, self._rules.heap_setting, gigabytes(max(GB, peak * 2)))
        return Finding(Kind.UNUSED_MEMORY, Remedy.SET, memory_share=share, metrics=metrics, proposals=(less,))

    def _peak_heap(self) -> int:
        return max((each.peak_heap_bytes for each in self._app.executors), default=0)

    def _heap_metrics(self) -> tuple[tuple[Metric, float], ...]:
        return ((Metric.PEAK_HEAP_BYTES, self._peak_heap()), (Metric.HEAP_BYTES, self._rules.heap_bytes))

    def _real_executors(self) -> list[Executor]:
        return [
            each
            for each in self._app.executors
            if each.cores and each.executor_id != "driver" and each.added < self._app.ended
        ]

    def _life_ms(self, executor: Executor) -> int:
        return max(1, executor.removed_by(self._app.ended) - max(executor.added, self._app.started))

    def _use(self, executor: Executor) -> float:
        return executor.task_ms * self._rules.task_cpus / (self._life_ms(executor) * executor.cores)

    def _core_hours(self, until_ms: int) -> float:
        return self._app.cores.core_ms(self._app.started, self._app.started + until_ms) / HOUR_MS

    def _is_much(self, milliseconds: float) -> bool:
        return milliseconds >= max(MIN_WAIT_MS, MIN_WAIT_SHARE * self._breakdown.wall_ms)


def loss_of(executor: Executor) -> Loss:
    """Why an executor went away, by the words that were given."""
    return next((loss for loss, words in REASONS if words.search(executor.reason)), Loss.OTHER)


def _counts_below(most: int) -> list[int]:
    """Numbers of executors to look at: every one of few, some of many."""
    return list(range(1, most)) if most <= 50 else [round(most * step / 50) for step in range(1, 50)]
