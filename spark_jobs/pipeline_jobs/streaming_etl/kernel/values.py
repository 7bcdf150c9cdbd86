"""Columns of every other type in PostgreSQL's binary formats: text, integers, floats, times, bytes, arrays of text."""

# ruff: noqa: ANN201, ANN202, SIM109
# Types come from the arguments at the first call, and numba compiles plain comparisons and loops best.
# mypy: ignore-errors

from __future__ import annotations

import numpy as np

from pipeline_jobs.compiled import compiled
from pipeline_jobs.streaming_etl.kernel.codes import (
    B_ARRAY,
    B_BINARY,
    B_DATE,
    B_DECIMAL,
    B_DOUBLE,
    B_INT32,
    B_INT64,
    B_NULL,
    B_OBJECTID,
    B_STRING,
    B_SYMBOL,
    B_UNDEFINED,
    DATE,
    DATE_MAX_MS,
    DAY_MS,
    DECIMAL128,
    EPOCH_2000_MS,
    INEXACT,
    INVALID_UTF8,
    MALFORMED,
    NO_DAY,
    NUL_CHARACTER,
    OK,
    OUT_OF_RANGE,
    TEXT_OID,
    TIMESTAMP_MAX_MS,
    TIMESTAMP_MIN_MS,
    TOO_LONG,
    WRONG_TYPE,
)
from pipeline_jobs.streaming_etl.kernel.reading import i32, i64, name_end_of, put, value_size


@compiled
def _copy_text(data, at, length, max_length, out, to):
    """Copy UTF-8 text that PostgreSQL takes: valid, without NUL, within its length. Returns an error or OK."""
    high, zeros = np.uint8(0), np.int64(0)
    source, target = np.uint64(at), np.uint64(to)
    for n in range(np.uint64(length)):
        byte = data[source + n]
        high |= byte
        zeros += np.int64(byte == 0)
        out[target + n] = byte
    if zeros:
        return NUL_CHARACTER
    if high < 128:
        return TOO_LONG if 0 < max_length < length else OK
    characters = utf8_characters(data, at, length)
    if characters < 0:
        return INVALID_UTF8
    return TOO_LONG if 0 < max_length < characters else OK


@compiled
def utf8_characters(data, at, length):
    """How many characters a UTF-8 text has, -1 where it is not valid (RFC 3629, table 3-7 of Unicode)."""
    count = np.int64(0)
    end = at + length
    while at < end:
        byte = data[at]
        low, high, more = 128, 191, 0
        if byte < 128:
            more = 0
        elif 194 <= byte <= 223:
            more = 1
        elif 224 <= byte <= 239:
            more = 2
            low = 160 if byte == 224 else 128
            high = 159 if byte == 237 else 191
        elif 240 <= byte <= 244:
            more = 3
            low = 144 if byte == 240 else 128
            high = 143 if byte == 244 else 191
        else:
            return np.int64(-1)
        if at + more >= end:
            return np.int64(-1)
        for n in range(1, more + 1):
            if data[at + n] < low or data[at + n] > high:
                return np.int64(-1)
            low, high = 128, 191
        at += more + 1
        count += 1
    return count


@compiled
def _whole_number(data, kind, at):
    """An integer of any BSON number, and an error or OK: a double counts where nothing is lost."""
    if kind == B_INT32:
        return i32(data, at), OK
    if kind == B_INT64:
        return i64(data, at), OK
    if kind == B_DOUBLE:
        value = double(data, at)
        if not (-9.2e18 < value < 9.2e18) or value != np.floor(value):
            return np.int64(0), OUT_OF_RANGE
        return np.int64(value), OK
    return np.int64(0), DECIMAL128 if kind == B_DECIMAL else WRONG_TYPE


@compiled
def double(data, at):
    """A double of eight bytes."""
    return np.int64(i64(data, at)).view(np.float64)


@compiled
def write_integer(data, kind, at, size, out, to):
    """Write a whole number of `size` bytes. Returns where it ends, and the reason why it does not fit."""
    value, error = _whole_number(data, kind, at)
    if error != OK:
        return to, error
    bits = np.int64(8 * size - 1)
    if size < 8 and not (-(np.int64(1) << bits) <= value < (np.int64(1) << bits)):
        return to, OUT_OF_RANGE
    return put(out, put(out, to, np.int64(size), 4), value, size), OK


@compiled
def write_float(data, kind, at, size, out, to):
    """Write a real or a double. Returns where it ends, and the reason why it does not fit."""
    if kind == B_DOUBLE:
        value = double(data, at)
    elif kind == B_INT32 or kind == B_INT64:
        whole = i32(data, at) if kind == B_INT32 else i64(data, at)
        value = np.float64(whole) if size == 8 else np.float64(np.float32(whole))
        # 2 ** 63 itself is no int64: what rounds up to it is not compared but refused.
        if value >= 9223372036854775808.0 or np.int64(value) != whole:
            return to, INEXACT
    else:
        return to, DECIMAL128 if kind == B_DECIMAL else WRONG_TYPE
    to = put(out, to, np.int64(size), 4)
    if size == 8:
        return put(out, to, np.float64(value).view(np.int64), 8), OK
    if np.isfinite(value) and abs(value) > 3.4028235677973366e38:
        return to, OUT_OF_RANGE
    return put(out, to, np.int64(np.float32(value).view(np.int32)), 4), OK


@compiled
def write_time(data, kind, at, type_, out, to):
    """Write a date or a moment. Returns where it ends, and the reason why it does not fit."""
    if kind == B_STRING and type_ == DATE:
        ms = _day_of_text(data, at + 4, i32(data, at) - 1)
        if ms == NO_DAY:
            return to, WRONG_TYPE
    elif kind != B_DATE:
        return to, WRONG_TYPE
    else:
        ms = i64(data, at)
    if type_ == DATE:
        if ms < TIMESTAMP_MIN_MS or ms >= DATE_MAX_MS:
            return to, OUT_OF_RANGE
        if ms % DAY_MS:
            return to, INEXACT
        return put(out, put(out, to, np.int64(4), 4), (ms - EPOCH_2000_MS) // DAY_MS, 4), OK
    if ms < TIMESTAMP_MIN_MS or ms >= TIMESTAMP_MAX_MS:
        return to, OUT_OF_RANGE
    return put(out, put(out, to, np.int64(8), 4), (ms - EPOCH_2000_MS) * 1000, 8), OK


@compiled
def _number_in(data, at, length):
    """A number of decimal digits, -1 where something else stands there."""
    value = np.int64(0)
    for n in range(length):
        digit = np.int64(data[at + n]) - 48
        if digit < 0 or digit > 9:
            return np.int64(-1)
        value = value * 10 + digit
    return value


@compiled
def _day_number(year, month, day):
    """Days since 1970-01-01 of a date of the Gregorian calendar."""
    shifted = year if month > 2 else year - 1
    era = shifted // 400
    of_era = shifted - era * 400
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


@compiled
def date_of(days):
    """Year, month and day of a number of days since 1970-01-01."""
    days += 719_468
    era = days // 146_097
    of_era = days - era * 146_097
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    part = (5 * of_year + 2) // 153
    day = of_year - (153 * part + 2) // 5 + 1
    month = part + (3 if part < 10 else -9)
    return year + era * 400 + (1 if month <= 2 else 0), month, day


@compiled
def _day_of_text(data, at, length):
    """The ms of a date YYYY-MM-DD, NO_DAY where it is none."""
    if length != 10 or data[at + 4] != 45 or data[at + 7] != 45:
        return NO_DAY
    year, month, day = _number_in(data, at, 4), _number_in(data, at + 5, 2), _number_in(data, at + 8, 2)
    if year < 1 or month < 1 or day < 1:
        return NO_DAY
    days = _day_number(year, month, day)
    found = date_of(days)
    if found[0] != year or found[1] != month or found[2] != day:
        return NO_DAY
    return days * DAY_MS


@compiled
def hex_digit(value):
    """The ASCII code of a hexadecimal digit."""
    return np.uint8(48 + value if value < 10 else 87 + value)


@compiled
def write_text(data, kind, at, max_length, out, to):
    """Write text of up to `max_length` characters (0: any). Returns where it ends, and why it does not fit."""
    if kind == B_STRING or kind == B_SYMBOL:
        length = i32(data, at) - 1
        put(out, to, length, 4)
        return to + 4 + length, _copy_text(data, at + 4, length, max_length, out, to + 4)
    if kind == B_OBJECTID:
        if 0 < max_length < 24:
            return to, TOO_LONG
        to = put(out, to, np.int64(24), 4)
        for n in range(12):
            byte = np.int64(data[at + n])
            out[to], out[to + 1] = hex_digit(byte >> 4), hex_digit(byte & 15)
            to += 2
        return to, OK
    return to, DECIMAL128 if kind == B_DECIMAL else WRONG_TYPE


@compiled
def binary(data, at):
    """Where a binary's bytes begin and how many there are, -1 where lengths differ: subtype 2 has a second length."""
    start, length = at + 5, i32(data, at)
    if data[at + 4] == 2:
        if length < 4 or i32(data, start) != length - 4:
            return start, np.int64(-1)
        return start + 4, length - 4
    return start, length


@compiled
def write_bytes(data, kind, at, out, to):
    """Write bytes, or the twelve of an object id. Returns where they end, and the reason why they do not fit."""
    if kind == B_OBJECTID:
        start, length = at, np.int64(12)
    elif kind == B_BINARY:
        start, length = binary(data, at)
        if length < 0:
            return to, MALFORMED
    else:
        return to, WRONG_TYPE
    to = put(out, to, length, 4)
    source, target = np.uint64(start), np.uint64(to)
    for n in range(np.uint64(length)):
        out[target + n] = data[source + n]
    return to + length, OK


@compiled
def write_text_array(data, kind, at, out, to):
    """Write an array of text. Returns where it ends, and the reason why it does not fit."""
    if kind != B_ARRAY:
        return to, WRONG_TYPE
    start, end = to, at + i32(data, at) - 1
    count, has_null = np.int64(0), np.int64(0)
    to = start + 24
    at += 4
    while at < end:
        item = np.int64(data[at])
        value = name_end_of(data, at + 1, end) + 1
        size = value_size(data, item, value, end)
        if value > end or size < 0:
            return to, MALFORMED
        if item == B_NULL or item == B_UNDEFINED:
            to, error = put(out, to, np.int64(-1), 4), OK
            has_null = 1
        else:
            to, error = write_text(data, item, value, 0, out, to)
        if error != OK:
            return to, error
        count += 1
        at = value + size
    if count == 0:
        to = start + 16
    put(out, start, to - start - 4, 4)
    put(out, start + 4, np.int64(count > 0), 4)
    put(out, start + 8, has_null, 4)
    put(out, start + 12, np.int64(TEXT_OID), 4)
    if count:
        put(out, start + 16, count, 4)
        put(out, start + 20, np.int64(1), 4)
    return to, OK
