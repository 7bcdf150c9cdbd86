"""Section of the analysis on partitions: their times, the slow ones, batches, and whether a rate limit binds.

All of it is read off the trials' measurements (`details.partitions`, `details.slow_partitions`); a job that leaves none
has no such part.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence

from pipeline_tuner.measurement_details import Details, Partition
from pipeline_tuner.report.data import ReportData
from pipeline_tuner.report.findings import typical_slowest, typical_time
from pipeline_tuner.report.markdown import escaped, table
from pipeline_tuner.report.tables import Row
from pipeline_tuner.wording import counted, listed, number, ratio, second_words

MAX_ROWS = 16
MAX_SLOW = 6
HEADER = ("configuration", "partitions", "median", "slowest", "slow ones", "first", "last", "batches", "rate limit")


def partitions(data: ReportData) -> str:
    """A row per configuration whose trials leave their partitions, the best first; empty where none does."""
    found = [(row, trials) for row in data.rows if (trials := _with_partitions(data, row))]
    if not found:
        return ""
    rows = [_row(row, trials) for row, trials in found[:MAX_ROWS]]
    head = (
        "Times are medians over the trials behind each configuration's values. A partition is slow from 1.5 times the "
        "usual time for a row; in brackets, in how many trials it was. First and last are those that started so, with "
        "their time for a row against the median."
    )
    return "\n\n".join(filter(None, [head, table(HEADER, rows), _binding(found), _left_out(len(found))]))


def _with_partitions(data: ReportData, row: Row) -> list[Details]:
    """The details of the row's trials that leave their partitions."""
    trials = [r for r in data.deciding(row) if r.status == "measured" and r.measurement is not None]
    details = [Details.of(r.measurement.details) for r in trials if r.measurement]
    return [found for found in details if found.partitions]


def _row(row: Row, trials: Sequence[Details]) -> tuple[str, ...]:
    parts = [found.partitions for found in trials]
    middle, slowest = typical_time(parts), typical_slowest(parts)
    took = f": {second_words(slowest.duration_s)} ({ratio(slowest.duration_s / middle)})" if middle else ""
    return (
        row.label,
        _count(row, trials),
        second_words(middle),
        f"{slowest.name}{took}",
        _slow(trials),
        _edge(parts, row, 0, "first_partition_ratio"),
        _edge(parts, row, -1, "last_partition_ratio"),
        _batches(row, trials),
        _limit(row),
    )


def _count(row: Row, trials: Sequence[Details]) -> str:
    per_core = row.median("partitions_per_core")
    words = number(len(trials[-1].partitions))
    return words if per_core is None else f"{words} ({number(per_core)} per core)"


def _slow(trials: Sequence[Details]) -> str:
    if all(found.slow_partitions is None for found in trials):
        return "not measured"
    often = Counter(part for found in trials for part in found.slow_partitions or ())
    shown = [f"{part} ({n} of {len(trials)})" for part, n in often.most_common(MAX_SLOW)]
    more = [f"{len(often) - MAX_SLOW} more"] if len(often) > MAX_SLOW else []
    return ", ".join([*shown, *more]) or "none"


def _edge(trials: Sequence[Sequence[Partition]], row: Row, place: int, metric: str) -> str:
    seconds, against = statistics.median(parts[place].duration_s for parts in trials), row.median(metric)
    return second_words(seconds) if against is None else f"{second_words(seconds)} ({ratio(against)})"


def _batches(row: Row, trials: Sequence[Details]) -> str:
    """How many batches the rows that were written came to, at the configuration's size of a batch."""
    size = row.evidence.configuration.get("batch_size")
    written = [part.written for part in trials[-1].partitions if part.written is not None]
    if not isinstance(size, int | float) or not size or len(written) < len(trials[-1].partitions):
        return "-"
    return f"{number(sum(math.ceil(rows / size) for rows in written if rows))} of {number(size)} rows at most"


def _limits(row: Row) -> list[float]:
    limits = [value for name, value in row.evidence.configuration.items() if name.endswith("rate_limit")]
    return [float(value) for value in limits if isinstance(value, int | float) and value]


def _binds(row: Row) -> bool:
    return bool(_limits(row)) and bool(row.median("rate_limit_binds"))


def _limit(row: Row) -> str:
    limits = _limits(row)
    if not limits:
        return "none"
    word = "binds" if _binds(row) else "does not bind" if row.median("rate_limit_binds") is not None else "not measured"
    return f"{word} ({number(min(limits))} rows/s)"


def _binding(found: Sequence[tuple[Row, Sequence[Details]]]) -> str:
    held = [escaped(row.label) for row, _ in found if _binds(row)]
    if not held:
        return ""
    return (
        f"A rate limit binds in {counted(len(held), 'configuration')}: {listed(held[:MAX_ROWS])}. They differ in less "
        "than they could, and what they say of each other holds for this limit only."
    )


def _left_out(count: int) -> str:
    return (
        f"{counted(count - MAX_ROWS, 'configuration')} with a smaller gain are not shown." if count > MAX_ROWS else ""
    )
