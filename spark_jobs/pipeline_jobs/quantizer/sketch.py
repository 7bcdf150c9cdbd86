"""Quantiles within 1% (DDSketch; Masson, Rim, Lee, VLDB 2019): from a value to its bin, from bins to a quantile.

The bins are those of the library `ddsketch` with its logarithmic mapping; a row's map becomes that library's
sketch with `to_ddsketch`. A bin's number carries the sign: KEY_OFFSET + key for positive values, the same
negated for negative ones, 0 for zeros, so numbers sort as their values do. Adding counts bin by bin merges maps.
"""

from __future__ import annotations

from collections.abc import Mapping

from ddsketch import DDSketch
from ddsketch.mapping import LogarithmicMapping

RELATIVE_ACCURACY = 0.01
KEY_OFFSET = 40_000
"""More than the largest key of a double, about 35,500 at 1%."""

_mapping = LogarithmicMapping(RELATIVE_ACCURACY)
BINS_PER_OCTAVE: float = _mapping._multiplier
"""A positive value's key is ceil(log2(value) * BINS_PER_OCTAVE)."""
MIN_VALUE: float = _mapping.min_possible
"""Values nearer to zero than this count as zero."""


def bin_of(value: float) -> int:
    """The bin of a finite value."""
    if abs(value) <= MIN_VALUE:
        return 0
    key = _mapping.key(abs(value)) + KEY_OFFSET
    return key if value > 0 else -key


def to_ddsketch(bins: Mapping[int, int]) -> DDSketch:
    """The library's sketch of a row's `sketch` column. Its `sum`, `avg`, minimum and maximum are not set."""
    sketch = DDSketch(RELATIVE_ACCURACY)
    for number, count in bins.items():
        if number > 0:
            sketch._store.add(number - KEY_OFFSET, count)
        elif number < 0:
            sketch._negative_store.add(-number - KEY_OFFSET, count)
        else:
            sketch._zero_count += count
        sketch._count += count
    return sketch


def quantile(bins: Mapping[int, int], fraction: float) -> float | None:
    """The value at a fraction (0 to 1) of the sorted values, within 1% of it; None without values."""
    value: float | None = to_ddsketch(bins).get_quantile_value(fraction)
    return value
