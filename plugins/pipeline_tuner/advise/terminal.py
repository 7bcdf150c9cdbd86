"""What `advise` prints on a terminal: first what to do, then where the time went."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime

from pipeline_tuner.advise import finding_words
from pipeline_tuner.advise.advice import SCALES, JobAdvice, Repeated, RunAdvice
from pipeline_tuner.advise.application import Application, Outcome, Stage
from pipeline_tuner.advise.costs import Prices, cost_of
from pipeline_tuner.advise.log_reader import Read
from pipeline_tuner.advise.odd_settings import odd_settings, odd_words
from pipeline_tuner.wording import byte_words, counted, listed, number, percent, second_words

WIDTH = 110
MAX_STAGES = 10
LONG_QUEUE_MS = 10_000
OUTCOMES = {
    Outcome.SUCCEEDED: "succeeded",
    Outcome.FAILED: "its last job failed",
    Outcome.CUT: "the log has no end: still running, killed, or cut",
}


def job_words(job: JobAdvice, prices: Prices) -> str:
    """All that is said of a job."""
    parts = [
        _head(job.main),
        *_readings(job),
        *_odd_settings(job.main),
        *_runs(job, prices),
        *_to_do(job),
        *_details(job),
        _time(job.main),
    ]
    return "\n\n".join(filter(None, [*parts, _money(job.main, prices), _scaling(job.main)]))


def _head(run: RunAdvice) -> str:
    app = run.read.application
    kind = ", streaming" if app.is_streaming else ", a shell or notebook" if app.is_session else ""
    version = f"Spark {app.version}" if app.version else "Spark of unknown version"
    attempt = f", attempt {app.attempt}" if app.attempt else ""
    return _wrapped(
        f"{app.name} ({app.app_id}{attempt}; {version}, {run.rules.platform.value}{kind}): "
        f"{second_words(app.wall_ms / 1000)}, {OUTCOMES[app.outcome]}; "
        f"{counted(len(app.jobs), 'job')}, {counted(len(app.stages), 'stage')}, {_executors(app)}."
    )


def _executors(app: Application) -> str:
    sizes = sorted({each.cores for each in app.executors if each.cores})
    if not sizes:
        return "executors unknown"
    if {each.executor_id for each in app.executors} == {"driver"}:
        return f"{counted(sizes[-1], 'core')} on one machine"
    number_of = sum(1 for each in app.executors if each.cores)
    return f"{counted(number_of, 'executor')} of {' or '.join(map(str, sizes))} {'core' if sizes == [1] else 'cores'}"


def _readings(job: JobAdvice) -> Iterator[str]:
    """What is missing of the logs; nothing where they are whole."""
    for run in job.runs:
        missing = list(missing_words(run.read))
        if missing:
            yield _wrapped(f"{run.read.log.path.name}: {' '.join(missing)}")
        app = run.read.application
        if app.queued_ms > max(LONG_QUEUE_MS, app.wall_ms / 20):
            yield _wrapped(f"{run.read.log.path.name}: {_queue_words(app)}")
        if run.breakdown.core_ms is None and app.stages:
            yield _wrapped(
                f"{run.read.log.path.name}: The log's executors don't cover its tasks (their events are missing, or of "
                "another time), so nothing is said about cores."
            )


def _queue_words(app: Application) -> str:
    before = f"It was submitted {second_words(app.queued_ms / 1000)} before it started, which is no part of the run"
    is_later = app.attempt.isdecimal() and int(app.attempt) > 1
    return f"{before}: attempts before this one failed, and their own logs say why." if is_later else f"{before}."


def missing_words(read: Read) -> Iterator[str]:
    """What of a log is missing or damaged, a sentence each."""
    for part, damage in read.damaged_parts:
        yield f"{part.name} was read as far as it goes: {damage}."
    if read.log.missing_parts:
        missing, several = listed([str(part) for part in read.log.missing_parts]), len(read.log.missing_parts) > 1
        parts, are, their = ("Parts", "are", "their") if several else ("Part", "is", "its")
        yield f"{parts} {missing} of the rolling log {are} missing: {their} work isn't counted."
    if read.log.compacted:
        yield "Spark compacted the log: what it took for finished is gone, so sums are of what is left."
    if read.not_events:
        lines = counted(read.not_events, "line")
        yield f"{lines} (the first is line {read.first_not_event:,}) are no events and were passed over."
    if read.cut_line:
        yield "The last line is cut off."
    if not read.has_start:
        yield "The application's start isn't in the log: times are from the first event on, and its name isn't known."
    if not read.has_settings:
        yield "Its settings aren't in the log: advice on them is as if all had their defaults."
    if read.application.has_gaps:
        yield "So nothing is said about start-up, waits and idle cores."
    if not read.has_end:
        running = f"; {counted(read.unfinished_tasks, 'task')} had begun and not ended" if read.unfinished_tasks else ""
        yield f"The application's end isn't in the log{running}."
        yield "Values are as of the last event."


def _odd_settings(run: RunAdvice) -> Iterator[str]:
    found = [odd_words(each) for each in odd_settings(run.read.application.settings)]
    if found:
        yield _wrapped(f"Settings that are hardly meant: {' '.join(found)}")


def _runs(job: JobAdvice, prices: Prices) -> Iterator[str]:
    """A row for each run, where there are several."""
    if len(job.runs) < 2:
        return
    rows = [_run_row(run, prices, is_main=run is job.main) for run in job.runs]
    header = ("run", "began (UTC)", "took", "input", "shuffled", "cost", "ended")
    yield f"{counted(len(job.runs), 'run')}; the advice is about the one marked *.\n{_table(header, rows)}"


def _run_row(run: RunAdvice, prices: Prices, *, is_main: bool) -> tuple[str, ...]:
    app = run.read.application
    cost = cost_of(run, prices)
    return (
        f"{'* ' if is_main else '  '}{app.app_id}{'.' + app.attempt if app.attempt else ''}",
        datetime.fromtimestamp(app.started / 1000, UTC).strftime("%Y-%m-%d %H:%M"),
        second_words(app.wall_ms / 1000),
        byte_words(sum(stage.totals.input_bytes for stage in app.stages)),
        byte_words(sum(stage.totals.shuffle_write_bytes for stage in app.stages)),
        f"{cost.price:.3g}" if cost else "unknown",
        app.outcome.value,
    )


def _to_do(job: JobAdvice) -> Iterator[str]:
    if not job.main.read.application.stages:
        yield "No task ran: there is nothing to advise on."
        return
    if not job.findings:
        yield "Nothing was found that explains 1% of the run or more."
        return
    several = len(job.runs) > 1
    header = ("", "of the time", "of the cores", *(("in runs",) if several else ()), "what", "do")
    rows = [
        (str(place), *_shares(job, each), *((f"{each.seen} of {len(job.runs)}",) if several else ()),
         finding_words.title(each.finding), finding_words.to_do(each.finding))
        for place, each in enumerate(job.findings, 1)
    ]  # fmt: skip
    note = "Shares say what is gained at most, were that alone gone; they overlap."
    yield f"{_table(header, rows)}\n{note}"


def _shares(job: JobAdvice, each: Repeated) -> tuple[str, str]:
    time, money = job.main.wall_share(each.finding), job.main.money_share(each.finding)
    of_memory = " (memory)" if each.finding.memory_share else ""
    return percent(time) if time else "", f"{percent(money)}{of_memory}" if money else ""


def _details(job: JobAdvice) -> Iterator[str]:
    for place, each in enumerate(job.findings, 1):
        finding = each.finding
        title, place_words = finding_words.title(finding), finding_words.where(finding)
        head = f"{title[0].upper()}{title[1:]}{', ' + place_words if finding.stage else ''}."
        usual = f" In the {each.seen} runs that have it: {percent(each.median_share)} of the time in the median."
        sentences = [head, finding_words.seen(finding), finding_words.advice(finding)]
        if each.seen > 1 and each.median_share:
            sentences.append(usual.strip())
        lines = [_wrapped(" ".join(filter(None, sentences)), first=f"{place}. ", rest="   ")]
        lines += [f"   {finding_words.proposal_words(proposal)}" for proposal in finding.proposals]
        yield "\n".join(lines)


def _time(run: RunAdvice) -> str:
    """The chain of waits and stages that the run is made of; its rows add up to the run."""
    breakdown = run.breakdown
    total = max(1, breakdown.wall_ms)
    walls: dict[tuple[int, int], tuple[Stage, int]] = {}
    for step in breakdown.steps:
        key = (step.stage.stage_id, step.stage.attempt)
        walls[key] = (step.stage, walls.get(key, (step.stage, 0))[1] + step.wall_ms)
    largest = sorted(walls.values(), key=lambda each: -each[1])
    rows = [_time_row("before the first task", breakdown.startup_ms, total)]
    rows += [_stage_row(stage, wall, total) for stage, wall in largest[:MAX_STAGES]]
    rest = sum(wall for _, wall in largest[MAX_STAGES:])
    if rest:
        rows.append(_time_row(f"{len(largest) - MAX_STAGES} more stages", rest, total))
    on_chain = sum(wall for _, wall in largest)
    rows.append(_time_row("no task, or between stages", total - on_chain - breakdown.startup_ms, total))
    header = ("where the time went", "took", "of the run", "tasks", "read", "shuffled", "spilled", "GC")
    return _table(header, rows)


def _time_row(name: str, milliseconds: float, total: int) -> tuple[str, ...]:
    return (
        name,
        second_words(max(0.0, milliseconds) / 1000),
        percent(max(0.0, milliseconds) / total),
        "",
        "",
        "",
        "",
        "",
    )


def _stage_row(stage: Stage, wall: int, total: int) -> tuple[str, ...]:
    totals = stage.totals
    return (
        _cut(finding_words.stage_words(stage), 56),
        second_words(wall / 1000),
        percent(wall / total),
        f"{stage.complete_tasks:,}",
        byte_words(stage.read_bytes) if stage.read_bytes else "",
        byte_words(totals.shuffle_write_bytes) if totals.shuffle_write_bytes else "",
        byte_words(totals.disk_spilled_bytes) if totals.disk_spilled_bytes else "",
        percent(totals.gc_ms / totals.run_ms) if totals.gc_ms and totals.run_ms else "",
    )


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _money(run: RunAdvice, prices: Prices) -> str:
    cost = cost_of(run, prices)
    if cost is None or not cost.core_hours:
        return ""
    return _wrapped(
        f"Where the money went: {number(cost.core_hours)} core-hours and {number(cost.gigabyte_hours)} GB-hours of "
        f"heap, {cost.price:.3g} at {prices.core_hour:g} per core-hour and {prices.gigabyte_hour:g} per GB-hour; "
        f"{percent(cost.idle_core_hours / cost.core_hours)} of it ({cost.idle_price:.3g}) for cores that held no task."
    )


def _scaling(run: RunAdvice) -> str:
    """What other numbers of cores would do, and the least that any number could."""
    if not run.read.application.stages:
        return ""
    least = second_words(run.breakdown.bound_ms / 1000)
    what = "cores" if run.rules.is_local else "executors"
    bound = (
        f"Any number of {what}: {least} at least, {run.unlimited_gain:.2f}x as fast at most (no task for "
        f"{second_words(run.breakdown.quiet_ms / 1000)}, then the longest task of each stage in turn), with the "
        "program and its partitions as they are."
    )
    # One machine has the cores that it has.
    scales = [scale for scale in SCALES if scale < 1 or not run.rules.is_local]
    predicted = [(scale, run.breakdown.predicted_ms(scale)) for scale in scales]
    known = [f"{scale:g}x the cores {second_words(value / 1000)}" for scale, value in predicted if value is not None]
    return _wrapped(bound + (f" Expected with {', '.join(known)}." if known else ""))


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A table whose last column is as long as it has to be: settings are there to be copied."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    ruled = [header, tuple("-" * min(width, WIDTH // 2) for width in widths), *rows]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in ruled
    )


def _wrapped(text: str, *, first: str = "", rest: str = "") -> str:
    return textwrap.fill(
        text, WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )
