"""The metrics of throughput over time: slow ranges, first and last, peak rate, from the ranges' own clocks."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline_jobs.migration.copy_plan import RangeResult

WINDOW_S = 1.0
STEP_S = 0.1
SLOW = 1.5
"""A range is slow when it takes this many times the median per row."""


def throughput_curve(results: Sequence[RangeResult]) -> tuple[np.ndarray, np.ndarray]:
    """Rows landed so far (second array) at times STEP_S apart (first, s since the first range began).

    Within a range, rows follow the bytes that were noted; all ranges must have progress.
    """
    start, end = min(r.started for r in results), max(r.ended for r in results)
    times = np.arange(start, end + STEP_S, STEP_S)
    landed = np.zeros_like(times)
    for result in results:
        at, part = _course(result)
        landed += np.interp(times, at, part) * result.counts.written
    return times - start, landed


def has_progress(results: Sequence[RangeResult]) -> bool:
    """Whether it is known how rows landed over time, inside the ranges too."""
    return all(result.has_progress for result in results)


def peak_rows_per_s(results: Sequence[RangeResult]) -> float | None:
    """The most rows that landed within any second.

    None where the run was no longer than that, or where nobody knows when rows landed inside a range.
    """
    if not has_progress(results) or _span_s(results) <= WINDOW_S:
        return None
    _, landed = throughput_curve(results)
    width = round(WINDOW_S / STEP_S)
    return float(np.max(landed[width:] - landed[:-width]) / WINDOW_S)


def range_metrics(results: Sequence[RangeResult]) -> dict[str, float]:
    """Times of the ranges (`latency_*`), how many passed, were slow, and how the first and last compare."""
    done = [result for result in results if result.state == "PASS" and result.counts.read]
    seconds = sorted(result.ended - result.started for result in done) or [0.0]
    peak = peak_rows_per_s(results)
    return {
        "latency_p50_s": float(np.percentile(seconds, 50)),
        "latency_p95_s": float(np.percentile(seconds, 95)),
        "latency_p99_s": float(np.percentile(seconds, 99)),
        "partitions": float(len(results)),
        "partitions_passed": float(sum(result.state == "PASS" for result in results)),
        "partitions_failed": float(sum(result.state == "FAIL" for result in results)),
        "slow_partitions": float(len(slow_ranges(done))),
        **({} if peak is None else {"peak_rows_per_s": peak}),
        **_edge_effect(done),
    }


def slow_ranges(done: Sequence[RangeResult]) -> list[int]:
    """The numbers of the ranges that took over SLOW times the median for a row."""
    cost = {r.number: (r.ended - r.started) / r.counts.read for r in done}
    return sorted(number for number, value in cost.items() if value > SLOW * statistics.median(cost.values()))


def range_details(results: Sequence[RangeResult]) -> list[dict[str, Any]]:
    """The ranges one by one, as JSON."""
    start = min((r.started for r in results), default=0.0)
    return [
        {
            "number": r.number,
            "state": r.state,
            "start_s": round(r.started - start, 3),
            "duration_s": round(r.ended - r.started, 3),
            "read": r.counts.read,
            "written": r.counts.written,
            "skipped": r.counts.skipped,
            "rejected": r.counts.rejected,
            **({"sqlstate": r.sqlstate, "reason": r.reason} if r.reason else {}),
        }
        for r in sorted(results, key=lambda r: r.started)
    ]


def _span_s(results: Sequence[RangeResult]) -> float:
    return max((r.ended for r in results), default=0.0) - min((r.started for r in results), default=0.0)


def _course(result: RangeResult) -> tuple[list[float], list[float]]:
    """Times, and the part of the range's rows that had landed by then."""
    if not result.counts.written:
        return [result.started, max(result.ended, result.started + 1e-6)], [0.0, 1.0]
    times, sizes = zip(*result.progress, strict=True)
    return [*times, max(result.ended, times[-1])], [*(size / result.bytes for size in sizes), 1.0]


def _edge_effect(done: Sequence[RangeResult]) -> dict[str, float]:
    """Time per row of the first and the last range to start, as a ratio to the median of all."""
    if len(done) < 3:
        return {}
    ordered = sorted(done, key=lambda result: result.started)
    cost = [(result.ended - result.started) / result.counts.read for result in ordered]
    median = statistics.median(cost)
    return {"first_partition_ratio": cost[0] / median, "last_partition_ratio": cost[-1] / median}
