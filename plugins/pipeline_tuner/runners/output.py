"""What a job prints: kept in a file, copied to the task's log line by line, without secrets."""

from __future__ import annotations

import logging
from pathlib import Path

log = logging.getLogger(__name__)

TAIL_LINES = 25
LINE_LENGTH = 2000


class JobOutput:
    """The file that a job's stdout and stderr go to. `secrets` never leave it: they become `***`."""

    def __init__(self, path: Path, *, secrets: tuple[str, ...] = ()) -> None:
        self.path = path
        self._start = self._offset = 0
        self._secrets = secrets

    def skip_to_end(self) -> None:
        """Leave out what is in the file already: it is of an earlier trial."""
        self._start = self._offset = self.path.stat().st_size

    def follow(self) -> None:
        """Copy the whole lines that were printed since the last call to the log."""
        text = self._read(self._offset)
        end = text.rfind(b"\n") + 1
        self._offset += end
        for line in self._clean(text[:end]).splitlines():
            log.info("%s", line[:LINE_LENGTH])

    def text(self) -> str:
        """All that was printed."""
        return self._clean(self._read(self._start))

    def tail(self, lines: int = TAIL_LINES) -> str:
        """The last lines, for the reason of a failure."""
        kept = self.text().splitlines()[-lines:]
        return "\n".join(line[:LINE_LENGTH] for line in kept)

    def _read(self, offset: int) -> bytes:
        try:
            with self.path.open("rb") as file:
                file.seek(offset)
                return file.read()
        except FileNotFoundError:
            return b""

    def _clean(self, raw: bytes) -> str:
        text = raw.decode("utf-8", errors="replace")
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text
