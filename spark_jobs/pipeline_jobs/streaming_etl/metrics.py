"""The streaming ETL's metrics: rates, latencies, where the time went, memory over time, the bottleneck."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import psutil

from pipeline_jobs.sampler import Sampler
from pipeline_jobs.streaming_etl.engine import Done, Report, Usage

WINDOW_S = 1.0
MEMORY_STEP_S = 0.1
MIN_TREND_S = 0.3
"""A slope over less than this is noise."""
STAGES = ("extract", "transform", "load")


class MemoryTrend(Sampler):
    """Samples this process's resident memory while the work runs."""

    def __init__(self) -> None:
        super().__init__(MEMORY_STEP_S)
        self._process = psutil.Process()
        self._samples: list[tuple[float, int]] = []

    def begin(self) -> None:
        """Start the clock."""
        self._start = time.monotonic()
        self.sample()

    def sample(self) -> None:
        """Note the time and the memory."""
        self._samples.append((time.monotonic() - self._start, self._process.memory_info().rss))

    def metrics(self) -> dict[str, float]:
        """`memory_growth_bytes_per_s`, below 0 where memory shrank; nothing where the work was too short to say."""
        growth = growth_bytes_per_s(self._samples)
        return {} if growth is None else {"memory_growth_bytes_per_s": growth}

    def samples(self) -> list[tuple[float, int]]:
        """Seconds since the start and bytes, at most 100 of them."""
        step = max(1, len(self._samples) // 100)
        return [(round(at, 2), size) for at, size in self._samples[::step]]


def growth_bytes_per_s(samples: Sequence[tuple[float, int]]) -> float | None:
    """The slope over the second half of (seconds, bytes), when buffers have their size; None where it is too short."""
    half = samples[len(samples) // 2 :]
    if len(half) < 3 or half[-1][0] - half[0][0] < MIN_TREND_S:
        return None
    times, sizes = np.array(half, float).T
    return float(np.polyfit(times, sizes, 1)[0])


def run_metrics(report: Report, duration_s: float, pipelines: int) -> dict[str, float]:
    """The metrics of one run; what it gave no occasion to measure is not among them.

    `rows` are rows in tables; in memory every record is one row.
    """
    return {
        "records": float(report.records),
        "rows": float(report.rows),
        "bytes": float(sum(done.bytes for done in report.batches)),
        "records_per_s": report.records / duration_s,
        "records_per_s_per_pipeline": report.records / duration_s / pipelines,
        "rows_per_s": report.rows / duration_s,
        "batches": float(len(report.batches)),
        **batch_metrics(report.batches, duration_s),
        **stage_metrics(report.usages),
    }


def batch_metrics(batches: Sequence[Done], duration_s: float) -> dict[str, float]:
    """Latencies, peak and what a batch and a record came to; nothing without batches."""
    if not batches:
        return {}
    records = sum(done.records for done in batches)
    latencies = [done.latency_s for done in batches]
    found = {f"latency_p{part}_s": float(np.percentile(latencies, part)) for part in (50, 95, 99)}
    found |= {"mean_batch_records": records / len(batches), "s_per_1000_records": 1000 * duration_s / records}
    peak = peak_rows_per_s(batches, duration_s)
    return found if peak is None else {**found, "peak_rows_per_s": peak}


def peak_rows_per_s(batches: Sequence[Done], duration_s: float) -> float | None:
    """The most rows that were committed within any second; None where the run was no longer than that."""
    if not batches or duration_s <= WINDOW_S:
        return None
    ordered = sorted(batches, key=lambda done: done.at)
    ends = np.array([done.at for done in ordered])
    landed = np.concatenate([[0], np.cumsum([done.rows for done in ordered])])
    first = np.searchsorted(ends, ends - WINDOW_S, side="right")
    return float(np.max(landed[1:] - landed[first]) / WINDOW_S)


def stage_metrics(usages: Sequence[Usage]) -> dict[str, float]:
    """Busy and waiting seconds by stage over all threads, and a worker's CPU while it lived, as a part of a core."""
    busy = {stage: sum(usage.busy_s.get(stage, 0.0) for usage in usages) for stage in STAGES}
    extractors, workers = _split(usages)
    alive_s = sum(usage.alive_s for usage in workers)
    cpu_s = sum(usage.cpu_s for usage in workers)
    return {
        **{f"{stage}_busy_s": seconds for stage, seconds in busy.items()},
        "extract_wait_s": sum(usage.wait_s for usage in extractors),
        "worker_wait_s": sum(usage.wait_s for usage in workers),
        "extract_cpu_s": sum(usage.cpu_s for usage in extractors),
        "worker_cpu_s": cpu_s,
        **({"cpu_per_worker": cpu_s / alive_s} if alive_s else {}),
    }


def bottleneck(report: Report) -> str | None:
    """The stage whose threads are busy for the largest part of their time: what more of would help.

    None where nothing was moved.
    """
    if not report.batches:
        return None
    usages = report.usages
    extractors, workers = _split(usages)
    parts = {"extract": _busy_part(extractors, ("extract",))}
    worker_part = _busy_part(workers, ("transform", "load"))
    seconds = {stage: sum(usage.busy_s.get(stage, 0.0) for usage in workers) for stage in ("transform", "load")}
    parts[max(seconds, key=lambda stage: seconds[stage])] = worker_part
    return max(parts, key=lambda stage: parts[stage])


def thread_details(usages: Sequence[Usage]) -> list[dict[str, Any]]:
    """The threads one by one, as JSON."""
    return [
        {
            "name": usage.name,
            **{f"{stage}_busy_s": round(seconds, 4) for stage, seconds in usage.busy_s.items()},
            "wait_s": round(usage.wait_s, 4),
            "cpu_s": round(usage.cpu_s, 4),
        }
        for usage in sorted(usages, key=lambda usage: usage.name)[:200]
    ]


def _split(usages: Sequence[Usage]) -> tuple[list[Usage], list[Usage]]:
    return (
        [usage for usage in usages if usage.is_extractor],
        [usage for usage in usages if not usage.is_extractor],
    )


def _busy_part(usages: Sequence[Usage], stages: Sequence[str]) -> float:
    busy = sum(usage.busy_s.get(stage, 0.0) for usage in usages for stage in stages)
    return busy / max(busy + sum(usage.wait_s for usage in usages), 1e-9)
