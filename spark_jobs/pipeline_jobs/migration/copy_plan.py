"""The records that driver and tasks exchange: what copying a range needs, and what it leaves behind."""

from __future__ import annotations

from dataclasses import dataclass, field

from psycopg2.extensions import connection as Connection

from pipeline_jobs.migration.ledger import Counts, Ledger
from pipeline_jobs.migration.rate_limit import NO_LIMITS, Limits


@dataclass(frozen=True)
class CopyPlan:
    """What all ranges of a run share. It travels to the tasks in their closure: the URIs hold passwords."""

    source_uri: str = field(repr=False)
    target_uri: str = field(repr=False)
    ledger: Ledger
    select: str
    """`SELECT ... FROM ... WHERE ` of the source; a range's condition follows."""
    into: str
    """`table (columns)` of the target."""
    binary: bool
    snapshot: str = ""
    """An exported snapshot of the source, or ''."""
    limits: Limits = NO_LIMITS
    """The rate limits of one stream."""
    guardrail: str = ""
    """The condition of rows to leave out for their size, or ''."""
    batch_size: int = 1000
    max_rejected: int = 1000


@dataclass(frozen=True)
class RangeTask:
    """A range as a task gets it."""

    number: int
    predicate: str


@dataclass
class RangeResult:
    """What became of a range. Times in s since 1970; `progress`: (time, bytes written so far)."""

    number: int
    state: str = "FAIL"
    counts: Counts = field(default_factory=Counts)
    started: float = 0.0
    ended: float = 0.0
    bytes: int = 0
    progress: list[tuple[float, int]] = field(default_factory=list)
    sqlstate: str = ""
    reason: str = ""
    waited_s: float = 0.0
    """Time spent waiting for the rate limit."""

    @property
    def has_progress(self) -> bool:
        """Whether it is known how its rows landed over its time."""
        return not self.counts.written or (self.bytes > 0 and len(self.progress) >= 2)


def range_query(plan: CopyPlan, task: RangeTask) -> str:
    """The range's rows that are to be written."""
    guardrail = f" AND NOT ({plan.guardrail})" if plan.guardrail else ""
    return f"{plan.select}({task.predicate}){guardrail}"


def skip_long_rows(plan: CopyPlan, task: RangeTask, source: Connection, target: Connection) -> int:
    """Record the rows that the guardrail leaves out. Returns how many."""
    if not plan.guardrail:
        return 0
    with source.cursor() as cursor:
        cursor.execute(
            f"SELECT left(rows::text, 1000) FROM ({plan.select}({task.predicate}) AND ({plan.guardrail})) rows"
        )
        rows = [(text, "", "a value is longer than guardrail_bytes") for (text,) in cursor.fetchall()]
    if rows:
        plan.ledger.reject(target, task.number, rows)
    return len(rows)
