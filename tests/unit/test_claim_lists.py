"""Which lists of a study can judge a claim; one that none can is refused with the list that would."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.planted import STUDY, planted_options, planted_study, planted_sweep

from pipeline_tuner.__main__ import main
from pipeline_tuner.analysis.claim_lists import judging_list, unjudged
from pipeline_tuner.analysis.claims import check_claims
from pipeline_tuner.analysis.verdicts import VerdictKind
from pipeline_tuner.claim import Claim
from pipeline_tuner.search.rounds import plan_round
from pipeline_tuner.study import load_study, parse_study

CONFIGS = Path(__file__).parents[2] / "include" / "configs"
STUDIES = ("migration", "streaming_etl", "streaming_etl_memory", "dedup", "quantizer")
COPY = {"better": {"method": "copy"}, "worse": {"method": "jdbc"}}
BATCH = {"better": {"method": "copy", "batch": 1000}, "worse": {"method": "copy", "batch": 100}}


def study_with(*claims, **changes):
    return planted_study(claims=[{"source": "seed", "text": "so it is", **claim} for claim in claims], **changes)


@pytest.mark.parametrize(
    ("claim", "strategies", "judge"),
    [
        (COPY, {}, "presets"),
        (BATCH, {}, None),
        (BATCH, {"batches": [{"method": "copy", "batch": 1000}, "copy"]}, "batches"),
        # each is in a list of its own: they never run side by side
        (BATCH, {"one": [{"method": "copy", "batch": 1000}], "other": ["copy"]}, None),
        # side by side, but something else differs too
        (BATCH, {"both": [{"method": "copy", "batch": 1000, "partitions": 32}, "copy"]}, None),
        # the control is in every block
        ({"better": {"batch": 1000}, "worse": {"batch": 100}}, {"one": [{"batch": 1000}]}, "one"),
        ({"better": {"batch": 1000}, "metric": "duration_s", "value": 3}, {}, None),
        ({"better": {"batch": 1000}, "metric": "duration_s", "value": 3}, {"one": [{"batch": 1000}]}, "one"),
    ],
)
def test_a_list_judges_what_it_measures_side_by_side(claim, strategies, judge):
    study = study_with(claim, strategies=strategies)
    assert judging_list(study, study.claims[0]) == judge
    assert len(unjudged(study)) == (judge is None)


def test_the_list_that_is_proposed_judges_the_claim():
    (problem,) = unjudged(study_with(BATCH))
    text = str(problem).partition("This one would: strategies: ")[2]
    study = parse_study(f"{STUDY}strategies: {text}\n")
    assert judging_list(study, study_with(BATCH).claims[0]) == "claimed"


@pytest.mark.parametrize(
    ("claim", "words"),
    [
        ({}, "nothing of it can be measured"),
        ({"comparable": False}, "'note' does not say why"),
        ({"better": {"batch": 5000}, "worse": {"batch": 100}}, "None can: batch is 5000, must be from 10 to 1000"),
        ({"better": {"method": "copy"}, "worse": {"method": "copy"}}, "one run can be both"),
        ({"better": {"method": "copy"}, "worse": {"partitions": 32}}, "one run can be both"),
    ],
)
def test_what_can_not_be_measured_is_refused_with_the_reason(claim, words):
    (problem,) = unjudged(study_with(claim))
    assert words in str(problem)
    assert str(problem).startswith("claims, entry 1 (so it is): ")


def test_no_list_is_proposed_for_a_parameter_that_does_not_act_there():
    """The rows of a batch are those of INSERTs: with COPY every configuration has the default."""
    study = load_study(CONFIGS / "migration.yaml")
    sides = ({"method": "copy", "batch_size": size} for size in (100, 5000))
    claim = Claim(source="s", text="t", **dict(zip(("better", "worse"), sides, strict=True)))
    (problem,) = unjudged(study.model_copy(update={"claims": (claim,)}))
    assert str(problem).endswith("None can: batch_size does not act there, and has its default")


def test_validate_refuses_a_claim_that_nothing_judges_in_one_line(tmp_path, capsys):
    path = tmp_path / "study.yaml"
    claim = "{source: s, text: t, better: {method: copy, batch: 1000}, worse: {method: copy, batch: 100}}"
    path.write_text(f"{STUDY}claims: [{claim}]\n")
    assert main(["study", "validate", str(path)]) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("study.yaml: claims, entry 1 (t): no list measures what it needs side by side.")
    assert 'strategies: {claimed: [{method: "copy", batch: 1000}, {method: "copy", batch: 100}]}' in error
    assert "\n" not in error


@pytest.mark.parametrize("name", STUDIES)
def test_every_claim_of_the_shipped_studies_can_be_judged(name):
    study = load_study(CONFIGS / f"{name}.yaml")
    assert study.claims
    assert unjudged(study) == ()


def test_on_glue_the_claims_on_workers_can_be_judged_and_elsewhere_they_say_why_not():
    text = (CONFIGS / "dedup.yaml").read_text().replace("kind: spark_submit ", "kind: glue ").replace("warm: true", "")
    here, there = load_study(CONFIGS / "dedup.yaml"), parse_study(text)
    assert unjudged(there) == ()
    on_workers = [claim for claim in there.claims if "worker_type" in claim.better]
    assert len(on_workers) >= 3
    same = [claim for claim in here.claims if claim.text in {c.text for c in on_workers}]
    assert all(not claim.comparable and "another runner" in claim.note for claim in same)


def test_a_parameter_that_only_one_side_has_is_no_other_difference():
    """COPY has no batches: what JDBC's are is nothing that the two could have in common."""
    study = planted_study(claims=[{"source": "s", "text": "t", **COPY}])
    jdbc, copy = {"partitions": 8, "batch": 100, "method": "jdbc"}, {"partitions": 8, "method": "copy"}
    results = planted_sweep({"jdbc": 10.0, "copy": 5.0}, {"jdbc": jdbc, "copy": copy}, control="jdbc", blocks=4)
    assert check_claims(study, planted_options(study), results)[0].verdict is VerdictKind.CONFIRMED


def test_a_documented_experiment_is_measured_in_all_blocks_at_once():
    """A list of a document's is there to compare all of it: repeating the leaders alone would judge few claims."""
    study = study_with(BATCH, strategies={"batches": [{"method": "copy", "batch": 1000}, "copy"]})
    plans = plan_round(study, planted_options(study, strategy="batches", blocks=4), (), 1)
    assert len({plan.block for plan in plans}) == 4
    assert len(plans) == 12


def test_short_minutes_leave_nothing_of_a_documented_experiment_out():
    """Earlier trials took 12 s each, so a minute has room for five: the whole list is measured once all the same."""
    batches = [{"method": "copy", "batch": batch} for batch in range(100, 1000, 100)]
    study = study_with(strategies={"batches": batches})
    history = planted_sweep({"balanced": 10.0}, {"balanced": {}}, control="balanced", sweep_id="before")
    options = planted_options(study, strategy="batches", minutes=1)
    plans = plan_round(study, options, (), 1, history)
    assert {plan.configuration["batch"] for plan in plans if not plan.is_control} == set(range(100, 1000, 100))
    assert len({plan.block for plan in plans}) == 1
