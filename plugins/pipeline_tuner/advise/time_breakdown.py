"""Where a run's time went: the critical path of stages and waits, and how short the run could have been.

The chain is walked backwards from the end: before each stage comes what it waited for, that is the parent that ended
last, or else whatever ended last before it. Its parts add up to the run. What ran beside the chain took no time.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from pipeline_tuner.advise.application import Application, Stage
from pipeline_tuner.advise.timeline import Span, gaps, length

HANDOVER_MS = 1000
"""A parent that ended so shortly before a stage began is what the stage waited for."""


@dataclass(frozen=True)
class Step:
    """A stage's part of the chain."""

    stage: Stage
    begin: int
    end: int

    @property
    def wall_ms(self) -> int:
        """Time of the run that it took."""
        return self.end - self.begin


@dataclass(frozen=True)
class Breakdown:
    """A run, taken apart. Core values are None where the log's executors can't be right."""

    application: Application
    steps: tuple[Step, ...]
    """Stages on the chain, in time."""
    task_cpus: int = 1

    @property
    def wall_ms(self) -> int:
        """The run."""
        return self.application.wall_ms

    @cached_property
    def quiet(self) -> tuple[Span, ...]:
        """When no task was running, between the application's start and its end."""
        return gaps(self.application.busy, self.application.started, self.application.ended)

    @property
    def quiet_ms(self) -> int:
        """How long no task was running."""
        return length(self.quiet)

    @property
    def startup_ms(self) -> int:
        """Until the first task; the whole run where there was none."""
        busy = self.application.busy
        return max(0, min(busy[0][0], self.application.ended) - self.application.started) if busy else self.wall_ms

    @property
    def waits_ms(self) -> int:
        """Without a running task, after the first one."""
        return max(0, self.quiet_ms - self.startup_ms)

    @cached_property
    def core_ms(self) -> int | None:
        """Cores that were there x time. None where tasks took more than that: the executors' times are wrong."""
        app = self.application
        there = app.cores.core_ms(app.started, app.ended)
        known = there > 0 and app.task_ms * self.task_cpus <= there * 1.02 and self._cores_at_work()
        return there if known else None

    def _cores_at_work(self) -> bool:
        """Whether there were cores whenever tasks ran."""
        return all(self.application.cores.mean(begin, end) > 0 for begin, end in self.application.busy if end > begin)

    @property
    def task_core_ms(self) -> int:
        """Cores x time that tasks held."""
        return self.application.task_ms * self.task_cpus

    @property
    def idle_core_ms(self) -> int | None:
        """Cores x time that were paid for and held no task."""
        return None if self.core_ms is None else max(0, self.core_ms - self.task_core_ms)

    @property
    def quiet_core_ms(self) -> int | None:
        """The part of it while no task ran at all."""
        if self.core_ms is None:
            return None
        return sum(self.application.cores.core_ms(begin, end) for begin, end in self.quiet)

    def slots(self, stage: Stage) -> float | None:
        """Tasks that could run at once while a stage did; None where it isn't known."""
        if self.core_ms is None or stage.begin is None or stage.end is None:
            return None
        return self.application.cores.mean(stage.begin, max(stage.end, stage.begin + 1)) / self.task_cpus

    def wall_of(self, stage: Stage) -> int:
        """The time of the run that a stage took."""
        return sum(step.wall_ms for step in self.steps if step.stage is stage)

    @cached_property
    def bound_ms(self) -> int:
        """The least that the run takes with any number of executors, with its present partitions and driver program.

        The longest chain of dependent stages, each as long as its longest task, and the time without a running task.
        """
        return self.quiet_ms + _longest_chain(self.application)

    def predicted_ms(self, factor: float) -> float | None:
        """The run with `factor` times as many cores: each stage of the chain shares its work or waits for its longest
        task. None where cores aren't known."""
        if self.core_ms is None:
            return None
        return self.quiet_ms + sum(self._predicted_step(step, factor) for step in self.steps)

    def _predicted_step(self, step: Step, factor: float) -> float:
        stage, slots = step.stage, self.slots(step.stage) or 1.0
        if stage.spread is None or not stage.wall_ms:
            return step.wall_ms
        longest = stage.spread.longest.duration_ms
        modelled_now = max(longest, stage.totals.task_ms / slots)
        modelled = max(longest, stage.totals.task_ms / (slots * factor))
        return step.wall_ms * modelled / modelled_now if modelled_now else step.wall_ms


def break_down(application: Application, *, task_cpus: int = 1) -> Breakdown:
    """Take a run apart."""
    return Breakdown(application, _steps(application), task_cpus)


def _steps(application: Application) -> tuple[Step, ...]:
    waiting = [(-(stage.end or 0), place, stage) for place, stage in enumerate(application.stages) if stage.wall_ms]
    heapq.heapify(waiting)
    by_id: dict[int, list[Stage]] = {}
    for each in application.stages:
        by_id.setdefault(each.stage_id, []).append(each)
    steps: list[Step] = []
    at = application.ended
    stage: Stage | None = _last_before(waiting, at)
    while stage is not None and stage.begin is not None and stage.end is not None and at > application.started:
        begin, end = max(stage.begin, application.started), min(stage.end, at)
        if end > begin:
            steps.append(Step(stage, begin, end))
        at = stage.begin  # before `at`, as all that are chosen, so that the walk ends
        stage = _parent(stage, by_id, at) or _last_before(waiting, at)
    return tuple(reversed(steps))


def _last_before(waiting: list[tuple[int, int, Stage]], at: int) -> Stage | None:
    """The stage that ended last, of those that began before a time. The walk never comes back to later ones."""
    while waiting and (waiting[0][2].begin or 0) >= at:
        heapq.heappop(waiting)
    return waiting[0][2] if waiting else None


def _parent(stage: Stage, by_id: dict[int, list[Stage]], at: int) -> Stage | None:
    parents = [each for parent in stage.parents for each in by_id.get(parent, ())]
    ended = [each for each in parents if each.wall_ms and each.end and at - HANDOVER_MS <= each.end <= at]
    return max((each for each in ended if (each.begin or 0) < at), key=lambda each: each.end or 0, default=None)


def _longest_chain(application: Application) -> int:
    """The longest sum of longest tasks over stages that had to follow each other (ms)."""
    submitted = {job.job_id: job.submitted for job in application.jobs}
    ended: list[int] = []  # ends of stages in order, with the longest chain up to each
    chains: list[int] = []
    bounds: dict[int, int] = {}
    pending: list[tuple[int, int]] = []  # (end, bound) of stages not yet in `ended`
    for stage in sorted(application.stages, key=lambda each: each.begin or 0):
        if stage.spread is None or stage.begin is None or stage.end is None:
            continue
        began = min((submitted[job] for job in stage.job_ids if job in submitted), default=stage.begin)
        while pending and pending[0][0] <= stage.begin:
            end, bound = heapq.heappop(pending)
            ended.append(end)
            chains.append(max(bound, chains[-1] if chains else 0))
        before = _chain_until(ended, chains, min(began, stage.begin))
        parents = max((bounds.get(parent, 0) for parent in stage.parents), default=0)
        bound = stage.spread.longest.duration_ms + max(before, parents)
        bounds[stage.stage_id] = max(bound, bounds.get(stage.stage_id, 0))
        heapq.heappush(pending, (stage.end, bound))
    return max((*chains[-1:], *(bound for _, bound in pending)), default=0)


def _chain_until(ended: Sequence[int], chains: Sequence[int], time: int) -> int:
    place = bisect_right(ended, time)
    return chains[place - 1] if place else 0
