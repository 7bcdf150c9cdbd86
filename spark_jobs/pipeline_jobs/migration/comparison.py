"""The check of a migration: what has landed held against the source, range by range or as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline_jobs.contract import MeasurementWriter
from pipeline_jobs.migration.checksums import Comparison, choose_hash, compare
from pipeline_jobs.migration.endpoints import Endpoints
from pipeline_jobs.migration.ledger import PlannedRange


@dataclass(frozen=True)
class Verdict:
    """Both sides' rows and checksums, and the ranges that differ."""

    sums: Comparison
    left_out: int
    """Rows skipped or rejected, which the target must not have."""
    unread: int
    """Rows that the ledger can't account for: read but neither written, skipped nor rejected."""
    differing: tuple[int, ...]
    """Numbers of the ranges that differ; of all where only the whole could be compared."""
    is_whole: bool
    """Whether only the whole could be compared."""

    @property
    def checksums_agree(self) -> bool:
        """Whether the checksums agree in every range from which no row was left out."""
        return not self.differing


def compare_ranges(ends: Endpoints, ranges: Sequence[PlannedRange]) -> Verdict:
    """Compare the ranges' rows on both sides."""
    hash_sql = choose_hash(ends.source, ends.target, ends.source_table, ends.columns)
    sums = compare(
        (ends.source, ends.source_table, ends.key),
        (ends.target, ends.target_table, ends.target_key),
        [item.range for item in ranges],
        hash_sql,
    )
    is_whole = ends.target_key is None
    groups = [list(ranges)] if is_whole else [[item] for item in ranges]
    differing = [item.number for i, group in enumerate(groups) if not _agrees(sums, i, group) for item in group]
    return Verdict(
        sums=sums,
        left_out=sum(_left_out(item) for item in ranges),
        unread=sum((item.read_rows or 0) - (item.written_rows or 0) - _left_out(item) for item in ranges),
        differing=tuple(differing),
        is_whole=is_whole,
    )


def check_whole(writer: MeasurementWriter, verdict: Verdict) -> None:
    """Record the checks `row count` (source = target + left out), `accounting` and `checksum`."""
    source, target = verdict.sums.rows
    writer.check(
        "row count",
        source == target + verdict.left_out,
        f"source {source}, target {target}, skipped or rejected {verdict.left_out}",
    )
    writer.check("accounting", verdict.unread == 0, f"{verdict.unread} rows read but not accounted for")
    writer.check("checksum", verdict.checksums_agree, f"{len(verdict.differing)} ranges differ")


def _agrees(sums: Comparison, index: int, group: Sequence[PlannedRange]) -> bool:
    (rows, checksum), (other_rows, other_checksum) = (side.get(index, (0, 0)) for side in (sums.source, sums.target))
    left_out = sum(_left_out(item) for item in group)
    return rows == other_rows + left_out and (left_out > 0 or checksum == other_checksum)


def _left_out(item: PlannedRange) -> int:
    return (item.skipped_rows or 0) + (item.rejected_rows or 0)
