"""The streaming ETL's studies, without running them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline_tuner.analysis.goals import check_constraints
from pipeline_tuner.study import Study, load_study
from pipeline_tuner.trial import TrialPlan, TrialResult

CONFIGS = Path(__file__).parents[2] / "include" / "configs"


def measured(study: Study, label: str) -> TrialResult:
    plan = TrialPlan("t", "s", "search", 1, 1, 1, label, study.preset(label).configuration)
    return TrialResult(plan, "measured", metrics={"records_per_s": 1.0})


@pytest.mark.parametrize("name", ["streaming_etl", "streaming_etl_memory"])
def test_every_listed_configuration_and_claim_is_in_the_space(name: str) -> None:
    study = load_study(CONFIGS / f"{name}.yaml")
    for claim in study.claims:
        for part in (claim.better, claim.worse):
            study.space.checked(part)
    assert all(len(partials) > 1 for partials in study.strategies.values())


@pytest.mark.parametrize(("label", "goal", "keeps"), [
    ("compact_columns", "compact", True), ("compact_columns", "heavy", False), ("heavy_small_batches", "heavy", True),
    ("heavy_small_batches", "compact", False), ("network", "network", True), ("light_transform", "compact", False),
])  # fmt: skip
def test_goals_keep_the_records_and_transforms_apart(label: str, goal: str, keeps: bool) -> None:
    """One trial settles it: the constraints name nothing that is measured."""
    study = load_study(CONFIGS / "streaming_etl_memory.yaml")
    checks = check_constraints(study, goal, [measured(study, label)])
    assert all(check.holds(0.99) for check in checks) is keeps


def test_speeds_of_a_heavy_record_are_never_compared_with_those_of_a_compact_one() -> None:
    study = load_study(CONFIGS / "streaming_etl_memory.yaml")
    compared = [claim for claim in study.claims if claim.worse and claim.metric != "bytes / records"]
    assert len(compared) >= 8
    assert all(claim.better["record"] == claim.worse["record"] for claim in compared)
