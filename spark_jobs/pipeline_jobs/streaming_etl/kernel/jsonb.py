"""jsonb columns: values, documents and arrays as JSON text."""

# ruff: noqa: ANN201, ANN202, SIM109, SIM110
# Types come from the arguments at the first call, and numba compiles plain comparisons and loops best.
# mypy: ignore-errors

from __future__ import annotations

import numpy as np

from pipeline_jobs.compiled import compiled
from pipeline_jobs.streaming_etl.kernel.codes import (
    B_ARRAY,
    B_BINARY,
    B_BOOL,
    B_CODE,
    B_DATE,
    B_DECIMAL,
    B_DOCUMENT,
    B_DOUBLE,
    B_INT32,
    B_INT64,
    B_NULL,
    B_OBJECTID,
    B_REGEX,
    B_SCOPE,
    B_STRING,
    B_SYMBOL,
    B_TIMESTAMP,
    B_UNDEFINED,
    FIELD_TWICE,
    INVALID_UTF8,
    JSON_DEPTH,
    MALFORMED,
    NO_ROOM,
    NUL_CHARACTER,
    OK,
    TOO_DEEP,
    WRONG_TYPE,
)
from pipeline_jobs.streaming_etl.kernel.reading import find, i32, i64, name_end_of, put, value_size
from pipeline_jobs.streaming_etl.kernel.scalar_text import (
    FALSE_TEXT,
    TRUE_TEXT,
    YEAR_10000_MS,
    put_ascii,
    put_moment,
    put_number,
    put_whole,
)
from pipeline_jobs.streaming_etl.kernel.values import binary, double, hex_digit, utf8_characters
from pipeline_jobs.streaming_etl.mapping_arrays import OBJECT


@compiled
def _put_json_text(data, at, length, out, to, limit):
    """Text in quotes with what JSON wants escaped. Returns where the next goes, and an error or OK."""
    if to + 6 * length + 2 > limit:
        return to, NO_ROOM
    if utf8_characters(data, at, length) < 0:
        return to, INVALID_UTF8
    out[to] = 34
    to += 1
    for n in range(length):
        byte = data[at + n]
        if byte == 0:
            return to, NUL_CHARACTER
        if byte < 32:
            out[to], out[to + 1], out[to + 2], out[to + 3] = 92, 117, 48, 48
            out[to + 4], out[to + 5] = hex_digit(np.int64(byte) >> 4), hex_digit(np.int64(byte) & 15)
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
        return _put_json_text(data, at + 4, i32(data, at) - 1, out, to, limit)
    if kind == B_INT32 or kind == B_INT64:
        return put_whole(i32(data, at) if kind == B_INT32 else i64(data, at), out, to), OK
    if kind == B_DOUBLE:
        if np.isfinite(double(data, at)):
            return put_number(data, kind, at, out, to)
        to, error = put_number(data, kind, at, out, put_ascii(JSON_DOUBLE, out, to))
        return put_ascii(JSON_END, out, to), error
    if kind == B_BOOL:
        return (put_ascii(TRUE_TEXT, out, to) if data[at] else put_ascii(FALSE_TEXT, out, to)), OK
    if kind == B_NULL:
        return put_ascii(JSON_NULL, out, to), OK
    if kind == B_DATE:
        return _put_json_date(i64(data, at), out, to), OK
    if kind == B_OBJECTID:
        to = put_ascii(JSON_OID, out, to)
        for n in range(12):
            byte = np.int64(data[at + n])
            out[to], out[to + 1] = hex_digit(byte >> 4), hex_digit(byte & 15)
            to += 2
        return put_ascii(JSON_END, out, to), OK
    if kind == B_DECIMAL:
        to, error = put_number(data, kind, at, out, put_ascii(JSON_DECIMAL, out, to))
        return put_ascii(JSON_END, out, to), error
    if kind == B_BINARY:
        return _put_json_binary(data, at, out, to, limit)
    return _put_json_rare(data, kind, at, out, to, limit)


@compiled
def _put_json_date(ms, out, to):
    if 0 <= ms < YEAR_10000_MS:
        return put_ascii(JSON_END, out, put_moment(ms, out, put_ascii(JSON_DATE, out, to)))
    return put_ascii(JSON_TWO_ENDS, out, put_whole(ms, out, put_ascii(JSON_LONG_DATE, out, to)))


@compiled
def _put_json_binary(data, at, out, to, limit):
    start, length = binary(data, at)
    if length < 0:
        return to, MALFORMED
    if to + JSON_ROOM + (length + 2) // 3 * 4 > limit:
        return to, NO_ROOM
    to = _put_base64(data, start, length, out, put_ascii(JSON_BINARY, out, to))
    to = put_ascii(JSON_SUBTYPE, out, to)
    subtype = np.int64(data[at + 4])
    out[to], out[to + 1] = hex_digit(subtype >> 4), hex_digit(subtype & 15)
    return put_ascii(JSON_TWO_ENDS, out, to + 2), OK


@compiled
def _put_json_rare(data, kind, at, out, to, limit):
    """Regular expressions, timestamps, code, symbols and the ends of the order."""
    if kind == B_REGEX:
        to = put_ascii(JSON_REGEX, out, to)
        end = name_end_of(data, at, len(data))
        to, error = _put_json_text(data, at, end - at, out, to, limit - JSON_ROOM)
        if error != OK:
            return to, error
        to = put_ascii(JSON_FLAGS, out, to)
        to, error = _put_json_text(data, end + 1, name_end_of(data, end + 1, len(data)) - end - 1, out, to, limit - 2)
        out[to], out[to + 1] = 125, 125
        return to + 2, error
    if kind == B_TIMESTAMP:
        to = put_whole(i32(data, at + 4) & 0xFFFFFFFF, out, put_ascii(JSON_TIMESTAMP, out, to))
        to = put_whole(i32(data, at) & 0xFFFFFFFF, out, put_ascii(JSON_INCREMENT, out, to))
        out[to], out[to + 1] = 125, 125
        return to + 2, OK
    if kind == B_CODE or kind == B_SYMBOL:
        to = put_ascii(JSON_CODE, out, to) if kind == B_CODE else put_ascii(JSON_SYMBOL, out, to)
        to, error = _put_json_text(data, at + 4, i32(data, at) - 1, out, to, limit - 1)
        out[to] = 125
        return to + 1, error
    if kind == B_UNDEFINED:
        return put_ascii(JSON_UNDEFINED, out, to), OK
    if kind == 255:
        return put_ascii(JSON_MIN, out, to), OK
    if kind == 127:
        return put_ascii(JSON_MAX, out, to), OK
    return to, WRONG_TYPE


@compiled
def _has_field_twice(data, start, end):
    """Whether two fields of a document have one name, by a hash of 64 bits: jsonb would keep the last alone."""
    count, at = 0, start
    while at < end:
        name_end = name_end_of(data, at + 1, end)
        at = name_end + 1 + max(value_size(data, np.int64(data[at]), name_end + 1, end), np.int64(0))
        count += 1
    if count < 2:
        return False
    hashes = np.empty(count, np.uint64)
    at = start
    for n in range(count):
        name_end = name_end_of(data, at + 1, end)
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
    end = at + i32(data, at) - 1
    stack[J_AT, depth], stack[J_END, depth], stack[J_ARRAY, depth] = at + 4, end, np.int64(is_array)
    stack[J_NODE, depth], stack[J_COUNT, depth], stack[J_BACK, depth] = node, 0, begins
    stack[J_CLOSERS, depth] = closers
    return FIELD_TWICE if not is_array and _has_field_twice(data, at + 4, end) else OK


@compiled
def write_jsonb(plan, node, data, kind, at, out, to, limit):
    """A value as jsonb; with a node of the plan, those fields of a document that no entry of it takes."""
    start = to
    to += 5
    if to + JSON_ROOM > limit:
        return to, NO_ROOM
    to, error = _put_json(plan, node, data, kind, at, out, to, limit)
    if error == OK:
        put(out, start, np.int64(to - start - 4), 4)
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
        name, name_end = here + 1, name_end_of(data, here + 1, end)
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
    entry = find(plan.names, entries, first, last, last, data, name, length)
    if entry < 0:
        return np.int64(-1)
    return entries[entry, 3] if entries[entry, 2] == OBJECT else TAKEN


@compiled
def _open_json(stack, depth, data, kind, at, node, begins, out, to, limit):
    """Write what stands before a level's fields and enter it. Returns where the next goes, an error or OK, depth."""
    closers = np.int64(0)
    if kind == B_SCOPE:
        code = i32(data, at + 4) if i32(data, at) >= 14 else np.int64(-1)
        scope = at + 8 + code
        end = at + i32(data, at)
        if code < 1 or scope + 5 > end or value_size(data, B_DOCUMENT, scope, end) != end - scope:
            return to, MALFORMED, depth
        to, error = _put_json_text(data, at + 8, code - 1, out, put_ascii(JSON_CODE, out, to), limit - JSON_ROOM)
        if error != OK:
            return to, error, depth
        to, at, closers = put_ascii(JSON_SCOPE, out, to), scope, np.int64(1)
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
