"""The position of a rollups' table: how far it has come, kept in the snapshot that each batch commits.

So output, partials and position can't disagree: whoever sees the windows sees the position. A batch that was
killed before its commit left nothing but unreferenced files; one that is repeated finds its time covered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.quantizer.coverage import Coverage

PROPERTY = "quantizer.position"
TAG = "quantizer_position"
"""Maintenance puts this tag on the newest snapshot with a position, so that expiry keeps it."""


@dataclass(frozen=True)
class Position:
    """`covered` is rolled up exactly as the source's snapshot `source_snapshot` has it."""

    batch: int = 0
    covered: Coverage = ()
    source_snapshot: int | None = None
    resolutions_ms: tuple[int, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    """The input rows of all batches so far, by what became of them."""
    source_uuid: str = ""
    """The source's identity, which its name outlives; empty in a position of an earlier version."""
    source_columns: tuple[int, ...] = ()
    """The field ids of the source's columns."""

    @property
    def watermark_us(self) -> int:
        """The latest time rolled up."""
        return self.covered[-1][1]

    def to_json(self) -> str:
        """The text kept in a snapshot's summary."""
        return json.dumps(vars(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Position:
        """The inverse of `to_json`."""
        values = json.loads(text)
        values["covered"] = tuple((after, until) for after, until in values["covered"])
        for name in ("resolutions_ms", "source_columns"):
            values[name] = tuple(values.get(name, ()))
        return cls(**values)


def read_position(table: Any) -> Position:
    """The position of a rollups' table. Raises BadConfigurationError where a table with rows has lost it."""
    if table.currentSnapshot() is None:
        return Position()
    holder = _holder(table)
    if holder is None:
        raise BadConfigurationError(
            f"{table.name()} has snapshots but no position (replaced, or expired or rolled back by other maintenance "
            "than this job's?): a further batch could double windows. Roll up into a new table"
        )
    return Position.from_json(holder.summary().get(PROPERTY))


def position_snapshot(table: Any) -> int | None:
    """The newest snapshot that holds a position."""
    holder = _holder(table)
    return None if holder is None else holder.snapshotId()


def _holder(table: Any) -> Any:
    """The newest ancestor of the current snapshot with a position; the tagged one where ancestors have expired.

    A tagged snapshot that is no older than the ancestors that are left is none of them: the table was rolled back.
    """
    snapshot = table.currentSnapshot()
    while snapshot is not None:
        if snapshot.summary().get(PROPERTY) is not None:
            return snapshot
        parent = snapshot.parentId()
        if parent is None:
            return None
        oldest, snapshot = snapshot, table.snapshot(parent)
    tagged = table.snapshot(TAG)
    if tagged is None or table.currentSnapshot() is None or tagged.sequenceNumber() >= oldest.sequenceNumber():
        return None
    return tagged


def check_source(position: Position, target: str, source: str, uuid: str, columns: tuple[int, ...]) -> None:
    """Raises BadConfigurationError where the position doesn't belong to this source.

    `uuid`: the source's identity, `columns`: its columns' field ids.
    """
    if position.source_uuid not in ("", uuid):
        raise BadConfigurationError(
            f"{source} is not the table that {target} was rolled up from so far: it was dropped and made anew, or "
            "another one was named then. Roll up into a new table"
        )
    if position.source_columns not in ((), columns):
        raise BadConfigurationError(
            f"columns of {source} were dropped and added again since the last batch, so the rows that {target} holds "
            "are no longer the source's: roll up into a new table"
        )
