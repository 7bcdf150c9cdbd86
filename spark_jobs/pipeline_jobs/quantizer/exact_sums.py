"""Sums of doubles without rounding, so that order and grouping can't change a result.

A sum is kept as a short list of doubles that add up to it exactly (Shewchuk, "Adaptive Precision
Floating-Point Arithmetic", 1997; Python's `math.fsum` does the same). Stored, it is four doubles: the correctly
rounded sum, the correctly rounded rest, the rest of that, and its rest. Four hold 212 bits: the sum is exact while
its largest and smallest bit are not further apart (squares of values from 1e-24 to 1e24 mixed in one window), and
off by less than 2**-212 of itself beyond.
"""

from __future__ import annotations

import numpy as np

from pipeline_jobs.compiled import compiled

PARTS = 4
"""Doubles that a stored sum takes."""
MAX_PARTS = 48
"""Room for any sum of doubles: their bits span less than 48 x 53."""


@compiled
def add(parts: np.ndarray, used: int, value: float) -> int:
    """Add a double to the exact sum in `parts[:used]`; returns how many parts it has now."""
    kept = 0
    for index in range(used):
        other = parts[index]
        if abs(value) < abs(other):
            value, other = other, value
        total = value + other
        rest = other - (total - value)
        if rest != 0.0:
            parts[kept] = rest
            kept += 1
        value = total
    parts[kept] = value
    return kept + 1


@compiled
def rounded(parts: np.ndarray, used: int) -> float:
    """The double nearest to the exact sum in `parts[:used]`, ties to even."""
    if used == 0:
        return 0.0
    index = used - 1
    total = parts[index]
    rest = 0.0
    while index > 0:
        index -= 1
        before = total
        total = before + parts[index]
        rest = parts[index] - (total - before)
        if rest != 0.0:
            break
    is_tie_broken = index > 0 and ((rest < 0.0 and parts[index - 1] < 0.0) or (rest > 0.0 and parts[index - 1] > 0.0))
    if is_tie_broken:
        up = total + rest * 2.0
        if rest * 2.0 == up - total:
            total = up
    return float(total)


@compiled
def store(parts: np.ndarray, used: int, sums: np.ndarray, row: int, column: int) -> None:
    """Write the exact sum in `parts[:used]` as PARTS doubles to `sums[row, column:]`; uses up `parts`."""
    for index in range(PARTS):
        nearest = rounded(parts, used)
        sums[row, column + index] = nearest
        if nearest == 0.0 or used <= 1:
            break
        used = add(parts, used, -nearest)


@compiled
def add_stored(parts: np.ndarray, used: int, sums: np.ndarray, row: int, column: int) -> int:
    """Add the stored sum at `sums[row, column:]`; returns how many parts there are now. Missing parts are zeros."""
    for index in range(PARTS):
        if sums[row, column + index] == 0.0:
            break
        used = add(parts, used, sums[row, column + index])
    return used


@compiled
def sum_rows(values: np.ndarray) -> np.ndarray:
    """The exact sum of each row of `values` (n, k) as stored: (n, PARTS)."""
    sums = np.zeros((len(values), PARTS))
    parts = np.zeros(MAX_PARTS)
    for row in range(len(values)):
        used = 0
        for column in range(values.shape[1]):
            used = add(parts, used, values[row, column])
        store(parts, used, sums, row, 0)
    return sums
