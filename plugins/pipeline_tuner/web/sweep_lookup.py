"""The sweep that an address names, who may read it, its progress, and whether its answers hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from fastapi import HTTPException

from pipeline_tuner.monitoring.validity import Envelope
from pipeline_tuner.store.page_reads import PAGE_SIZE, Row, TrialCounts
from pipeline_tuner.store.records import LastSeen
from pipeline_tuner.web.rendering import page_reads
from pipeline_tuner.web.security import require_read


def known_sweep(sweep_id: str) -> Row:
    """The whole row of a sweep; raises 404 where there is none."""
    row = page_reads().sweep(sweep_id)
    if row is None:
        raise HTTPException(404, "No such sweep: it may have been removed when its time was over")
    return row


def readable_sweep(user: BaseUser, sweep_id: str) -> Row:
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


@dataclass(frozen=True)
class Progress(TrialCounts):
    """How far a sweep's trials are, and an estimate of the time left."""

    more: int = 0
    """Trials of the budget that are not planned yet: it bounds the rounds to come."""

    @property
    def done(self) -> int:
        """Trials that have ended."""
        return self.measured + self.failed

    @property
    def spent_s(self) -> float:
        """Seconds that the ended trials took."""
        return self.done * self.trial_s

    @property
    def left_s(self) -> float:
        """Seconds that the planned ones will take."""
        return (self.planned - self.done) * self.trial_s

    @property
    def most_left_s(self) -> float:
        """The same with those that may still be planned."""
        return self.left_s + self.more * self.trial_s


def progress_of(row: Row) -> Progress:
    """The progress of a sweep, given its row."""
    counts = page_reads().progress(row["sweep_id"])
    budget = (row.get("options") or {}).get("budget") or {}
    return Progress(**asdict(counts), more=max(0, int(budget.get("trials") or 0) - counts.planned))


def page_count(count: int) -> int:
    """How many pages hold so many rows."""
    return max(1, -(-count // PAGE_SIZE))
