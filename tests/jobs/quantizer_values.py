"""Types and values of generated tables, for the quantizer's tests: numbers that sums and minima go wrong with."""

from __future__ import annotations

import math
import random
import struct

import pyarrow as pa

DOUBLES = (
    0.0, -0.0, 1.0, -1.5, 2.5, 0.1, 1e150, 1.0000001e150, -1e151, 5e-324, 1e-300, float("nan"), float("inf"),
    float("-inf"), 9007199254740993.0, 1e16, 3.0, 3.0, 100.0, 7.0,
)  # fmt: skip
MINUTE = 60_000_000
HOUR = 60 * MINUTE
LENGTH = 2 * HOUR
"""Of the stretch that is rolled up; in us."""
ARROW = {
    "string": pa.string(), "int": pa.int32(), "long": pa.int64(), "float": pa.float32(), "double": pa.float64(),
    "timestamptz": pa.timestamp("us", tz="UTC"),
}  # fmt: skip
"""Iceberg's types of the columns, and how a file has them."""
PROMOTED = {"int": "long", "float": "double"}
"""To which type a column may be widened."""


def drawn_value(rng: random.Random, column_type: str) -> float:
    """A number of a column of type `float` or `double`."""
    value = rng.choice(DOUBLES) if rng.random() < 0.6 else round(rng.uniform(-100, 100), 3)
    return _single(value) if column_type == "float" else value


def _single(value: float) -> float:
    return struct.unpack("<f", struct.pack("<f", value))[0] if math.isfinite(value) and abs(value) < 3e38 else 1.25
