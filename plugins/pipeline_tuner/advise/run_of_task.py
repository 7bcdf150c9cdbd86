"""The event log that one task's run left, found by the settings that it was submitted with and by its time."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pipeline_tuner.advise.advice import RunAdvice, advise
from pipeline_tuner.advise.application import Outcome
from pipeline_tuner.advise.compression import LogBytes
from pipeline_tuner.advise.files import EventLog, LogError, find_logs
from pipeline_tuner.advise.reading import read_log
from pipeline_tuner.exceptions import MeasurementError

DEFAULT_FOLDER = "file:///tmp/spark-events"
MAX_BYTES = 256 << 20
"""A larger log is not read: it would take minutes of a task's time. `advise` reads it."""
STARTED = re.compile(rb'"SparkListenerApplicationStart"[^\n]*?"Timestamp":(\d+)')
HEAD_BYTES = 4 << 20
"""How far into a log its application's start is looked for: what stands before it are the settings."""


def log_folder(conf: Mapping[str, Any]) -> Path | None:
    """The folder of the event logs that these Spark settings write; None where they write none that lies on a path."""
    if str(conf.get("spark.eventLog.enabled", "false")).lower() != "true":
        return None
    place = urlsplit(str(conf.get("spark.eventLog.dir", DEFAULT_FOLDER)))
    return Path(unquote(place.path)) if place.scheme in ("", "file") else None


def run_between(folder: Path, started_at: datetime, ended_at: datetime) -> RunAdvice:
    """The only application in `folder` that began between two times.

    Raises MeasurementError where there is none or more than one, or its log can't be read to its end.
    """
    first_ms, last_ms = started_at.timestamp() * 1000 - 1, ended_at.timestamp() * 1000 + 1
    try:
        logs = _written_since(folder, started_at.timestamp() - 1)
        own = [log for log in logs if any(first_ms <= at <= last_ms for at in _starts(log))]
        if len(own) != 1:
            found = f"{len(own)} applications" if own else "no application"
            raise MeasurementError(f"the event logs in {folder} have {found} of this run's time")
        return _read(own[0])
    except (LogError, ValueError, OSError) as error:
        raise MeasurementError(f"the run left no event log that can be read: {error}") from None


def _read(log: EventLog) -> RunAdvice:
    if log.size_bytes > MAX_BYTES:
        raise MeasurementError(f"{log.path} has {log.size_bytes >> 20} MB, too many to read in a task")
    found = advise(read_log(log))
    if found.read.application.outcome is Outcome.CUT:
        raise MeasurementError("the application's event log has no end: it did not stop its Spark context")
    return found


def _written_since(folder: Path, since: float) -> list[EventLog]:
    """The logs that were written to after a time: such a folder may hold those of years."""
    found: list[EventLog] = []
    for path in folder.iterdir():
        files = list(path.iterdir()) if path.is_dir() else [path]
        if any(file.stat().st_mtime >= since for file in files):
            with contextlib.suppress(LogError):
                found += find_logs([path]).logs
    return found


def _starts(log: EventLog) -> Iterator[int]:
    """When the application began (ms since 1970), where the beginning of its log says so."""
    head = b""
    for piece in LogBytes(log.parts[0]):
        head += piece
        if (match := STARTED.search(head)) or len(head) > HEAD_BYTES:
            if match:
                yield int(match[1])
            return
