"""Study files: what is accepted, and what a wrong one is told."""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline_tuner.exceptions import StudyError
from pipeline_tuner.study import Study, load_study, parse_study, stored_study
from pipeline_tuner.sweep import sweep_options

STUDY = """
study: copy_table
job: migration
workload: {name: flights, sizes: {small: 0.1, full: 1.0}}
space:
  parameters:
    method: {type: categorical, values: [copy, jdbc], default: copy}
    partitions: {type: integer, low: 1, high: 64, log: true, default: 4}
presets:
  plain: {method: jdbc}
  fast: {partitions: 8}
control: plain
goals:
  throughput: {maximize: rows_per_s, unit: rows/s}
  cost: {minimize: core_seconds * price, unit: USD}
  balanced: {balance: [throughput, cost]}
prices: {price: 0.00001}
"""


def test_presets_are_whole_configurations_with_the_control_first():
    study = parse_study(STUDY)
    assert [candidate.label for candidate in study.preset_candidates] == ["plain", "fast"]
    assert study.preset("fast").configuration == {"method": "copy", "partitions": 8}


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("control: plain", "control: plian", "control: is 'plian', must be a preset: plain, fast"),
        ("high: 64", "high: 0", "space.parameters.partitions.low: is 1, must not be above 'high', which is 0"),
        ("maximize", "maximise", r"goals.throughput.maximise: no such key; did you mean 'maximize'\?"),
        ("partitions: 8", "partitions: 800", "presets.fast.partitions: is 800, must be from 1 to 64"),
        ("partitions: 8", "partition: 8", "presets.fast.partition: no such parameter; did you mean 'partitions'"),
        ("job: migration", "", "job: is missing"),
        ("core_seconds * price", "core_seconds *", "goals.cost.minimize: 'core_seconds \\*' is not an expression"),
        ("[throughput, cost]", "[throughput, money]", "goals.balanced.balance: money is no goal"),
        ("study: copy_table", "study: Copy Table", "study: is 'Copy Table', must be up to 63 lower-case letters"),
        ("prices:", "prices: {price: [}\nx:", "is not YAML"),
    ],
)
def test_a_wrong_study_names_file_key_value_and_what_is_right(right, wrong, message):
    with pytest.raises(StudyError, match=message) as caught:
        parse_study(STUDY.replace(right, wrong), source="copy_table.yaml")
    assert "copy_table.yaml" in str(caught.value)


def test_a_missing_file_is_a_study_error(tmp_path):
    with pytest.raises(StudyError, match=r"nothing\.yaml can't be read"):
        load_study(tmp_path / "nothing.yaml")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)  # a time limit fails on a busy machine
@given(key=st.sampled_from(sorted(Study.model_fields)), value=json_values)
def test_any_value_anywhere_gives_a_study_or_a_study_error(key, value):
    document = yaml.safe_load(STUDY) | {key: value}
    try:
        study = parse_study(yaml.safe_dump(document))
    except StudyError:
        return
    assert all(study.space.problem(c.configuration) is None for c in study.preset_candidates)


@given(st.text(max_size=200))
def test_any_text_gives_a_study_error(text):
    with pytest.raises(StudyError):
        parse_study(text)


def test_options_default_to_the_study_and_refuse_what_it_does_not_have():
    study = parse_study(STUDY)
    options = sweep_options(study, "s1", {"trials": 12, "goals": ["cost"], "size": None})
    assert (options.budget.trials, options.goals, options.size) == (12, ("cost",), "full")
    for chosen, message in [
        ({"goals": ["speed"]}, "goals is 'speed', study copy_table has throughput"),
        ({"size": "huge"}, "size is 'huge', study copy_table has small, full"),
        ({"trials": 0}, "option trials: is 0, must be at least 1"),
        ({"tirals": 3}, "option tirals: no such option"),
    ]:
        with pytest.raises(StudyError, match=message):
            sweep_options(study, "s1", chosen)


def test_a_parameter_of_another_runner_is_not_in_the_space():
    sized = STUDY.replace(
        "default: 4}", "default: 4}\n    workers: {type: integer, low: 2, high: 9, default: 2, runners: [glue]}"
    )
    sized += "strategies:\n  sizes: [{workers: 3}, {workers: 5}]\n  threads: [{partitions: 2}]\n"
    sized = sized.replace("fast: {partitions: 8}", "fast: {partitions: 8, workers: 4}")
    here, there = parse_study(sized), parse_study(sized + "runner: {kind: glue, options: {bucket: b}}\n")
    assert "workers" not in here.space.parameters
    assert here.preset("fast").configuration == {"method": "copy", "partitions": 8}
    assert set(here.strategies) == {"threads"}
    assert there.preset("fast").configuration["workers"] == 4
    assert set(there.strategies) == {"sizes", "threads"}
    assert Study.model_validate(here.model_dump(mode="json")) == here


def test_a_stored_study_is_read_with_what_its_types_were_called_then():
    switch = "fast: {type: categorical, values: [false, true], default: true}"
    share = "share: {type: float, low: 0.1, high: 1, default: 0.5}"
    study = parse_study(STUDY.replace("presets:", f"    {switch}\n    {share}\npresets:"))
    stored = study.model_dump(mode="json")
    parameters = stored["space"]["parameters"]
    parameters["method"]["type"] = "choice"
    parameters["share"]["type"] = "number"
    parameters["fast"] |= {"type": "boolean", "values": []}
    with pytest.raises(ValidationError, match="which is called"):
        Study.model_validate(stored)
    assert stored_study(stored) == study
    assert stored_study(study.model_dump(mode="json")) == study


@pytest.mark.parametrize(
    "stored", [{}, {"space": []}, {"space": {"parameters": [1]}}, {"space": {"parameters": {"a": {}}}}]
)
def test_what_is_stored_and_no_study_is_a_validation_error(stored):
    with pytest.raises(ValidationError):
        stored_study(stored)
