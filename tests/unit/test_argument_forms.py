"""Texts around a parameter's value in an argument: what stands there, and what is read from there."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pipeline_tuner.argument_forms import Place, form_problem, place_of
from pipeline_tuner.argument_paths import check_places, lay_over, path_problem, written_values
from pipeline_tuner.exceptions import ConfigurationError
from pipeline_tuner.study import parse_study
from pipeline_tuner.study_places import study_places


@pytest.mark.parametrize(
    ("form", "values", "text"),
    [
        ("{mb}m", {"mb": 128}, "128m"),
        ("local[{cores}]", {"cores": 3}, "local[3]"),
        ("{on}", {"on": False}, False),
        ("on={on}", {"on": False}, "on=false"),
        ("-Xmx{mb}m -Xmn{young}m", {"mb": 128, "young": 7}, "-Xmx128m -Xmn7m"),
        ("{{mb}} {mb}", {"mb": 1}, "{mb} 1"),
        ("{mb}/{mb}", {"mb": 4}, "4/4"),
    ],
)
def test_a_value_in_its_text_is_read_as_it_was_put_there(form, values, text):
    place = Place("argument", form)
    assert place.filled(values) == text
    if isinstance(text, str):
        assert place.read(text) == {
            name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in values.items()
        }


@pytest.mark.parametrize(
    ("form", "text", "value"),
    [
        ("{mb}m", "2g", "2048"),
        ("{mb}m", "2GB", "2048"),
        ("{gb}g", "2048m", "2"),
        ("{gb}g", "2047m", None),
        ("{mb}m", "1024", None),
        ("{mb}m", "-1", None),
        ("local[{cores}]", "local[*]", "*"),
        ("local[{cores}]", "yarn", None),
        ("{mb}/{mb}", "4/5", None),
    ],
)
def test_sizes_are_read_in_the_forms_unit_where_that_is_exact(form, text, value):
    found = Place("argument", form).read(text)
    assert (found and next(iter(found.values()))) == value


def test_a_text_around_a_value_must_have_its_name_and_no_other():
    assert place_of("mb", "memory") == Place("memory", "{mb}")
    assert form_problem("mb", "memory={mb}m") is None
    assert path_problem("executor_memory={mb}m") is None
    for wrong in ("memory=m", "memory={gb}m", "memory={mb}{gb}"):
        assert "must have {mb} in it" in form_problem("mb", wrong)


def test_a_value_is_laid_over_with_its_text_and_read_from_it():
    operator = SimpleNamespace(conf={"spark.executor.memory": "2g"}, memory=None)
    sets = {"mb": "conf.spark.executor.memory={mb}m", "both": "memory={mb}m of {gb}g"}
    assert written_values(operator, sets) == {"mb": "2048"}
    lay_over(operator, sets, {"mb": 512, "gb": 4})
    assert (operator.conf, operator.memory) == ({"spark.executor.memory": "512m"}, "512m of 4g")
    with pytest.raises(ConfigurationError, match="needs gb too"):
        lay_over(operator, sets, {"mb": 1})
    check_places(operator, sets, ["mb", "gb"])


STUDY = """
study: report
job: report
description: A report
runner:
  kind: operator
  operator: airflow.providers.standard.operators.bash.BashOperator
  arguments:
    bash_command: report --level {{ tuner.configuration.level }}
    env: {HEAP: "{{ tuner.configuration.heap_mb }}m", MODE: fast, LEVEL: "{{ tuner.configuration.level }}"}
workload: {name: all}
space:
  parameters:
    heap_mb: {type: integer, low: 1, high: 900, default: 100}
    level: {type: integer, low: 1, high: 9, default: 6}
    batch: {type: integer, low: 1, high: 9, default: 6, sets: "env.BATCH={batch}k"}
presets: {today: {}}
control: today
goals: {time: {minimize: duration_s, unit: s}}
"""


def test_templates_of_an_operators_mappings_say_what_a_task_sets():
    study = parse_study(STUDY, source="report.yaml")
    operator = SimpleNamespace(bash_command="own", env={"HEAP": "1g"})
    places = study_places(study, {}, operator)
    assert written_values(operator, places) == {"heap_mb": "1024"}
    lay_over(operator, places, {"heap_mb": 128, "level": 3, "batch": 2})
    assert operator.env == {"HEAP": "128m", "LEVEL": "3", "BATCH": "2k"}
    assert operator.bash_command == "own"


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        ({"heap_mb": "env.HEAP"}, "leave heap_mb out of 'sets'"),
        ({"heap_mb": "env.MEMORY"}, 'or write {"heap_mb": "env.MEMORY={heap_mb}m"}'),
        ({"batch": "env.SIZE"}, 'or write {"batch": "env.SIZE={batch}k"}'),
    ],
)
def test_sets_that_would_lose_the_studys_unit_are_refused(sets, words):
    with pytest.raises(ConfigurationError) as refused:
        study_places(parse_study(STUDY, source="report.yaml"), sets, SimpleNamespace(bash_command="", env={}))
    assert words in str(refused.value)
