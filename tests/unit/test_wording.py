from __future__ import annotations

import math

import pytest

from pipeline_tuner.recommendation import Interval
from pipeline_tuner.wording import interval_words, listed, metric_unit, number, percent, with_unit


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (1234567, "1,230,000"),
        (12.345, "12.3"),
        (0.012345, "0.0123"),
        (100, "100"),
        (0, "0"),
        (math.inf, "unknown"),
        (-5.5, "-5.5"),
    ],
)
def test_numbers_have_three_digits(value, words):
    assert number(value) == words


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [(0.0123, "s", "12.3 ms"), (97, "s", "97 s"), (600, "s", "10 min"), (9000, "s", "2.5 h"),
     (1.5e9, "bytes", "1.5 GB"),
     (999, "B", "999 B"), (3500, "rows/s", "3,500 rows/s")],
)  # fmt: skip
def test_values_have_units(value, unit, words):
    assert with_unit(value, unit) == words


def test_units_are_read_off_the_name():
    names = ("rows_per_s", "duration_s", "memory_peak_bytes", "core_seconds", "errors", "rows / duration_s")
    assert [metric_unit(name) for name in names] == ["rows/s", "s", "bytes", "core-s", "", ""]


def test_intervals():
    assert interval_words(Interval(1230, 1180, 1290, 0.95, 5), "rows/s") == "1,230 (1,180 to 1,290) rows/s"
    assert "bounds unknown" in interval_words(Interval(1230, -math.inf, math.inf, 0.95, 1), "rows/s")


def test_lists_and_percentages():
    assert (listed(("a", "b", "c")), listed(("a",)), percent(0.0512)) == ("a, b and c", "a", "5.12%")
