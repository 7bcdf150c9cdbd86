"""Prices, sizes and the advice for Glue: pure functions on planted figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline_jobs.dedup.auto_strategy import Probe, choose, shuffle_bytes
from pipeline_tuner.analysis.glue_prices import parse_prices
from pipeline_tuner.analysis.glue_sizing import Need, size
from pipeline_tuner.exceptions import StudyError
from pipeline_tuner.jobs.dedup.advice import advice
from pipeline_tuner.measurement import Measurement
from pipeline_tuner.trial import TrialPlan, TrialResult

PRICES = parse_prices((Path(__file__).parents[2] / "include" / "configs" / "prices.yaml").read_text())
GB = 1e9


def test_an_hour_and_a_run_cost_what_the_list_says() -> None:
    assert PRICES.per_hour("G.2X", 30) == pytest.approx(30 * 2 * 0.44)
    assert PRICES.per_hour("G.1X", 10, "FLEX") == pytest.approx(10 * 0.29)
    assert PRICES.cost("G.1X", dpu_seconds=6 * 900, duration_s=900) == pytest.approx(0.66)  # AWS's own example
    assert PRICES.cost("G.1X", dpu_seconds=20, duration_s=10) == pytest.approx(2 * 60 * 0.44 / 3600), (
        "a minute at least"
    )
    with pytest.raises(StudyError, match=r"no FLEX price for R\.1X"):
        PRICES.per_hour("R.1X", 1, "FLEX")


def test_the_smallest_worker_with_memory_for_a_task() -> None:
    small = size(Need(core_seconds=4000, shuffle_bytes=10 * GB, task_memory_bytes=0.3 * GB), PRICES)
    assert small.worker_type == "G.1X", "a larger G worker has as much memory a vCPU"
    large = size(Need(core_seconds=4000, shuffle_bytes=10 * GB, task_memory_bytes=2 * GB), PRICES)
    assert large.worker_type == "R.1X"


def test_workers_set_the_duration_and_hardly_the_cost() -> None:
    need = Need(core_seconds=40_000, shuffle_bytes=10 * GB, task_memory_bytes=0.1 * GB)
    slow, fast = size(need, PRICES, wanted_s=1800), size(need, PRICES, wanted_s=300)
    assert fast.workers > slow.workers
    assert fast.duration_s < slow.duration_s
    assert fast.cost_per_run / slow.cost_per_run < 1.25


def test_shuffle_goes_to_s3_only_where_disks_are_too_small() -> None:
    assert not size(Need(10_000, 17.7 * GB, 0.1 * GB), PRICES).shuffle_to_s3
    arguments = size(Need(1000, 900 * GB, 0.1 * GB), PRICES).arguments({})
    assert arguments["--write-shuffle-files-to-s3"] == "true"
    assert arguments["--conf"].startswith("spark.shuffle.glue.s3ShuffleBucket=s3://")
    arguments = size(Need(1000, 900 * GB, 0.1 * GB), PRICES).arguments({"shuffle_partitions": 64, "adaptive": True})
    assert arguments["--conf"].split(" --conf ")[:2] == [
        "spark.sql.shuffle.partitions=64", "spark.sql.adaptive.enabled=true",
    ]  # fmt: skip


def _result(label: str, strategy: str, megabytes: float, peak: float = 1e8, **configuration: object) -> TrialResult:
    plan = TrialPlan(label, "s", "search", 1, 1, 1, label, {"strategy": strategy, "counts": "observe", **configuration})
    metrics = {
        "shuffle_write_bytes": megabytes * 1e6,
        "executor_cpu_s": 10.0,
        "peak_execution_memory_bytes": peak,
        "tasks": 12.0,
        "task_skew": 1.2,
    }
    measurement = Measurement.model_validate(
        {
            "contract": 1, "job": "dedup", "trial_id": label, "status": "measured", "metrics": metrics,
            "started_at": "2026-01-01T00:00:00Z", "ended_at": "2026-01-01T00:01:00Z", "samples": [{"duration_s": 1}],
            "details": {"strategy": strategy},
        }
    )  # fmt: skip
    return TrialResult.of(plan, measurement)


def test_advice_is_split_and_names_its_evidence() -> None:
    results = [
        _result("baseline", "baseline", 880, shuffle_partitions=100),
        _result("baseline_400", "baseline", 880, shuffle_partitions=400),
        _result("window", "window", 440),
        _result("auto", "semi_join", 103, shuffle_partitions=8),
        _result("counting", "baseline", 880, counts="count"),
        _result("writers", "baseline", 912, shuffle_partitions=100, write_partitions=50),
        TrialResult(
            _result("tiny", "max_by", 1).plan, "failed", failure="out_of_memory", reason="out of memory at 512m"
        ),
    ]
    text = advice(results, PRICES, pick="auto")
    code, infrastructure = text.split("### Infrastructure")
    assert "Use `semi_join`" in code
    assert "0.12 of the bytes" in code
    assert "Don't repartition before the window" in code
    assert "100 partitions moved 880.0 MB, 400 moved 880.0 MB" in code
    assert "Keep the counts" in code
    assert "50 partitions there moved 912.0 MB, none moved 880.0 MB" in code
    assert "more memory than `tiny` has:** it failed, out of memory at 512m." in infrastructure
    assert "17.7 GB" in infrastructure, "what the deduplication guide tells to watch"
    assert '"WorkerType": "G.1X"' in infrastructure
    assert "an estimate" in infrastructure
    assert "unverified" not in infrastructure
    assert advice([], PRICES, pick=None) == ""


def test_a_price_that_nobody_has_seen_says_so_wherever_it_is_used() -> None:
    assert "unverified" not in PRICES.source("G.1X")
    assert "the price of R workers on Glue 5.1 is unverified" in PRICES.source("R.2X")
    assert "on Glue 6.0 is unverified" in PRICES.source("G.1X", glue="6.0")
    assert PRICES.per_hour("G.1X", 10, glue="6.0") == pytest.approx(10 * 0.308)
    assert PRICES.per_hour("R.1X", 10, glue="5.0") == pytest.approx(10 * 0.52)
    with pytest.raises(StudyError, match=r"no prices for Glue 1\.0: it begins at 2\.0"):
        PRICES.per_hour("G.1X", 1, glue="1.0")
    text = advice([_result("thirsty", "max_by", 100, peak=3 * GB)], PRICES, pick="thirsty")
    assert '"WorkerType": "R.1X"' in text
    assert "the price of R workers on Glue 5.1 is unverified: check it on AWS's page" in text


def _probe(**changes: float) -> Probe:
    values = {
        "rows": 2e6, "keys": 2e6, "pairs": 2e6, "twos": 2e6, "hottest_fraction": 0.0, "row_bytes": 227.0,
        "key_bytes": 8.0, "driver_memory_bytes": 3e9,
    }  # fmt: skip
    return Probe(**(values | changes))


@pytest.mark.parametrize(
    ("probe", "strategy", "limited"),
    [
        (_probe(), "window", False),
        (_probe(keys=4e5, pairs=1.18e6, twos=1.75e6), "semi_join", False),
        (_probe(keys=4e5, pairs=1.18e6, twos=1.75e6, driver_memory_bytes=1e8), "max_by", False),
        (_probe(keys=1.6e6, pairs=1.6e6, twos=1.6e6, hottest_fraction=0.2), "window", True),
    ],
)
def test_auto_takes_the_fewest_foreseen_bytes(probe: Probe, strategy: str, limited: bool) -> None:
    choice = choose(probe)
    assert (choice.strategy, choice.group_limit) == (strategy, limited)
    assert choice.reasons
    assert min(shuffle_bytes(probe).values()) > 0
