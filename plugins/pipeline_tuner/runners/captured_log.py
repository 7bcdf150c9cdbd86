"""The log and the output of an operator that runs in this process, also written to a file."""

from __future__ import annotations

import contextlib
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import structlog

from pipeline_tuner.failure_cause import named_cause_of
from pipeline_tuner.program_output import plain_text

ECHOES = ("Running command:", "Executing:", "Running statement:", "Spark-Submit cmd:")
"""How lines begin in which an operator repeats its own arguments: a pattern must not find its own text there."""
LOGGED = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+\S* \[\w+ *\]")


@contextlib.contextmanager
def written_down(path: Path) -> Iterator[None]:
    """Write every line of it into a file of this path, too. It goes where it went in any case."""
    with path.open("a", encoding="utf-8") as file, written_to(file):
        yield


@contextlib.contextmanager
def written_to(file: TextIO) -> Iterator[None]:
    """Write every line of it into an open file, too."""
    with _tapped(file), contextlib.redirect_stdout(_Both(file)):
        yield


@contextlib.contextmanager
def _tapped(file: TextIO) -> Iterator[None]:
    # In place: loggers that are in use keep the list that they were made with.
    processors = structlog.get_config()["processors"]

    def tap(_logger: Any, _method: str, event: Any) -> Any:
        if isinstance(event, dict):
            _write(file, _text(event.get("event", ""), event.get("positional_args")))
        return event

    handler = _Handler(file)
    processors.insert(0, tap)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        processors.remove(tap)


class _Handler(logging.Handler):
    """Lines of the standard library's loggers."""

    def __init__(self, file: TextIO) -> None:
        super().__init__(logging.INFO)
        self._file = file

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        _write(self._file, _text(record.msg, record.args))


class _Both:
    """A standard output that is written to a file as well."""

    def __init__(self, file: TextIO) -> None:
        self._file, self._stdout = file, sys.stdout

    def write(self, text: str) -> int:
        """Write to both. A line of the log is in the file already, where Airflow logs to the standard output."""
        if not LOGGED.match(plain_text(text)):
            self._file.write(text)
        return self._stdout.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stdout, name)


def _text(event: Any, arguments: Any) -> str:
    try:
        return str(event) % arguments if arguments else str(event)
    except (TypeError, ValueError):
        return str(event)


def _write(file: TextIO, line: str) -> None:
    if not line.startswith(ECHOES):
        file.write(f"{line}\n")


def error_words(error: BaseException | str | None) -> str:
    """An error in one line of at most 500 characters, without the secrets that Airflow knows of."""
    # Imported here: a worker has it, and the plugin is loaded where there may be none.
    from airflow.sdk.log import redact

    return str(redact(" ".join(f"{type(error).__name__}: {error}".split())))[:500]


def cause_words(text: str) -> str | None:
    """The line of a captured log that names why a command failed, without the secrets that Airflow knows of."""
    from airflow.sdk.log import redact

    cause = named_cause_of(text)
    return None if cause is None else str(redact(cause))
