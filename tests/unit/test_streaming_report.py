"""What the written analysis says on workers, volume, pipelines, batches and stages, on trials with a planted truth."""

from __future__ import annotations

import math
import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.planted import measured

from pipeline_tuner.analysis.series import oversized, series_of
from pipeline_tuner.jobs.streaming_etl.report import RESOURCES, where_the_time_goes, workers_volume_batches
from pipeline_tuner.recommend import recommend
from pipeline_tuner.report.data import ReportData
from pipeline_tuner.report.terminal import summary
from pipeline_tuner.study import load_study
from pipeline_tuner.sweep import sweep_options
from pipeline_tuner.trial import TrialPlan, TrialResult

STUDY = load_study(Path(__file__).parents[2] / "include" / "configs" / "streaming_etl_memory.yaml")
OPTIONS = sweep_options(STUDY, "sweep")
BLOCKS = 4


def rate(configuration: Any) -> float:
    """Two workers help, more don't; pipelines share two cores; batches of 500 cost 20%; volume costs nothing."""
    base = {"compact": 1e6, "heavy": 5e4}[configuration["record"]]
    workers = {1: 1.0, 2: 1.5, 3: 1.5, 4: 1.5, 6: 1.5, 8: 1.3}[configuration["worker_num"]]
    pipelines = min(configuration["manager_worker_num"], 2)
    return base * workers * pipelines * (0.8 if configuration["batch_size"] == 500 else 1.0)


def trial(label: str, block: int, rng: random.Random) -> TrialResult:
    configuration = STUDY.preset(label).configuration
    records = configuration["records"] * configuration["manager_worker_num"]
    per_s = rate(configuration) * math.exp(rng.gauss(0, 0.01))
    size = {"compact": 77, "heavy": 63_000}[configuration["record"]]
    metrics = {
        "records": records, "duration_s": records / per_s, "records_per_s": per_s, "bytes": records * size,
        "records_per_s_per_pipeline": per_s / configuration["manager_worker_num"], "s_per_1000_records": 1000 / per_s,
        "extract_busy_s": 0.9, "extract_wait_s": 0.1, "transform_busy_s": 0.2, "load_busy_s": 0.1,
        "worker_wait_s": 0.7, "cpu_per_worker": 0.25, "latency_p50_s": 0.01, "latency_p95_s": 0.02,
        "latency_p99_s": 0.03, "memory_growth_bytes_per_s": 0.0,
    }  # fmt: skip
    plan = TrialPlan(f"t-{label}-{block}", "sweep", "search", 1, block, 1, label, configuration, label == STUDY.control)
    return measured(plan, metrics, job="streaming_etl", details={"bottleneck": "extract" if block else "load"})


@pytest.fixture(scope="module")
def results() -> list[TrialResult]:
    rng = random.Random(1)
    return [trial(label, block, rng) for block in range(BLOCKS) for label in STUDY.presets]


@pytest.fixture(scope="module")
def data(results: list[TrialResult], tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    folder = tmp_path_factory.mktemp("report")
    answers = tuple(recommend(STUDY, OPTIONS, results, ()))
    return ReportData(STUDY, OPTIONS, tuple(results), answers, (), {}, {}, folder)


def part(text: str, title: str) -> str:
    found = [p for p in text.split("### ") if p.startswith(title)]
    assert found, f"no part {title!r} in:\n{text}"
    return "\n".join(found)


def test_the_time_of_each_configuration_by_stage(data: ReportData) -> None:
    text = where_the_time_goes(data)
    assert (data.folder / "busy-dark.svg").stat().st_size > 2000
    assert "](busy.svg)" in text
    assert text.count("\n|") == len(STUDY.presets) + 2
    assert r"| heavy\_optimal | extract (3 of 4) | 90% | 10% | 20% | 10% | 70% | 25% | 10 ms | 20 ms | 30 ms |" in text


def test_what_was_not_measured_is_an_empty_cell(data: ReportData) -> None:
    results = []
    for result in data.results:
        metrics = {k: v for k, v in result.metrics.items() if not k.startswith(("latency", "memory_growth"))}
        assert result.measurement is not None
        measurement = result.measurement.model_copy(update={"details": {}})
        results.append(replace(result, metrics=metrics, measurement=measurement))
    text = where_the_time_goes(replace(data, results=tuple(results)))
    assert "nan" not in text
    assert "0 B/s" not in text
    assert r"| heavy\_optimal |  | 90% | 10% | 20% | 10% | 70% | 25% |  |  |  |  |" in text


def test_memory_that_shrinks_is_shown_with_its_sign(data: ReportData) -> None:
    results = [replace(r, metrics={**r.metrics, "memory_growth_bytes_per_s": -2.5e6}) for r in data.results]
    assert "| -2.5 MB/s |" in where_the_time_goes(replace(data, results=tuple(results)))


def test_workers_past_the_second_are_not_worth_it(data: ReportData) -> None:
    workers = part(workers_volume_batches(data), "Workers: record heavy, records 1000, batch")
    assert "Past 2, another worker adds less than 5%" in workers


def test_time_grows_in_proportion_to_the_records(data: ReportData) -> None:
    volume = part(workers_volume_batches(data), "Volume: record heavy")
    assert "power of 1.00" in volume or "power of 0.99" in volume or "power of 1.01" in volume
    assert "linear." in volume


def test_what_a_pipeline_takes_to_start_is_told_from_what_a_record_takes(data: ReportData) -> None:
    """5 ms a run beside 20 us a record."""
    slow = []
    for result in data.results:
        configuration = result.plan.configuration
        s_per_1000 = 1000 * (0.005 / configuration["records"] + 0.00002)
        metrics = {**result.metrics, "s_per_1000_records": s_per_1000, "records_per_s": 1000 / s_per_1000}
        slow.append(replace(result, metrics=metrics))
    volume = part(workers_volume_batches(replace(data, results=tuple(slow))), "Volume: record heavy")
    assert "less than linear. Starting a pipeline takes about 4.9 ms" in volume


def test_pipelines_total_and_each(data: ReportData) -> None:
    pipelines = part(workers_volume_batches(data), "Pipelines: record heavy, records 500, batch")
    four = next(line for line in pipelines.splitlines() if line.startswith("| 4 |"))
    assert re.search(r"\| 2\.0\dx .* \| (37|38),\d00 \| (49|50|51)\.?\d*% \|", four), four


def test_the_penalty_of_large_batches(data: ReportData) -> None:
    batches = part(workers_volume_batches(data), "Batches: record heavy, records 1000")
    assert "Batches of 500 are 2" in batches or "Batches of 500 are 1" in batches
    assert "% slower than batches of" in batches


def test_who_takes_more_and_gives_less_is_flagged(data: ReportData, results: list[TrialResult]) -> None:
    found = {one.label: one.leaner for one in oversized(results, RESOURCES, "records_per_s", 0.95)}
    assert found["heavy_optimal"] in ("heavy_simple", "heavy_optimised")
    assert found["compact_original"] == "compact_optimised"
    assert "heavy_2_workers" not in found
    assert "heavy\\_optimal" in part(workers_volume_batches(data), "Over-optimised")


def test_settings_are_compared_at_equal_record_size(data: ReportData) -> None:
    equal = part(workers_volume_batches(data), "Original and optimised at equal record size")
    assert "| original: batch 500, 8 workers |" in equal
    assert "| optimised: batch 128, 4 workers |" in equal
    assert equal.count("1.4") >= 2, "both records gain 1.5 / (1.3 * 0.8) = 1.44"


def test_a_series_holds_all_else_equal(results: list[TrialResult]) -> None:
    for series in series_of(results, "worker_num"):
        rests = {tuple(sorted((k, v) for k, v in r.plan.configuration.items() if k != "worker_num"))
                 for trials in series.trials.values() for r in trials}  # fmt: skip
        assert len(rests) == 1
        assert len(series.levels) >= 3


def test_the_terminal_counts_configurations_that_are_for_other_goals(data: ReportData) -> None:
    text = summary(data.recommendations, data.results)
    assert "compact_two_pipelines" in text
    assert "\nheavy_optimal" not in text
    outside = [label for label in STUDY.presets if STUDY.preset(label).configuration["record"] == "heavy"]
    outside += ["light_transform", "heavy_transform", "network", "network_wide", "light_two_pipelines"]
    outside += ["compact_waits_100_ms", "compact_waits_30_s"]
    assert f"{len(outside) + 1} more configurations break a constraint of compact" in text
