"""The reader of BSON: sizes, names, and where the wanted values of a document stand."""

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
    B_POINTER,
    B_REGEX,
    B_SCOPE,
    B_STRING,
    B_SYMBOL,
    B_TIMESTAMP,
    B_UNDEFINED,
    FIELD_TWICE,
    MALFORMED,
    OK,
    WRONG_TYPE,
)
from pipeline_jobs.streaming_etl.mapping_arrays import (
    COLUMN,
    FIRST_CHILD,
    FIRST_COLUMN,
    LAST_CHILD,
    LAST_COLUMN,
    NODE,
    OBJECT,
)

# Indices are unsigned: with a signed index numba looks for negative ones at every byte, and LLVM then makes
# neither wide loads nor vector loops of them (50 times slower on long texts).


@compiled
def i32(data, at):
    """A whole number of four bytes, the lowest first."""
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
def i64(data, at):
    """A whole number of eight bytes, the lowest first."""
    low, value = np.uint64(at), np.uint64(0)
    for n in range(np.uint64(8)):
        value |= np.uint64(data[low + n]) << (np.uint64(8) * n)
    return np.int64(value)


@compiled
def put(out, at, value, size):
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
        size = 1 if at < end and data[at] <= 1 else -1
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
        length = i32(data, at)
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
def name_end_of(data, at, end):
    """Where the name that begins at `at` ends: at its zero byte, or at `end` where it has none."""
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
def find(names, entries, first, last, hint, data, at, length):
    """The entry of a field's name, or -1. Fields mostly come in the same order: the hint is tried first."""
    if hint < last and _is_name(data, at, length, names, entries[hint, 0], entries[hint, 1]):
        return hint
    for entry in range(first, last):
        if _is_name(data, at, length, names, entries[entry, 0], entries[entry, 1]):
            return entry
    return np.int64(-1)


@compiled
def scan(plan, table, data, start, limit, slots, stack, error_column):
    """Note the kind and place of every wanted value of one row's document. Returns an error or OK."""
    names, tables, entries, nodes, children = plan.names, plan.tables, plan.entries, plan.nodes, plan.children
    for column in range(tables[table, FIRST_COLUMN], tables[table, LAST_COLUMN]):
        slots[0, column] = 0
    for n in range(tables[table, FIRST_CHILD], tables[table, LAST_CHILD]):
        slots[2, children[n]] = 0
    if value_size(data, B_DOCUMENT, start, limit) < 0:
        return MALFORMED
    slots[4, len(entries)] += 1
    scans = slots[4, len(entries)]
    depth = 0
    stack[0, 0], stack[1, 0], stack[2, 0] = tables[table, NODE], start + 4, start + i32(data, start) - 1
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
        name_end = name_end_of(data, name, end)
        value = name_end + 1
        size = value_size(data, kind, value, end)
        if name_end >= end or size < 0:
            return MALFORMED
        stack[1, depth] = value + size
        node = stack[0, depth]
        entry = find(names, entries, nodes[node, 0], nodes[node, 1], stack[3, depth], data, name, name_end - name)
        if entry < 0:
            continue
        stack[3, depth] = entry + 1
        if slots[4, entry] == scans:
            error_column[0] = entries[entry, 4]
            return FIELD_TWICE
        slots[4, entry] = scans
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
