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

from pathlib import Path

import numpy as np
from numba import njit

from pipeline_jobs.streaming_etl.plan import (
    COLUMN,
    FIELDS,
    FIRST_CHILD,
    FIRST_COLUMN,
    IS_ARRAY,
    ITEM_COLUMN,
    LAST_CHILD,
    LAST_COLUMN,
    MAX_DEPTH,
    NODE,
    OBJECT,
)  # fmt: skip

compiled = njit(nogil=True, cache=Path(__file__).exists())
"""Compiles at the first call and keeps the code beside this file, where it is a file and not in an archive."""

OK, MALFORMED, WRONG_TYPE, OUT_OF_RANGE, TOO_LONG, MISSING, INVALID_UTF8, NUL_CHARACTER, DECIMAL128 = range(9)
REASONS = (
    "", "malformed", "wrong_type", "out_of_range", "too_long", "missing", "invalid_utf8", "nul_character", "decimal128",
)  # fmt: skip
FULL = -1
"""`transcode` returns `FULL - table` where that table's part of the arena is used up."""

SMALLINT, INTEGER, BIGINT, REAL, DOUBLE, BOOLEAN, VARCHAR, TEXT, DATE, TIMESTAMPTZ, BYTEA, TEXT_ARRAY = range(12)
B_DOUBLE, B_STRING, B_DOCUMENT, B_ARRAY, B_BINARY, B_UNDEFINED, B_OBJECTID, B_BOOL, B_DATE, B_NULL = range(1, 11)
B_REGEX, B_POINTER, B_CODE, B_SYMBOL, B_SCOPE, B_INT32, B_TIMESTAMP, B_INT64, B_DECIMAL = range(11, 20)

EPOCH_2000_MS = 946_684_800_000
DAY_MS = 86_400_000
TIMESTAMP_MIN_MS = -211_813_488_000_000 + EPOCH_2000_MS
TIMESTAMP_MAX_MS = 9_223_371_331_200_000 + EPOCH_2000_MS
DATE_MAX_MS = 185_542_587_100_800_000
TEXT_OID = 25
ROOM_A_FIELD = 32
"""Bytes that a field other than text takes at most (an ObjectId as text: 4 + 24)."""


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
def _scan(plan, table, data, start, limit, slots, stack):
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
    elif kind == B_INT32:
        value = np.float64(_i32(data, at))
    elif kind == B_INT64:
        value = np.float64(_i64(data, at))
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
    if kind != B_DATE:
        return to, WRONG_TYPE
    ms = _i64(data, at)
    if type_ == DATE:
        if ms < TIMESTAMP_MIN_MS or ms >= DATE_MAX_MS:
            return to, OUT_OF_RANGE
        return _put(out, _put(out, to, np.int64(4), 4), (ms - EPOCH_2000_MS) // DAY_MS, 4), OK
    if ms < TIMESTAMP_MIN_MS or ms >= TIMESTAMP_MAX_MS:
        return to, OUT_OF_RANGE
    return _put(out, _put(out, to, np.int64(8), 4), (ms - EPOCH_2000_MS) * 1000, 8), OK


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
def _write_bytes(data, kind, at, out, to):
    if kind == B_OBJECTID:
        start, length = at, np.int64(12)
    elif kind == B_BINARY:
        start, length = at + 5, _i32(data, at)
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
def _write_row(plan, table, data, slots, key, key_size, ordinals, depth, out, to, error_column):
    """Write one row: field count, key, ordinals on the way down, own columns."""
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
        to, error = _write_value(
            columns[column, 0], columns[column, 1], columns[column, 2],
            data, slots[0, column], slots[1, column], out, to,
        )  # fmt: skip
        if error != OK:
            error_column[0] = column
            return to, error
    return to, OK


@compiled
def _fill_slots(plan, table, data, kind, at, end, slots, stack):
    """Note where the values of one row stand. Returns an error or OK."""
    item = plan.tables[table, ITEM_COLUMN]
    if item >= 0:
        slots[0, item], slots[1, item] = kind, at
        return OK
    if kind != B_DOCUMENT:
        return WRONG_TYPE
    return _scan(plan, table, data, at, end, slots, stack)


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
            error_column[0] = first
            error = _fill_slots(plan, table, data, kind, at, end, slots, stack)
            if error != OK:
                return error
            to = fill[table]
            room = _room(data, first, last, slots) + 2 + key_size + tables[table, FIELDS] * ROOM_A_FIELD
            if to + room > ends[table]:
                return FULL - table
            after, error = _write_row(
                plan, table, data, slots, key, key_size, ordinals, depth, out, to, error_column
            )  # fmt: skip
            if error != OK:
                return error
            fill[table] = after
            rows[table] += 1
            if depth == 0:
                key, key_size = to + 2, _field_size(out, to + 2)
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
                error_column[0] = tables[child, FIRST_COLUMN]
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
                error_column[0] = tables[table, FIRST_COLUMN]
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
    slots = np.zeros((4, max(tables, len(plan.columns))), np.int64)
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
