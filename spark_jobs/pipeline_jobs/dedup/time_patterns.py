"""Patterns of dates and times that say less than the value has: Spark fills in what a pattern leaves out.

`yyyy-mm-dd` (minutes for months) reads 2024-05-06 as 6 January, `hh` without `a` reads 12:30 as 00:30, and a date
whose pattern has a time of day loses it, all without a word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

QUOTED = re.compile(r"'(?:[^']|'')*'")
OPTIONAL = re.compile(r"\[[^\[\]]*\]")
LETTERS = re.compile(r"[A-Za-z]")
KNOWN = frozenset("GyMLdDQqEFahKkHmsSVzOXx")
"""Letters that Spark reads."""
CLOCK = frozenset("aHhKkmsS")
ZONES = frozenset("VzOXx")
TOO_FINE = "S" * 7
"""Digits of a second that a timestamp has no room for."""
COARSER = (("m", "HhKk", "an hour (HH)"), ("s", "m", "minutes (mm)"), ("S", "s", "seconds (ss)"))


@dataclass(frozen=True)
class Pattern:
    """The letters of a pattern: those that it always has, and all of them."""

    always: frozenset[str]
    all: frozenset[str]

    @classmethod
    def of(cls, text: str) -> Pattern:
        """Texts in quotes are no letters of a pattern, and sections in brackets need not be there."""
        plain = QUOTED.sub("", text)
        always = plain
        while (shorter := OPTIONAL.sub("", always)) != always:
            always = shorter
        return cls(frozenset(LETTERS.findall(always)), frozenset(LETTERS.findall(plain)))


def pattern_problem(option: str, text: str) -> str | None:
    """Why a pattern would change values, in words that follow the option's name; None where it doesn't."""
    if TOO_FINE in text:
        return f"is {text!r}, and Spark keeps 6 digits of a second: declare the column STRING"
    reason = next(_reasons(option.lower(), Pattern.of(text)), None)
    return f"is {text!r}, {reason}" if reason else None


def _reasons(option: str, pattern: Pattern) -> Iterator[str]:
    unknown = sorted(pattern.all - KNOWN)
    if unknown:
        yield f"and Spark knows no {unknown[0]}: a year is yyyy, a month MM, a day dd, an hour HH"
    yield from _of_days(pattern)
    if option == "dateformat" and pattern.all & CLOCK:
        yield "whose time of day a DATE would lose: declare the column TIMESTAMP_NTZ and give timestampNTZFormat"
    yield from _of_clocks(pattern)
    if "z" in pattern.all:
        yield "whose z is the name of several zones (IST, CST): write VV for Europe/Paris, XXX for +02:00"
    if option == "timestampntzformat" and pattern.all & ZONES:
        yield "whose zone a TIMESTAMP_NTZ would lose: declare the column TIMESTAMP and give timestampFormat"


def _of_days(pattern: Pattern) -> Iterator[str]:
    letters = pattern.always
    if "D" in pattern.all and pattern.all & set("MLd"):
        yield "where D counts the days of a year: the day of a month is dd"
    if "y" not in letters or not ("D" in letters or ("d" in letters and letters & set("ML"))):
        yield "which doesn't say year, month and day (yyyy, MM, dd): Spark would fill in. Declare the column STRING"


def _of_clocks(pattern: Pattern) -> Iterator[str]:
    if pattern.all & set("hK") and "a" not in pattern.always:
        yield "whose hh is an hour of a half day: write HH, or add a for AM and PM"
    for fine, coarse, words in COARSER:
        if fine in pattern.all and not pattern.all & set(coarse):
            yield f"which has {fine} without {words}"
