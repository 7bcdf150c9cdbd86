"""Section of the analysis on partitions: their times, the slow ones, batches, and whether a rate limit binds.

All of it is read off the trials' measurements (`details.partitions`, `details.slow_partitions`); a job that leaves none
has no such part.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline_tuner.report.data import ReportData
from pipeline_tuner.report.findings import partition_times, typical_slowest
from pipeline_tuner.report.markdown import escaped, table
from pipeline_tuner.report.tables import Row
from pipeline_tuner.trial import TrialResult
from pipeline_tuner.wording import counted, listed, number, ratio, second_words

MAX_ROWS = 16
MAX_SLOW = 6
HEADER = ("configuration", "partitions", "median", "slowest", "slow ones", "first", "last", "batches", "rate limit")


def partitions(data: ReportData) -> str:
    """A row per configuration whose trials leave their partitions, the best first; empty where none does."""
    found = [(row, trials) for row in data.rows if (trials := _with_partitions(data, row))]
    if not found:
        return ""
    rows = [_row(data, row, trials) for row, trials in found[:MAX_ROWS]]
    head = (
        "Times are medians over the trials behind each configuration's values. A partition is slow from 1.5 times the "
        "usual time for a row; in brackets, in how many trials it was. First and last are those that started so, with "
        "their time for a row against the median."
    )
    return "\n\n".join(filter(None, [head, table(HEADER, rows), _binding(found), _left_out(len(found))]))


def _with_partitions(data: ReportData, row: Row) -> list[TrialResult]:
    trials = [r for r in data.deciding(row) if r.status == "measured" and r.measurement is not None]
    return [r for r in trials if r.measurement and partition_times(r.measurement.details)]


def _row(data: ReportData, row: Row, trials: Sequence[TrialResult]) -> tuple[str, ...]:
    times = [partition_times(_details(r)) for r in trials]
    middle = statistics.median(statistics.median(seconds for _, seconds in one) for one in times)
    name, slowest = typical_slowest(times)
    return (
        row.label,
        _count(row, trials),
        second_words(middle),
        f"{name.removeprefix('partition ')}: {second_words(slowest)} ({ratio(slowest / middle)})" if middle else name,
        _slow(trials),
        _edge(times, row, 0, "first_partition_ratio"),
        _edge(times, row, -1, "last_partition_ratio"),
        _batches(row, trials),
        _limit(row),
    )


def _details(result: TrialResult) -> Mapping[str, Any]:
    return result.measurement.details if result.measurement else {}


def _count(row: Row, trials: Sequence[TrialResult]) -> str:
    per_core = row.median("partitions_per_core")
    words = number(len(partition_times(_details(trials[-1]))))
    return words if per_core is None else f"{words} ({number(per_core)} per core)"


def _slow(trials: Sequence[TrialResult]) -> str:
    if not any("slow_partitions" in _details(r) for r in trials):
        return "not measured"
    often = Counter(part for r in trials for part in _details(r).get("slow_partitions") or ())
    shown = [f"{part} ({n} of {len(trials)})" for part, n in often.most_common(MAX_SLOW)]
    more = [f"{len(often) - MAX_SLOW} more"] if len(often) > MAX_SLOW else []
    return ", ".join([*shown, *more]) or "none"


def _edge(times: Sequence[Sequence[tuple[str, float]]], row: Row, place: int, metric: str) -> str:
    seconds, against = statistics.median(one[place][1] for one in times), row.median(metric)
    return second_words(seconds) if against is None else f"{second_words(seconds)} ({ratio(against)})"


def _batches(row: Row, trials: Sequence[TrialResult]) -> str:
    """How many batches the rows that were written came to, at the configuration's size of a batch."""
    size = row.evidence.configuration.get("batch_size")
    written = [part.get("written") for part in _details(trials[-1])["partitions"]]
    if not isinstance(size, int | float) or not size or not all(isinstance(rows, int | float) for rows in written):
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


def _binding(found: Sequence[tuple[Row, Sequence[TrialResult]]]) -> str:
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
