"""BSON documents to PostgreSQL's binary COPY rows, byte by byte, compiled by numba.

One pass a document: scan a level, note where each wanted value stands, write the row, then go down into the
tables below. No Python object is made for a value, and the interpreter's lock is not held. A document that
does not fit leaves no row: what it wrote is taken back and its error is noted. The formats are those of
bsonspec.org and of PostgreSQL's manual ("COPY", Binary Format; the types' send functions).

One long module on purpose: numba keeps compiled code and notices changes only in the file of the outermost
function. With its parts in other files, a changed part would go on running as old machine code.
"""

# ruff: noqa: ANN201, ANN202, SIM109, SIM110
# Types come from the arguments at the first call, and numba compiles plain comparisons and loops best.
# mypy: ignore-errors

from __future__ import annotations

import numpy as np

from pipeline_jobs.compiled import compiled
from pipeline_jobs.streaming_etl.plan import (
    COLUMN,
    FIELDS,
    FIRST_CHILD,
    FIRST_COLUMN,
    IS_ARRAY,
    ITEM_COLUMN,
    KEY_FIELDS,
    LAST_CHILD,
    LAST_COLUMN,
    MAX_DEPTH,
    NODE,
    OBJECT,
)  # fmt: skip

OK, MALFORMED, WRONG_TYPE, OUT_OF_RANGE, TOO_LONG, MISSING, INVALID_UTF8, NUL_CHARACTER, DECIMAL128 = range(9)
INEXACT, TOO_DEEP, FIELD_TWICE, NO_ROOM = range(9, 13)
REASONS = (
    "", "malformed", "wrong_type", "out_of_range", "too_long", "missing", "invalid_utf8", "nul_character", "decimal128",
    "inexact", "too_deep", "field_twice",
)  # fmt: skip
FULL = -1
"""`transcode` returns `FULL - table` where that table's part of the arena is used up."""

SMALLINT, INTEGER, BIGINT, REAL, DOUBLE, BOOLEAN, VARCHAR, TEXT, DATE, TIMESTAMPTZ, BYTEA, TEXT_ARRAY = range(12)
NUMERIC, UUID, JSONB, SCALAR_TEXT, REST = range(12, 17)
"""SCALAR_TEXT is text or varchar that takes any scalar, REST jsonb of all fields that nothing else takes."""
B_DOUBLE, B_STRING, B_DOCUMENT, B_ARRAY, B_BINARY, B_UNDEFINED, B_OBJECTID, B_BOOL, B_DATE, B_NULL = range(1, 11)
B_REGEX, B_POINTER, B_CODE, B_SYMBOL, B_SCOPE, B_INT32, B_TIMESTAMP, B_INT64, B_DECIMAL = range(11, 20)

EPOCH_2000_MS = 946_684_800_000
DAY_MS = 86_400_000
NO_DAY = np.int64(-(2**63))
TIMESTAMP_MIN_MS = -211_813_488_000_000 + EPOCH_2000_MS
TIMESTAMP_MAX_MS = 9_223_371_331_200_000 + EPOCH_2000_MS
DATE_MAX_MS = 185_542_587_100_800_000
TEXT_OID = 25
ROOM_A_FIELD = 64
"""Bytes that a field other than text and jsonb takes at most (a Decimal128 as text: 4 + 42)."""
NUMERIC_NAN, NUMERIC_INFINITY, NUMERIC_MINUS_INFINITY, NUMERIC_MINUS = 0xC000, 0xD000, 0xF000, 0x4000
MAX_DIGITS = 40
LIMBS = 40
"""Of 32 bits: the largest number on the way from a double to its digits has 1,130."""
JSON_DEPTH = 128
"""MongoDB takes 100 levels."""


# Indices are unsigned: with a signed index numba looks for negative ones at every byte, and LLVM then makes
# neither wide loads nor vector loops of them (50 times slower on long texts).


@compiled
def _i32(data, at):
    low = np.uint64(at)
    return np.int64(
        np.int32(
            np.uint32(data[low])
            | np.uint32(data[low + np.uint64(1)]) << np.uint32(8)
            | np.uint32(data[low + np.uint64(2)]) << np.uint32(16)
            | np.uint32(data[low + np.uint64(3)]) << np.uint32(24)
        )
    )


@compiled
def _i64(data, at):
    low, value = np.uint64(at), np.uint64(0)
    for n in range(np.uint64(8)):
        value |= np.uint64(data[low + n]) << (np.uint64(8) * n)
    return np.int64(value)


@compiled
def _put(out, at, value, size):
    """Write the low `size` bytes of an integer, the highest first, as PostgreSQL wants them."""
    low, bits = np.uint64(at), np.uint64(value)
    for n in range(np.uint64(size)):
        out[low + n] = np.uint8(bits >> (np.uint64(8) * (np.uint64(size) - np.uint64(1) - n)))
    return at + size


@compiled
def value_size(data, kind, at, end):
    """The size of a BSON value in bytes, or -1 where it does not fit before `end`."""
    size = np.int64(-1)
    if kind == B_DOUBLE or kind == B_DATE or kind == B_TIMESTAMP or kind == B_INT64:
        size = 8
    elif kind == B_INT32:
        size = 4
    elif kind == B_BOOL:
        size = 1
    elif kind == B_NULL or kind == B_UNDEFINED or kind == 255 or kind == 127:
        size = 0
    elif kind == B_OBJECTID:
        size = 12
    elif kind == B_DECIMAL:
        size = 16
    elif kind == B_REGEX:
        at2, zeros = at, 0
        while at2 < end and zeros < 2:
            zeros += data[at2] == 0
            at2 += 1
        size = at2 - at if zeros == 2 else -1
    elif at + 4 <= end:
        length = _i32(data, at)
        if kind == B_DOCUMENT or kind == B_ARRAY or kind == B_SCOPE:
            size = length if length >= 5 and at + length <= end and data[at + length - 1] == 0 else -1
        elif kind == B_STRING or kind == B_CODE or kind == B_SYMBOL:
            size = length + 4 if length >= 1 and at + 4 + length <= end and data[at + 3 + length] == 0 else -1
        elif kind == B_BINARY:
            size = length + 5 if length >= 0 else -1
        elif kind == B_POINTER:
            size = length + 16 if length >= 1 else -1
    return size if size >= 0 and at + size <= end else np.int64(-1)


@compiled
def _name_end(data, at, end):
    here, last = np.uint64(at), np.uint64(end)
    while here < last and data[here] != 0:
        here += np.uint64(1)
    return np.int64(here)


@compiled
def _is_name(data, at, length, names, name_at, name_length):
    if length != name_length:
        return False
    field, name = np.uint64(at), np.uint64(name_at)
    for n in range(np.uint64(length)):
        if data[field + n] != names[name + n]:
            return False
    return True


@compiled
def _find(names, entries, first, last, hint, data, at, length):
    """The entry of a field's name, or -1. Fields mostly come in the same order: the hint is tried first."""
    if hint < last and _is_name(data, at, length, names, entries[hint, 0], entries[hint, 1]):
        return hint
    for entry in range(first, last):
        if _is_name(data, at, length, names, entries[entry, 0], entries[entry, 1]):
            return entry
    return np.int64(-1)


@compiled
def _scan(plan, table, data, start, limit, slots, stack, error_column):
    """Note the kind and place of every wanted value of one row's document. Returns an error or OK."""
    names, tables, entries, nodes, children = plan.names, plan.tables, plan.entries, plan.nodes, plan.children
    for column in range(tables[table, FIRST_COLUMN], tables[table, LAST_COLUMN]):
        slots[0, column] = 0
    for n in range(tables[table, FIRST_CHILD], tables[table, LAST_CHILD]):
        slots[2, children[n]] = 0
    if value_size(data, B_DOCUMENT, start, limit) < 0:
        return MALFORMED
    depth = 0
    stack[0, 0], stack[1, 0], stack[2, 0] = tables[table, NODE], start + 4, start + _i32(data, start) - 1
    stack[3, 0] = nodes[stack[0, 0], 0]
    while depth >= 0:
        at, end = stack[1, depth], stack[2, depth]
        if at >= end:
            if at > end:
                return MALFORMED
            depth -= 1
            continue
        kind = np.int64(data[at])
        name = at + 1
        name_end = _name_end(data, name, end)
        value = name_end + 1
        size = value_size(data, kind, value, end)
        if name_end >= end or size < 0:
            return MALFORMED
        stack[1, depth] = value + size
        node = stack[0, depth]
        entry = _find(names, entries, nodes[node, 0], nodes[node, 1], stack[3, depth], data, name, name_end - name)
        if entry < 0:
            continue
        stack[3, depth] = entry + 1
        leads_to, ref = entries[entry, 2], entries[entry, 3]
        if leads_to == COLUMN:
            slots[0, ref], slots[1, ref] = kind, value
        elif leads_to != OBJECT:
            slots[2, ref], slots[3, ref] = kind, value
        elif kind == B_DOCUMENT:
            depth += 1
            stack[0, depth], stack[1, depth], stack[2, depth] = ref, value + 4, value + size - 1
            stack[3, depth] = nodes[ref, 0]
        elif kind != B_NULL and kind != B_UNDEFINED:
            error_column[0] = entries[entry, 4]
            return WRONG_TYPE
    return OK


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
    characters = _utf8_characters(data, at, length)
    if characters < 0:
        return INVALID_UTF8
    return TOO_LONG if 0 < max_length < characters else OK


@compiled
def _utf8_characters(data, at, length):
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
        return _i32(data, at), OK
    if kind == B_INT64:
        return _i64(data, at), OK
    if kind == B_DOUBLE:
        value = _double(data, at)
        if not (-9.2e18 < value < 9.2e18) or value != np.floor(value):
            return np.int64(0), OUT_OF_RANGE
        return np.int64(value), OK
    return np.int64(0), DECIMAL128 if kind == B_DECIMAL else WRONG_TYPE


@compiled
def _double(data, at):
    return np.int64(_i64(data, at)).view(np.float64)


@compiled
def _write_integer(data, kind, at, size, out, to):
    value, error = _whole_number(data, kind, at)
    if error != OK:
        return to, error
    bits = np.int64(8 * size - 1)
    if size < 8 and not (-(np.int64(1) << bits) <= value < (np.int64(1) << bits)):
        return to, OUT_OF_RANGE
    return _put(out, _put(out, to, np.int64(size), 4), value, size), OK


@compiled
def _write_float(data, kind, at, size, out, to):
    if kind == B_DOUBLE:
        value = _double(data, at)
    elif kind == B_INT32 or kind == B_INT64:
        whole = _i32(data, at) if kind == B_INT32 else _i64(data, at)
        value = np.float64(whole) if size == 8 else np.float64(np.float32(whole))
        # 2 ** 63 itself is no int64: what rounds up to it is not compared but refused.
        if value >= 9223372036854775808.0 or np.int64(value) != whole:
            return to, INEXACT
    else:
        return to, DECIMAL128 if kind == B_DECIMAL else WRONG_TYPE
    to = _put(out, to, np.int64(size), 4)
    if size == 8:
        return _put(out, to, np.float64(value).view(np.int64), 8), OK
    if np.isfinite(value) and abs(value) > 3.4028235677973366e38:
        return to, OUT_OF_RANGE
    return _put(out, to, np.int64(np.float32(value).view(np.int32)), 4), OK


@compiled
def _write_time(data, kind, at, type_, out, to):
    if kind == B_STRING and type_ == DATE:
        ms = _day_of_text(data, at + 4, _i32(data, at) - 1)
        if ms == NO_DAY:
            return to, WRONG_TYPE
    elif kind != B_DATE:
        return to, WRONG_TYPE
    else:
        ms = _i64(data, at)
    if type_ == DATE:
        if ms < TIMESTAMP_MIN_MS or ms >= DATE_MAX_MS:
            return to, OUT_OF_RANGE
        if ms % DAY_MS:
            return to, INEXACT
        return _put(out, _put(out, to, np.int64(4), 4), (ms - EPOCH_2000_MS) // DAY_MS, 4), OK
    if ms < TIMESTAMP_MIN_MS or ms >= TIMESTAMP_MAX_MS:
        return to, OUT_OF_RANGE
    return _put(out, _put(out, to, np.int64(8), 4), (ms - EPOCH_2000_MS) * 1000, 8), OK


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
def _date_of(days):
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
    found = _date_of(days)
    if found[0] != year or found[1] != month or found[2] != day:
        return NO_DAY
    return days * DAY_MS


@compiled
def _hex_digit(value):
    return np.uint8(48 + value if value < 10 else 87 + value)


@compiled
def _write_text(data, kind, at, max_length, out, to):
    if kind == B_STRING or kind == B_SYMBOL:
        length = _i32(data, at) - 1
        _put(out, to, length, 4)
        return to + 4 + length, _copy_text(data, at + 4, length, max_length, out, to + 4)
    if kind == B_OBJECTID:
        if 0 < max_length < 24:
            return to, TOO_LONG
        to = _put(out, to, np.int64(24), 4)
        for n in range(12):
            byte = np.int64(data[at + n])
            out[to], out[to + 1] = _hex_digit(byte >> 4), _hex_digit(byte & 15)
            to += 2
        return to, OK
    return to, DECIMAL128 if kind == B_DECIMAL else WRONG_TYPE


@compiled
def _binary(data, at):
    """Where a binary's bytes begin and how many there are, -1 where lengths differ: subtype 2 has a second length."""
    start, length = at + 5, _i32(data, at)
    if data[at + 4] == 2:
        if length < 4 or _i32(data, start) != length - 4:
            return start, np.int64(-1)
        return start + 4, length - 4
    return start, length


@compiled
def _write_bytes(data, kind, at, out, to):
    if kind == B_OBJECTID:
        start, length = at, np.int64(12)
    elif kind == B_BINARY:
        start, length = _binary(data, at)
        if length < 0:
            return to, MALFORMED
    else:
        return to, WRONG_TYPE
    to = _put(out, to, length, 4)
    source, target = np.uint64(start), np.uint64(to)
    for n in range(np.uint64(length)):
        out[target + n] = data[source + n]
    return to + length, OK


@compiled
def _write_text_array(data, kind, at, out, to):
    if kind != B_ARRAY:
        return to, WRONG_TYPE
    start, end = to, at + _i32(data, at) - 1
    count, has_null = np.int64(0), np.int64(0)
    to = start + 24
    at += 4
    while at < end:
        item = np.int64(data[at])
        value = _name_end(data, at + 1, end) + 1
        size = value_size(data, item, value, end)
        if value > end or size < 0:
            return to, MALFORMED
        if item == B_NULL or item == B_UNDEFINED:
            to, error = _put(out, to, np.int64(-1), 4), OK
            has_null = 1
        else:
            to, error = _write_text(data, item, value, 0, out, to)
        if error != OK:
            return to, error
        count += 1
        at = value + size
    if count == 0:
        to = start + 16
    _put(out, start, to - start - 4, 4)
    _put(out, start + 4, np.int64(count > 0), 4)
    _put(out, start + 8, has_null, 4)
    _put(out, start + 12, np.int64(TEXT_OID), 4)
    if count:
        _put(out, start + 16, count, 4)
        _put(out, start + 20, np.int64(1), 4)
    return to, OK


@compiled
def _whole_digits(value, digits):
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
            return _whole_digits(np.uint64(whole), digits), -power
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
    low, high = np.uint64(_i64(data, at)), np.uint64(_i64(data, at + 8))
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
def _decimal(data, kind, at, digits):
    """Any BSON number as digits * 10 ** exponent: count, exponent, kind, whether negative, and an error or OK."""
    if kind == B_DECIMAL:
        count, exponent, sort, is_negative = _decimal128(data, at, digits)
        return count, exponent, sort, is_negative, MALFORMED if count < 0 else OK
    if kind == B_INT32 or kind == B_INT64:
        value = _i32(data, at) if kind == B_INT32 else _i64(data, at)
        size = np.uint64(value) if value >= 0 else np.uint64(-(value + 1)) + np.uint64(1)
        return np.int64(_whole_digits(size, digits)), np.int64(0), FINITE, value < 0, OK
    if kind != B_DOUBLE:
        return np.int64(0), np.int64(0), FINITE, False, WRONG_TYPE
    number = _double(data, at)
    is_negative = _i64(data, at) < 0
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
    to = _put(out, to, np.int64(8 + 2 * groups), 4)
    to = _put(out, to, np.int64(groups), 2)
    to = _put(out, to, np.int64(weight), 2)
    to = _put(out, to, np.int64(sign), 2)
    return _put(out, to, np.int64(scale), 2)


@compiled
def _write_numeric(data, kind, at, precision, scale, out, to):
    """Write a number with all its digits; a declared precision that would cut some is an error."""
    digits = np.zeros(MAX_DIGITS, np.uint8)
    count, exponent, sort, is_negative, error = _decimal(data, kind, at, digits)
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
        to = _put(out, to, value, 2)
    return to, OK


@compiled
def _hex_value(byte):
    if 48 <= byte <= 57:
        return np.int64(byte) - 48
    lower = np.int64(byte) | 32
    return lower - 87 if 97 <= lower <= 102 else np.int64(-1)


@compiled
def _write_uuid(data, kind, at, out, to):
    """A binary of subtype 4, or text as 8-4-4-4-12 hexadecimal digits."""
    if kind == B_BINARY:
        if data[at + 4] != 4 or _i32(data, at) != 16:
            return to, WRONG_TYPE
        return _write_bytes(data, kind, at, out, to)
    if kind != B_STRING or _i32(data, at) != 37:
        return to, WRONG_TYPE
    to = _put(out, to, np.int64(16), 4)
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
def _put_ascii(text, out, to):
    for byte in text:
        out[to] = np.uint8(byte)
        to += 1
    return to


@compiled
def _put_whole(value, out, to):
    """A signed number in decimal."""
    digits = np.zeros(MAX_DIGITS, np.uint8)
    size = np.uint64(value) if value >= 0 else np.uint64(-(value + 1)) + np.uint64(1)
    count = _whole_digits(size, digits)
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
        return _put_ascii(NAN_TEXT, out, to)
    if is_negative:
        out[to] = 45
        to += 1
    if sort == INFINITE:
        return _put_ascii(INFINITY_TEXT, out, to)
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
    return _put_whole(size, out, to + 2)


@compiled
def _put_number(data, kind, at, out, to):
    """Any BSON number in decimal. Returns where the next goes, and an error or OK."""
    digits = np.zeros(MAX_DIGITS, np.uint8)
    count, exponent, sort, is_negative, error = _decimal(data, kind, at, digits)
    if error != OK:
        return to, error
    if kind == B_DOUBLE:
        while exponent < 0 and count > 1 and digits[count - 1] == 0:
            count -= 1
            exponent += 1
    return _put_decimal(digits, count, exponent, sort, is_negative, kind == B_DOUBLE, out, to), OK


@compiled
def _put_moment(ms, out, to):
    """A moment of the years 1 to 9999 in ISO 8601, with milliseconds where there are some."""
    days = ms // DAY_MS
    left = ms - days * DAY_MS
    year, month, day = _date_of(days)
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
def _write_scalar_text(data, kind, at, max_length, out, to):
    """Text of a string, a number, true or false, a date or an ObjectId."""
    if kind == B_STRING or kind == B_SYMBOL or kind == B_OBJECTID:
        return _write_text(data, kind, at, max_length, out, to)
    start = to + 4
    if kind == B_BOOL:
        end = _put_ascii(TRUE_TEXT, out, start) if data[at] else _put_ascii(FALSE_TEXT, out, start)
    elif kind == B_DATE:
        ms = _i64(data, at)
        if ms < YEAR_1_MS or ms >= YEAR_10000_MS:
            return to, OUT_OF_RANGE
        end = _put_moment(ms, out, start)
    elif kind == B_INT32 or kind == B_INT64 or kind == B_DOUBLE or kind == B_DECIMAL:
        end, error = _put_number(data, kind, at, out, start)
        if error != OK:
            return to, error
    else:
        return to, WRONG_TYPE
    _put(out, to, np.int64(end - start), 4)
    return end, TOO_LONG if 0 < max_length < end - start else OK


@compiled
def _put_json_text(data, at, length, out, to, limit):
    """Text in quotes with what JSON wants escaped. Returns where the next goes, and an error or OK."""
    if to + 6 * length + 2 > limit:
        return to, NO_ROOM
    if _utf8_characters(data, at, length) < 0:
        return to, INVALID_UTF8
    out[to] = 34
    to += 1
    for n in range(length):
        byte = data[at + n]
        if byte == 0:
            return to, NUL_CHARACTER
        if byte < 32:
            out[to], out[to + 1], out[to + 2], out[to + 3] = 92, 117, 48, 48
            out[to + 4], out[to + 5] = _hex_digit(np.int64(byte) >> 4), _hex_digit(np.int64(byte) & 15)
            to += 6
            continue
        if byte == 34 or byte == 92:
            out[to] = 92
            to += 1
        out[to] = byte
        to += 1
    out[to] = 34
    return to + 1, OK


BASE64 = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", np.uint8)


@compiled
def _put_base64(data, at, length, out, to):
    for n in range(0, length, 3):
        left = min(3, length - n)
        value = np.int64(data[at + n]) << 16
        if left > 1:
            value |= np.int64(data[at + n + 1]) << 8
        if left > 2:
            value |= np.int64(data[at + n + 2])
        for place in range(4):
            out[to + place] = BASE64[value >> (18 - 6 * place) & 63] if place <= left else 61
        to += 4
    return to


def _ascii(text):
    return np.frombuffer(text.encode(), np.uint8)


JSON_OID, JSON_DATE, JSON_LONG_DATE = _ascii('{"$oid":"'), _ascii('{"$date":"'), _ascii('{"$date":{"$numberLong":"')
JSON_BINARY, JSON_SUBTYPE = _ascii('{"$binary":{"base64":"'), _ascii('","subType":"')
JSON_DECIMAL, JSON_DOUBLE = _ascii('{"$numberDecimal":"'), _ascii('{"$numberDouble":"')
JSON_REGEX, JSON_FLAGS = _ascii('{"$regularExpression":{"pattern":'), _ascii(',"options":')
JSON_TIMESTAMP, JSON_INCREMENT = _ascii('{"$timestamp":{"t":'), _ascii(',"i":')
JSON_CODE, JSON_SCOPE, JSON_SYMBOL = _ascii('{"$code":'), _ascii(',"$scope":'), _ascii('{"$symbol":')
JSON_MIN, JSON_MAX, JSON_UNDEFINED = _ascii('{"$minKey":1}'), _ascii('{"$maxKey":1}'), _ascii('{"$undefined":true}')
JSON_END, JSON_TWO_ENDS, JSON_NULL = _ascii('"}'), _ascii('"}}'), _ascii("null")
JSON_ROOM = 96
"""What a value without text takes at most."""


@compiled
def _put_json_scalar(data, kind, at, out, to, limit):
    """A value that holds no others, as relaxed extended JSON. Returns where the next goes, and an error or OK."""
    if to + JSON_ROOM > limit:
        return to, NO_ROOM
    if kind == B_STRING:
        return _put_json_text(data, at + 4, _i32(data, at) - 1, out, to, limit)
    if kind == B_INT32 or kind == B_INT64:
        return _put_whole(_i32(data, at) if kind == B_INT32 else _i64(data, at), out, to), OK
    if kind == B_DOUBLE:
        if np.isfinite(_double(data, at)):
            return _put_number(data, kind, at, out, to)
        to, error = _put_number(data, kind, at, out, _put_ascii(JSON_DOUBLE, out, to))
        return _put_ascii(JSON_END, out, to), error
    if kind == B_BOOL:
        return (_put_ascii(TRUE_TEXT, out, to) if data[at] else _put_ascii(FALSE_TEXT, out, to)), OK
    if kind == B_NULL:
        return _put_ascii(JSON_NULL, out, to), OK
    if kind == B_DATE:
        return _put_json_date(_i64(data, at), out, to), OK
    if kind == B_OBJECTID:
        to = _put_ascii(JSON_OID, out, to)
        for n in range(12):
            byte = np.int64(data[at + n])
            out[to], out[to + 1] = _hex_digit(byte >> 4), _hex_digit(byte & 15)
            to += 2
        return _put_ascii(JSON_END, out, to), OK
    if kind == B_DECIMAL:
        to, error = _put_number(data, kind, at, out, _put_ascii(JSON_DECIMAL, out, to))
        return _put_ascii(JSON_END, out, to), error
    if kind == B_BINARY:
        return _put_json_binary(data, at, out, to, limit)
    return _put_json_rare(data, kind, at, out, to, limit)


@compiled
def _put_json_date(ms, out, to):
    if 0 <= ms < YEAR_10000_MS:
        return _put_ascii(JSON_END, out, _put_moment(ms, out, _put_ascii(JSON_DATE, out, to)))
    return _put_ascii(JSON_TWO_ENDS, out, _put_whole(ms, out, _put_ascii(JSON_LONG_DATE, out, to)))


@compiled
def _put_json_binary(data, at, out, to, limit):
    start, length = _binary(data, at)
    if length < 0:
        return to, MALFORMED
    if to + JSON_ROOM + (length + 2) // 3 * 4 > limit:
        return to, NO_ROOM
    to = _put_base64(data, start, length, out, _put_ascii(JSON_BINARY, out, to))
    to = _put_ascii(JSON_SUBTYPE, out, to)
    subtype = np.int64(data[at + 4])
    out[to], out[to + 1] = _hex_digit(subtype >> 4), _hex_digit(subtype & 15)
    return _put_ascii(JSON_TWO_ENDS, out, to + 2), OK


@compiled
def _put_json_rare(data, kind, at, out, to, limit):
    """Regular expressions, timestamps, code, symbols and the ends of the order."""
    if kind == B_REGEX:
        to = _put_ascii(JSON_REGEX, out, to)
        end = _name_end(data, at, len(data))
        to, error = _put_json_text(data, at, end - at, out, to, limit - JSON_ROOM)
        if error != OK:
            return to, error
        to = _put_ascii(JSON_FLAGS, out, to)
        to, error = _put_json_text(data, end + 1, _name_end(data, end + 1, len(data)) - end - 1, out, to, limit - 2)
        out[to], out[to + 1] = 125, 125
        return to + 2, error
    if kind == B_TIMESTAMP:
        to = _put_whole(_i32(data, at + 4) & 0xFFFFFFFF, out, _put_ascii(JSON_TIMESTAMP, out, to))
        to = _put_whole(_i32(data, at) & 0xFFFFFFFF, out, _put_ascii(JSON_INCREMENT, out, to))
        out[to], out[to + 1] = 125, 125
        return to + 2, OK
    if kind == B_CODE or kind == B_SYMBOL:
        to = _put_ascii(JSON_CODE, out, to) if kind == B_CODE else _put_ascii(JSON_SYMBOL, out, to)
        to, error = _put_json_text(data, at + 4, _i32(data, at) - 1, out, to, limit - 1)
        out[to] = 125
        return to + 1, error
    if kind == B_UNDEFINED:
        return _put_ascii(JSON_UNDEFINED, out, to), OK
    if kind == 255:
        return _put_ascii(JSON_MIN, out, to), OK
    if kind == 127:
        return _put_ascii(JSON_MAX, out, to), OK
    return to, WRONG_TYPE


@compiled
def _has_field_twice(data, start, end):
    """Whether two fields of a document have one name, by a hash of 64 bits: jsonb would keep the last alone."""
    count, at = 0, start
    while at < end:
        name_end = _name_end(data, at + 1, end)
        at = name_end + 1 + max(value_size(data, np.int64(data[at]), name_end + 1, end), np.int64(0))
        count += 1
    if count < 2:
        return False
    hashes = np.empty(count, np.uint64)
    at = start
    for n in range(count):
        name_end = _name_end(data, at + 1, end)
        value = np.uint64(0xCBF29CE484222325)
        for place in range(at + 1, name_end):
            value = (value ^ np.uint64(data[place])) * np.uint64(0x100000001B3)
        hashes[n] = value
        at = name_end + 1 + max(value_size(data, np.int64(data[at]), name_end + 1, end), np.int64(0))
    hashes.sort()
    for n in range(1, count):
        if hashes[n] == hashes[n - 1]:
            return True
    return False


J_AT, J_END, J_ARRAY, J_NODE, J_COUNT, J_BACK, J_CLOSERS = range(7)
"""What the writer of JSON knows of a level: where it reads, whether it is an array, the plan's node (-1: take all),
fields written, where its text begins, and braces to close with it."""


@compiled
def _json_level(stack, depth, data, at, is_array, node, begins, closers):
    """Enter a document or an array. Returns an error or OK."""
    if depth >= JSON_DEPTH:
        return TOO_DEEP
    end = at + _i32(data, at) - 1
    stack[J_AT, depth], stack[J_END, depth], stack[J_ARRAY, depth] = at + 4, end, np.int64(is_array)
    stack[J_NODE, depth], stack[J_COUNT, depth], stack[J_BACK, depth] = node, 0, begins
    stack[J_CLOSERS, depth] = closers
    return FIELD_TWICE if not is_array and _has_field_twice(data, at + 4, end) else OK


@compiled
def _write_jsonb(plan, node, data, kind, at, out, to, limit):
    """A value as jsonb; with a node of the plan, those fields of a document that no entry of it takes."""
    start = to
    to += 5
    if to + JSON_ROOM > limit:
        return to, NO_ROOM
    to, error = _put_json(plan, node, data, kind, at, out, to, limit)
    if error == OK:
        _put(out, start, np.int64(to - start - 4), 4)
        out[start + 4] = 1
    return to, error


@compiled
def _put_json(plan, node, data, kind, at, out, to, limit):
    if kind != B_DOCUMENT and kind != B_ARRAY and kind != B_SCOPE:
        return _put_json_scalar(data, kind, at, out, to, limit)
    stack = np.zeros((7, JSON_DEPTH), np.int64)
    depth = np.int64(-1)
    to, error, depth = _open_json(stack, depth, data, kind, at, node, to, out, to, limit)
    while depth >= 0 and error == OK:
        if to + JSON_ROOM > limit:
            return to, NO_ROOM
        here, end = stack[J_AT, depth], stack[J_END, depth]
        if here >= end:
            if here > end:
                return to, MALFORMED
            to, depth = _close_json(stack, depth, out, to)
            continue
        inner = np.int64(data[here])
        name, name_end = here + 1, _name_end(data, here + 1, end)
        value = name_end + 1
        size = value_size(data, inner, value, end)
        if name_end >= end or size < 0:
            return to, MALFORMED
        stack[J_AT, depth] = value + size
        below = np.int64(-1)
        if stack[J_NODE, depth] >= 0:
            below = _node_below(plan, stack[J_NODE, depth], data, name, name_end - name)
            if below == TAKEN or (below >= 0 and inner != B_DOCUMENT):
                continue
        begins = to
        if stack[J_COUNT, depth]:
            out[to] = 44
            to += 1
        stack[J_COUNT, depth] += 1
        if not stack[J_ARRAY, depth]:
            to, error = _put_json_text(data, name, name_end - name, out, to, limit - JSON_ROOM)
            out[to] = 58
            to += 1
        if error != OK:
            return to, error
        if inner == B_DOCUMENT or inner == B_ARRAY or inner == B_SCOPE:
            to, error, depth = _open_json(stack, depth, data, inner, value, below, begins, out, to, limit)
        else:
            to, error = _put_json_scalar(data, inner, value, out, to, limit)
    return to, error


TAKEN = np.int64(-2)


@compiled
def _node_below(plan, node, data, name, length):
    """What the plan does with a field: TAKEN by a column or a table, the node of an embedded document, -1: nothing."""
    entries, first, last = plan.entries, plan.nodes[node, 0], plan.nodes[node, 1]
    entry = _find(plan.names, entries, first, last, last, data, name, length)
    if entry < 0:
        return np.int64(-1)
    return entries[entry, 3] if entries[entry, 2] == OBJECT else TAKEN


@compiled
def _open_json(stack, depth, data, kind, at, node, begins, out, to, limit):
    """Write what stands before a level's fields and enter it. Returns where the next goes, an error or OK, depth."""
    closers = np.int64(0)
    if kind == B_SCOPE:
        code = _i32(data, at + 4) if _i32(data, at) >= 14 else np.int64(-1)
        scope = at + 8 + code
        end = at + _i32(data, at)
        if code < 1 or scope + 5 > end or value_size(data, B_DOCUMENT, scope, end) != end - scope:
            return to, MALFORMED, depth
        to, error = _put_json_text(data, at + 8, code - 1, out, _put_ascii(JSON_CODE, out, to), limit - JSON_ROOM)
        if error != OK:
            return to, error, depth
        to, at, closers = _put_ascii(JSON_SCOPE, out, to), scope, np.int64(1)
    is_array = kind == B_ARRAY
    error = _json_level(stack, depth + 1, data, at, is_array, node, begins, closers)
    if error != OK:
        return to, error, depth
    out[to] = 91 if is_array else 123
    return to + 1, OK, depth + 1


@compiled
def _close_json(stack, depth, out, to):
    """Leave a level; one below the row's own document of which nothing is left is taken back."""
    if depth > 0 and stack[J_NODE, depth] >= 0 and not stack[J_COUNT, depth]:
        stack[J_COUNT, depth - 1] -= 1
        return stack[J_BACK, depth], depth - 1
    out[to] = 93 if stack[J_ARRAY, depth] else 125
    to += 1
    for _ in range(stack[J_CLOSERS, depth]):
        out[to] = 125
        to += 1
    return to, depth - 1


@compiled
def _write_value(type_, max_length, required, data, kind, at, out, to):
    """Write one field with its length. Returns where the next goes, and an error or OK."""
    if kind == 0 or kind == B_NULL or kind == B_UNDEFINED:
        return _put(out, to, np.int64(-1), 4), MISSING if required else OK
    if type_ == VARCHAR or type_ == TEXT:
        return _write_text(data, kind, at, max_length, out, to)
    if type_ == INTEGER:
        return _write_integer(data, kind, at, 4, out, to)
    if type_ == BIGINT:
        return _write_integer(data, kind, at, 8, out, to)
    if type_ == SMALLINT:
        return _write_integer(data, kind, at, 2, out, to)
    if type_ == TIMESTAMPTZ or type_ == DATE:
        return _write_time(data, kind, at, type_, out, to)
    if type_ == DOUBLE:
        return _write_float(data, kind, at, 8, out, to)
    if type_ == REAL:
        return _write_float(data, kind, at, 4, out, to)
    if type_ == BOOLEAN:
        if kind != B_BOOL:
            return to, WRONG_TYPE
        return _put(out, _put(out, to, np.int64(1), 4), np.int64(data[at] != 0), 1), OK
    if type_ == TEXT_ARRAY:
        return _write_text_array(data, kind, at, out, to)
    return _write_bytes(data, kind, at, out, to)


@compiled
def _write_longer(plan, table, column, data, slots, out, to, limit):
    """`_write_value` for the types that few columns have: apart, so that the others' code stays short and quick."""
    declared, kind, at = plan.columns[column], slots[0, column], slots[1, column]
    type_ = declared[0]
    if type_ == REST:
        document, node = slots[1, plan.columns.shape[0]], plan.tables[table, NODE]
        return _write_jsonb(plan, node, data, np.int64(B_DOCUMENT), document, out, to, limit)
    if kind == 0 or kind == B_NULL or kind == B_UNDEFINED:
        return _put(out, to, np.int64(-1), 4), MISSING if declared[2] else OK
    if type_ == JSONB:
        return _write_jsonb(plan, np.int64(-1), data, kind, at, out, to, limit)
    if type_ == NUMERIC:
        return _write_numeric(data, kind, at, declared[3], declared[4], out, to)
    if type_ == UUID:
        return _write_uuid(data, kind, at, out, to)
    return _write_scalar_text(data, kind, at, declared[1], out, to)


@compiled
def _room(data, first, last, slots):
    """Bytes that the values of a row's columns can take beyond ROOM_A_FIELD each."""
    room = np.int64(0)
    for column in range(first, last):
        kind = slots[0, column]
        if kind == B_STRING or kind == B_SYMBOL or kind == B_BINARY:
            room += _i32(data, slots[1, column]) + 5
        elif kind == B_ARRAY:
            room += 4 * _i32(data, slots[1, column]) + 32
    return room


@compiled
def _write_row(plan, table, data, slots, key, key_size, ordinals, depth, out, to, limit, error_column):
    """Write one row: field count, key, ordinals on the way down, own columns. Only jsonb may run into `limit`."""
    tables, columns = plan.tables, plan.columns
    to = _put(out, to, tables[table, FIELDS], 2)
    if table > 0:
        source, target = np.uint64(key), np.uint64(to)
        for n in range(np.uint64(key_size)):
            out[target + n] = out[source + n]
        to += key_size
        for level in range(1, depth + 1):
            if ordinals[level] > 0:
                to = _put(out, _put(out, to, np.int64(4), 4), ordinals[level], 4)
    for column in range(tables[table, FIRST_COLUMN], tables[table, LAST_COLUMN]):
        type_ = columns[column, 0]
        if type_ < NUMERIC:
            to, error = _write_value(
                type_, columns[column, 1], columns[column, 2], data, slots[0, column], slots[1, column], out, to
            )  # fmt: skip
        else:
            to, error = _write_longer(plan, table, column, data, slots, out, to, limit)
        if error != OK:
            error_column[0] = column
            return to, error
    return to, OK


@compiled
def _fill_slots(plan, table, data, kind, at, end, slots, stack, error_column):
    """Note where the values of one row stand. Returns an error or OK."""
    item = plan.tables[table, ITEM_COLUMN]
    if item >= 0:
        slots[0, item], slots[1, item] = kind, at
        return OK
    if kind != B_DOCUMENT:
        return WRONG_TYPE
    return _scan(plan, table, data, at, end, slots, stack, error_column)


@compiled
def _document(plan, data, start, limit, out, ends, fill, rows, error_column, slots, stack):
    """Write all rows of one document, parents first. Returns an error, OK, or FULL - table."""
    tables, children = plan.tables, plan.children
    path, next_items, stops, next_children, ordinals = stack[4], stack[5], stack[6], stack[7], stack[8]
    depth, key, key_size = 0, np.int64(0), np.int64(0)
    path[0], next_items[0], stops[0], ordinals[0] = 0, 0, 0, 0
    has_row, kind, at, end = True, np.int64(B_DOCUMENT), start, limit
    while depth >= 0:
        table = path[depth]
        if has_row:
            first, last = tables[table, FIRST_COLUMN], tables[table, LAST_COLUMN]
            error_column[0] = -1 - table
            error = _fill_slots(plan, table, data, kind, at, end, slots, stack, error_column)
            if error != OK:
                return error
            if tables[table, ITEM_COLUMN] < 0:
                slots[1, plan.columns.shape[0]] = at
            to = fill[table]
            room = _room(data, first, last, slots) + 2 + key_size + tables[table, FIELDS] * ROOM_A_FIELD
            if to + room > ends[table]:
                return FULL - table
            after, error = _write_row(
                plan, table, data, slots, key, key_size, ordinals, depth, out, to, ends[table] - room, error_column
            )  # fmt: skip
            if error == NO_ROOM:
                return FULL - table
            if error != OK:
                return error
            fill[table] = after
            rows[table] += 1
            if depth == 0:
                key, key_size = to + 2, np.int64(0)
                for _ in range(tables[0, KEY_FIELDS]):
                    key_size += _field_size(out, key + key_size)
            next_children[depth] = tables[table, FIRST_CHILD]
            has_row = False
        elif next_children[depth] < tables[table, LAST_CHILD]:
            child = children[next_children[depth]]
            next_children[depth] += 1
            kind, at = slots[2, child], slots[3, child]
            if kind == 0 or kind == B_NULL or kind == B_UNDEFINED:
                continue
            is_array = tables[child, IS_ARRAY] > 0
            if kind != (B_ARRAY if is_array else B_DOCUMENT):
                error_column[0] = -1 - child
                return WRONG_TYPE
            end = at + _i32(data, at)
            depth += 1
            path[depth], ordinals[depth] = child, 0
            next_children[depth] = tables[child, LAST_CHILD]
            next_items[depth] = at + 4 if is_array else 0
            stops[depth] = end - 1 if is_array else 0
            has_row = not is_array
        elif next_items[depth] < stops[depth]:
            kind = np.int64(data[next_items[depth]])
            at = _name_end(data, next_items[depth] + 1, stops[depth]) + 1
            size = value_size(data, kind, at, stops[depth])
            if size < 0:
                error_column[0] = -1 - table
                return MALFORMED
            end = at + size
            next_items[depth] = end
            ordinals[depth] += 1
            has_row = True
        else:
            depth -= 1
    return OK


@compiled
def _field_size(out, at):
    """The size of a written field with its length."""
    size = np.int64(0)
    for n in range(4):
        size = size << 8 | np.int64(out[at + n])
    return size + 4


@compiled
def transcode(plan, data, starts, stops, first, skip, out, ends, fill, rows, errors, error_columns, keys):
    """Write the rows of documents `first` onwards; `fill` says where each table's next row goes in `out`.

    `errors[d]` becomes the error of a document that left no row (OK otherwise), `error_columns[d]` the column
    and `keys[d]` the place of the key's field in `out`. Returns the number of documents, or fewer where
    `fill` met `ends`: `fill[-1]` then names the table that needs room, and nothing of that document is written.
    """
    tables = len(plan.tables)
    slots = np.zeros((4, max(tables, len(plan.columns) + 1)), np.int64)
    stack = np.zeros((9, MAX_DEPTH), np.int64)
    error_column = np.zeros(1, np.int64)
    fill_before, rows_before = np.empty(tables, np.int64), np.empty(tables, np.int64)
    for document in range(first, len(starts)):
        if skip[document]:
            continue
        for table in range(tables):
            fill_before[table], rows_before[table] = fill[table], rows[table]
        keys[document] = fill[0] + 2
        error = _document(
            plan, data, starts[document], stops[document], out, ends, fill, rows, error_column, slots, stack
        )
        if error != OK:
            for table in range(tables):
                fill[table], rows[table] = fill_before[table], rows_before[table]
        if error < 0:
            fill[tables] = FULL - error
            return document
        errors[document], error_columns[document] = error, error_column[0]
    return len(starts)


@compiled
def split(data, at, end, max_documents, max_bytes, starts, stops):
    """Find the documents of concatenated BSON from `at`: fills `starts` and `stops`.

    Returns how many, and where the next begins. A length that no document can have ends the search with
    a count of -1 - (documents found): what follows can't be told apart.
    """
    count = 0
    first = at
    while count < max_documents and at + 4 <= end:
        size = _i32(data, at)
        if size < 5:
            return -1 - count, at
        if at + size > end or (count and at + size - first > max_bytes):
            break
        starts[count], stops[count] = at, at + size
        count += 1
        at += size
    return count, at
