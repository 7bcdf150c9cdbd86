"""The sweep that an address names, who may read it, its progress, and whether its answers hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import HTTPException

from pipeline_tuner.monitoring.validity import Envelope
from pipeline_tuner.store.page_reads import PAGE_SIZE, Row
from pipeline_tuner.store.records import LastSeen
from pipeline_tuner.web.rendering import page_reads
from pipeline_tuner.web.security import require_read


def known_sweep(sweep_id: str) -> Row:
    """The whole row of a sweep; raises 404 where there is none."""
    row = page_reads().sweep(sweep_id)
    if row is None:
        raise HTTPException(404, "No such sweep: it may have been removed when its time was over")
    return row


def readable_sweep(user: Any, sweep_id: str) -> Row:
    """The row of a sweep that the user may see; raises 404, or 403 without the permission to read its DAG."""
    row = known_sweep(sweep_id)
    require_read(user, row["dag_id"])
    return row


def held(rows: Sequence[Row]) -> list[Row]:
    """Recommendations with why they do not hold for data and machine as they are now; empty where they do."""
    seen = {study: page_reads().last_seen(study) for study in {row["study"] for row in rows}}
    return [row | {"problems": _problems(row["document"], seen[row["study"]])} for row in rows]


def _problems(document: Mapping[str, Any], seen: LastSeen) -> tuple[str, ...]:
    return Envelope.from_dict(document.get("validity") or {}).problems(seen.workload, seen.environment)


def progress_of(row: Row) -> dict[str, Any]:
    """Counts with the part done and an estimate of the seconds left; the budget bounds rounds not planned yet."""
    counts = dict(page_reads().progress(row["sweep_id"]))
    done = (counts.get("measured") or 0) + (counts.get("failed") or 0)
    planned = counts.get("planned") or 0
    trial_s = float(counts.get("trial_s") or 0)
    budget = (row.get("options") or {}).get("budget") or {}
    more = max(0, int(budget.get("trials") or 0) - planned)
    fraction = done / planned if planned else 0.0
    left = {"left_s": (planned - done) * trial_s, "more": more, "most_left_s": (planned - done + more) * trial_s}
    return counts | {"done": done, "fraction": fraction, "spent_s": done * trial_s, **left}


def page_count(count: int) -> int:
    """How many pages hold so many rows."""
    return max(1, -(-count // PAGE_SIZE))
