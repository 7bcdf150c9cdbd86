"""The migration's figures from its ranges' own clocks."""

from __future__ import annotations

import pytest

from pipeline_jobs.contract import Sample
from pipeline_jobs.migration.copy_plan import RangeResult
from pipeline_jobs.migration.ledger import Counts
from pipeline_jobs.migration.metrics import record_sample
from pipeline_jobs.migration.options import Settings
from pipeline_jobs.migration.rate_limit import Pace
from pipeline_jobs.migration.throughput import range_metrics


def passed(number: int, started: float, ended: float, rows: int, *, steady: bool = True) -> RangeResult:
    """A range that passed; `steady`: its bytes were noted, one a row."""
    result = RangeResult(number, state="PASS", started=started, ended=ended, counts=Counts(rows, rows))
    if steady:
        result.bytes, result.progress = rows, [(started, 0), (ended, rows)]
    return result


def test_a_run_shorter_than_a_second_has_no_peak_over_a_second():
    assert "peak_rows_per_s" not in range_metrics([passed(0, 10.0, 10.42, 1000), passed(1, 10.0, 10.41, 1000)])
    assert "peak_rows_per_s" not in range_metrics([])


def test_the_peak_is_the_best_second():
    # A second at 100 rows/s, then one at 900, then one at 100.
    ranges = [passed(0, 0.0, 1.0, 100), passed(1, 1.0, 2.0, 900), passed(2, 2.0, 3.0, 100)]
    metrics = range_metrics(ranges)
    assert metrics["peak_rows_per_s"] == pytest.approx(900, rel=0.05)
    assert metrics["slow_partitions"] == 0
    assert (metrics["first_partition_ratio"], metrics["last_partition_ratio"]) == (1.0, 1.0)


def test_without_progress_inside_the_ranges_there_is_no_peak():
    """A steady run of two cores, whose ranges' ends come in pairs: a peak of evenly spread rows would be a guess."""
    ranges = [passed(number, number // 2 * 1.0, number // 2 + 1.0, 1000, steady=False) for number in range(6)]
    metrics = range_metrics(ranges)
    assert "peak_rows_per_s" not in metrics
    assert metrics["slow_partitions"] == 0
    assert "peak_rows_per_s" not in range_metrics([*ranges, passed(7, 3.0, 4.0, 10)])
    assert "peak_rows_per_s" in range_metrics([passed(7, 3.0, 4.5, 10), passed(8, 3.0, 4.0, 0, steady=False)])


def test_a_slow_range_and_a_slow_first_one_are_named():
    ranges = [passed(0, 0.0, 3.0, 100), passed(1, 3.0, 4.0, 100), passed(2, 4.0, 5.0, 100), passed(3, 5.0, 6.0, 100)]
    metrics = range_metrics(ranges)
    assert metrics["slow_partitions"] == 1
    assert metrics["first_partition_ratio"] == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("origin", "target", "binds"),
    [(1000, 0, (1, 0)), (0, 1000, (0, 0)), (0, 500, (0, 1)), (1000, 500, (1, 1)), (2000, 500, (0, 1)), (0, 0, (0, 0))],
)
def test_each_side_s_limit_binds_by_its_own_rows(origin: int, target: int, binds: tuple[int, int]) -> None:
    """Of 1,000 rows that were read in a second, half were refused by the target."""
    result = RangeResult(0, state="PASS", started=0.0, ended=1.0, counts=Counts(1000, 500, 0, 500))
    sample = Sample(is_warmup=False, duration_s=1.0)
    record_sample(sample, [result], Settings(origin_rate_limit=origin, target_rate_limit=target))
    assert (sample.metrics["origin_rate_limit_binds"], sample.metrics["target_rate_limit_binds"]) == binds
    assert sample.metrics["rate_limit_binds"] == max(binds)


def test_each_side_is_held_to_its_own_limit() -> None:
    fast, slow = Pace(1e9), Pace(10.0)
    assert fast.wait_s(100) == 0
    assert slow.wait_s(100) > 9
    assert Pace(0.0).wait_s(100) == 0
    assert slow.wait_s(0) == 0
