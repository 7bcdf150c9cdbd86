"""The kernel's codes: types of columns and of BSON, reasons to reject a document, limits."""

from __future__ import annotations

import numpy as np

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
