"""What a job prints: kept whole in a file, copied to the task's log within bounds, secrets masked."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from pathlib import Path

log = logging.getLogger(__name__)

TAIL_LINES = 25
LINE_LENGTH = 2000

BURST_BYTES = 64 * 1024
BYTES_PER_S = 4 * 1024
"""How much goes to the log: so much at once, and so much a second on the average. A line through a task's logger takes
a millisecond of the processor that the trial is measured on."""
LINE_COST_BYTES = 256
"""What a shorter line counts as."""
TEXT_BYTES = 64 * 1024 * 1024
"""What is looked at for metrics, checks and reasons: a program may print more than fits into memory."""
END_BYTES = 16 * 1024
"""What the log gets of the end in any case."""
MIN_BYTES = 4 * 1024
"""Less is not worth a look: it waits for more."""


class JobOutput:
    """The file that a job's stdout and stderr go to. `secrets` never leave it: they become `***`."""

    def __init__(self, path: Path, *, secrets: tuple[str, ...] = ()) -> None:
        self.path = path
        self._start = self._offset = 0
        self._secrets = secrets
        self._allowed, self._filled_at = float(BURST_BYTES), time.monotonic()

    def skip_to_end(self) -> None:
        """Leave out what is in the file already: it is of an earlier trial."""
        self._start = self._offset = self.path.stat().st_size

    def follow(self) -> None:
        """Copy whole lines that were printed since the last call to the log, and say what had to be left out."""
        now = time.monotonic()
        self._allowed = min(self._allowed + (now - self._filled_at) * BYTES_PER_S, BURST_BYTES)
        self._filled_at = now
        if self._offset == self._start:
            self._allowed -= self._copy_beginning(int(self._allowed) // 2)
        if self._allowed >= MIN_BYTES:
            self._allowed -= self._copy(int(self._allowed))

    def finish(self) -> None:
        """Copy the end of what was printed to the log, a last line without an end included."""
        self.follow()
        self._copy(END_BYTES, to_end=True)

    def text(self) -> str:
        """All that was printed; the last whole lines of it where it is more than TEXT_BYTES."""
        begin = max(self._start, self._size() - TEXT_BYTES)
        raw = self._read(begin)
        return self._clean(raw.partition(b"\n")[2] if begin > self._start else raw)

    @property
    def is_cut(self) -> bool:
        """Whether `text` is not all that was printed."""
        return self._size() - self._start > TEXT_BYTES

    def tail(self, lines: int = TAIL_LINES) -> str:
        """The last lines, for the reason of a failure."""
        kept = self.text().splitlines()[-lines:]
        return "\n".join(line[:LINE_LENGTH] for line in kept)

    def _copy_beginning(self, allowed: int) -> int:
        """Log the first lines, which say how a job was started. Returns what they count as."""
        whole = self._read(self._start, allowed).split(b"\n")[:-1][: allowed // LINE_COST_BYTES]
        self._log(whole)
        self._offset += sum(len(line) + 1 for line in whole)
        return sum(max(len(line), LINE_COST_BYTES) for line in whole)

    def _copy(self, allowed: int, *, to_end: bool = False) -> int:
        """Log what is new, the newest of it where that is too much. Returns what it counts as."""
        raw, end = self._newest_lines(allowed, to_end=to_end)
        lines = _within(raw.splitlines(), allowed)
        self._say_left_out(end - self._offset - sum(len(line) + 1 for line in lines))
        self._log(lines)
        self._offset = end
        return sum(max(len(line), LINE_COST_BYTES) for line in lines)

    def _newest_lines(self, allowed: int, *, to_end: bool) -> tuple[bytes, int]:
        """The newest lines that are new, and where they end. A line is taken whole or not at all: half of a secret
        would not be recognised."""
        size = max(self._size(), self._offset)
        begin = max(self._offset, size - allowed)
        raw = self._read(begin, size - begin)
        whole = raw if to_end else raw[: raw.rfind(b"\n") + 1]
        end = begin + len(whole) if whole else self._offset
        if begin > self._offset:
            whole = whole.partition(b"\n")[2]
        return whole, end

    def _log(self, lines: Iterable[bytes]) -> None:
        for line in lines:
            log.info("%s", self._clean(line)[:LINE_LENGTH])

    def _say_left_out(self, count: int) -> None:
        if count > 0:
            log.info("(the job printed %s more bytes here, which are left out of this log)", f"{count:,}")

    def _size(self) -> int:
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def _read(self, offset: int, count: int = -1) -> bytes:
        try:
            with self.path.open("rb") as file:
                file.seek(offset)
                return file.read(count)
        except FileNotFoundError:
            return b""

    def _clean(self, raw: bytes) -> str:
        text = raw.decode("utf-8", errors="replace")
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def _within(lines: list[bytes], allowed: int) -> list[bytes]:
    """The last lines that cost no more than is allowed."""
    for kept, line in enumerate(reversed(lines)):
        allowed -= max(len(line), LINE_COST_BYTES)
        if allowed < 0:
            return lines[len(lines) - kept :]
    return lines
