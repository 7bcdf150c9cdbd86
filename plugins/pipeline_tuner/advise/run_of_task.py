"""Which event log one Airflow task's run left: found by the settings that it was submitted with and by its time."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from pipeline_tuner.advise import events
from pipeline_tuner.advise.advice import RunAdvice, advise
from pipeline_tuner.advise.application import Outcome
from pipeline_tuner.advise.compression import LogBytes
from pipeline_tuner.advise.event_lines import kind_of
from pipeline_tuner.advise.log_files import EventLog, LogError, find_logs
from pipeline_tuner.advise.log_reader import pairs, read_log
from pipeline_tuner.exceptions import MeasurementError

DEFAULT_FOLDER = "file:///tmp/spark-events"
MAX_BYTES = 256 << 20
"""A larger log is not read: it would take minutes of a task's time. `advise` reads it."""
STARTED = re.compile(rb'"SparkListenerApplicationStart"[^\n]*?"Timestamp":(\d+)')
ENVIRONMENT = b"SparkListenerEnvironmentUpdate"
ENVIRONMENT_DECODER = msgspec.json.Decoder(events.Environment)
REDACTED = "(redacted)"
HEAD_BYTES = 4 << 20
"""How far into a log its application's start is looked for: what stands before it are the settings."""


def log_folder(conf: Mapping[str, Any]) -> Path | None:
    """The folder of the event logs that these Spark settings write; None where they write none that lies on a path."""
    if str(conf.get("spark.eventLog.enabled", "false")).lower() != "true":
        return None
    place = urlsplit(str(conf.get("spark.eventLog.dir", DEFAULT_FOLDER)))
    return Path(unquote(place.path)) if place.scheme in ("", "file") else None


@dataclass(frozen=True)
class Submitted:
    """What a task submitted: by it its run is told from others of the same time."""

    conf: Mapping[str, Any]
    application: str = ""
    arguments: tuple[str, ...] = ()

    def may_be(self, head: Head) -> bool:
        """Whether a log's command line, where it has one, is of this application with these arguments."""
        command = head.command
        if not command or REDACTED in command:
            return True
        wanted = (self.application.rpartition("/")[2], *self.arguments)
        return all(text in command for text in wanted)

    def likeness(self, head: Head) -> int:
        """How many settings of the log are as they were submitted."""
        return sum(head.settings.get(name) == str(value) for name, value in self.conf.items())


@dataclass(frozen=True)
class Head:
    """The beginning of a log: what an application was started with, and when (ms since 1970)."""

    log: EventLog
    started: int
    command: str
    settings: Mapping[str, str]


def run_between(folder: Path, started_at: datetime, ended_at: datetime, submitted: Submitted) -> RunAdvice:
    """The application in `folder` that began between two times and is the one that was submitted.

    Raises MeasurementError where there is none, where several are as likely, or where its log can't be read to its end.
    """
    first_ms, last_ms = started_at.timestamp() * 1000 - 1, ended_at.timestamp() * 1000 + 1
    try:
        logs = _written_since(folder, started_at.timestamp() - 1)
        heads = [head for log in logs for head in _heads(log) if first_ms <= head.started <= last_ms]
        own = _likest(submitted, [head for head in heads if submitted.may_be(head)])
        if len(own) != 1:
            found = f"{len(own)} applications" if own else "no application"
            raise MeasurementError(f"the event logs in {folder} have {found} of this run's time and settings")
        return _read(own[0].log)
    except (LogError, ValueError, OSError) as error:
        raise MeasurementError(f"the run left no event log that can be read: {error}") from None


def _likest(submitted: Submitted, heads: list[Head]) -> list[Head]:
    most = max(map(submitted.likeness, heads), default=0)
    return [head for head in heads if submitted.likeness(head) == most]


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


def _heads(log: EventLog) -> Iterator[Head]:
    """The beginning of a log; nothing where it does not say when its application began."""
    head = b""
    for piece in LogBytes(log.parts[0]):
        head += piece
        if match := STARTED.search(head):
            yield _head(log, int(match[1]), head)
            return
        if len(head) > HEAD_BYTES:
            return


def _head(log: EventLog, started: int, text: bytes) -> Head:
    for line in text.splitlines():
        if kind_of(line) == ENVIRONMENT:
            event = ENVIRONMENT_DECODER.decode(line)
            return Head(log, started, pairs(event.system).get("sun.java.command", ""), pairs(event.spark))
    return Head(log, started, "", {})
