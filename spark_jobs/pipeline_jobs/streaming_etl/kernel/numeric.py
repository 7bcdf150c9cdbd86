"""numeric columns: doubles and Decimal128 as digits, exactly."""

# ruff: noqa: ANN201, ANN202, SIM109
# Types come from the arguments at the first call, and numba compiles plain comparisons and loops best.
# mypy: ignore-errors

from __future__ import annotations

import numpy as np

from pipeline_jobs.compiled import compiled
from pipeline_jobs.streaming_etl.kernel.codes import (
    B_DECIMAL,
    B_DOUBLE,
    B_INT32,
    B_INT64,
    INEXACT,
    LIMBS,
    MALFORMED,
    MAX_DIGITS,
    NUMERIC_INFINITY,
    NUMERIC_MINUS,
    NUMERIC_MINUS_INFINITY,
    NUMERIC_NAN,
    OK,
    OUT_OF_RANGE,
    WRONG_TYPE,
)
from pipeline_jobs.streaming_etl.kernel.reading import i32, i64, put
from pipeline_jobs.streaming_etl.kernel.values import double


@compiled
def whole_digits(value, digits):
    """Fill `digits` with the decimal digits of an unsigned number. Returns how many."""
    count, rest = 1, value
    while rest >= np.uint64(10):
        rest //= np.uint64(10)
        count += 1
    rest = value
    for n in range(count):
        digits[count - 1 - n] = np.uint8(rest % np.uint64(10))
        rest //= np.uint64(10)
    return count


@compiled
def _times(number, factor):
    """Multiply a large number in place by one of at most 32 bits."""
    carry = np.uint64(0)
    for n in range(LIMBS):
        product = number[n] * factor + carry
        number[n] = product & np.uint64(0xFFFFFFFF)
        carry = product >> np.uint64(32)


@compiled
def _shifted(number, value, bits):
    """Set a large number to a value of at most 64 bits, times 2 ** bits."""
    number[:] = np.uint64(0)
    number[0], number[1] = value & np.uint64(0xFFFFFFFF), value >> np.uint64(32)
    for _ in range(bits // 31):
        _times(number, np.uint64(1 << 31))
    _times(number, np.uint64(1) << np.uint64(bits % 31))


@compiled
def _times_ten(number, power):
    """Multiply a large number in place by 10 ** power."""
    for _ in range(power // 9):
        _times(number, np.uint64(1_000_000_000))
    for _ in range(power % 9):
        _times(number, np.uint64(10))


@compiled
def _compare(left, extra, right):
    """The sign of left + extra - right, all of them large numbers."""
    borrow, found = np.int64(0), np.int64(0)
    for n in range(LIMBS):
        total = np.int64(left[n]) + np.int64(extra[n]) - np.int64(right[n]) + borrow
        borrow = total >> 32
        if total & 0xFFFFFFFF:
            found = 1
    return np.int64(-1) if borrow < 0 else np.int64(1) if borrow > 0 else found


@compiled
def _subtract(left, right):
    borrow = np.int64(0)
    for n in range(LIMBS):
        total = np.int64(left[n]) - np.int64(right[n]) + borrow
        left[n] = np.uint64(total & 0xFFFFFFFF)
        borrow = total >> 32


@compiled
def _shortest(value, digits):
    """The fewest digits that give this double and no other (Burger and Dybvig, 1996). Returns count and exponent.

    `value` is finite and above 0; it is digits * 10 ** exponent.
    """
    scale = 1.0
    for power in range(16):
        whole = np.floor(value * scale + 0.5)
        if whole >= 1e15:
            break
        if whole / scale == value:
            return whole_digits(np.uint64(whole), digits), -power
        scale *= 10.0
    bits = np.float64(value).view(np.int64)
    fraction, exponent = np.uint64(bits & ((1 << 52) - 1)), np.int64(bits >> 52)
    if exponent:
        fraction |= np.uint64(1 << 52)
    power_of_two = max(exponent, 1) - 1075
    is_edge = fraction == np.uint64(1 << 52) and exponent > 1
    return _digits_of(fraction, power_of_two, is_edge, value, digits)


@compiled
def _digit(rest, whole, nothing):
    """How many times `whole` goes into `rest`, which keeps what is left."""
    digit = np.int64(0)
    while _compare(rest, nothing, whole) >= 0:
        _subtract(rest, whole)
        digit += 1
    return digit


@compiled
def _digits_of(fraction, power_of_two, is_edge, value, digits):
    rest, whole = np.zeros(LIMBS, np.uint64), np.zeros(LIMBS, np.uint64)
    above, below, nothing = np.zeros(LIMBS, np.uint64), np.zeros(LIMBS, np.uint64), np.zeros(LIMBS, np.uint64)
    edge = np.int64(is_edge)
    up, down = max(power_of_two, 0), max(-power_of_two, 0)
    _shifted(rest, fraction, up + 1 + edge)
    _shifted(whole, np.uint64(1), down + 1 + edge)
    _shifted(above, np.uint64(1), up + edge)
    _shifted(below, np.uint64(1), up)
    tens = np.int64(np.ceil(np.log10(value) - 1e-10))
    _times_ten(whole, max(tens, 0))
    for number in (rest, above, below):
        _times_ten(number, max(-tens, 0))
    takes_ends = fraction % np.uint64(2) == 0
    high = _compare(rest, above, whole)
    if high > 0 or (high == 0 and takes_ends):
        tens += 1
    else:
        for number in (rest, above, below):
            _times(number, np.uint64(10))
    count, is_last = np.int64(0), False
    while not is_last:
        digit = _digit(rest, whole, nothing)
        low, high = _compare(rest, nothing, below), _compare(rest, above, whole)
        ends_low = low < 0 or (low == 0 and takes_ends)
        ends_high = high > 0 or (high == 0 and takes_ends)
        if ends_high:
            nearer = _compare(rest, rest, whole)
            digit += np.int64(not ends_low or nearer > 0 or (nearer == 0 and digit % 2 == 1))
        is_last = ends_low or ends_high
        digits[count] = np.uint8(digit)
        count += 1
        for number in (rest, above, below):
            _times(number, np.uint64(10))
    return count, tens - count


FINITE, NOT_A_NUMBER, INFINITE = range(3)


@compiled
def _decimal128(data, at, digits):
    """Count of digits, exponent, kind and whether negative of a Decimal128; count -1 where it is not canonical."""
    low, high = np.uint64(i64(data, at)), np.uint64(i64(data, at + 8))
    is_negative = bool(high >> np.uint64(63))
    top = (high >> np.uint64(58)) & np.uint64(31)
    if top == 31:
        return np.int64(0), np.int64(0), NOT_A_NUMBER, False
    if top == 30:
        return np.int64(0), np.int64(0), INFINITE, is_negative
    exponent = np.int64((high >> np.uint64(49)) & np.uint64(0x3FFF)) - 6176
    if top >= 24:
        return np.int64(-1), np.int64(0), FINITE, is_negative
    limbs = np.zeros(4, np.uint64)
    high &= np.uint64(0x1FFFFFFFFFFFF)
    limbs[0], limbs[1] = low & np.uint64(0xFFFFFFFF), low >> np.uint64(32)
    limbs[2], limbs[3] = high & np.uint64(0xFFFFFFFF), high >> np.uint64(32)
    for group in range(4):
        remainder = np.uint64(0)
        for n in range(4):
            total = remainder << np.uint64(32) | limbs[3 - n]
            limbs[3 - n] = total // np.uint64(1_000_000_000)
            remainder = total % np.uint64(1_000_000_000)
        for n in range(9):
            digits[35 - 9 * group - n] = np.uint8(remainder % np.uint64(10))
            remainder //= np.uint64(10)
    first = 0
    while first < 35 and digits[first] == 0:
        first += 1
    count = 36 - first
    for n in range(count):
        digits[n] = digits[first + n]
    return np.int64(count) if count <= 34 else np.int64(-1), exponent, FINITE, is_negative


@compiled
def decimal(data, kind, at, digits):
    """Any BSON number as digits * 10 ** exponent: count, exponent, kind, whether negative, and an error or OK."""
    if kind == B_DECIMAL:
        count, exponent, sort, is_negative = _decimal128(data, at, digits)
        return count, exponent, sort, is_negative, MALFORMED if count < 0 else OK
    if kind == B_INT32 or kind == B_INT64:
        value = i32(data, at) if kind == B_INT32 else i64(data, at)
        size = np.uint64(value) if value >= 0 else np.uint64(-(value + 1)) + np.uint64(1)
        return np.int64(whole_digits(size, digits)), np.int64(0), FINITE, value < 0, OK
    if kind != B_DOUBLE:
        return np.int64(0), np.int64(0), FINITE, False, WRONG_TYPE
    number = double(data, at)
    is_negative = i64(data, at) < 0
    if np.isnan(number):
        return np.int64(0), np.int64(0), NOT_A_NUMBER, False, OK
    if np.isinf(number):
        return np.int64(0), np.int64(0), INFINITE, is_negative, OK
    if number == 0:
        digits[0] = 0
        return np.int64(1), np.int64(0), FINITE, is_negative, OK
    count, exponent = _shortest(abs(number), digits)
    return np.int64(count), np.int64(exponent), FINITE, is_negative, OK


@compiled
def _put_numeric(out, to, groups, weight, sign, scale):
    to = put(out, to, np.int64(8 + 2 * groups), 4)
    to = put(out, to, np.int64(groups), 2)
    to = put(out, to, np.int64(weight), 2)
    to = put(out, to, np.int64(sign), 2)
    return put(out, to, np.int64(scale), 2)


@compiled
def write_numeric(data, kind, at, precision, scale, out, to):
    """Write a number with all its digits; a declared precision that would cut some is an error."""
    digits = np.zeros(MAX_DIGITS, np.uint8)
    count, exponent, sort, is_negative, error = decimal(data, kind, at, digits)
    if error != OK:
        return to, error
    if sort == NOT_A_NUMBER:
        return _put_numeric(out, to, 0, 0, NUMERIC_NAN, 0), OK
    if sort == INFINITE:
        sign = NUMERIC_MINUS_INFINITY if is_negative else NUMERIC_INFINITY
        return _put_numeric(out, to, 0, 0, sign, 0), OUT_OF_RANGE if precision else OK
    shown = max(-exponent, 0)
    while count > 0 and digits[count - 1] == 0:
        count -= 1
        exponent += 1
    if count == 0:
        return _put_numeric(out, to, 0, 0, 0, min(shown, scale) if precision else shown), OK
    point = count + exponent
    if precision:
        if point > precision - scale:
            return to, OUT_OF_RANGE
        if -exponent > scale:
            return to, INEXACT
        shown = min(shown, scale)
    weight = (point + 3) // 4 - 1
    lead = point - 4 * weight
    groups = (count + 4 - lead + 3) // 4
    to = _put_numeric(out, to, groups, weight, NUMERIC_MINUS if is_negative else 0, shown)
    for group in range(groups):
        value = np.int64(0)
        for n in range(4):
            place = 4 * group - (4 - lead) + n
            value = value * 10 + (np.int64(digits[place]) if 0 <= place < count else 0)
        to = put(out, to, value, 2)
    return to, OK
