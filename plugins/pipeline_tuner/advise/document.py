"""`advise --json`: the schema of the advice for programs; times in s and sizes in bytes as the field names say."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from pipeline_tuner.advise import finding_words
from pipeline_tuner.advise.advice import JobAdvice, Repeated, RunAdvice
from pipeline_tuner.advise.costs import Prices, cost_of
from pipeline_tuner.advise.odd_settings import odd_settings, odd_words
from pipeline_tuner.advise.terminal import missing_words


class SettingDocument(Struct):
    """A setting to try."""

    name: str
    present: str | None
    value: str


class FindingDocument(Struct):
    """One finding."""

    kind: str
    remedy: str
    of_time: float
    """Part of the run's time that is gained at most."""
    of_cores: float
    of_memory: float
    seen_in_runs: int
    stage_id: int | None
    stage_name: str | None
    metrics: dict[str, float]
    settings: list[SettingDocument]
    overruled: list[str]
    seen: str
    advice: str


class StageDocument(Struct):
    """A stage's attempt. The sums are those of Spark's own pages."""

    stage_id: int
    attempt: int
    name: str
    on_chain_s: float
    tasks: int
    failed_tasks: int
    killed_tasks: int
    run_s: float
    cpu_s: float
    gc_s: float
    input_bytes: int
    output_bytes: int
    shuffle_read_bytes: int
    shuffle_write_bytes: int
    memory_spilled_bytes: int
    disk_spilled_bytes: int
    median_task_s: float | None
    longest_task_s: float | None


class RunDocument(Struct):
    """One run."""

    log: str
    application_id: str
    attempt: str
    spark: str
    platform: str
    outcome: str
    is_complete: bool
    missing: list[str]
    odd_settings: list[str]
    """Sizes that are too small to be meant, in words."""
    lines: int
    queued_s: float
    wall_s: float
    startup_s: float
    no_task_s: float
    least_s: float
    """With any number of executors."""
    core_hours: float | None
    idle_core_hours: float | None
    price: float | None
    stages: list[StageDocument]


class JobDocument(Struct):
    """All that is said of a job."""

    name: str
    advised_run: str
    findings: list[FindingDocument]
    runs: list[RunDocument]


def as_json(jobs: tuple[JobAdvice, ...], prices: Prices) -> str:
    """The advice for jobs as a JSON list."""
    documents = [_job(job, prices) for job in jobs]
    return msgspec.json.format(msgspec.json.encode(documents), indent=1).decode()


def _job(job: JobAdvice, prices: Prices) -> JobDocument:
    return JobDocument(
        name=job.name,
        advised_run=job.main.read.application.app_id,
        findings=[_finding(job, each) for each in job.findings],
        runs=[_run(run, prices) for run in job.runs],
    )


def _finding(job: JobAdvice, each: Repeated) -> FindingDocument:
    finding = each.finding
    return FindingDocument(
        kind=finding.kind.value,
        remedy=finding.remedy.value,
        of_time=job.main.wall_share(finding),
        of_cores=0.0 if finding.memory_share else job.main.money_share(finding),
        of_memory=finding.memory_share,
        seen_in_runs=each.seen,
        stage_id=finding.stage.stage_id if finding.stage else None,
        stage_name=finding.stage.name if finding.stage else None,
        metrics={metric.value: value for metric, value in finding.metrics},
        settings=[SettingDocument(p.setting, p.present or None, p.value) for p in finding.proposals],
        overruled=[overrule.value for overrule in finding.overruled],
        seen=finding_words.seen(finding),
        advice=finding_words.advice(finding) or finding_words.to_do(finding),
    )


def _run(run: RunAdvice, prices: Prices) -> RunDocument:
    app, breakdown, cost = run.read.application, run.breakdown, cost_of(run, prices)
    return RunDocument(
        log=run.read.log.path.name,
        application_id=app.app_id,
        attempt=app.attempt,
        spark=app.version,
        platform=run.rules.platform.value,
        outcome=app.outcome.value,
        is_complete=run.read.is_complete,
        missing=list(missing_words(run.read)),
        odd_settings=[odd_words(each) for each in odd_settings(app.settings)],
        lines=run.read.lines,
        queued_s=app.queued_ms / 1000,
        wall_s=app.wall_ms / 1000,
        startup_s=breakdown.startup_ms / 1000,
        no_task_s=breakdown.quiet_ms / 1000,
        least_s=breakdown.bound_ms / 1000,
        core_hours=cost.core_hours if cost else None,
        idle_core_hours=cost.idle_core_hours if cost else None,
        price=cost.price if cost else None,
        stages=_stages(run),
    )


def _stages(run: RunAdvice) -> list[StageDocument]:
    walls: dict[tuple[int, int], int] = {}
    for step in run.breakdown.steps:
        key = (step.stage.stage_id, step.stage.attempt)
        walls[key] = walls.get(key, 0) + step.wall_ms
    return [
        StageDocument(
            stage_id=stage.stage_id,
            attempt=stage.attempt,
            name=stage.name,
            on_chain_s=walls.get((stage.stage_id, stage.attempt), 0) / 1000,
            tasks=stage.complete_tasks,
            failed_tasks=stage.wasted.failed,
            killed_tasks=stage.wasted.killed,
            run_s=stage.totals.run_ms / 1000,
            cpu_s=stage.totals.cpu_ns / 1e9,
            gc_s=stage.totals.gc_ms / 1000,
            input_bytes=stage.totals.input_bytes,
            output_bytes=stage.totals.output_bytes,
            shuffle_read_bytes=stage.totals.shuffle_read_bytes,
            shuffle_write_bytes=stage.totals.shuffle_write_bytes,
            memory_spilled_bytes=stage.totals.memory_spilled_bytes,
            disk_spilled_bytes=stage.totals.disk_spilled_bytes,
            median_task_s=stage.spread.median_ms / 1000 if stage.spread else None,
            longest_task_s=stage.spread.longest.duration_ms / 1000 if stage.spread else None,
        )
        for stage in run.read.application.stages
    ]
