"""A configuration that ran out of memory is a constraint: the rounds after it leave its like alone."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pipeline_tuner.measurement import Measurement, Sample
from pipeline_tuner.search.encoding import Encoding
from pipeline_tuner.search.memory_constraint import MemoryConstraint
from pipeline_tuner.search.rounds import plan_round
from pipeline_tuner.study import parse_study
from pipeline_tuner.sweep import sweep_options
from pipeline_tuner.trial import TrialPlan, TrialResult

STUDY = parse_study("""
study: hungry
job: hungry
workload: {name: none}
control: balanced
presets: {balanced: {}, small: {strategy: broadcast, memory: 512m}}
space:
  parameters:
    memory: {type: categorical, values: [256m, 512m, 1g, 2g], default: 1g}
    strategy: {type: categorical, values: [window, broadcast, sort], default: window}
    tasks: {type: integer, low: 1, high: 64, log: true, default: 8}
goals: {throughput: {maximize: rows_per_s}}
budget: {trials: 60, rounds: 4, blocks: 3, batch: 8, confirm_blocks: 0}
""")
MEGABYTES = {"256m": 256, "512m": 512, "1g": 1024, "2g": 2048}


def result(plan: TrialPlan) -> TrialResult:
    """A machine where broadcasting needs more than 512 MB, anything more than 256 MB, and little memory is fastest."""
    memory, strategy = MEGABYTES[str(plan.configuration["memory"])], plan.configuration["strategy"]
    if memory <= (512 if strategy == "broadcast" else 256):
        return TrialResult(plan, "failed", failure="out_of_memory", reason=f"out of memory at memory {memory}m")
    rate = 1e6 / memory * (2.0 if strategy == "broadcast" else 1.0) / (1 + abs(plan.configuration["tasks"] - 8) / 64)
    measurement = Measurement(
        contract=1, job="hungry", trial_id=plan.trial_id, status="measured",
        started_at=datetime(2026, 1, 1, tzinfo=UTC), ended_at=datetime(2026, 1, 1, 0, 1, tzinfo=UTC),
        samples=(Sample(duration_s=1.0),), metrics={"rows_per_s": rate},
    )  # fmt: skip
    return TrialResult.of(plan, measurement)


@pytest.mark.parametrize("seed", range(2))
def test_no_round_tries_again_what_cannot_fit(seed: int) -> None:
    options = sweep_options(STUDY, "night", {"strategy": "adaptive", "seed": seed})
    results: list[TrialResult] = []
    for number in range(1, options.budget.rounds + 1):
        known = MemoryConstraint.of(STUDY.space, results)
        fresh = [result(plan) for plan in plan_round(STUDY, options, results, number)]
        assert [r.plan.configuration for r in fresh if known.forbids(r.plan.configuration)] == []
        results += fresh
    starved = {r.plan.label for r in results if r.failure == "out_of_memory" and r.plan.round > 1}
    assert len(starved) <= 3, "a strategy is tried at most once where it has not memory enough, the first round aside"
    measured = [r.plan.configuration for r in results if r.status == "measured"]
    assert any(c["memory"] == "512m" for c in measured), "what has memory enough is tried"


def test_the_lesson_goes_as_far_as_the_evidence() -> None:
    def plan(**configuration: object) -> TrialPlan:
        values = {"memory": "1g", "strategy": "window", "tasks": 8, **configuration}
        return TrialPlan("t", "s", "search", 1, 1, 1, "x", values)

    def forbidden(*results: TrialResult, **configuration: object) -> bool:
        return MemoryConstraint.of(STUDY.space, results).forbids(plan(**configuration).configuration)

    failed = result(plan(strategy="broadcast", memory="512m"))
    assert failed.failure == "out_of_memory"
    assert forbidden(failed, strategy="broadcast", memory="512m", tasks=2)
    assert forbidden(failed, strategy="broadcast", memory="256m")
    assert not forbidden(failed, strategy="broadcast", memory="1g")
    assert not forbidden(failed, strategy="sort", memory="512m"), "one strategy's need is not another's"
    another = result(plan(strategy="window", memory="256m"))
    assert forbidden(failed, another, strategy="sort", memory="256m"), "nothing is known to work with so little"
    assert not forbidden(failed, another, strategy="sort", memory="512m")
    worked = result(plan(strategy="sort", memory="512m"))
    assert not forbidden(failed, another, worked, strategy="sort", memory="512m")


def test_amounts_of_memory_are_ordered() -> None:
    encoding = Encoding(STUDY.space, {})
    points = encoding.points([{"memory": value} for value in ("2g", "256m", "1g", "512m")])
    assert points[:, 0].tolist() == pytest.approx([1, 0, 2 / 3, 1 / 3])
    assert not STUDY.space.parameters["strategy"].sizes
