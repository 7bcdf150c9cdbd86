from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.planted import planted_options, planted_study, planted_sweep

from pipeline_tuner.exceptions import NoRecommendationError
from pipeline_tuner.recommend import recommend
from pipeline_tuner.recommendation import Recommendation

STUDY = planted_study()
OPTIONS = planted_options(STUDY)
CONFIGURATIONS = {name: candidate.configuration for name, candidate in ((c.label, c) for c in STUDY.preset_candidates)}
DURATIONS = {"balanced": 10.0, "wide": 12.0, "copy": 7.0}


def sweep(durations=DURATIONS, configurations=CONFIGURATIONS, confirmed=("balanced", "copy"), **options):
    return planted_sweep(durations, configurations, control="balanced", confirmed=confirmed, **options)


def throughput(results, study=STUDY, options=OPTIONS) -> Recommendation:
    return recommend(study, options, results)[0]


def failed(result, kind="check_failed", reason="checksum: differs"):
    return replace(result, status="failed", failure=kind, reason=reason, metrics={}, measurement=None)


def test_planted_winner_is_found_and_its_gain_comes_from_the_confirmation():
    answer = throughput(sweep())
    assert (answer.status, answer.label, answer.runner_up) == ("best", "copy", "balanced")
    assert answer.gain.low < 10 / 7 < answer.gain.high
    assert answer.gain.n == 5
    assert answer.estimate.low < answer.estimate.value < answer.estimate.high
    assert answer.unit == "rows/s"


def test_search_values_never_enter_the_stated_gain():
    search = [r for r in sweep(confirmed=()) if r.plan.phase == "search"]
    confirm = [r for r in sweep({**DURATIONS, "copy": 9.0}) if r.plan.phase == "confirm"]
    assert throughput(search + confirm).gain.value == pytest.approx(10 / 9, rel=0.05)


def test_what_leads_without_a_confirmation_is_no_change():
    answer = throughput(sweep(confirmed=()))
    assert (answer.status, answer.label, answer.gain, answer.estimate) == ("undecided", "copy", None, None)
    assert "not confirmed" in answer.reason


def test_a_confirmation_that_contradicts_keeps_the_reference():
    search = sweep(confirmed=())
    confirm = [r for r in sweep({**DURATIONS, "copy": 14.0}) if r.plan.phase == "confirm"]
    answer = throughput(search + confirm)
    assert (answer.status, answer.label, answer.reference) == ("keep", "balanced", "balanced")
    assert answer.reference_gain.high < 1.0
    assert "keep it" in answer.reason


@pytest.mark.parametrize("seed", range(10))
def test_two_names_of_one_configuration_tie(seed):
    configurations = {**CONFIGURATIONS, "copy2": CONFIGURATIONS["copy"]}
    answer = throughput(sweep({**DURATIONS, "copy2": 7.0}, configurations, seed=seed))
    assert answer.status == "tied"
    assert set(answer.ties) == {"copy", "copy2"}
    assert "same configuration" in answer.reason


def test_only_two_names_of_one_configuration_tie():
    configurations = {"balanced": CONFIGURATIONS["balanced"], "again": CONFIGURATIONS["balanced"]}
    answer = throughput(sweep({"balanced": 10.0, "again": 10.0}, configurations, confirmed=("balanced", "again")))
    assert (answer.status, answer.label, answer.regret_bound) == ("keep", "balanced", 0.0)
    assert answer.reason.startswith("Nothing that was measured is better than the control balanced: keep it.")


def test_fast_but_wrong_cannot_win():
    results = sweep()
    broken = next(r for r in results if r.plan.label == "copy")
    answer = throughput([failed(r) if r is broken else r for r in results])
    assert answer.label == "balanced"
    assert answer.evidence["copy"].standing == "excluded"
    assert "wrong result" in answer.evidence["copy"].exclusion.reason


def test_lost_trials_are_counted_and_decide_nothing():
    results = sweep(blocks=5)
    lost = next(r for r in results if r.plan.label == "copy")
    answer = throughput(
        [replace(r, status="planned", metrics={}, measurement=None) if r is lost else r for r in results]
    )
    assert (answer.status, answer.label) == ("best", "copy")
    assert (answer.evidence["copy"].planned, answer.evidence["copy"].failed) == (10, 1)


def test_a_configuration_that_was_always_lost_is_named():
    results = [failed(r, "lost", "") if r.plan.label == "wide" else r for r in sweep()]
    answer = throughput(results)
    assert answer.label == "copy"
    assert "Nothing is known of wide" in answer.reason


def test_fewer_than_three_blocks_decide_nothing():
    answer = throughput(sweep(blocks=2, confirmed=()))
    assert answer.status == "undecided"
    assert "at least 3" in answer.reason


def test_noise_keeps_what_runs_and_says_what_would_help():
    answer = throughput(sweep({"balanced": 10.0, "wide": 10.1, "copy": 9.9}, noise=0.3))
    assert (answer.status, answer.label) == ("keep", "balanced")
    assert answer.regret_bound > 0.2
    assert answer.more_trials > 10


def test_ties_are_picked_by_preference_and_else_by_the_smallest_change():
    same = {"balanced": 12.0, "wide": 10.0, "copy": 10.0}
    results = sweep(same, confirmed=("balanced", "wide", "copy"), noise=0.004, blocks=8)
    assert (throughput(results).status, set(throughput(results).ties)) == ("tied", {"wide", "copy"})
    assert throughput(results, planted_study(prefer="-partitions")).label == "wide"
    assert throughput(results, planted_study(prefer="partitions")).label == "copy"


def test_a_tie_with_what_runs_now_changes_nothing_whatever_is_preferred():
    same = {"balanced": 10.0, "wide": 10.0, "copy": 10.0}
    results = sweep(same, confirmed=("balanced", "wide", "copy"), noise=0.004, blocks=8)
    answer = throughput(results, planted_study(prefer="-partitions"))
    assert (answer.status, answer.label) == ("keep", "balanced")
    assert set(answer.ties) == {"balanced", "wide", "copy"}


def test_constraint_that_is_not_shown_to_hold_puts_it_out():
    goals = {"throughput": {"maximize": "rows / duration_s", "constraints": ["duration_s > 8"]}}
    study = planted_study(goals=goals)
    answer = throughput(sweep(), study, planted_options(study))
    assert answer.label == "balanced"
    assert "duration_s > 8" in answer.evidence["copy"].exclusion.reason


def test_a_control_that_the_goal_is_not_about_is_no_baseline():
    """The control runs by jdbc and is faster than any copy; the goal is about copies."""
    goal = {"maximize": "rows / duration_s", "constraints": ["method == 'copy'"]}
    study = planted_study(goals={"throughput": goal})
    copies = {**CONFIGURATIONS, "copy wide": {**CONFIGURATIONS["copy"], "partitions": 32}}
    durations = {"balanced": 2.0, "copy": 7.0, "copy wide": 10.0}
    results = sweep(durations, copies, confirmed=("balanced", "copy"))
    answer = throughput(results, study, planted_options(study))
    assert (answer.status, answer.label, answer.gain) == ("best", "copy", None)
    assert "no gain over it is stated" in answer.reason
    assert answer.estimate.value == pytest.approx(100_000 / 7, rel=0.1)


def test_what_was_only_explored_has_a_gain_and_no_place_in_the_final():
    options = planted_options(STUDY, strategy="adaptive")
    results = [r for r in sweep(blocks=6) if r.plan.label != "wide" or r.plan.block == 0]
    answer = recommend(STUDY, options, results)[0]
    wide = answer.evidence["wide"]
    assert (answer.label, answer.status, wide.standing, wide.blocks) == ("copy", "best", "explored", 0)
    assert wide.ratio.low < 10 / 12 < wide.ratio.high


def test_balanced_goal_is_a_ratio_to_the_control():
    answer = recommend(STUDY, OPTIONS, sweep())[2]
    assert (answer.goal, answer.label, answer.unit) == ("balanced", "copy", "x control")
    assert answer.estimate == answer.gain


def test_nothing_measured_names_the_reasons():
    with pytest.raises(NoRecommendationError, match=r"0 of 22 trials measured(.|\n)*copy: .*checksum: differs"):
        recommend(STUDY, OPTIONS, [failed(r) for r in sweep()])


def test_goal_without_its_metric_abstains_and_the_others_answer():
    goals = {"latency": {"minimize": "latency_p95_s"}, "throughput": {"maximize": "rows / duration_s"}}
    study = planted_study(goals=goals)
    latency, speed = recommend(study, planted_options(study), sweep())
    assert (latency.status, speed.status) == ("undecided", "best")
    assert "latency_p95_s" in latency.reason


def test_recommendation_survives_json():
    import json

    answer = throughput(sweep())
    assert Recommendation.from_dict(json.loads(json.dumps(answer.to_dict(), allow_nan=False))) == answer


def test_order_of_results_does_not_matter():
    results = sweep()
    assert throughput(list(reversed(results))).label == throughput(results).label
