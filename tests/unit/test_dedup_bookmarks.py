"""How far a bookmark of whole numbers may go, without Spark and without a server."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pipeline_jobs.dedup.bookmarks import believed, largest_believable
from pipeline_jobs.dedup.options import TimestampUnit

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECONDS = int(NOW.timestamp())
BIG = 2**63 - 1
UNKNOWN, NUMBER = TimestampUnit.UNKNOWN, TimestampUnit.NUMBER


@pytest.mark.parametrize(
    ("smallest", "unit", "largest", "limit"),
    [
        (0, UNKNOWN, BIG, SECONDS + 1),
        (SECONDS - 5, UNKNOWN, BIG, SECONDS + 1),
        (SECONDS * 1000 - 5, UNKNOWN, BIG, (SECONDS + 1) * 1000),
        (SECONDS * 10**6, UNKNOWN, BIG, (SECONDS + 1) * 10**6),
        (SECONDS * 10**9, UNKNOWN, BIG, (SECONDS + 1) * 10**9),
        (BIG, UNKNOWN, BIG, (SECONDS + 1) * 10**9),
        (5, TimestampUnit.MILLISECONDS, BIG, (SECONDS + 1) * 1000),
        (5, NUMBER, BIG, BIG - 1),
        (5, UNKNOWN, 2**15 - 1, 2**15 - 2),
    ],
)
def test_the_clock_bounds_a_number(smallest: int, unit: TimestampUnit, largest: int, limit: int) -> None:
    assert largest_believable(smallest, unit, NOW, largest) == limit


@pytest.mark.parametrize(
    ("largest", "smallest", "unit", "position"),
    [
        ([], 0, UNKNOWN, None),
        ([7], 7, UNKNOWN, 7),
        ([399, 398], 0, UNKNOWN, 399),
        ([10**6, 399], 0, UNKNOWN, 399),
        ([6, 5], 5, UNKNOWN, 6),
        ([2, 1], 1, UNKNOWN, 2),
        ([3, 1], 1, UNKNOWN, 1),
        ([10**6, -5], -10, UNKNOWN, -5),
        ([10**6, 399], 0, NUMBER, 10**6),
        ([10**6, 399], 0, TimestampUnit.SECONDS, 10**6),
    ],
)
def test_a_number_far_above_all_others_is_not_believed(
    largest: list[int], smallest: int, unit: TimestampUnit, position: int | None
) -> None:
    assert believed(largest, smallest, unit) == position
