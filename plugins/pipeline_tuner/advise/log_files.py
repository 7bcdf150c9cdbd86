"""Which files are one event log: a file, a rolling folder of Spark or Databricks, or a folder of several logs; archives
are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline_tuner.advise.compression import Compression, LogBytes, compression_of
from pipeline_tuner.exceptions import PipelineTunerError

ROLLED = re.compile(r"events_(\d+)_(.+)")
DATABRICKS_ROLLED = re.compile(r"eventlog-\d{4}-\d{2}-\d{2}--\d{2}-\d{2}(\.\w+)?")
DATABRICKS_NEWEST = "eventlog"
COMPACTED = ".compact"
ADDRESS = re.compile(r"[a-z][a-z0-9+]+:/")
"""Of another machine: `s3://`, whose second slash a path loses."""
START = b'{"Event":"'
ARCHIVES = (
    (b"PK\x03\x04", "a zip archive (the history server's download is one): unpack it, and name what was in it"),
    (b"7z\xbc\xaf", "an archive: unpack it, and name what was in it"),
    (b"BZh", "compressed by bzip2, which Spark doesn't write: unpack it first"),
    (b"\xfd7zXZ", "compressed by xz, which Spark doesn't write: unpack it first"),
)
"""First bytes of files that may hold a log, and what to do with them."""
TAR_MARK = (257, b"ustar")


class LogError(PipelineTunerError):
    """A path holds no event log that can be read: the message says what it is instead."""


@dataclass(frozen=True)
class EventLog:
    """The files of one event log, in the order in which they were written."""

    path: Path
    parts: tuple[Path, ...]
    missing_parts: tuple[int, ...] = ()
    """Numbers of rolled files that should be there and are not."""
    compacted: bool = False
    """Whether Spark dropped what it took for unneeded of the oldest part."""

    @property
    def size_bytes(self) -> int:
        """Bytes on disk."""
        return sum(part.stat().st_size for part in self.parts)


@dataclass(frozen=True)
class Found:
    """What lies under the paths that were given."""

    logs: tuple[EventLog, ...]
    left_out: tuple[Path, ...]
    """Files in folders that are no event logs."""


def find_logs(paths: Iterable[Path]) -> Found:
    """The event logs under `paths`. Raises LogError for a path that holds none."""
    logs: list[EventLog] = []
    left_out: list[Path] = []
    for path in paths:
        found = _found(path)
        logs += found.logs
        left_out += found.left_out
    return Found(tuple({log.path.resolve(): log for log in logs}.values()), tuple(left_out))


def _found(path: Path) -> Found:
    if ADDRESS.match(str(path)):
        raise LogError(f"{path} is an address, and logs are read from files: copy it here first")
    try:
        if path.is_dir():
            return _in_folder(path)
        return Found((_named_file(path),), ())
    except OSError as error:
        raise LogError(f"{path} can't be read: {error.strerror}") from None


def _named_file(path: Path) -> EventLog:
    if not path.stat().st_size:
        raise LogError(f"{path} is empty: no event was written, or the copy failed")
    if not _looks_like_log(path):
        raise LogError(f"{path} is {_what_it_is(path)}")
    return EventLog(path, (path,))


def _what_it_is(path: Path) -> str:
    """What a file is that is no event log."""
    archive = _archive(path)
    start, damage = _start(path, 1)
    if archive or start:
        return archive or "no event log: its first line is no Spark event"
    return f"no event log: {damage}" if damage else "empty once it is unpacked: no event was written"


def _archive(path: Path) -> str:
    """Which archive a file is, and what to do with it; empty where it is none."""
    with path.open("rb") as file:
        first = file.read(8)
    for magic, words in ARCHIVES:
        if first.startswith(magic):
            return words
    start, _ = _start(path, TAR_MARK[0] + len(TAR_MARK[1]))
    return "a tar archive: unpack it, and name the folder" if start[TAR_MARK[0] :] == TAR_MARK[1] else ""


def _in_folder(folder: Path) -> Found:
    logs, left_out = _logs_in(folder)
    if not logs:
        unpack = next((words for path in left_out if (words := _archive_words(path))), "")
        raise LogError(
            f"{folder} holds no event log: neither a file of Spark events nor a folder of events_1_... files"
            f"{unpack and '; '}{unpack}"
        )
    return Found(tuple(logs), tuple(left_out))


def _logs_in(folder: Path) -> tuple[list[EventLog], list[Path]]:
    """The logs of a folder and of those in it (copies of a bucket have one per day), and what is none."""
    whole = _rolled(folder)
    if whole is not None:
        return [whole], []
    logs: list[EventLog] = []
    left_out: list[Path] = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "_")):
            continue
        try:
            if path.is_dir():
                found, others = ([], []) if folder.resolve().is_relative_to(path.resolve()) else _logs_in(path)
            else:
                found, others = _maybe_log(path), []
        except OSError:
            # A link to nowhere, a file of somebody else's: no reason not to read the others.
            found, others = [], []
        logs += found
        left_out += others if found or others else [path]
    return logs, left_out


def _archive_words(path: Path) -> str:
    """What to do with a file that may hold a log; empty where it can't."""
    try:
        words = "" if path.is_dir() else _archive(path)
    except OSError:
        return ""
    return f"{path.name} is {words}" if words else ""


def _maybe_log(path: Path) -> list[EventLog]:
    is_log = bool(path.stat().st_size) and _looks_like_log(path)
    return [EventLog(path, (path,))] if is_log else []


def _rolled(folder: Path) -> EventLog | None:
    """The log of a rolling folder; None where the folder is none."""
    files = [path for path in sorted(folder.iterdir()) if path.is_file()]
    numbered = {path: int(match[1]) for path in files if (match := ROLLED.fullmatch(path.name))}
    if numbered:
        return _spark_rolled(folder, numbered, files)
    databricks = [path for path in files if DATABRICKS_ROLLED.fullmatch(path.name)]
    if not databricks:
        return None
    newest = [path for path in files if path.name == DATABRICKS_NEWEST]
    return EventLog(folder, (*databricks, *newest))


def _spark_rolled(folder: Path, numbered: dict[Path, int], files: list[Path]) -> EventLog:
    compact = [number for path, number in numbered.items() if path.name.endswith(COMPACTED)]
    first = max(compact, default=1)
    parts = sorted((path for path in numbered if _counts(path, numbered[path], compact)), key=numbered.__getitem__)
    there = {numbered[path] for path in parts}
    return EventLog(
        folder,
        tuple(parts),
        missing_parts=tuple(sorted(set(range(first, max(there) + 1)) - there)),
        compacted=bool(compact),
    )


def _counts(path: Path, number: int, compact: list[int]) -> bool:
    """Whether a part is to be read: a compacted file stands for itself and all before it."""
    if not compact:
        return True
    return number > max(compact) or (number == max(compact) and path.name.endswith(COMPACTED))


def _looks_like_log(path: Path) -> bool:
    """Whether a file's first line is an event; a compressed file must hold at least the start of one."""
    if compression_of(path) is Compression.LZF:
        return True  # named as what can't be read, rather than passed over
    return _start(path, len(START))[0] == START


def _start(path: Path, count: int) -> tuple[bytes, str | None]:
    """The first bytes of a file's content, unpacked; and why there are fewer, where the file is damaged."""
    start, content = b"", LogBytes(path)
    for piece in content:
        start += piece
        if len(start) >= count:
            break
    return start[:count], content.damage
