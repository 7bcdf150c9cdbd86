"""The lines of an event log: told apart by their first bytes, and decoded only where they are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pipeline_tuner.advise.compression import LogBytes
from pipeline_tuner.advise.log_files import START, EventLog

MAX_LINE_BYTES = 256 << 20
"""A longer line is skipped and counted as no event: a plan of 100 MB has been seen, more would not fit in memory."""
KIND_BYTES = 200
"""Within so many bytes a line names its kind of event."""


@dataclass
class Account:
    """What was read of a log, and what could not be."""

    lines: int = 0
    bytes: int = 0
    not_events: int = 0
    """Lines that are no events, in whole or damaged."""
    first_not_event: int | None = None
    """Number of the first such line, counted over all parts."""
    open_line: bool = False
    """Whether the line at hand is the last of its file and has no end."""
    cut_line: bool = False
    """Whether the log ends within a line, as that of an application that is running or was killed."""
    damaged_parts: list[tuple[Path, str]] = field(default_factory=list)

    def no_event(self) -> None:
        """Count the present line as no event, or as the log's cut end where it is the open last one."""
        if self.open_line:
            self.cut_line = True
            return
        self.not_events += 1
        self.first_not_event = self.first_not_event or self.lines


Progress = Callable[[int], None]
"""Is told how many bytes on disk have been read so far."""


def kind_of(line: bytes) -> bytes:
    """The kind of event of a line; empty where it names none."""
    if line.startswith(START):
        end = line.find(b'"', len(START), KIND_BYTES + len(START))
        return line[len(START) : end] if end > 0 else b""
    return b""


def read_lines(log: EventLog, account: Account, wanted: Callable[[bytes], bool], progress: Progress) -> Iterator[bytes]:
    """The lines of all parts whose kind is `wanted`. Fills in `account`; reads in bounded memory."""
    done = 0
    for part in log.parts:
        content = LogBytes(part)
        yield from _part_lines(content, account, wanted, _from(done, progress))
        if content.damage:
            account.damaged_parts.append((part, content.damage))
        done += part.stat().st_size


def _from(before: int, progress: Progress) -> Progress:
    return lambda position: progress(before + position)


def _part_lines(
    content: LogBytes, account: Account, wanted: Callable[[bytes], bool], progress: Progress
) -> Iterator[bytes]:
    rest, skipping = b"", False
    for piece in content:
        account.bytes += len(piece)
        progress(content.position)
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            account.lines += 1
            if not skipping and _is_wanted(line, account, wanted):
                yield line
            skipping = False
        skipping, rest = _shortened(rest, skipping, account, wanted)
    account.cut_line = skipping
    if rest.strip():
        account.lines += 1
        account.open_line = True
        yield rest
        account.open_line = False


def _is_wanted(line: bytes, account: Account, wanted: Callable[[bytes], bool]) -> bool:
    kind = kind_of(line)
    if kind:
        return wanted(kind)
    if line.strip():
        account.no_event()
    return False


def _shortened(rest: bytes, skipping: bool, account: Account, wanted: Callable[[bytes], bool]) -> tuple[bool, bytes]:
    """Whether the line that has begun is to be skipped, and what must be kept of it."""
    if skipping:
        return True, b""
    if len(rest) > KIND_BYTES and kind_of(rest) and not wanted(kind_of(rest)):
        return True, b""
    if len(rest) > MAX_LINE_BYTES:
        account.no_event()
        return True, b""
    return False, rest
