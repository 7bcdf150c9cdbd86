"""The advice for one run, and for several runs of one job together: which findings, in which order. Called by
`command.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from pipeline_tuner.advise.application import Outcome
from pipeline_tuner.advise.findings import Finding, Remedy
from pipeline_tuner.advise.log_reader import Read
from pipeline_tuner.advise.platforms import Rules, rules_of
from pipeline_tuner.advise.run_rules import RunRules
from pipeline_tuner.advise.stage_rules import StageRules
from pipeline_tuner.advise.time_breakdown import Breakdown, break_down

DATED = re.compile(r"\d{4}[-_/]\d{2}[-_/]\d{2}\S*|\d{6,}|[0-9a-f]{8}-[0-9a-f-]{27}")
"""Parts of an application's name that tell its runs apart: dates, times, identifiers."""
SCALES = (0.5, 2.0, 4.0)
"""As many times the cores, for the table of what more or fewer of them would do."""


@dataclass(frozen=True)
class RunAdvice:
    """One run: what was read, taken apart and found."""

    read: Read
    breakdown: Breakdown
    rules: Rules
    findings: tuple[Finding, ...]
    """Those that explain most of the time first, then those of the money; last what can't be helped."""

    def wall_share(self, finding: Finding) -> float:
        """How much of the run's time a finding explains, at most."""
        return min(1.0, max(0.0, finding.wall_ms / max(1, self.breakdown.wall_ms)))

    def money_share(self, finding: Finding) -> float:
        """How much of the cores that were paid for (or of the memory) a finding explains."""
        if finding.memory_share:
            return finding.memory_share
        core_ms = self.breakdown.core_ms
        return min(1.0, max(0.0, finding.core_ms / core_ms)) if core_ms else 0.0

    @property
    def unlimited_gain(self) -> float:
        """How many times faster the run could be at most with any number of executors."""
        return self.breakdown.wall_ms / self.breakdown.bound_ms if self.breakdown.bound_ms else 1.0


@dataclass(frozen=True)
class Repeated:
    """A finding of the run at hand, and how it was in the other runs of the job."""

    finding: Finding
    seen: int
    """Runs that it is in."""
    median_share: float
    """Of the time of those runs."""


@dataclass(frozen=True)
class JobAdvice:
    """All runs of one job."""

    name: str
    runs: tuple[RunAdvice, ...]
    """In the order of time."""

    @property
    def main(self) -> RunAdvice:
        """The run that the advice is about: the last one that came to its end, else the last one."""
        ended = [run for run in self.runs if run.read.application.outcome is Outcome.SUCCEEDED]
        return (ended or list(self.runs))[-1]

    @property
    def findings(self) -> tuple[Repeated, ...]:
        """What was found in the main run, with how often the other runs have it."""
        return tuple(self._repeated(finding) for finding in self.main.findings)

    def _repeated(self, finding: Finding) -> Repeated:
        same = [
            run.wall_share(each) for run in self.runs for each in run.findings if _identity(each) == _identity(finding)
        ]
        return Repeated(finding, len(same), median(same))


def advise(read: Read) -> RunAdvice:
    """The advice for a log that was read."""
    rules = rules_of(read.application)
    breakdown = break_down(read.application, task_cpus=rules.task_cpus)
    found = [*StageRules(breakdown, rules).findings(), *RunRules(breakdown, rules).findings()]
    found = found if read.application.stages else []  # no task ran: cores that stood empty say nothing of the job
    advice = RunAdvice(read, breakdown, rules, ())
    ordered = sorted(
        found, key=lambda each: (each.remedy is Remedy.STARTING, -advice.wall_share(each), -advice.money_share(each))
    )
    return RunAdvice(read, breakdown, rules, tuple(ordered))


def by_job(runs: Iterable[RunAdvice]) -> tuple[JobAdvice, ...]:
    """Runs of the same name, but for dates and long numbers in it, are runs of one job.

    The same run in two copies of a log counts once, by the longer copy.
    """
    unique: dict[tuple[str, str], RunAdvice] = {}
    for run in runs:
        app = run.read.application
        other = unique.get((app.app_id, app.attempt))
        if other is None or other.read.lines < run.read.lines:
            unique[app.app_id, app.attempt] = run
    jobs: dict[str, list[RunAdvice]] = {}
    for run in unique.values():
        jobs.setdefault(_job_of(run), []).append(run)
    return tuple(JobAdvice(found[0].read.application.name, tuple(_in_time(found))) for found in jobs.values())


def _job_of(run: RunAdvice) -> str:
    """What makes runs those of one job; what was typed into two shells is no job."""
    app = run.read.application
    return app.app_id if app.is_session else DATED.sub("*", app.name)


def _in_time(runs: Sequence[RunAdvice]) -> list[RunAdvice]:
    return sorted(runs, key=lambda run: run.read.application.started)


def _identity(finding: Finding) -> tuple[object, ...]:
    """What makes findings of two runs the same: stages have other numbers in each run, names stay."""
    return finding.kind, finding.stage.name if finding.stage else None
