"""Rate limits: how fast rows go by, always measured, slowed where a limit asks for it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import BinaryIO

STEP_S = 0.1
"""How often progress is noted, and the longest burst above a rate limit."""


@dataclass(frozen=True)
class Limits:
    """Rows/s of one stream: read from the source, and written to the target; 0 = no limit."""

    origin: float = 0.0
    target: float = 0.0

    @property
    def is_any(self) -> bool:
        """Whether there is a limit at all."""
        return self.origin > 0 or self.target > 0

    @property
    def tighter(self) -> float:
        """The lower one; 0 = none."""
        return min(filter(None, (self.origin, self.target)), default=0.0)


NO_LIMITS = Limits()


class Pace:
    """Holds a stream to so many rows/s."""

    def __init__(self, rows_per_s: float) -> None:
        self._rows_per_s = rows_per_s
        self._free_at = 0.0

    def wait_s(self, rows: int) -> float:
        """How long to wait now, after these rows, in s."""
        if not rows or self._rows_per_s <= 0:
            return 0.0
        now = time.monotonic()
        self._free_at = max(self._free_at, now - STEP_S) + rows / self._rows_per_s
        return max(0.0, self._free_at - now)


class Meter:
    """Counts a stream's bytes over time, and holds it to both limits."""

    def __init__(self, limits: Limits = NO_LIMITS) -> None:
        self.limits = limits
        self.bytes = 0
        self.waited_s = 0.0
        self.progress: list[tuple[float, int]] = [(time.time(), 0)]
        self._origin, self._target = Pace(limits.origin), Pace(limits.target)

    def reader(self, pipe: BinaryIO, *, counts_lines: bool) -> MeteredReader:
        """The pipe, metered. A limit needs `counts_lines`: text COPY has a line for each row, binary has no mark."""
        return MeteredReader(pipe, self, counts_lines and self.limits.is_any)

    def add(self, size: int, read: int, written: int) -> None:
        """Note a block with the rows that were read and written, and wait until both limits allow the next."""
        self.bytes += size
        wait_s = max(self._origin.wait_s(read), self._target.wait_s(written))
        if wait_s:
            self.waited_s += wait_s
            time.sleep(wait_s)
        if time.time() - self.progress[-1][0] >= STEP_S or size == 0:
            self.progress.append((time.time(), self.bytes))


class MeteredReader:
    """What psycopg2's COPY reads from: the pipe, with a Meter in between."""

    def __init__(self, pipe: BinaryIO, meter: Meter, counts_lines: bool) -> None:
        self._pipe = pipe
        self._meter = meter
        self._counts_lines = counts_lines
        self._block = max(4096, min(1 << 18, int(meter.limits.tighter * STEP_S * 50))) if counts_lines else 0

    def read(self, size: int = -1) -> bytes:
        """A block of at most `size` bytes; less where a limit asks for small steps."""
        data = self._pipe.read(min(size, self._block) if self._block else size)
        rows = data.count(b"\n") if self._counts_lines else 0
        self._meter.add(len(data), rows, rows)
        return data
