"""The line of a failed program's output that says why it failed: Python, Java and Spark, shells, databases. No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from pipeline_tuner.program_output import plain_text

CAUSE_LENGTH = 300
"""Characters of a cause: a message's beginning says most."""
LOOKED_AT = 1_000_000
"""Characters of the end that are looked at: a program may print more than anyone wants to wait for."""

TRACEBACK = "Traceback (most recent call last):"
RAISED = re.compile(r"(?:[A-Za-z_][\w$]*\.)*[A-Za-z_]\w*(?:Error|Exception|Interrupt|Fault)(?::.*)?")
"""An exception with its message, as Python and Java print it at the beginning of a line."""
UNCAUGHT = re.compile(r'Exception in thread "[^"]*" +(?!\S*SparkUserAppException)(?P<cause>.+)')
"""Java's word on what ended a thread; Spark's own exception for a Python program that failed says nothing."""
CAUSED_BY = re.compile(r"\s*Caused by: (?P<cause>.+)")
OF_PY4J = re.compile(r": (?P<cause>(?:[a-z_]\w*\.)+[A-Z][\w$]*.*)")
"""How Py4J goes on below its own line, which says nothing: `: org.apache.spark.SparkException: ...`."""
FRAME = re.compile(r"\s+(?:at |\.\.\. \d+ |File \")|\s*[~^]*\s*$|Driver stacktrace:")
LOGGED = re.compile(r"(?:\[?\d.{0,80}?\b)?(?P<level>TRACE|DEBUG|INFO|WARN|WARNING|ERROR|FATAL|CRITICAL)\b")
"""A line of a log: a time and whatever else, then its level."""
WORST = ("ERROR", "FATAL", "CRITICAL")
NAMED = re.compile(r"(?:[\w./+:-]+: ){0,3}(?:fatal |syntax )?(?:error|fatal|panic): *\S.*", re.IGNORECASE)
"""`psql: error: ...`, `Error: ...`, `ERROR:  relation ...`."""
AT_THE_END = re.compile(r"ShutdownHookManager|shutdown hook|ShutdownHook", re.IGNORECASE)
"""What goes wrong while a process ends is no reason why it does."""


def cause_of(text: str) -> str | None:
    """The line that says why a program failed, at most CAUSE_LENGTH characters of it; None for an empty text.

    The innermost cause of the last exception comes before an error that is only named, and that before the last line.
    """
    return named_cause_of(text) or _shortened(_of_the_last_line(_lines(text)))


def named_cause_of(text: str) -> str | None:
    """The same, None also where the text names neither an exception nor an error."""
    lines = _lines(text)
    return _shortened(_of_an_exception(lines) or _of_an_error_line(lines))


def with_cause(words: str, text: str) -> str:
    """`words: CAUSE`: reports show the beginning of a reason."""
    cause = cause_of(text)
    return f"{words}: {cause}" if cause else words


def _lines(text: str) -> list[str]:
    return plain_text(text[-LOOKED_AT:]).split("\n")


def _shortened(line: str | None) -> str | None:
    return " ".join(line.split())[:CAUSE_LENGTH] if line else None


def _of_an_exception(lines: Sequence[str]) -> str | None:
    """The innermost cause of the exception that ended the program: the last uncaught one, else the last printed one."""
    python = _last(lines, lambda line: TRACEBACK in line)
    java = _last(lines, lambda line: bool(UNCAUGHT.match(line)))
    if python is not None and (java is None or java < python):
        return _of_traceback(lines, python)
    if java is None:
        java = _last_stack(lines)
    return _innermost(lines, java) if java is not None else None


def _of_traceback(lines: Sequence[str], start: int) -> str | None:
    place = next((n for n in range(start + 1, len(lines)) if lines[n].strip() and not lines[n][0].isspace()), None)
    return _innermost(lines, place) if place is not None else None


def _last_stack(lines: Sequence[str]) -> int | None:
    """The last Java exception with a stack, without those of the process's end."""
    for place in range(len(lines) - 2, -1, -1):
        is_head = RAISED.fullmatch(lines[place].strip().removeprefix(": ")) and lines[place + 1].lstrip().startswith(
            "at "
        )
        if is_head and not (place and AT_THE_END.search(lines[place - 1])):
            return place
    return None


def _innermost(lines: Sequence[str], start: int) -> str:
    """The last `Caused by` below an exception, else what Py4J says of it, else the exception itself."""
    first = UNCAUGHT.match(lines[start]) or OF_PY4J.match(lines[start])
    cause = first["cause"] if first else lines[start]
    for line in lines[start + 1 :]:
        below = CAUSED_BY.match(line) or OF_PY4J.match(line)
        if below:
            cause = below["cause"]
        elif not FRAME.match(line) and (LOGGED.match(line) or RAISED.fullmatch(line)):
            break
    return cause


def _of_an_error_line(lines: Sequence[str]) -> str | None:
    for line in reversed(lines):
        logged = LOGGED.match(line)
        if AT_THE_END.search(line):
            continue
        if NAMED.fullmatch(line) or RAISED.fullmatch(line):
            return line
        if logged and logged["level"] in WORST:
            return line[logged.start("level") :]
    return None


def _of_the_last_line(lines: Sequence[str]) -> str | None:
    said = [line for line in lines if line.strip()]
    return next((line for line in reversed(said) if not FRAME.match(line) and not LOGGED.match(line)), None) or (
        said[-1] if said else None
    )


def _last(lines: Sequence[str], fits: Callable[[str], bool]) -> int | None:
    return next((place for place in range(len(lines) - 1, -1, -1) if fits(lines[place])), None)
