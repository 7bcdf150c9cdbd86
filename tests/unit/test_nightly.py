"""What a night measures, when it looks twice, and what it makes of its figures."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from planted import planted_study, planted_sweep

from pipeline_tuner.exceptions import StudyError
from pipeline_tuner.monitoring.night_values import changes_of, differences, night_values, series
from pipeline_tuner.monitoring.nights import (
    Champion,
    Nights,
    NightValue,
    PastNights,
    Tune,
    TuningReason,
    tuning_reason,
)
from pipeline_tuner.search.rounds import plan_confirmation, plan_round
from pipeline_tuner.study import parse_study
from pipeline_tuner.sweep import night_options
from pipeline_tuner.trial import Candidate

WIDE = {"partitions": 32, "batch": 100, "method": "jdbc"}
COPY = {"partitions": 8, "batch": 100, "method": "copy"}
PLAIN = {"partitions": 8, "batch": 100, "method": "jdbc"}
OTHER = {"partitions": 16, "batch": 100, "method": "copy"}


@pytest.fixture
def study():
    return planted_study(nights={"challengers": 2, "blocks": 3, "confirm_blocks": 5, "goals": ("throughput",)})


def options_of(study, label="wide", configuration=WIDE):
    return night_options(
        study,
        "night-9",
        {goal: Champion(label=label, configuration=configuration, source="recommended") for goal in study.goals},
    )


def planned(plans):
    return [(plan.block, plan.label) for plan in plans]


def test_a_night_holds_the_control_what_production_runs_and_challengers_in_every_block(study):
    plans = plan_round(study, options_of(study), (), 1)
    assert {plan.block for plan in plans} == {1, 2, 3}
    for block in (1, 2, 3):
        assert sorted(p.label for p in plans if p.block == block) == ["balanced", "copy", "wide"]
    assert {plan.label for plan in plans if plan.is_control} == {"balanced"}
    assert plan_round(study, options_of(study), (), 2) == ()


def test_challengers_are_the_best_known_and_the_longest_not_seen_in_turn(study):
    configurations = {"balanced": PLAIN, "wide": WIDE, "partitions=16, method=copy": OTHER}
    durations = {"balanced": 10.0, "wide": 8.0, "partitions=16, method=copy": 7.0}
    history = planted_sweep(durations, configurations, control="balanced", sweep_id="night-1")
    plans = plan_round(study, options_of(study), (), 1, history)
    labels = list(dict.fromkeys(p.label for p in sorted(plans, key=lambda p: p.label)))
    # `copy` was never looked at, the other is the best known; `wide` is the champion.
    assert labels == ["balanced", "copy", "partitions=16, method=copy", "wide"]
    fewer = study.model_copy(update={"nights": study.nights.model_copy(update={"challengers": 1})})
    assert "copy" not in {p.label for p in plan_round(fewer, options_of(fewer), (), 1, history)}


def test_what_failed_before_and_what_fits_no_more_does_not_come_back(study):
    from dataclasses import replace

    history = planted_sweep(
        {"balanced": 10.0, "copy": 5.0, "gone": 4.0},
        {"balanced": PLAIN, "copy": COPY, "gone": {"partitions": 64, "batch": 100, "method": "copy"}},
        control="balanced",
        sweep_id="night-1",
    )
    history[0:] = [
        replace(r, status="failed", failure="out_of_memory") if r.plan.label == "copy" else r for r in history
    ]
    assert {p.label for p in plan_round(study, options_of(study), (), 1, history)} == {"balanced", "wide"}


@pytest.mark.parametrize(("label", "configuration"), [("wide", WIDE), ("partitions=16", {**WIDE, "partitions": 16})])
def test_a_champion_whose_name_means_something_else_now_is_told_apart(study, label, configuration):
    plans = plan_round(study, options_of(study, "copy", configuration), (), 1)
    found = {plan.label: plan.configuration for plan in plans}
    assert found["copy"] == COPY
    assert found[label] == configuration


def test_a_short_night_drops_challengers_before_blocks(study):
    history = planted_sweep({"balanced": 56.0}, {"balanced": PLAIN}, control="balanced", sweep_id="night-1")
    short = study.model_copy(update={"nights": study.nights.model_copy(update={"minutes": 12.0})})
    plans = plan_round(short, options_of(short), (), 1, history)
    assert {plan.label for plan in plans} == {"balanced", "wide"}
    assert len({plan.block for plan in plans}) == 3


def night_of(durations, seed=3, noise=0.01):
    configurations = {"balanced": PLAIN, "wide": WIDE, "copy": COPY}
    results = planted_sweep(
        durations, configurations, control="balanced", blocks=3, noise=noise, seed=seed, sweep_id="night-9"
    )
    from dataclasses import replace

    return [
        replace(r, plan=replace(r.plan, round=1, sweep_id="night-9", is_control=r.plan.label == "balanced"))
        for r in results
    ]


@pytest.mark.parametrize(
    ("durations", "labels"),
    [
        ({"balanced": 10.0, "wide": 8.0, "copy": 9.0}, set()),  # production is best: quiet
        ({"balanced": 10.0, "wide": 8.0, "copy": 4.0}, {"balanced", "wide", "copy"}),  # a challenger may be better
        ({"balanced": 8.0, "wide": 10.0, "copy": 12.0}, {"balanced", "wide"}),  # production may have become a loss
    ],
)
def test_only_what_looks_like_news_is_measured_again(study, durations, labels):
    plans = plan_confirmation(study, options_of(study), night_of(durations))
    assert {plan.label for plan in plans} == labels


def test_a_night_keeps_the_median_of_each_configuration_and_its_role(study):
    results = night_of({"balanced": 10.0, "wide": 8.0, "copy": 9.0})
    figures = {f.label: f for f in night_values(study, options_of(study), results)}
    assert {label: f.role for label, f in figures.items()} == {
        "balanced": "control", "wide": "champion", "copy": "challenger",
    }  # fmt: skip
    assert figures["wide"].trials == 3
    assert figures["wide"].value == pytest.approx(100_000 / 8, rel=0.3)


def history_of(ratios, noise=0.02):
    rng = np.random.default_rng(5)
    identity = {label: Candidate(label, c).configuration_id for label, c in (("wide", WIDE), ("balanced", PLAIN))}
    return [
        tuple(
            NightValue("throughput", label, identity[label], "champion", 1000 * r * np.exp(noise * rng.normal()), 3)
            for label, r in (("wide", wide), ("balanced", control))
        )
        for wide, control in ratios
    ]


def test_a_loss_is_told_once_with_its_cause(study):
    identity = Candidate("wide", WIDE).configuration_id
    nights = history_of([(1.0, 1.0)] * 40 + [(0.8, 1.0)] * 4)
    told = [
        [c for c in changes_of(study, "throughput", identity, nights[:n]) if c.noticed == n - 1]
        for n in range(1, len(nights) + 1)
    ]
    assert sum(map(len, told)) == 1
    (change,) = next(found for found in told if found)
    assert change.night == 40
    assert change.cause == "job"
    assert change.ratio.value == pytest.approx(0.8, abs=0.05)


def test_a_missed_night_is_a_gap_in_the_series(study):
    nights = history_of([(1.0, 1.0)] * 3)
    nights[1] = ()
    values = series(nights, "throughput", Candidate("wide", WIDE).configuration_id)
    assert [value is None for value in values] == [False, True, False]


def test_another_machine_and_another_size_are_told_in_words(study):
    results = night_of({"balanced": 10.0, "wide": 8.0, "copy": 9.0})
    assert differences(results, {"cores": 2, "spark": "4.1.9"}, {"rows": 150_000}) == ()
    (machine,) = differences(results, {"cores": 8}, {"rows": 100_000})
    assert "cores is 8, measured on 2" in machine
    (size,) = differences(results, {"cores": 2}, {"rows": 1_000_000})
    assert "rows is 1e+06" in size


def test_a_study_refuses_nights_of_goals_that_it_does_not_have():
    from planted import STUDY

    with pytest.raises(StudyError, match=r"nights.goals: speed is no goal of this study"):
        parse_study(f"{STUDY}\nnights: {{goals: [speed]}}")
    with pytest.raises(StudyError, match="notify"):
        parse_study(f"{STUDY}\nnights: {{notify: 'rm -rf /'}}")
    assert parse_study(f"{STUDY}\nnights: {{notify: my.module.tell}}").nights.notify.call == "my.module.tell"


WEEK = Tune(days=7)


@pytest.mark.parametrize(
    ("tune", "past", "reason"),
    [
        (None, PastNights(None), None),
        (WEEK, PastNights(None), TuningReason.FIRST),
        (WEEK, PastNights(1, timedelta(days=6, hours=11)), None),
        (WEEK, PastNights(1, timedelta(days=6, hours=13)), TuningReason.DUE),
        (WEEK, PastNights(70, timedelta(days=6)), None),
        (WEEK, PastNights(8, timedelta(days=8), has_failed=True), None),
        (Tune(every=7), PastNights(7, timedelta(days=90)), TuningReason.DUE),
        (Tune(every=7), PastNights(6, timedelta(days=90)), None),
        (Tune(after=("change",)), PastNights(2, has_changed=True), TuningReason.CHANGE),
        (Tune(after=("change",)), PastNights(2, expires=True), None),
        (Tune(after=("expiry",)), PastNights(2, expires=True), TuningReason.EXPIRY),
        (Tune(after=("expiry",)), PastNights(2, expires=True, has_failed=True), None),
    ],
)
def test_which_nights_are_whole_sweeps(tune, past, reason):
    assert tuning_reason(tune, past) is reason


def test_words_for_nights():
    words = {word: Nights(tune=word).tune for word in ("nightly", "weekly", "monthly")}
    assert words == {"nightly": Tune(every=1), "weekly": WEEK, "monthly": Tune(days=30)}
    with pytest.raises(ValueError, match="name the nights"):
        Nights(tune={})
