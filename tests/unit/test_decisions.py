"""Payback, validity and promotion: what follows from a recommendation."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from tests.unit.planted import planted_options, planted_study, planted_sweep

from pipeline_tuner.analysis.payback import payback
from pipeline_tuner.monitoring.promotion import decide
from pipeline_tuner.monitoring.validity import Envelope, measured_envelope
from pipeline_tuner.recommend import recommend
from pipeline_tuner.recommendation import ConfigurationEvidence, DecisionStatus, Interval, Recommendation, StandingKind

STUDY = planted_study()
CONFIGURATIONS = {c.label: c.configuration for c in STUDY.preset_candidates}


def sweep(durations=None, **options):
    durations = durations or {"balanced": 10.0, "wide": 12.0, "copy": 7.0}
    return planted_sweep(durations, CONFIGURATIONS, control="balanced", confirmed=("balanced", "copy"), **options)


def of(results, label):
    return [r for r in results if r.plan.label == label and r.plan.phase == "confirm"]


def test_payback_counts_every_trial_and_divides_by_the_saving():
    results = sweep(noise=0.01, drift=0.0)
    account = payback(results, of(results, "copy"), of(results, "balanced"))
    spent = sum(r.metrics["duration_s"] + 2 for r in results)
    assert account.sweep_s == pytest.approx(spent)
    assert account.saved_s.low < 3.0 < account.saved_s.high
    assert account.runs.value == pytest.approx(spent / 3.0, rel=0.05)


def test_no_saving_never_pays():
    results = sweep({"balanced": 10.0, "wide": 12.0, "copy": 10.0}, noise=0.05)
    account = payback(results, of(results, "copy"), of(results, "balanced"))
    assert account.runs.high == math.inf


def test_envelope_holds_where_it_was_measured_and_expires_elsewhere():
    envelope = measured_envelope(sweep())
    here = ({"rows": 100_000}, {"cores": 2, "spark": "4.1.3"})
    assert envelope.problems(*here) == ()
    assert envelope.problems({"rows": 199_000}, {"spark": "4.1.9"}) == ()
    assert "rows is 300,000" in envelope.problems({"rows": 300_000}, {})[0]
    assert "cores is 8" in envelope.problems({}, {"cores": 8})[0]
    assert "spark is 4.2" in envelope.problems({}, {"spark": "4.2.0"})[0]


def test_envelope_survives_json():
    envelope = measured_envelope(sweep())
    assert Envelope.from_dict(json.loads(json.dumps(envelope.to_dict()))) == envelope


def answer(status="best", gain=(1.2, 1.1, 1.3), label="copy", ties=()):
    interval = Interval(*gain, 0.95, 5) if gain else None
    evidence = {name: ConfigurationEvidence(CONFIGURATIONS[name], StandingKind.TIED) for name in CONFIGURATIONS}
    return Recommendation(
        "throughput", DecisionStatus(status), label, CONFIGURATIONS[label], gain=interval, ties=ties, evidence=evidence
    )


@pytest.mark.parametrize(
    ("recommendation", "champion", "champion_gain", "action"),
    [
        (answer(), None, None, "promote"),
        (answer(), "wide", None, "promote"),
        (answer(), "copy", None, "keep"),
        (answer(gain=(1.05, 0.98, 1.12)), None, None, "keep"),
        (answer(gain=None), None, None, "keep"),
        (answer("undecided"), "wide", None, "keep"),
        (answer("tied", ties=("copy", "wide")), "wide", None, "keep"),
        (answer(), "wide", (1.15, 1.1, 1.2), "keep"),
        (answer(), "wide", (1.02, 1.0, 1.04), "promote"),
        (answer("undecided"), "wide", (0.8, 0.7, 0.9), "roll_back"),
        (answer(), "wide", (0.97, 0.9, 1.04), "promote"),
    ],
)
def test_promotion_and_roll_back_need_confirmed_evidence(recommendation, champion, champion_gain, action):
    gain = Interval(*champion_gain, 0.95, 5) if champion_gain else None
    decision = decide(recommendation, CONFIGURATIONS.get(champion), champion_gain=gain)
    assert decision.action == action, decision.reason


def test_a_real_sweep_promotes_its_confirmed_winner():
    recommendation = recommend(STUDY, planted_options(STUDY), sweep())[0]
    assert decide(recommendation, None).action == "promote"


def test_a_recommendation_says_where_it_holds():
    results = sweep()
    small = [replace(r, plan=replace(r.plan, fraction=0.1, trial_id=f"{r.plan.trial_id}s")) for r in results[:3]]
    item = recommend(STUDY, planted_options(STUDY), [*results, *small])[0]
    kept = Recommendation.from_dict(json.loads(json.dumps(item.to_dict())))
    envelope = Envelope.from_dict(kept.validity)
    assert envelope == measured_envelope(results)
    assert envelope.problems({"rows": 100_000}, {"cores": 2}) == ()
    assert "rows is 300,000" in envelope.problems({"rows": 300_000}, {"cores": 2})[0]
