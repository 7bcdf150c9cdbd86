"""Values of generated metrics, for the quantizer's tests: numbers that sums, minima and maxima go wrong with."""

from __future__ import annotations

import math
import random
import struct

DOUBLES = (
    0.0, -0.0, 1.0, -1.5, 2.5, 0.1, 1e150, 1.0000001e150, -1e151, 5e-324, 1e-300, float("nan"), float("inf"),
    float("-inf"), 9007199254740993.0, 1e16, 3.0, 3.0, 100.0, 7.0,
)  # fmt: skip


def drawn_value(rng: random.Random, column_type: str) -> float:
    """A number of a column of type `float` or `double`."""
    value = rng.choice(DOUBLES) if rng.random() < 0.6 else round(rng.uniform(-100, 100), 3)
    return _single(value) if column_type == "float" else value


def _single(value: float) -> float:
    return struct.unpack("<f", struct.pack("<f", value))[0] if math.isfinite(value) and abs(value) < 3e38 else 1.25
