"""The parts of the analysis on what was known before, and on partitions."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.unit.planted import STUDY as TEXT
from tests.unit.planted import planted_options, planted_sweep

from pipeline_tuner.analysis.earlier_sweeps import best_known, not_again
from pipeline_tuner.charts import style
from pipeline_tuner.recommend import recommend
from pipeline_tuner.report.files import details_of
from pipeline_tuner.report.written import write_report
from pipeline_tuner.study import Study, parse_study

PARAMETERS = """
    batch_size: {type: integer, low: 1, high: 1000, default: 100}
    target_rate_limit: {type: integer, low: 0, high: 100000, default: 0}
presets:"""
STUDY = parse_study(TEXT.replace("\npresets:", PARAMETERS, 1))
BASE = STUDY.control_candidate.configuration
CONFIGURATIONS = {c.label: c.configuration for c in STUDY.preset_candidates}
CONFIGURATIONS |= {"gone": {**BASE, "method": "copy", "batch": 7}}
NOW = {"balanced": 10.0, "wide": 12.0, "copy": 8.0}
BEFORE = {"balanced": 10.0, "gone": 5.0, "copy": 8.0}


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    monkeypatch.setattr(style, "save", lambda folder, name, chart: folder / f"{name}.svg")


def earlier(durations=BEFORE, days=1, **options):
    """A sweep some days ago."""
    found = planted_sweep(durations, CONFIGURATIONS, control="balanced", sweep_id=f"day-{days}", **options)
    ago = timedelta(days=days)
    return [
        replace(r, measurement=r.measurement.model_copy(update={"ended_at": r.measurement.ended_at - ago}))
        for r in found
    ]


def report(folder, history=(), changed=lambda result: result, environment=None):
    results = planted_sweep(NOW, CONFIGURATIONS, control="balanced", confirmed=("balanced", "copy"), blocks=5)
    results = [changed(result) for result in results]
    options = planted_options(STUDY)
    answers = recommend(STUDY, options, results, history)
    path = write_report(folder, STUDY, options, results, answers, history=history, environment=environment)
    return details_of(path).read_text()


def section(text, title):
    return text.partition(f"## {title}\n")[2].partition("\n## ")[0]


def test_the_gap_to_the_previous_best_is_absolute_and_in_per_cent(tmp_path):
    """Planted: 5 s before, 8 s now, which is 3 s and 60% more."""
    text = section(report(tmp_path, earlier(noise=0.0, drift=0.0), changed=as_planted), "Gap to the previous best")
    assert "The previous best is gone, from 4 trials of 1 earlier sweep on this machine" in text
    assert "| duration | 5 s | 8 s | +3 s | +60% |" in text


def as_planted(result):
    """Without noise."""
    metrics = {**result.metrics, "duration_s": NOW[result.plan.label]}
    return replace(result, metrics=metrics)


def test_without_earlier_sweeps_the_gap_is_to_what_production_ran_with(tmp_path):
    text = section(report(tmp_path, changed=as_planted), "Gap to the previous best")
    assert "balanced, which production ran with (there is no earlier sweep on this machine)" in text
    assert "| duration | 10 s | 8 s | -2 s | -20% |" in text


def test_the_best_known_on_this_machine_is_out_of_all_its_sweeps(tmp_path):
    environment = {"cpu_model": "planted cpu", "cores": 2, "memory_bytes": 24e9, "spark": "4.1.3"}
    history = [*earlier(days=1), *earlier(days=2)]
    text = section(report(tmp_path, history, environment=environment), "Best known on this machine")
    assert "On this machine (planted cpu, 2 cores, 24 GB and Spark 4.1.3), from this sweep and 2 earlier ones" in text
    assert "| throughput | gone | batch=7 method=copy | " in text
    assert "| 8 | 2 |" in text


def test_of_two_the_surer_is_the_best_known(tmp_path):
    """Three lucky blocks of 2.1x with much noise are no better than many of 2.0x."""
    sure = earlier({"balanced": 10.0, "gone": 5.0}, blocks=12, noise=0.01, days=2)
    lucky = earlier({"balanced": 10.0, "copy": 4.8}, blocks=3, noise=0.15, days=1)
    assert best_known(STUDY, "throughput", [*lucky, *sure]).label == "gone"


def test_what_failed_is_not_the_best_known():
    results = earlier()
    doomed = next(r for r in results if r.plan.label == "gone")
    failed = replace(doomed, status="failed", failure="out_of_memory", metrics={})
    assert best_known(STUDY, "throughput", [failed, *results]).label == "copy"
    assert best_known(STUDY, "throughput", []) is None


def test_where_nothing_is_surely_better_the_control_is_the_best_known():
    found = best_known(STUDY, "throughput", earlier({"balanced": 10.0, "gone": 11.0}))
    assert (found.label, found.gain.value) == ("balanced", 1.0)


def with_partitions(result):
    """Partition 3 is slow in every trial of `wide`; a limit binds there. `copy` is even and has no limit."""
    if result.plan.label == "balanced":
        return result
    is_wide = result.plan.label == "wide"
    times = {n: 2.0 if is_wide and n == 3 else 1.0 for n in (5, 3, 1, 2)}
    parts = [{"number": n, "duration_s": s, "written": 1000, "start_s": 0.0} for n, s in times.items()]
    details = {"partitions": parts, "slow_partitions": [3] if is_wide else []}
    edges = {"first_partition_ratio": 1.25, "last_partition_ratio": 0.9, "partitions_per_core": 2.0}
    metrics = {**result.metrics, **edges, "rate_limit_binds": float(is_wide)}
    limited = {"batch_size": 75, "target_rate_limit": 20_000} if is_wide else {"batch_size": 1000}
    plan = replace(result.plan, configuration={**result.plan.configuration, **limited})
    record = result.measurement.model_copy(update={"details": details, "metrics": metrics})
    return replace(result, plan=plan, metrics=metrics, measurement=record)


def test_partitions_are_told_with_the_slow_ones_the_edges_the_batches_and_the_limit(tmp_path):
    text = section(report(tmp_path, changed=with_partitions), "Partitions, batches and rate limits")
    (wide,) = [line for line in text.splitlines() if line.startswith("| wide")]
    (copy,) = [line for line in text.splitlines() if line.startswith("| copy")]
    cells = [cell.strip() for cell in wide.strip("|").split("|")]
    assert cells[:5] == ["wide", "4 (2 per core)", "1 s", "3: 2 s (2.00x)", "3 (5 of 5)"]
    assert cells[5:] == ["1 s (1.25x)", "1 s (0.90x)", "56 of 75 rows at most", "binds (20,000 rows/s)"]
    assert copy.endswith("| none | 1 s (1.25x) | 1 s (0.90x) | 4 of 1,000 rows at most | none |")
    assert "| balanced" not in text
    assert "A rate limit binds in 1 configuration: wide." in text


def test_without_partitions_there_is_no_such_part(tmp_path):
    assert "## Partitions, batches and rate limits" not in report(tmp_path)


def test_what_breaks_the_goals_constraint_is_not_the_best_known():
    """`gone` is the fastest, and has batches of 7; not even the control counts where it breaks the constraint."""
    goal = {"maximize": "rows / duration_s", "constraints": ["batch >= 10"]}
    study = Study.model_validate(STUDY.model_dump() | {"goals": {"throughput": goal}})
    assert best_known(study, "throughput", earlier()).label == "copy"
    only_copy = Study.model_validate(
        STUDY.model_dump() | {"goals": {"throughput": {**goal, "constraints": ["method == 'copy' and batch >= 10"]}}}
    )
    slow = earlier({"balanced": 10.0, "gone": 5.0, "copy": 30.0})
    assert best_known(only_copy, "throughput", slow).label == "copy"


@pytest.mark.parametrize(("strategy", "is_said"), [("adaptive", True), ("grid", False)])
def test_a_preset_is_said_to_be_left_out_only_by_the_strategy_that_leaves_it_out(tmp_path, strategy, is_said):
    """`wide` took four times as long before. A grid measures no preset, so it left none out for that."""
    history = earlier({"balanced": 10.0, "wide": 40.0, "copy": 8.0})
    results = planted_sweep({"balanced": 10.0, "copy": 8.0}, CONFIGURATIONS, control="balanced")
    options = planted_options(STUDY, strategy=strategy)
    assert [candidate.label for candidate in not_again(STUDY, options, history)] == ["wide"] * is_said
    answers = recommend(STUDY, options, results, history)
    path = write_report(tmp_path, STUDY, options, results, answers, history=history)
    assert ("Not measured again: wide." in details_of(path).read_text()) == is_said
