"""Options of jobs, each declared once as a field of a dataclass with its meaning; read and checked.

    @dataclass(frozen=True)
    class Workload:
        table: str = option("the source table")
        max_rejected: int = option("rejected rows in one range fail the range above it", default=1000, low=0)

`read_options` reports everything that is wrong at once; option_tables.py writes the tables of the documentation.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field
from enum import Enum
from typing import Any, TypeVar

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.unknown_names import unknown_words

Options = TypeVar("Options")
Others = TypeVar("Others")


NEEDED = object()
"""In place of a default: the option must be given."""


class OptionType(Enum):
    """What a value is, in words that follow "must be"."""

    TEXT = "text (in quotes, if it looks like something else)"
    WHOLE = "a whole number"
    NUMBER = "a number"
    FLAG = "true or false"
    TEXTS = "a text, or a list of texts"
    WHOLES = "a list of whole numbers"
    PAIRS = "a mapping: names with values"


TYPES = {
    "str": OptionType.TEXT,
    "int": OptionType.WHOLE,
    "float": OptionType.NUMBER,
    "bool": OptionType.FLAG,
    "tuple[str, ...]": OptionType.TEXTS,
    "tuple[int, ...]": OptionType.WHOLES,
    "Mapping[str, str]": OptionType.PAIRS,
    "Mapping[str, Any]": OptionType.PAIRS,
}


@dataclass(frozen=True)
class Option:
    """One option: what it may be and what it means."""

    name: str
    type: OptionType
    help: str
    unit: str = ""
    default: Any = NEEDED
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None

    @property
    def is_needed(self) -> bool:
        """Whether it must be given."""
        return self.default is NEEDED

    def problem(self, value: object) -> str | None:
        """What is wrong with a value, in words that follow the option's name; None where nothing is."""
        if not _fits(value, self.type):
            return f"is {value!r}, must be {self.type.value}"
        if self.choices and value not in self.choices:
            return f"is {value!r}, must be one of {', '.join(self.choices)}"
        numbers = value if isinstance(value, list | tuple) else [value]
        if any(self._is_outside(number) for number in numbers if isinstance(number, int | float)):
            return f"is {value!r}, must be {self.range}"
        return None

    def _is_outside(self, number: float) -> bool:
        return (self.low is not None and number < self.low) or (self.high is not None and number > self.high)

    @property
    def range(self) -> str:
        """The range of a number in words; empty where there is none."""
        if self.low is not None and self.high is not None:
            return f"from {self.low:,} to {self.high:,}"
        return (
            f"{self.low:,} or more"
            if self.low is not None
            else f"at most {self.high:,}"
            if self.high is not None
            else ""
        )


def option(
    help: str,
    *,
    default: Any = MISSING,
    unit: str = "",
    choices: Sequence[str] = (),
    low: float | None = None,
    high: float | None = None,
) -> Any:
    """A dataclass's field that is an option; without a default it is needed. `choices` and bounds are inclusive."""
    declared = {"help": help, "unit": unit, "choices": tuple(choices), "low": low, "high": high}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata={"option": declared})
    return field(default=default, metadata={"option": declared})


def options_of(kind: type) -> tuple[Option, ...]:
    """The options that a dataclass declares, in their order."""
    return tuple(
        Option(each.name, TYPES[str(each.type)], default=_default(each), **each.metadata["option"])
        for each in dataclasses.fields(kind)
        if "option" in each.metadata
    )


def read_options(kind: type[Options], given: Mapping[str, Any], what: str, *, beside: Sequence[str] = ()) -> Options:
    """A dataclass out of the options that were given; null is as if not given. `beside` are names read elsewhere.

    Raises BadConfigurationError with all that is wrong, in one line.
    """
    check_options((kind,), given, what, beside=beside)
    return _built(kind, given)


def read_both(
    first: type[Options], second: type[Others], given: Mapping[str, Any], what: str, *, beside: Sequence[str] = ()
) -> tuple[Options, Others]:
    """Two dataclasses out of options that are written side by side. Raises as `read_options`."""
    check_options((first, second), given, what, beside=beside)
    return _built(first, given), _built(second, given)


def check_options(kinds: Sequence[type], given: Mapping[str, Any], what: str, *, beside: Sequence[str] = ()) -> None:
    """Raises BadConfigurationError with all that is wrong with options of these dataclasses, in one line."""
    declared = {each.name: each for kind in kinds for each in options_of(kind)}
    elsewhere = [name for name in beside if name not in declared]
    own = {name: value for name, value in given.items() if name not in elsewhere and value is not None}
    unknown = unknown_words((name for name in own if name not in declared), (*declared, *elsewhere))
    problems = [*_problems(declared, own), *([unknown] if unknown else [])]
    if problems:
        raise BadConfigurationError(f"{what} {'; '.join(problems)}")


def _built(kind: type[Options], given: Mapping[str, Any]) -> Options:
    declared = {each.name: each for each in options_of(kind)}
    own = {name: given[name] for name in declared if given.get(name) is not None}
    return kind(**{name: _as_declared(declared[name], value) for name, value in own.items()})


def _problems(declared: Mapping[str, Option], given: Mapping[str, Any]) -> Iterator[str]:
    for name, value in given.items():
        if name in declared and (words := declared[name].problem(value)):
            yield f"{name} {words}"
    yield from (f"{name} is missing" for name, each in declared.items() if each.is_needed and name not in given)


def _fits(value: object, kind: OptionType) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    match kind:
        case OptionType.TEXT:
            return isinstance(value, str)
        case OptionType.WHOLE:
            return is_number and not isinstance(value, float)
        case OptionType.NUMBER:
            return is_number and _is_finite(value)
        case OptionType.FLAG:
            return isinstance(value, bool)
        case OptionType.TEXTS:
            return isinstance(value, str) or _all(value, OptionType.TEXT)
        case OptionType.WHOLES:
            return _all(value, OptionType.WHOLE)
        case OptionType.PAIRS:
            return isinstance(value, Mapping)


def _is_finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number of hundreds of digits
        return False


def _all(values: object, kind: OptionType) -> bool:
    return isinstance(values, list | tuple) and all(_fits(value, kind) for value in values)


def _as_declared(declared: Option, value: Any) -> Any:
    if declared.type is OptionType.TEXTS and isinstance(value, str):
        return (value,)
    return tuple(value) if declared.type in (OptionType.TEXTS, OptionType.WHOLES) else value


def _default(each: dataclasses.Field[Any]) -> Any:
    if each.default_factory is not MISSING:
        return each.default_factory()
    return NEEDED if each.default is MISSING else each.default
