"""How fast rows go by: measured always, slowed where a limit asks for it."""

from __future__ import annotations

import time
from typing import BinaryIO

STEP_S = 0.1
"""How often progress is noted, and the longest burst above a rate limit."""


class Meter:
    """Counts a stream's bytes over time, and holds it to `rows_per_s` (0 = no limit)."""

    def __init__(self, rows_per_s: float = 0.0) -> None:
        self.rows_per_s = rows_per_s
        self.bytes = 0
        self.waited_s = 0.0
        self.progress: list[tuple[float, int]] = [(time.time(), 0)]
        self._free_at = 0.0

    def reader(self, pipe: BinaryIO, *, counts_lines: bool) -> MeteredReader:
        """The pipe, metered. A limit needs `counts_lines`: text COPY has a line for each row, binary has no mark."""
        return MeteredReader(pipe, self, counts_lines and self.rows_per_s > 0)

    def add(self, size: int, rows: int) -> None:
        """Note a block, and wait until the limit allows the next."""
        self.bytes += size
        if rows and self.rows_per_s > 0:
            self._wait(rows)
        if time.time() - self.progress[-1][0] >= STEP_S or size == 0:
            self.progress.append((time.time(), self.bytes))

    def _wait(self, rows: int) -> None:
        now = time.monotonic()
        self._free_at = max(self._free_at, now - STEP_S) + rows / self.rows_per_s
        if self._free_at > now:
            self.waited_s += self._free_at - now
            time.sleep(self._free_at - now)


class MeteredReader:
    """What psycopg2's COPY reads from: the pipe, with a Meter in between."""

    def __init__(self, pipe: BinaryIO, meter: Meter, counts_lines: bool) -> None:
        self._pipe = pipe
        self._meter = meter
        self._counts_lines = counts_lines
        self._block = max(4096, min(1 << 18, int(meter.rows_per_s * STEP_S * 50))) if counts_lines else 0

    def read(self, size: int = -1) -> bytes:
        """A block of at most `size` bytes; less where a limit asks for small steps."""
        data = self._pipe.read(min(size, self._block) if self._block else size)
        self._meter.add(len(data), data.count(b"\n") if self._counts_lines else 0)
        return data
