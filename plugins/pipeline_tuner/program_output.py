"""What a program prints, read for metrics, checks and signs of running out of memory. No I/O."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline_tuner.exceptions import MeasurementError

NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
"""A plain number. No thousands separator and no decimal comma: `1,234` may be either."""
SEPARATORS = r".,_'\u2019\u00a0\u2009\u202f"
"""What stands between the digits of one number, in some country or language."""
GOES_ON = re.compile(rf"[0-9]|[{SEPARATORS}][0-9]|[eE][+-]?[0-9]|[xX][0-9a-fA-F]")
"""What follows a part of a number rather than a whole one."""
BEGAN = re.compile(rf"(?:[0-9]|[0-9][{SEPARATORS}]|(?<![0-9])\.|[0-9.][eE][+-]?|(?<![0-9A-Za-z])[-\u2212])$")
"""What stands before a part of a number."""

CURSOR = re.compile(r"\x1b\[[0-9;?]*[A-HJSTfd]")
"""Moves on the screen: what stands on both sides of one is not one word."""
DRESS = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-Z\\-_=>]|\x1b[()][A-Za-z0-9]")
"""Colours, titles and modes of a terminal."""
LINE_END = re.compile(r"\r+\n?")

SHOWN = 120
"""Characters of what was printed in a message."""

TRACEBACK = r"Traceback \(most recent call last\):\n(?:(?:[ \t|].*)?\n)+?[^ \t\n].*"
CHAINED = (
    r"\n+(?:The above exception was the direct cause of the following exception|"
    r"During handling of the above exception, another exception occurred):\n+"
)
TRACEBACKS = re.compile(rf"{TRACEBACK}(?:{CHAINED}{TRACEBACK})*")
"""Python's tracebacks; one that led to another is one failure with it."""
PYTHON_MEMORY = re.compile(r"^(?:\w+\.)*\w*MemoryError\b.*", re.MULTILINE)
MACHINE_MEMORY = re.compile(
    r"java\.lang\.OutOfMemoryError[^\n]*"
    r"|There is insufficient memory for the Java Runtime Environment to continue"
    r"|Lost executor [^\n]* exited with code 52\b"
    r"|what\(\):\s+std::bad_alloc"
    r"|(?::|errno 12\]|error=')[ ]?Cannot allocate memory\b",
    re.IGNORECASE,
)
"""52 is the exit code of a Spark executor out of memory; the job may see no more than that it was shutting down."""


def plain_text(text: str) -> str:
    """The text without a terminal's colours; a carriage return and a move of the cursor begin a line."""
    return LINE_END.sub("\n", DRESS.sub("", CURSOR.sub("\n", text)))


@dataclass(frozen=True)
class MetricPattern:
    """A metric of a program that can't be changed: the last match's group is the value."""

    metric: str
    pattern: re.Pattern[str]

    def value_in(self, text: str) -> float:
        """The value in plain text. Raises MeasurementError, in one line, where there is none or no plain number."""
        match = _last(self.pattern.finditer(text))
        if match is None:
            raise MeasurementError(
                f"the program printed nothing that {self._key} matches ({self.pattern.pattern!r}); {_ending(text)}"
            )
        return self._number(match)

    def _number(self, match: re.Match[str]) -> float:
        found = match[1]
        if found is None:
            raise self._error(match[0], f"where the group of {self.pattern.pattern!r} took part in no match")
        if not NUMBER.fullmatch(found.strip()):
            raise self._error(
                found, "which is no plain number: print it as 1234.5 (LC_ALL=C), or have the group match no more"
            )
        if _is_part(match):
            around = match.string[max(match.start(1) - 12, 0) : match.end(1) + 12].strip()
            raise self._error(
                around, f"of which the group takes {found!r}, part of a number: print 1234.5, with a space after it"
            )
        number = float(found)
        if not math.isfinite(number):
            raise self._error(found, "which is too large for a number")
        return number

    @property
    def _key(self) -> str:
        return f"runner.options.metrics.{self.metric}"

    def _error(self, found: str, reason: str) -> MeasurementError:
        return MeasurementError(f"{self._key}: the program printed {_shown(found)}, {reason}")


def memory_sign(text: str) -> str | None:
    """The words that say a failed program ran out of memory, None where nothing says so.

    A Python program ran out of memory where its last traceback ends in a MemoryError: the word alone, or one that
    the program went on from, is no reason.
    """
    plain = plain_text(text)
    sign = MACHINE_MEMORY.search(plain)
    if sign is None:
        last = _last(TRACEBACKS.finditer(plain))
        sign = PYTHON_MEMORY.search(last[0]) if last else None
    return sign[0].strip(" :") if sign else None


def _is_part(match: re.Match[str]) -> bool:
    start, end = match.span(1)
    before = match.string[max(start - 4, 0) : start]
    text = match[1]
    if text != text.strip():  # a space of the group's own ends the number
        return False
    return bool(GOES_ON.match(match.string, end) or (BEGAN.search(before) and text[0] not in "+-"))


def _last(matches: Iterator[re.Match[str]]) -> re.Match[str] | None:
    last = None
    for match in matches:
        last = match
    return last


def _ending(text: str) -> str:
    lines = text.split("\n")
    words = next((line for line in reversed(lines) if line.strip()), "")
    return f"its last line is {_shown(words)}" if words else "it printed nothing at all"


def _shown(text: str) -> str:
    return repr(text if len(text) <= SHOWN else text[:SHOWN] + "...")
