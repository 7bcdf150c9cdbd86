from __future__ import annotations

import pytest
from tests.unit.planted import planted_options, planted_study, planted_sweep

from pipeline_tuner.analysis.claims import check_claims

JDBC = {"method": "jdbc"}
BASE = {"partitions": 8, "batch": 100, "method": "jdbc"}
CONFIGURATIONS = {
    "balanced": BASE,
    "wide": {**BASE, "partitions": 32},
    "copy": {**BASE, "method": "copy"},
    "both": {**BASE, "method": "copy", "batch": 1000},
    "same": {**BASE, "batch": 101},
    "copy wide": {**BASE, "method": "copy", "partitions": 32},
}
DURATIONS = {"balanced": 10.0, "wide": 12.0, "copy": 7.0, "both": 5.0, "same": 10.0, "copy wide": 6.0}


def verdict(claim, **options):
    study = planted_study(claims=[{"source": "seed", "text": "so it is", **claim}])
    results = planted_sweep(DURATIONS, CONFIGURATIONS, control="balanced", blocks=8, noise=0.01, **options)
    return check_claims(study, planted_options(study), results)[0]


@pytest.mark.parametrize(
    ("claim", "expected", "words"),
    [
        ({"better": {**JDBC, "partitions": 8}, "worse": {**JDBC, "partitions": 32}}, "confirmed", "measured 1.2x"),
        ({"better": {**JDBC, "partitions": 32}, "worse": {**JDBC, "partitions": 8}}, "refuted", "measured 0.83x"),
        ({"better": {"partitions": 8}, "worse": {"partitions": 32}}, "not separable", "it depends on the rest"),
        ({"better": {"batch": 101}, "worse": {"batch": 100}}, "refuted", "no difference of 5%"),
        ({"better": {"batch": 1000}, "worse": {"batch": 100}}, "confirmed", "1.40x"),
        ({"better": {"batch": 1000}, "worse": {"batch": 101}}, "not separable", "method differed too"),
        ({"better": {"partitions": 4}, "worse": {"partitions": 8}}, "not comparable", "no trial had partitions=4"),
        (
            {"better": {**BASE, "method": "copy"}, "metric": "duration_s", "value": 7.2},
            "confirmed",
            "claimed 7.2",
        ),
        ({"better": {"method": "jdbc"}, "metric": "duration_s", "value": 3.0}, "refuted", "claimed 3"),
        ({"metric": "latency_s", "value": 3.0}, "not comparable", "latency_s"),
        (
            {"metric": "duration_s", "value": 3, "comparable": False, "note": "other disk"},
            "not comparable",
            "other disk; here",
        ),
        ({}, "not comparable", "nothing that could be measured"),
    ],
)
def test_verdicts(claim, expected, words):
    found = verdict(claim)
    assert found.verdict == expected, found.reason
    assert words in found.reason.replace("1.20x", "1.2x")


def test_smaller_is_better_for_a_time():
    claim = {"better": {"method": "copy"}, "worse": {"method": "jdbc"}, "metric": "duration_s"}
    assert verdict(claim).verdict == "confirmed"


def test_one_block_is_judged_by_the_noise_of_all_trials():
    claim = {"better": {"method": "copy"}, "worse": {"method": "jdbc"}}
    study = planted_study(claims=[{"source": "seed", "text": "so it is", **claim}])
    results = planted_sweep(DURATIONS, CONFIGURATIONS, control="balanced", blocks=4, noise=0.02)
    once = [r for r in results if r.plan.block == 1 or "copy" not in r.plan.label]
    found = check_claims(study, planted_options(study), once)[0]
    assert (found.verdict, found.interval.n) == ("confirmed", 1)
    alone = [r for r in once if r.plan.block == 1]
    assert check_claims(study, planted_options(study), alone)[0].verdict == "not separable"


def test_noise_is_not_separable():
    study = planted_study(claims=[{"source": "s", "text": "t", "better": {"batch": 101}, "worse": {"batch": 100}}])
    results = planted_sweep(DURATIONS, CONFIGURATIONS, control="balanced", blocks=4, noise=0.3)
    assert check_claims(study, planted_options(study), results)[0].verdict == "not separable"
