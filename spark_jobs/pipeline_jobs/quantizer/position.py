"""How far a rollups' table has come: kept in the summary of the very snapshot that the batch commits.

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
        covered = tuple((after, until) for after, until in values.pop("covered"))
        return cls(covered=covered, resolutions_ms=tuple(values.pop("resolutions_ms")), **values)


def read_position(table: Any) -> Position:
    """The position of a rollups' table. Raises BadConfigurationError where a table with rows has lost it."""
    snapshot = table.currentSnapshot()
    while snapshot is not None:
        text = snapshot.summary().get(PROPERTY)
        if text is not None:
            return Position.from_json(text)
        parent = snapshot.parentId()
        snapshot = table.snapshot(parent) if parent is not None else None
    tagged = table.snapshot(TAG)
    if tagged is not None:
        return Position.from_json(tagged.summary().get(PROPERTY))
    if table.currentSnapshot() is not None:
        raise BadConfigurationError(
            f"{table.name()} has snapshots but no position (expired by other maintenance than this job's?): "
            "a further batch could double windows. Roll up into a new table"
        )
    return Position()


def position_snapshot(table: Any) -> int | None:
    """The newest snapshot that holds a position."""
    snapshot = table.currentSnapshot()
    while snapshot is not None and snapshot.summary().get(PROPERTY) is None:
        parent = snapshot.parentId()
        snapshot = table.snapshot(parent) if parent is not None else None
    return None if snapshot is None else snapshot.snapshotId()
