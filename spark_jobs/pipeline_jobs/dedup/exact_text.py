"""Which texts and JSON values are exactly a value of a type: what Spark would round, cut or guess is refused.

Spark's parsers take "2024-01-01T10:00" for a date, 20240101 for the year 57385, 10:00 for today, "1,5" for 15, more
digits than a number holds, and nanoseconds. Here a value is what it says, or it is none. Pure Python: it runs in
Spark's tasks.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Any

import numpy as np
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    ByteType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    MapType,
    ShortType,
    StringType,
    StructType,
    TimestampNTZType,
    TimestampType,
)

IsText = Callable[[str], bool]
"""Whether a text is exactly a value."""

BITS: Mapping[type[DataType], int] = {ByteType: 8, ShortType: 16, IntegerType: 32, LongType: 64}
WHOLE = re.compile(r"[+-]?[0-9]{1,40}")
NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
SURE_DIGITS: Mapping[type[DataType], int] = {DoubleType: 15, FloatType: 6}
"""So many digits each number of the type keeps, whatever they are."""
CLOCK = r"[T ](?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,6}0*)?)?"
ZONE = r"Z|[+-](?:0[0-9]|1[0-7]):[0-5][0-9]|[+-]18:00"
LOCAL = re.compile(rf"([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}})(?:{CLOCK})?")
MOMENT = re.compile(rf"([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}})(?:{CLOCK}(?:{ZONE})?)?")
DAY = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})")
UNBOUNDED = ("NaN", "Inf", "-Inf", "+Inf", "Infinity", "-Infinity", "+Infinity", "INF", "-INF", "+INF")


def is_text_of(kind: DataType, *, formatted: frozenset[str] = frozenset()) -> IsText | None:
    """What tells a text that is exactly a value of the type; None where every text is.

    `formatted`: types, by name, for which the study gives a format of its own.
    """
    if kind.simpleString() in formatted:
        return None
    if type(kind) in BITS:
        return _whole(BITS[type(kind)])
    if isinstance(kind, DoubleType | FloatType):
        return lambda text: text in UNBOUNDED or (_is_number(text) and _keeps_digits(kind, text))
    if isinstance(kind, DecimalType):
        return lambda text: _is_number(text) and _fits(kind, Decimal(text))
    if isinstance(kind, BooleanType):
        return lambda text: text.lower() in ("true", "false")
    shapes: dict[type[DataType], re.Pattern[str]] = {DateType: DAY, TimestampType: MOMENT, TimestampNTZType: LOCAL}
    shape = shapes.get(type(kind))
    return None if shape is None else lambda text: _is_dated(shape, text)


def _whole(bits: int) -> IsText:
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return lambda text: WHOLE.fullmatch(text) is not None and low <= int(text) <= high


def _is_number(text: str) -> bool:
    return NUMBER.fullmatch(text) is not None


def _keeps_digits(kind: DataType, text: str) -> bool:
    """Whether the nearest binary number, written back, is the same: all digits that it was given are in it."""
    if len(text) <= SURE_DIGITS[type(kind)] and "e" not in text and "E" not in text:
        return True
    number = Decimal(text)
    nearest = float(number)
    if not math.isfinite(nearest):
        return False
    is_double = number in (Decimal(repr(nearest)), Decimal(f"{nearest:.17g}"))
    if isinstance(kind, DoubleType):
        return is_double
    with np.errstate(over="ignore", under="ignore"):
        single = np.float32(nearest)
    # A number of single precision is often written with the digits that it has as a double.
    is_single = number in (Decimal(str(single)), Decimal(f"{float(single):.9g}"))
    return bool(np.isfinite(single)) and (is_single or (is_double and float(single) == nearest))


def _fits(kind: DecimalType, number: Decimal) -> bool:
    """Whether no digit is rounded away and none is too many. Decimal's own rounding is of 28 digits: not used here."""
    _, digits, exponent = number.as_tuple()
    if not isinstance(exponent, int):
        return False
    written = "".join(map(str, digits)).rstrip("0")
    exponent += len(digits) - len(written)
    before_point = len(written.lstrip("0")) + exponent
    return not written or (-exponent <= kind.scale and before_point <= kind.precision - kind.scale)


def _is_dated(shape: re.Pattern[str], text: str) -> bool:
    found = shape.fullmatch(text)
    if found is None:
        return False
    return _is_day(found[1])


@lru_cache(maxsize=10_000)
def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


class Literal(str):
    """A number of JSON that isn't whole, as it is written."""


class NoValueError(Exception):
    """A value of JSON that is not exactly one of its column's type."""

    def __init__(self, column: str, words: str) -> None:
        super().__init__(words)
        self.column, self.words = column, words


class HalfCharacterError(NoValueError):
    """An escape such as `\\ud800` alone, which no type holds."""


class NameCaseError(NoValueError):
    """A name in another case than that of source.schema: its column would be read as empty."""


class NotAsWrittenError(NoValueError):
    """A number or an object in a column of texts, of a file whose encoding lets Spark write it anew."""


Check = Callable[[Any], None]
"""Raises NoValueError."""


def json_check(
    kind: DataType, column: str, *, formatted: frozenset[str] = frozenset(), keeps_text: bool = True
) -> Check | None:
    """A check of a value as Python's parser gives it, numbers with a point as Literal; None where all are right.

    `keeps_text`: whether a value that is no text stays, in a column of texts, as it is written.
    """
    if isinstance(kind, StructType):
        return _struct(kind, column, formatted, keeps_text)
    if isinstance(kind, ArrayType | MapType):
        return _many(kind, column, formatted, keeps_text)
    if isinstance(kind, StringType):
        return _text(column, keeps_text)
    accepts = _accepts(kind, formatted)
    if accepts is None:
        return None

    def check(value: Any) -> None:
        if value is not None and not accepts(value):
            raise NoValueError(column, f"{_shown(value)} in column {column}, which is not exactly {_named(kind)}")

    return check


def _accepts(kind: DataType, formatted: frozenset[str]) -> Callable[[Any], bool] | None:
    if type(kind) in BITS:
        limit = 2 ** (BITS[type(kind)] - 1)
        return lambda value: type(value) is int and -limit <= value < limit
    if isinstance(kind, BooleanType):
        return lambda value: type(value) is bool
    if isinstance(kind, BinaryType):
        return lambda value: type(value) is str and _is_base64(value)
    as_text = is_text_of(kind, formatted=formatted)
    if isinstance(kind, DoubleType | FloatType):
        return lambda value: (
            value in UNBOUNDED if type(value) is str else type(value) is float or _is_exact(kind, value)
        )
    if isinstance(kind, DecimalType):
        return lambda value: type(value) in (int, Literal) and _fits(kind, Decimal(value))
    if isinstance(kind, DateType | TimestampType | TimestampNTZType):
        return lambda value: type(value) is str and (as_text is None or as_text(value))
    return None


def _is_exact(kind: DataType, value: Any) -> bool:
    return type(value) in (int, Literal) and _keeps_digits(kind, str(value))


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def _check_characters(value: Any, column: str) -> None:
    """A half of a surrogate pair is no character: Spark would write a question mark for it, inside a value too."""
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise HalfCharacterError(column, f"half a character in column {column}") from None
    elif isinstance(value, list | dict):
        for each in value:
            _check_characters(each, column)
        for each in value.values() if isinstance(value, dict) else ():
            _check_characters(each, column)


def _text(column: str, keeps_text: bool) -> Check:
    if keeps_text:
        return lambda value: _check_characters(value, column)

    def check(value: Any) -> None:
        if type(value) in (Literal, list, dict):
            raise NotAsWrittenError(column, f"{_shown(value)} in column {column}, which STRING keeps in UTF-8 only")
        _check_characters(value, column)

    return check


def _struct(kind: StructType, column: str, formatted: frozenset[str], keeps_text: bool) -> Check:
    prefix = f"{column}." if column else ""
    names = frozenset(kind.names)
    by_lower = {name.lower(): name for name in kind.names}
    checks = [
        (part.name, json_check(part.dataType, prefix + part.name, formatted=formatted, keeps_text=keeps_text))
        for part in kind
    ]

    def check(value: Any) -> None:
        if value is None:
            return
        if type(value) is not dict:
            raise NoValueError(column, f"{_shown(value)} in column {column}, which is not an object")
        if not names >= value.keys():
            for name in value.keys() - names:
                wanted = by_lower.get(name.lower())
                if wanted is not None and wanted not in value:
                    raise NameCaseError(column, f"{prefix}{name} where source.schema has {prefix}{wanted}")
        for name, each in checks:
            if each is not None and name in value:
                each(value[name])

    return check


def _many(kind: ArrayType | MapType, column: str, formatted: frozenset[str], keeps_text: bool) -> Check:
    inner = json_check(
        kind.elementType if isinstance(kind, ArrayType) else kind.valueType,
        column,
        formatted=formatted,
        keeps_text=keeps_text,
    )
    wanted = list if isinstance(kind, ArrayType) else dict

    def check(value: Any) -> None:
        if value is None:
            return
        if type(value) is not wanted:
            raise NoValueError(column, f"{_shown(value)} in column {column}, which is not {_named(kind)}")
        if isinstance(value, dict):
            _check_characters(list(value), column)
        if inner is not None:
            for each in value.values() if isinstance(value, dict) else value:
                inner(each)

    return check


def _shown(value: Any) -> str:
    text = str(value) if type(value) in (int, Literal) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _named(kind: DataType) -> str:
    return kind.simpleString().upper()
