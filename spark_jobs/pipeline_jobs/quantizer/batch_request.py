"""The request of a batch: what to roll up, and whether its target can take it."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.quantizer.position import Position
from pipeline_jobs.quantizer.rollup import check_resolutions


@dataclass(frozen=True)
class Batch:
    """What to roll up: the points of (start_us, end_us] in `source`, into `target` (names like lake.db.table)."""

    source: str
    target: str
    start_us: int
    end_us: int
    resolutions_ms: tuple[int, ...] = (60_000, 300_000, 3_600_000)
    is_from_beginning: bool = False
    """No row is older than `start_us`: one that comes later, and is, is late."""
    lateness_ms: int = 3_600_000
    """A late row updates its windows until its largest window has been over for this long."""
    source_snapshot: int | None = None
    """Read the source as it was then (time travel); the current snapshot by default."""
    engine: str = "compiled"
    drop_repeats: bool = True
    rows_per_task: int = 4_000_000
    min_tasks: int = 2
    chunk_ms: int = 0
    """Cut the batch at multiples of this; 0 leaves it to the tasks' size."""
    chunk_above_ms: int = 600_000
    """Only batches longer than this are cut into chunks."""
    compression: str = "zstd"
    target_file_bytes: int = 128 << 20


def check_batch(batch: Batch, position: Position) -> None:
    """Raises BadConfigurationError for a batch that can't be rolled up as it is asked for."""
    try:
        check_resolutions(batch.resolutions_ms)
    except ValueError as error:
        raise BadConfigurationError(str(error)) from None
    if batch.end_us <= batch.start_us:
        raise BadConfigurationError("the batch ends before it starts")
    if position.resolutions_ms and position.resolutions_ms != batch.resolutions_ms:
        raise BadConfigurationError(
            f"{batch.target} has the resolutions {position.resolutions_ms} ms, the batch {batch.resolutions_ms}: "
            "other resolutions need a table of their own"
        )
