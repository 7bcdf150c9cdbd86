from __future__ import annotations

import json
import math
import random
from collections import Counter
from dataclasses import replace

import pytest
import yaml
from tests.unit.planted import STUDY, planted_options, planted_study, planted_sweep

from pipeline_tuner.analysis.claims import check_claims
from pipeline_tuner.analysis.verdicts import VerdictKind
from pipeline_tuner.exceptions import StudyError
from pipeline_tuner.study import parse_study, stored_study

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


COPY_OVER_JDBC = {"better": {"method": "copy"}, "worse": {"method": "jdbc"}}
"""Planted at 10 to 7 s with 8 partitions and 12 to 6 s with 32: 1.69x over both."""
WIDE = {"better": {**BASE}, "worse": {**BASE, "partitions": 32}}
"""Planted at 12 to 10 s: 1.2x."""


@pytest.mark.parametrize(
    ("claim", "expected", "words"),
    [
        ({"better": {**JDBC, "partitions": 8}, "worse": {**JDBC, "partitions": 32}}, "confirmed", "measured 1.2x"),
        ({"better": {**JDBC, "partitions": 32}, "worse": {**JDBC, "partitions": 8}}, "refuted", "measured 0.83x"),
        ({"better": {"partitions": 8}, "worse": {"partitions": 32}}, "not separable here", "it depends on the rest"),
        ({"better": {"batch": 101}, "worse": {"batch": 100}}, "not separable here", "no difference of 5% or more"),
        ({"better": {"batch": 1000}, "worse": {"batch": 100}}, "confirmed", "1.40x"),
        ({"better": {"batch": 1000}, "worse": {"batch": 101}}, "not separable here", "method differed too"),
        ({"better": {"partitions": 4}, "worse": {"partitions": 8}}, "not comparable", "no trial had partitions=4"),
        ({**WIDE, "ratio": 1.2}, "confirmed", "claimed 1.2x"),
        ({**WIDE, "ratio": "1.1..1.3"}, "confirmed", "claimed 1.10 to 1.30x"),
        ({**WIDE, "ratio": "1.1.."}, "confirmed", "claimed 1.10x or more"),
        ({**WIDE, "ratio": "1.5.."}, "smaller than claimed", "claimed 1.50x or more"),
        ({**WIDE, "ratio": 1.48}, "smaller than claimed", "claimed 1.48x"),
        ({**WIDE, "ratio": 1.01}, "larger than claimed", "claimed 1.01x"),
        ({**WIDE, "ratio": "1.2..1.5"}, "not separable here", "too uncertain to tell"),
        ({**WIDE, "equal_within": "30%"}, "confirmed", "measured 1.2x"),
        ({**WIDE, "equal_within": "10%"}, "refuted", "differ by more than 10%"),
        ({"better": WIDE["worse"], "worse": BASE, "ratio": 1.48}, "refuted", "it is not better"),
        ({"better": {"batch": 101}, "worse": {"batch": 100}, "ratio": 1.01}, "confirmed", "claimed 1.01x"),
        ({"better": {"batch": 101}, "worse": {"batch": 100}, "equal_within": "5%"}, "confirmed", "measured 1.00x"),
        (
            {"better": {**BASE, "method": "copy"}, "metric": "duration_s", "value": "6..8"},
            "confirmed",
            "claimed 6 s to 8 s",
        ),
        ({"better": BASE, "metric": "duration_s", "value": 3.0}, "larger than claimed", "claimed 3"),
        ({"better": BASE, "metric": "duration_s", "value": "11..12"}, "smaller than claimed", "claimed 11 s to 12 s"),
        ({"better": BASE, "metric": "duration_s - duration_s", "value": "0..0.1"}, "confirmed", "measured 0 (0 to 0)"),
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


@pytest.mark.parametrize(
    ("claim", "words"),
    [
        ({**WIDE, "ratio": "much"}, "claims, entry 1.ratio: is 'much', must be a number or `low..high`"),
        ({**WIDE, "ratio": "2..1"}, "claims, entry 1.ratio: is '2..1'"),
        ({**WIDE, "ratio": 0.8}, "swap 'better' and 'worse'"),
        ({**WIDE, "ratio": 2, "equal_within": "5%"}, "give one of"),
        ({"better": BASE, "ratio": 2}, "give 'better' and 'worse'"),
        ({**WIDE, "equal_within": "5"}, "claims, entry 1.equal_within: is '5', must be a percentage"),
        ({"better": BASE, "value": 2}, "give its 'metric'"),
    ],
)
def test_a_claim_that_says_no_one_thing_is_refused_in_one_line(claim, words):
    claims = yaml.safe_dump({"claims": [{"source": "seed", "text": "so it is", **claim}]})
    with pytest.raises(StudyError) as refusal:
        parse_study(STUDY + claims)
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_stored_study_says_its_claims_as_it_did_then():
    """Before sizes, the upper bound of a figure was the key `high`; what is stored now is read as it is written."""
    study = planted_study()
    stored = study.model_dump(mode="json")
    figure = {"source": "s", "text": "t", "metric": "duration_s", "value": 3200.0, "high": 3800.0}
    former = stored_study({**stored, "claims": [figure, {**figure, "high": None}]})
    assert [str(claim.value) for claim in former.claims] == ["3200..3800", "3200"]
    sized = {"source": "s", "text": "t", **WIDE, "ratio": "1.2.."}
    again = stored_study(json.loads(json.dumps(planted_study(claims=[sized]).model_dump(mode="json"))))
    assert again.claims == planted_study(claims=[sized]).claims


RIGHT = {
    # claim: what it says of the true ratio, and which verdicts are then right (not separable never is wrong)
    "ratio": lambda true, said: Counter(
        confirmed=said / 1.05 <= true <= said * 1.05,
        smaller=true < said / 1.05,
        larger=true > said * 1.05,
        refuted=true <= 1,
    ),
    "equal": lambda true, _: Counter(confirmed=true <= 1.05, refuted=true > 1.05),
    "direction": lambda true, _: Counter(confirmed=true > 1, refuted=true <= 1),
    "between": lambda true, said: Counter(
        confirmed=said[0] <= true <= said[1],
        smaller=true < said[0],
        larger=true > said[1],
        refuted=true <= 1 <= said[0],
    ),
    "value": lambda true, said: Counter(
        confirmed=said[0] <= 10 / true <= said[1], smaller=10 / true < said[0], larger=10 / true > said[1]
    ),
}
BETWEEN = [(1.3, 1.7), (3.0, 5.0), (2.0, math.inf), (0.0, 1.2)]
VALUES = [(1.5, 4.0), (6.0, 7.5), (8.0, math.inf)]
"""From and to: of a ratio, and of COPY's own time (s)."""
SAID = [*(("ratio", said) for said in (1.01, 1.06, 1.48, 4.0)), ("equal", 0.05), ("direction", 1)]
SAID_RANGES = [*(("between", said) for said in BETWEEN), *(("value", said) for said in VALUES)]


def said_claim(kind, said):
    if kind == "value":
        claimed = {"better": {"method": "copy"}, "metric": "duration_s", "value": written(said)}
    else:
        sizes = {"ratio": {"ratio": said}, "equal": {"equal_within": "5%"}, "direction": {}}
        claimed = COPY_OVER_JDBC | (sizes[kind] if kind in sizes else {"ratio": written(said)})
    return {"source": "seed", "text": "so it is", **claimed}


def written(bounds):
    low, high = bounds
    return f"{low or ''}..{'' if math.isinf(high) else high}"


@pytest.mark.parametrize("noise", [0.02, 0.05, 0.1])
@pytest.mark.parametrize("true", [1.01, 1.06, 1.48, 4.0])
def test_planted_machines_get_the_right_verdict(true, noise):
    """200 sweeps on a machine whose ratio is known: at most 5% of the verdicts on each kind of claim are wrong."""
    told = right_verdicts(true, noise, SAID, sweeps=200)
    assert all(told[which] >= 150 for which in SAID if which[0] == "ratio" and _is_far(true, which[1], noise)), told
    assert true < 1.4 or told["direction", 1] >= 150


@pytest.mark.parametrize("true", [1.01, 1.06, 1.48, 4.0])
def test_planted_machines_get_the_right_verdict_on_ranges(true):
    told = right_verdicts(true, 0.05, SAID_RANGES, sweeps=100)
    for kind, said in SAID_RANGES:
        ends = [end if kind == "between" else 10 / end for end in said if 0 < end < math.inf]
        assert told[kind, said] >= 75 or not all(_is_far(true, end, 0.05) for end in ends), told


def right_verdicts(true, noise, claims, *, sweeps):
    """How often something was said of each claim; at most one time in twenty something wrong."""
    study = planted_study(claims=[said_claim(kind, said) for kind, said in claims])
    options, wrong, told = planted_options(study), Counter(), Counter()
    durations = {"jdbc": 10.0, "copy": 10.0 / true, "wide": 12.0}
    configurations = {"jdbc": BASE, "copy": {**BASE, "method": "copy"}, "wide": CONFIGURATIONS["wide"]}
    for seed in range(sweeps):
        results = planted_sweep(durations, configurations, control="jdbc", blocks=4, noise=noise, seed=seed)
        for which, found in zip(claims, check_claims(study, options, results), strict=True):
            right = RIGHT[which[0]](true, which[1])
            if found.verdict is not VerdictKind.NOT_SEPARABLE:
                told[which] += 1
                wrong[which] += not right[found.verdict.split()[0]]
    assert max(wrong.values()) <= sweeps / 20, wrong
    return told


def _is_far(true, said, noise):
    """Whether four blocks can tell the two apart, the indifference between them."""
    return abs(math.log(true / said)) - math.log(1.05) > 5 * noise


@pytest.mark.parametrize("blocks", [1, 2, 4])
def test_a_pair_that_is_noisier_than_the_rest_gets_no_more_wrong_verdicts(blocks):
    """The pair's times vary twice as much as those of the other eight; few blocks can't show that they do."""
    study = planted_study(claims=[said_claim(kind, said) for kind, said in SAID])
    options, wrong = planted_options(study), Counter()
    rest = {f"batch {batch}": {**BASE, "batch": batch} for batch in range(20, 28)}
    configurations = {"jdbc": BASE, "copy": {**BASE, "method": "copy"}, **rest}
    durations = dict.fromkeys(configurations, 10.0)
    for seed in range(200):
        rng = random.Random(seed)
        results = planted_sweep(durations, configurations, control="jdbc", blocks=4, noise=0.03, seed=seed)
        found = [r for r in results if r.plan.label in rest or r.plan.block < blocks]
        noisy = [r if r.plan.label in rest else noisier(r, rng.gauss(0, 0.052)) for r in found]
        for which, one in zip(SAID, check_claims(study, options, noisy), strict=True):
            if one.verdict is not VerdictKind.NOT_SEPARABLE:
                wrong[which] += not RIGHT[which[0]](1.0, which[1])[one.verdict.split()[0]]
    assert max(wrong.values(), default=0) <= 10, wrong


def noisier(result, log):
    return replace(result, metrics={**result.metrics, "duration_s": result.metrics["duration_s"] * math.exp(log)})


def test_smaller_is_better_for_a_time():
    claim = {"better": {"method": "copy"}, "worse": {"method": "jdbc"}, "metric": "duration_s"}
    assert verdict(claim).verdict == "confirmed"


@pytest.mark.parametrize(
    ("metric", "figure", "expected"),
    [("records_per_s_per_pipeline", 1.0, "refuted"), ("files", 1.0, "confirmed"), ("rows_per_s", 1.0, "refuted")],
)
def test_more_is_better_for_a_rate_and_less_for_all_else(metric, figure, expected):
    """Planted in proportion to the time, of which COPY has less."""
    claim = {"source": "s", "text": "t", **COPY_OVER_JDBC, "metric": metric}
    study = planted_study(claims=[claim])
    results = planted_sweep(DURATIONS, CONFIGURATIONS, control="balanced", blocks=8, noise=0.01)
    planted = [replace(r, metrics={**r.metrics, metric: figure * r.metrics["duration_s"]}) for r in results]
    assert check_claims(study, planted_options(study), planted)[0].verdict == expected


def test_one_block_is_judged_by_the_noise_of_all_trials():
    claim = {"better": {"method": "copy"}, "worse": {"method": "jdbc"}}
    study = planted_study(claims=[{"source": "seed", "text": "so it is", **claim}])
    results = planted_sweep(DURATIONS, CONFIGURATIONS, control="balanced", blocks=4, noise=0.02)
    once = [r for r in results if r.plan.block == 1 or "copy" not in r.plan.label]
    found = check_claims(study, planted_options(study), once)[0]
    assert (found.verdict, found.interval.n) == ("confirmed", 1)
    alone = [r for r in once if r.plan.block == 1]
    assert check_claims(study, planted_options(study), alone)[0].verdict == "not separable here"


def test_noise_is_not_separable():
    study = planted_study(claims=[{"source": "s", "text": "t", "better": {"batch": 101}, "worse": {"batch": 100}}])
    results = planted_sweep(DURATIONS, CONFIGURATIONS, control="balanced", blocks=4, noise=0.3)
    assert check_claims(study, planted_options(study), results)[0].verdict == "not separable here"
