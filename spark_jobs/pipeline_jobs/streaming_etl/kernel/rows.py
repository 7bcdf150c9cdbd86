"""Documents as COPY rows of all their tables, and the borders of documents in a stretch of bytes."""

# ruff: noqa: ANN201, ANN202, SIM109
# Types come from the arguments at the first call, and numba compiles plain comparisons and loops best.
# mypy: ignore-errors

from __future__ import annotations

import numpy as np

from pipeline_jobs.compiled import compiled
from pipeline_jobs.streaming_etl.kernel.codes import (
    B_ARRAY,
    B_BINARY,
    B_BOOL,
    B_DOCUMENT,
    B_NULL,
    B_STRING,
    B_SYMBOL,
    B_UNDEFINED,
    BIGINT,
    BOOLEAN,
    DATE,
    DOUBLE,
    FULL,
    INTEGER,
    JSONB,
    MALFORMED,
    MISSING,
    NO_ROOM,
    NUMERIC,
    OK,
    REAL,
    REST,
    ROOM_A_FIELD,
    SMALLINT,
    TEXT,
    TEXT_ARRAY,
    TIMESTAMPTZ,
    UUID,
    VARCHAR,
    WRONG_TYPE,
)
from pipeline_jobs.streaming_etl.kernel.jsonb import write_jsonb
from pipeline_jobs.streaming_etl.kernel.numeric import write_numeric
from pipeline_jobs.streaming_etl.kernel.reading import i32, name_end_of, put, scan, value_size
from pipeline_jobs.streaming_etl.kernel.scalar_text import write_scalar_text, write_uuid
from pipeline_jobs.streaming_etl.kernel.values import (
    write_bytes,
    write_float,
    write_integer,
    write_text,
    write_text_array,
    write_time,
)
from pipeline_jobs.streaming_etl.mapping_arrays import (
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
)


@compiled
def _write_value(type_, max_length, required, data, kind, at, out, to):
    """Write one field with its length. Returns where the next goes, and an error or OK."""
    if kind == 0 or kind == B_NULL or kind == B_UNDEFINED:
        return put(out, to, np.int64(-1), 4), MISSING if required else OK
    if type_ == VARCHAR or type_ == TEXT:
        return write_text(data, kind, at, max_length, out, to)
    if type_ == INTEGER:
        return write_integer(data, kind, at, 4, out, to)
    if type_ == BIGINT:
        return write_integer(data, kind, at, 8, out, to)
    if type_ == SMALLINT:
        return write_integer(data, kind, at, 2, out, to)
    if type_ == TIMESTAMPTZ or type_ == DATE:
        return write_time(data, kind, at, type_, out, to)
    if type_ == DOUBLE:
        return write_float(data, kind, at, 8, out, to)
    if type_ == REAL:
        return write_float(data, kind, at, 4, out, to)
    if type_ == BOOLEAN:
        if kind != B_BOOL:
            return to, WRONG_TYPE
        return put(out, put(out, to, np.int64(1), 4), np.int64(data[at] != 0), 1), OK
    if type_ == TEXT_ARRAY:
        return write_text_array(data, kind, at, out, to)
    return write_bytes(data, kind, at, out, to)


@compiled
def _write_longer(plan, table, column, data, slots, out, to, limit):
    """`_write_value` for the types that few columns have: apart, so that the others' code stays short and quick."""
    declared, kind, at = plan.columns[column], slots[0, column], slots[1, column]
    type_ = declared[0]
    if type_ == REST:
        document, node = slots[1, plan.columns.shape[0]], plan.tables[table, NODE]
        return write_jsonb(plan, node, data, np.int64(B_DOCUMENT), document, out, to, limit)
    if kind == 0 or kind == B_NULL or kind == B_UNDEFINED:
        return put(out, to, np.int64(-1), 4), MISSING if declared[2] else OK
    if type_ == JSONB:
        return write_jsonb(plan, np.int64(-1), data, kind, at, out, to, limit)
    if type_ == NUMERIC:
        return write_numeric(data, kind, at, declared[3], declared[4], out, to)
    if type_ == UUID:
        return write_uuid(data, kind, at, out, to)
    return write_scalar_text(data, kind, at, declared[1], out, to)


@compiled
def _room(data, first, last, slots):
    """Bytes that the values of a row's columns can take beyond ROOM_A_FIELD each."""
    room = np.int64(0)
    for column in range(first, last):
        kind = slots[0, column]
        if kind == B_STRING or kind == B_SYMBOL or kind == B_BINARY:
            room += i32(data, slots[1, column]) + 5
        elif kind == B_ARRAY:
            room += 4 * i32(data, slots[1, column]) + 32
    return room


@compiled
def _write_row(plan, table, data, slots, key, key_size, ordinals, depth, out, to, limit, error_column):
    """Write one row: field count, key, ordinals on the way down, own columns. Only jsonb may run into `limit`."""
    tables, columns = plan.tables, plan.columns
    to = put(out, to, tables[table, FIELDS], 2)
    if table > 0:
        source, target = np.uint64(key), np.uint64(to)
        for n in range(np.uint64(key_size)):
            out[target + n] = out[source + n]
        to += key_size
        for level in range(1, depth + 1):
            if ordinals[level] > 0:
                to = put(out, put(out, to, np.int64(4), 4), ordinals[level], 4)
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
    return scan(plan, table, data, at, end, slots, stack, error_column)


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
            end = at + i32(data, at)
            depth += 1
            path[depth], ordinals[depth] = child, 0
            next_children[depth] = tables[child, LAST_CHILD]
            next_items[depth] = at + 4 if is_array else 0
            stops[depth] = end - 1 if is_array else 0
            has_row = not is_array
        elif next_items[depth] < stops[depth]:
            kind = np.int64(data[next_items[depth]])
            at = name_end_of(data, next_items[depth] + 1, stops[depth]) + 1
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
    # Kinds and places of columns and of tables below; by entry the last scan that met it, then the count of scans.
    slots = np.zeros((5, max(tables, len(plan.columns) + 1, len(plan.entries) + 1)), np.int64)
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
        size = i32(data, at)
        if size < 5:
            return -1 - count, at
        if at + size > end or (count and at + size - first > max_bytes):
            break
        starts[count], stops[count] = at, at + size
        count += 1
        at += size
    return count, at
