"""Which files are one event log: a file, a rolling folder of Spark or Databricks, or a folder of several logs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
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
        raise LogError(f"{path} is no event log: its first line is no Spark event")
    return EventLog(path, (path,))


def _in_folder(folder: Path) -> Found:
    whole = _rolled(folder)
    if whole is not None:
        return Found((whole,), ())
    logs, left_out = [], []
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "_")):
            continue
        log = _rolled(path) if path.is_dir() else _maybe_log(path)
        if log is None:
            left_out.append(path)
        else:
            logs.append(log)
    if not logs:
        raise LogError(
            f"{folder} holds no event log: neither a file of Spark events nor a folder of events_1_... files"
        )
    return Found(tuple(logs), tuple(left_out))


def _maybe_log(path: Path) -> EventLog | None:
    is_log = bool(path.stat().st_size) and _looks_like_log(path)
    return EventLog(path, (path,)) if is_log else None


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
    start = b""
    for piece in _pieces(path):
        start += piece
        if len(start) >= len(START):
            break
    return start.startswith(START)


def _pieces(path: Path) -> Iterator[bytes]:
    yield from LogBytes(path)
