"""The migration's metrics: from ranges, comparison and event log into the measurement."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipeline_jobs.contract import MeasurementWriter, Sample
from pipeline_jobs.event_log import summarise_event_log
from pipeline_jobs.migration.comparison import Verdict
from pipeline_jobs.migration.copy_plan import RangeResult
from pipeline_jobs.migration.endpoints import Endpoints
from pipeline_jobs.migration.options import Settings
from pipeline_jobs.migration.throughput import has_progress, range_details, range_metrics, slow_ranges, throughput_curve
from pipeline_jobs.postgres import one_row

BINDING = 0.9
"""A rate limit binds when the average comes to this part of it."""

UNKNOWN = "Spark's JDBC writer doesn't say when rows land inside a partition"
CONNECTION_ERRORS = ("08", "57P")


def record_sample(sample: Sample, results: Sequence[RangeResult], settings: Settings) -> None:
    """The metrics of one repeat."""
    written = sum(result.counts.written for result in results)
    failed = [result for result in results if result.state == "FAIL"]
    sample.metrics |= range_metrics(results) | _binding(results, sample.duration_s, settings)
    sample.metrics |= {
        "rows": float(written),
        "rows_per_s": written / sample.duration_s,
        "skipped_rows": float(sum(result.counts.skipped for result in results)),
        "rejected_rows": float(sum(result.counts.rejected for result in results)),
        "errors": float(len(failed)),
        "connection_errors": float(sum(_is_connection_error(result) for result in failed)),
        "partitions_per_core": len(results) / settings.core_count,
    }


def record_totals(
    writer: MeasurementWriter, ends: Endpoints, settings: Settings, verdict: Verdict, results: Sequence[RangeResult]
) -> None:
    """What holds for the trial as a whole, and the evidence: partitions one by one, throughput over time."""
    size = _size_bytes(ends)
    writer.workload = ends.fingerprint(verdict.sums.rows[0])
    writer.metrics |= {"bytes": float(size), "differing_partitions": float(len(verdict.differing))}
    writer.details |= {
        "method": settings.method,
        "snapshot": bool(ends.snapshot),
        "key": list(ends.key.names) if ends.key else [],
        "differing_partitions": list(verdict.differing),
    }
    record_ranges(writer, results)


def record_ranges(writer: MeasurementWriter, results: Sequence[RangeResult]) -> None:
    """The evidence of the last repeat: partitions one by one, the slow ones, throughput over time."""
    done = [result for result in results if result.state == "PASS" and result.counts.read]
    writer.details |= {
        "partitions": range_details(results),
        "slow_partitions": slow_ranges(done),
        "throughput": _curve(results),
    }


def record_stages(writer: MeasurementWriter, logs: str, counted_from: float) -> None:
    """Spark's own metrics of the counted repeats, for one repeat, and their stages."""
    summary = summarise_event_log(logs, since=counted_from - 0.001)
    writer.details["stages"] = summary.pop("stages")
    repeats = max(1, len(writer.counted_samples))
    sums = (
        "shuffle_read_bytes",
        "shuffle_write_bytes",
        "spill_bytes",
        "gc_s",
        "executor_cpu_s",
        "tasks",
        "failed_tasks",
    )
    writer.metrics |= {name: value / repeats if name in sums else value for name, value in summary.items()}
    work_s = sum(sample.duration_s for sample in writer.counted_samples) / repeats
    whole_s = writer.startup_s + work_s + writer.teardown_s
    writer.metrics |= {"startup_fraction": writer.startup_s / whole_s, "teardown_fraction": writer.teardown_s / whole_s}


def _binding(results: Sequence[RangeResult], duration_s: float, settings: Settings) -> dict[str, float]:
    """Which limit held the run back: 1 or 0. Rows that are refused are read and not written."""
    read, written = (sum(getattr(result.counts, name) for result in results) for name in ("read", "written"))
    origin, target = (
        float(limit > 0 and rows / duration_s >= BINDING * limit)
        for rows, limit in ((read, settings.origin_rate_limit), (written, settings.target_rate_limit))
    )
    names = {"origin_rate_limit_binds": origin, "target_rate_limit_binds": target}
    return names | {"rate_limit_binds": max(origin, target)}


def _curve(results: Sequence[RangeResult]) -> dict[str, list[float] | str]:
    """Rows landed over time, for a chart; `unknown` says why there is none."""
    if not results:
        return {}
    if not has_progress(results):
        return {"unknown": UNKNOWN}
    times, landed = throughput_curve(results)
    step = max(1, math.ceil(len(times) / 300))
    return {"time_s": times[::step].round(2).tolist(), "rows": landed[::step].round(0).tolist()}


def _size_bytes(ends: Endpoints) -> int:
    return int(one_row(ends.target, "SELECT pg_table_size(%s::regclass)", (ends.target_table.sql,))[0])


def _is_connection_error(result: RangeResult) -> bool:
    return not result.sqlstate or result.sqlstate.startswith(CONNECTION_ERRORS)
