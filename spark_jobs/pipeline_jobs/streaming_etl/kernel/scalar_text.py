"""text and uuid columns: any scalar as text, and text as a UUID."""

# ruff: noqa: ANN201, ANN202, SIM109
# Types come from the arguments at the first call, and numba compiles plain comparisons and loops best.
# mypy: ignore-errors

from __future__ import annotations

import numpy as np

from pipeline_jobs.compiled import compiled
from pipeline_jobs.streaming_etl.kernel.codes import (
    B_BINARY,
    B_BOOL,
    B_DATE,
    B_DECIMAL,
    B_DOUBLE,
    B_INT32,
    B_INT64,
    B_OBJECTID,
    B_STRING,
    B_SYMBOL,
    DAY_MS,
    MAX_DIGITS,
    OK,
    OUT_OF_RANGE,
    TOO_LONG,
    WRONG_TYPE,
)
from pipeline_jobs.streaming_etl.kernel.numeric import INFINITE, NOT_A_NUMBER, decimal, whole_digits
from pipeline_jobs.streaming_etl.kernel.reading import i32, i64, put
from pipeline_jobs.streaming_etl.kernel.values import date_of, write_bytes, write_text


@compiled
def _hex_value(byte):
    if 48 <= byte <= 57:
        return np.int64(byte) - 48
    lower = np.int64(byte) | 32
    return lower - 87 if 97 <= lower <= 102 else np.int64(-1)


@compiled
def write_uuid(data, kind, at, out, to):
    """A binary of subtype 4, or text as 8-4-4-4-12 hexadecimal digits."""
    if kind == B_BINARY:
        if data[at + 4] != 4 or i32(data, at) != 16:
            return to, WRONG_TYPE
        return write_bytes(data, kind, at, out, to)
    if kind != B_STRING or i32(data, at) != 37:
        return to, WRONG_TYPE
    to = put(out, to, np.int64(16), 4)
    half, digits = np.int64(0), 0
    for n in range(36):
        byte = data[at + 4 + n]
        if n == 8 or n == 13 or n == 18 or n == 23:
            if byte != 45:
                return to, WRONG_TYPE
            continue
        value = _hex_value(byte)
        if value < 0:
            return to, WRONG_TYPE
        half = half << 4 | value
        digits += 1
        if digits % 2 == 0:
            out[to] = np.uint8(half & 255)
            to += 1
    return to, OK


@compiled
def put_ascii(text, out, to):
    """Write bytes that are known to be ASCII. Returns where they end."""
    for byte in text:
        out[to] = np.uint8(byte)
        to += 1
    return to


@compiled
def put_whole(value, out, to):
    """A signed number in decimal."""
    digits = np.zeros(MAX_DIGITS, np.uint8)
    size = np.uint64(value) if value >= 0 else np.uint64(-(value + 1)) + np.uint64(1)
    count = whole_digits(size, digits)
    if value < 0:
        out[to] = 45
        to += 1
    return _put_digits(digits, 0, count, out, to)


@compiled
def _put_digits(digits, first, last, out, to):
    """Digits from `first` up to `last`; zeros where there are no more."""
    for n in range(first, last):
        out[to] = np.uint8(48) + (digits[n] if 0 <= n < MAX_DIGITS else np.uint8(0))
        to += 1
    return to


@compiled
def _put_padded(value, width, out, to):
    for n in range(width):
        out[to + width - 1 - n] = np.uint8(48 + value % 10)
        value //= 10
    return to + width


INFINITY_TEXT, NAN_TEXT = np.frombuffer(b"Infinity", np.uint8), np.frombuffer(b"NaN", np.uint8)


@compiled
def _put_decimal(digits, count, exponent, sort, is_negative, of_double, out, to):
    """A number as Python shows a float, or a Decimal128 as its specification does."""
    if sort == NOT_A_NUMBER:
        return put_ascii(NAN_TEXT, out, to)
    if is_negative:
        out[to] = 45
        to += 1
    if sort == INFINITE:
        return put_ascii(INFINITY_TEXT, out, to)
    point = count + exponent
    if (of_double and -4 < point <= 16) or (not of_double and exponent <= 0 and point > -6):
        if point <= 0:
            out[to], out[to + 1] = 48, 46
            for n in range(-point):
                out[to + 2 + n] = 48
            return _put_digits(digits, 0, count, out, to + 2 - point)
        for n in range(count, point):
            digits[n] = 0
        to = _put_digits(digits, 0, point, out, to)
        if count > point:
            out[to] = 46
            return _put_digits(digits, point, count, out, to + 1)
        if of_double:
            out[to], out[to + 1] = 46, 48
            to += 2
        return to
    to = _put_digits(digits, 0, 1, out, to)
    if count > 1:
        out[to] = 46
        to = _put_digits(digits, 1, count, out, to + 1)
    out[to] = 101 if of_double else 69
    out[to + 1] = 45 if point - 1 < 0 else 43
    size = abs(point - 1)
    if of_double and size < 10:
        out[to + 2] = 48
        to += 1
    return put_whole(size, out, to + 2)


@compiled
def put_number(data, kind, at, out, to):
    """Any BSON number in decimal. Returns where the next goes, and an error or OK."""
    digits = np.zeros(MAX_DIGITS, np.uint8)
    count, exponent, sort, is_negative, error = decimal(data, kind, at, digits)
    if error != OK:
        return to, error
    if kind == B_DOUBLE:
        while exponent < 0 and count > 1 and digits[count - 1] == 0:
            count -= 1
            exponent += 1
    return _put_decimal(digits, count, exponent, sort, is_negative, kind == B_DOUBLE, out, to), OK


@compiled
def put_moment(ms, out, to):
    """A moment of the years 1 to 9999 in ISO 8601, with milliseconds where there are some."""
    days = ms // DAY_MS
    left = ms - days * DAY_MS
    year, month, day = date_of(days)
    to = _put_padded(year, 4, out, to)
    out[to] = 45
    to = _put_padded(month, 2, out, to + 1)
    out[to] = 45
    to = _put_padded(day, 2, out, to + 1)
    out[to] = 84
    to = _put_padded(left // 3_600_000, 2, out, to + 1)
    out[to] = 58
    to = _put_padded(left // 60_000 % 60, 2, out, to + 1)
    out[to] = 58
    to = _put_padded(left // 1000 % 60, 2, out, to + 1)
    if left % 1000:
        out[to] = 46
        to = _put_padded(left % 1000, 3, out, to + 1)
    out[to] = 90
    return to + 1


TRUE_TEXT, FALSE_TEXT = np.frombuffer(b"true", np.uint8), np.frombuffer(b"false", np.uint8)


YEAR_1_MS, YEAR_10000_MS = -62_135_596_800_000, 253_402_300_800_000


@compiled
def write_scalar_text(data, kind, at, max_length, out, to):
    """Text of a string, a number, true or false, a date or an ObjectId."""
    if kind == B_STRING or kind == B_SYMBOL or kind == B_OBJECTID:
        return write_text(data, kind, at, max_length, out, to)
    start = to + 4
    if kind == B_BOOL:
        end = put_ascii(TRUE_TEXT, out, start) if data[at] else put_ascii(FALSE_TEXT, out, start)
    elif kind == B_DATE:
        ms = i64(data, at)
        if ms < YEAR_1_MS or ms >= YEAR_10000_MS:
            return to, OUT_OF_RANGE
        end = put_moment(ms, out, start)
    elif kind == B_INT32 or kind == B_INT64 or kind == B_DOUBLE or kind == B_DECIMAL:
        end, error = put_number(data, kind, at, out, start)
        if error != OK:
            return to, error
    else:
        return to, WRONG_TYPE
    put(out, to, np.int64(end - start), 4)
    return end, TOO_LONG if 0 < max_length < end - start else OK
