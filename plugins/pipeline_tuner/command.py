"""The command of a study's runner: its placeholders, and how a configuration's values get into it, never as code. No
I/O.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePath

from pipeline_tuner.exceptions import ConfigurationError
from pipeline_tuner.space import Scalar, text_of

FILES = ("config", "measurement")
"""Placeholders that become file names."""
VARIABLE_PREFIX = "TUNER_"

PLACEHOLDER = re.compile(r"(?<![$%@])(?:\{\{([A-Za-z_][\w.-]*)\}\}|\{([A-Za-z_][\w.-]*)\})")
"""`{name}`; `{{name}}` is the text `{name}`. `${name}`, `%{name}` and `@{name}` are words of other programs."""
SAFE = re.compile(r"[A-Za-z0-9_@%+=:,./-]+", re.ASCII)
"""Text that means itself in a shell, in quotes or not, and in other languages."""

SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh"})
TAKES_ARGUMENT = re.compile(r"[-+][A-Za-z]*[oO]|--rcfile|--init-file")
"""A shell's options that are followed by a word of their own: `-o pipefail`."""
INTERPRETER = re.compile(r"python[\d.]*|perl|ruby|node|Rscript|psql|mysql|su")
CODE_FOLLOWS = frozenset({"-c", "-e", "--command", "--eval", "--execute"})


class Place(Enum):
    """What a program takes an argument for."""

    ARGUMENT = "argument"
    SHELL = "shell script"
    CODE = "code"


@dataclass(frozen=True)
class Command:
    """A program and its arguments, with placeholders for parameters and for the files of a trial."""

    parts: tuple[str, ...]

    @property
    def placeholders(self) -> tuple[str, ...]:
        """The names in braces, in their order, each once."""
        found = (match[2] for part in self.parts for match in PLACEHOLDER.finditer(part) if match[2])
        return tuple(dict.fromkeys(found))

    def uses(self, name: str) -> bool:
        """Whether a value reaches the program: by its placeholder, its variable, or in the configuration file."""
        return self.names(name) or self.names("config")

    def names(self, name: str) -> bool:
        """Whether a placeholder or its variable is there."""
        word = re.compile(rf"\b{variable(name)}\b")
        return name in self.placeholders or any(word.search(part) for part in self.parts)

    def filled(self, values: Mapping[str, Scalar]) -> list[str]:
        """The command with values for its placeholders; braces in a value stay as they are.

        Raises ConfigurationError for a value that can't be put where its placeholder is. Names without a value stay.
        """
        return [_filled(part, place, values) for part, place in zip(self.parts, places(self.parts), strict=True)]


def variable(name: str) -> str:
    """The environment variable of a parameter: `TUNER_SPARK_SQL_PARTITIONS` for `spark.sql.partitions`."""
    return VARIABLE_PREFIX + re.sub(r"\W", "_", name).upper()


def variables(values: Mapping[str, Scalar]) -> dict[str, str]:
    """The environment variables that hold a configuration."""
    return {variable(name): text_of(value) for name, value in values.items()}


def places(parts: Sequence[str]) -> list[Place]:
    """What each part of a command is to the program that gets it."""
    found = [Place.ARGUMENT] * len(parts)
    for index, part in enumerate(parts):
        program = PurePath(part).name
        if program in SHELLS:
            script = _script(parts, index + 1)
            if script is not None:
                found[script] = Place.SHELL
        elif program == "ssh":  # joins its arguments and gives them to the other machine's shell
            found[index + 1 :] = [Place.CODE] * len(found[index + 1 :])
        elif INTERPRETER.fullmatch(program):
            for code in _code(parts, index + 1):
                found[code] = Place.CODE
    return found


def _script(parts: Sequence[str], start: int) -> int | None:
    """Where a shell's script is; None where it reads a file."""
    is_given, index = False, start
    while index < len(parts) and parts[index][:1] in ("-", "+"):
        option = parts[index]
        is_given = is_given or (option.startswith("-") and not option.startswith("--") and "c" in option)
        index += 2 if TAKES_ARGUMENT.fullmatch(option) else 1
    return index if is_given and index < len(parts) else None


def _code(parts: Sequence[str], start: int) -> Iterator[int]:
    for index in range(start, len(parts)):
        if parts[index - 1] in CODE_FOLLOWS or parts[index].startswith(("--command=", "--eval=", "--execute=")):
            yield index


def _filled(part: str, place: Place, values: Mapping[str, Scalar]) -> str:
    def one(match: re.Match[str]) -> str:
        if match[1]:
            return f"{{{match[1]}}}"
        if match[2] not in values:
            return match[0]
        return _placed(match[2], text_of(values[match[2]]), place, part[: match.start()])

    # All at once: what a value brings with it is never looked at again.
    return PLACEHOLDER.sub(one, part)


def _placed(name: str, text: str, place: Place, before: str) -> str:
    if place is Place.ARGUMENT or SAFE.fullmatch(text):
        return text
    quote = _open_quote(before) if place is Place.SHELL else "'"
    if quote == "'":
        raise ConfigurationError(
            f"{text!r} for {{{name}}} would be read as {place.value}: "
            f"use the variable {variable(name)} there, outside of single quotes"
        )
    # A variable is never read as code, whatever it holds: not even where the quotes were counted wrongly.
    return f"${{{variable(name)}}}" if quote else f'"${{{variable(name)}}}"'


def _open_quote(script: str) -> str:
    """The quote that a shell script's beginning ends in; empty outside of quotes."""
    quote, index = "", 0
    while index < len(script):
        character = script[index]
        if character == "\\" and quote != "'":
            index += 1
        elif quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character == "#" and (index == 0 or script[index - 1].isspace()):
            index = script.find("\n", index) % (len(script) + 1)
        index += 1
    return quote
