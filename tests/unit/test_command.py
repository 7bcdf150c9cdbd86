"""A study's command: values stay values, wherever their placeholder stands."""

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_tuner.command import Command, Place, places, variable, variables
from pipeline_tuner.exceptions import ConfigurationError
from pipeline_tuner.space import text_of

ODD = [
    "a; echo broken in",
    "$(echo broken in)",
    "`echo broken in`",
    "it's",
    'say "hi"',
    "a b  c",
    "*",
    "\\",
    "",
    "{level}",
    "a\nb",
]


def run(parts, **values):
    filled = Command(tuple(parts)).filled(values)
    done = subprocess.run(filled, env={"PATH": "/usr/bin:/bin", **variables(values)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("value", ODD)
@pytest.mark.parametrize(
    "script",
    [
        "printf %s {mode}",
        'printf %s "{mode}"',
        "# don't\nprintf %s {mode}",
        "echo 'it is' > /dev/null; printf %s \"{mode}\"",
        "printf %s \\'{mode} | tail -c +2",
    ],
)
def test_a_value_in_a_shell_script_is_a_value(script, value):
    for shell in (["sh", "-c"], ["bash", "-eu", "-o", "pipefail", "-c"], ["env", "bash", "-ce"]):
        assert run([*shell, script], mode=value, level=7) == value


@pytest.mark.parametrize("value", ODD)
def test_a_value_in_a_list_is_an_argument(value):
    assert run(["printf", "%s|", "{mode}", "x{mode}"], mode=value, level=7) == f"{value}|x{value}|"
    assert run(["sh", "-c", 'printf %s "$1"', "sh", "{mode}"], mode=value) == value


@given(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12),
    st.text("'\"\\#$`() \n", max_size=12),
)
def test_no_value_is_ever_a_command_whatever_the_quotes_before_it(value, before):
    """Only the value's variable may be in the script."""
    try:
        script = Command(("sh", "-c", before + " {mode}")).filled({"mode": value})[2]
    except ConfigurationError:
        return
    added = script.removeprefix(before + " ")
    assert added in ("${TUNER_MODE}", '"${TUNER_MODE}"') or added == value.strip() == value


@pytest.mark.parametrize(
    "parts",
    [
        ["bash", "-c", "bash -c 'run {mode}'"],
        ["python3", "-c", "print('{mode}')"],
        ["ssh", "host", "run {mode}"],
        ["psql", "--command=SELECT '{mode}'"],
    ],
)
def test_a_value_that_would_be_code_is_refused_with_the_remedy(parts):
    with pytest.raises(ConfigurationError, match=r"use the variable TUNER_MODE there") as caught:
        Command(tuple(parts)).filled({"mode": "a'; rm -r x"})
    assert "\n" not in str(caught.value)
    assert Command(tuple(parts)).filled({"mode": "lz4:-3"})[-1].count("lz4:-3") == 1


def test_only_names_of_the_study_are_placeholders():
    command = Command(("sh", "-c", "x=${level}; awk '{{print}}' %{mode} @{level} {level} {1} { level }"))
    assert command.placeholders == ("level",)
    assert command.filled({"level": 7, "mode": 1})[2] == "x=${level}; awk '{print}' %{mode} @{level} 7 {1} { level }"


def test_booleans_and_numbers_have_one_form():
    assert [text_of(value) for value in (True, False, 3, 0.5, 1e-7, "on")] == [
        "true",
        "false",
        "3",
        "0.5",
        "1e-07",
        "on",
    ]
    assert variables({"spark.sql.x-y": False}) == {"TUNER_SPARK_SQL_X_Y": "false"}
    assert run(["sh", "-c", "printf %s {fast}$TUNER_FAST"], fast=True) == "truetrue"


def test_what_a_command_uses():
    command = Command(("sh", "-c", 'tool -{level} "$TUNER_MODE"'))
    assert [command.uses(name) for name in ("level", "mode", "mod", "other")] == [True, True, False, False]
    assert Command(("tool", "{config}")).uses("other")
    assert variable("level") == "TUNER_LEVEL"


def test_a_file_for_a_shell_is_no_script():
    assert places(["bash", "run.sh", "-c", "{mode}"]) == [Place.ARGUMENT] * 4
    assert places(["timeout", "9", "bash", "-xc", "a"])[-1] is Place.SHELL
