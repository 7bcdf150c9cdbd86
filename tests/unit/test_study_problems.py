"""All problems of a study at once, a line each, in the words of the file."""

# ruff: noqa: E501 - a problem is one line

import copy
import json
import re
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_tuner.__main__ import main
from pipeline_tuner.exceptions import StudyError
from pipeline_tuner.study import parse_study
from pipeline_tuner.study_yaml import read_text, read_yaml

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted(
    path
    for folder in (ROOT / "include" / "configs", ROOT / "docs" / "examples")
    for path in folder.glob("*.yaml")
    if path.stem != "prices"
)
OBSERVED = """
study: dump
job: dump
runner:
  kind: process
  command: [bash, -c, "dump -{level} {mode}"]
  options: {metrics: {dump_bytes: 'bytes: (\\d+)'}, checks: {whole: complete}}
workload: {name: flights, options: {rows: 5}}
space:
  parameters:
    level: {type: integer, low: 1, high: 9, default: 6}
    mode: {type: categorical, values: [on, off], default: on}
presets: {today: {level: 6}, small: {level: 9}}
control: today
goals:
  size: {minimize: dump_bytes, unit: bytes}
  speed: {maximize: rows / duration_s, constraints: [dump_bytes < 100 * level]}
"""


def problems(text):
    with pytest.raises(StudyError) as caught:
        parse_study(text, source="x.yaml")
    lines = str(caught.value).split("\n")
    assert all(re.match(r"x\.yaml:\d+: ", line) for line in lines), lines
    return [line.partition(": ")[2] for line in lines]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_shipped_studies_have_no_problem(path):
    assert parse_study(read_text(path)).study == path.stem


def test_all_problems_come_at_once_with_their_lines(tmp_path, capsys):
    wrong = (
        OBSERVED.replace("default: 6}", "default: 60, high: 8}")
        .replace("control: today", "control: todya")
        .replace("small: {level: 9}", "small: {levle: 9}, big: {mode: 'no'}")
        .replace("minimize: dump_bytes", "minimize: dump_byte")
        .replace("name: flights", "name: 5")
        .replace("complete}", "'(complete'}")
    )
    path = tmp_path / "dump.yaml"
    path.write_text(wrong)
    assert main(["study", "validate", str(path)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "dump.yaml:7: runner.options.checks.whole: '(complete' is no regular expression: missing ), unterminated "
        "subpattern at position 0",
        "dump.yaml:8: workload.name: is 5, must be text (in quotes, if it looks like something else)",
        "dump.yaml:11: space.parameters.level.default: is 60, must be from 1 to 9",
        "dump.yaml:11: space.parameters.level.high: is there twice, in lines 11 and 11",
        "dump.yaml:13: presets.big.mode: is 'no', must be one of on, off",
        "dump.yaml:13: presets.small.levle: no such parameter; did you mean 'level'?",
        "dump.yaml:14: control: is 'todya', must be a preset: today, small, big",
        "dump.yaml:16: goals.size.minimize: uses dump_byte, which neither runner.options.metrics nor anything else gives; did you mean 'dump_bytes'?",
    ]


@pytest.mark.parametrize(
    ("right", "wrong", "problem"),
    [
        ("-{level} {mode}", "-{levle} {mode} {level}", "runner.command: {levle} is no parameter; did you mean 'level'?"),
        ("-{level} {mode}", "-{level}", "runner.command: nothing uses the parameter mode: give the program {mode} or $TUNER"),
        ("-{level} {mode}", "'{mode}' {level}", None),
        ("values: [on, off]", "values: [on, \"it's\"]", None),
        ("'bytes: (\\d+)'", "'bytes: \\d+'", "runner.options.metrics.dump_bytes: 'bytes: \\\\d+' must have one group"),
        ("'bytes: (\\d+)'", "'b(yt)es: (\\d+)'", "runner.options.metrics.dump_bytes: .* it has 2"),
        ("'bytes: (\\d+)'", "5", "runner.options.metrics.dump_bytes: is 5, must be a regular expression"),
        ("dump_bytes: 'by", "dump-bytes: 'by", "runner.options.metrics.dump-bytes: must be a name of letters"),
        ("checks: {whole: complete}", "checks: complete", "runner.options.checks: is 'complete', must be a mapping"),
        ("checks: {", "chekcs: {", "runner.options.chekcs: no such option of kind: process; did you mean 'checks'?"),
        ('  command: [bash, -c, "dump -{level} {mode}"]\n', "", "runner.command: is missing: metrics and checks"),
        ("[bash, -c,", "[bash, -c, {a: 1},", "runner.command, entry 3: is {'a': 1}, must be text"),
        ("command: [bash", "command: bash #", "runner.command: is 'bash', must be a list"),
        ("kind: process", "kind: spark_submit", "runner.command: is for kind: process, this is spark_submit"),
        ("kind: process", "kind: glue", "runner.command: is for kind: process, this is glue"),
        ("kind: process", "kind: process\n  concurrent: 3", "runner.concurrent: is 3: trials of kind process share a machine, leave it out"),
        ("workload: {name", "budget: {cost: 5}\nworkload: {name", "budget.cost: caps what trials cost, which nothing says: it needs a metric `cost`, or a goal `cost` that is minimised"),
        ("kind: process", "kind: process\n  concurrent: 0", "runner.concurrent: is 0, must be at least 1"),
        ("kind: process", "kind: proces", "runner.kind: is 'proces', must be one of process, spark_submit, glue or operator"),
        ("kind: process", "kind: process\n  warm: true", "runner.warm: can't be with a command: leave it out"),
        ("kind: process", "kind: process\n  warm: yes", "runner.warm: is 'yes', must be true or false"),
        ("kind: process", "kind: process\n  conn_id: x", "runner.conn_id: has no meaning for kind: process"),
        ("  options: {metrics: {dump_bytes: 'bytes: (\\d+)'}, checks: {whole: complete}}\n", "",
         "runner.command: tells the program no place for its measurement: give it {measurement}"),
        ("low: 1", "low: -.inf", "space.parameters.level.low: is -inf, must be a finite number"),
        ("low: 1", "low: 0.5", "space.parameters.level.low: is 0.5, must be a whole number"),
        ("low: 1", "low: '1'", "space.parameters.level.low: is '1', must be a finite number"),
        ("low: 1", "log: 1, low: 1", "space.parameters.level.log: is 1, must be true or false"),
        ("low: 1", "values: [1, 2.5], low: 1", "space.parameters.level.values, entry 2: is 2.5, must be a whole number"),
        ("low: 1", "values: [6, 7], low: 1", "space.parameters.level.low: has no meaning beside 'values'"),
        ("values: [on, off]", "values: [on, on]", "space.parameters.mode.values, entry 2: 'on' is there twice"),
        ("values: [on, off]", "values: [on, [1]]", "space.parameters.mode.values, entry 2: is [1], must be text, a number"),
        ("values: [on, off]", "values: [on, 1, true]", "values, entry 3: true can't be told from 1"),
        ("values: [on, off]", "values: on", "space.parameters.mode.values: is 'on', must be a list"),
        ("values: [on, off]", "values: [on, off], log: true", "space.parameters.mode.log: has no meaning of a categorical"),
        ("type: categorical", "type: choice", "space.parameters.mode.type: is 'choice', which is called 'categorical'"),
        ("type: integer", "type: int", "space.parameters.level.type: is 'int', must be one of categorical, integer or"),
        ("    mode: {", "    config: {", "runner.command: the parameter config has the variable TUNER_CONFIG"),
        ("goals:", "stages: {one: [levl]}\ngoals:", "stages.one, entry 1: levl is no parameter; did you mean 'level'?"),
        ("goals:", "strategy: staged\ngoals:", "strategy: is 'staged', which goes through 'stages': they are missing"),
        ("goals:", "strategies: {grid: [today]}\ngoals:", "strategies.grid: is the name of a strategy that every study"),
        ("goals:", "strategies: {a: [{level: 90}]}\ngoals:", "strategies.a, entry 1.level: is 90, must be from 1 to 9"),
        ("goals:", "strategies: {a: [5]}\ngoals:", "strategies.a, entry 1: is 5, must be a preset's name, or parameters"),
        ("goals:", "strategies: {a: [{level: [1]}]}\ngoals:", "strategies.a, entry 1.level: is [1], must be"),
        ("goals:", "prefer: levels\ngoals:", "prefer: uses levels, is no parameter and no price; did you mean 'level'?"),
        ("goals:", "schedule: at night\ngoals:", "schedule: is 'at night', must be a cron expression"),
        ("goals:", "budget: {trials: 1.5}\ngoals:", "budget.trials: is 1.5, must be a whole number"),
        ("goals:", "budget: {trials: true}\ngoals:", "budget.trials: is true, must be a whole number"),
        ("goals:", "budget: {indifference: 2}\ngoals:", "budget.indifference: is 2, must be below 1"),
        ("goals:", "nights: {promote: no}\ngoals:", "nights.promote: is 'no', must be true or false"),
        ("goals:", "nights: {goals: [sized]}\ngoals:", "nights.goals: sized is no goal of this study; did you mean 'size'?"),
        ("goals:", "prices: {a: '1'}\ngoals:", "prices.a: is '1', must be a finite number"),
        ("goals:", "claims: [{source: s, text: t, better: {level: 99}}]\ngoals:", "claims, entry 1.better.level: is 99"),
        ("goals:", "goals:\n  both: {balance: [size, both]}", "goals.both.balance: both is a balance itself"),
        ("name: flights", "name: flights, sizes: {full: 1, none: 0}", "workload.sizes.none: is 0, must be a fraction"),
        ("dump_bytes < 100 * level", "log(-5) < 1 <", "goals.speed.constraints, entry 1: 'log(-5) < 1 <' is not an"),
        ("default: 6}", "default: 6, when: levle > 2}", "space.parameters.level.when: 'levle > 2' uses levle, which is no"),
        ("space:", "space:\n  constraints: [sqrt(-level) > 1]", "defaults break the space: the constraint 'sqrt(-level) > 1'"),
        ("space:", "space:\n  constraints: [max > 1]", "space.constraints, entry 1: max is a function in the expression"),
        ("presets: {today: {level: 6}, small: {level: 9}}", "presets: [today]", "presets: is ['today'], must be a mapping"),
        ("default: 6}", "default: 6, when: level > 2}", "space.parameters.level.when: 'level > 2' depends on level itself"),
        ("default: on}", "default: on, when: level > 2}\n    level2: {type: integer, low: 1, high: 2, default: 1, when: mode == 'maybe'}", "level2.when: \"mode == 'maybe'\" holds for no choice"),
        ("default: 6}", "default: 6, when: '1 < 2'}", "space.parameters.level.when: '1 < 2' names no parameter"),
        ("minimize: dump_bytes", "minimize: 2 * level", "goals.size.minimize: '2 * level' names no metric"),
        ("minimize: dump_bytes", "minimize: dump_bytes > 5", "goals.size.minimize: 'dump_bytes > 5' is true or false"),
        ("minimize: dump_bytes", "minimize: dump_bytes / 0", "goals.size.minimize: 'dump_bytes / 0' can't be computed"),
        ("minimize: dump_bytes", "minimize: dump_bytes * mode", "goals.size.minimize: 'dump_bytes \\* mode' can't be computed"),
        ("dump_bytes < 100 * level", "1 > 2", "constraints, entry 1: '1 > 2' names neither a metric nor a parameter"),
        ("dump_bytes < 100 * level", "dump_bytes", "constraints, entry 1: 'dump_bytes' is no condition: compare it"),
        ("dump_bytes < 100 * level", "dump_bytes < '100'", "constraints, entry 1: \"dump_bytes < '100'\" can't be computed"),
        ("{whole: complete}", "{whole: ''}", "runner.options.checks.whole: '' is found in whatever a program prints"),
        ("dump_bytes: 'by", "level: '(\\d)', dump_bytes: 'by", "runner.options.metrics.level: is the name of a parameter"),
        ("goals:", "schedule: '61 0 * * *'\ngoals:", "schedule: is '61 0 \\* \\* \\*', must be a cron expression"),
        ("goals:", "schedule: '0 0 31 2 *'\ngoals:", "schedule: is '0 0 31 2 \\*', which is never"),
        ("goals:", "schedule: '@fortnightly'\ngoals:", "schedule: is '@fortnightly', must be a cron expression"),
        ("goals:", "schedule: '@quarterly'\ngoals:", None),
        ("goals:", "strategies: {a: []}\ngoals:", "strategies.a: must not be empty"),
        ("goals:", "prices: {a: -1}\ngoals:", "prices.a: is -1, must not be below 0"),
        ("goals:", "budget: {minutes: 1e300}\ngoals:", "budget.minutes: is 1e\\+300, must be at most 525600"),
        ("study: dump", "stduy: dump", "stduy: no such key; did you mean 'study'?"),
    ],
)  # fmt: skip
def test_a_problem_is_one_line_in_the_files_words(right, wrong, problem):
    assert right in OBSERVED
    text = OBSERVED.replace(right, wrong, 1)
    if problem is None:
        parse_study(text)
    else:
        found = problems(text)
        assert any(problem in line or re.search(problem, line) for line in found), found


def test_a_value_that_would_be_code_is_seen_before_it_runs():
    text = OBSERVED.replace("{mode}", "'{mode}'").replace("[on, off]", '[on, "a; b"]')
    assert any("use the variable TUNER_MODE there" in line for line in problems(text))


def test_no_key_is_in_the_words_of_the_validator():
    for wrong in ("values: [[1]]", "default: {a: 1}", "tried: 5", "tried: [[1]]"):
        for line in problems(OBSERVED.replace("default: on", wrong)):
            assert not re.search(r"\.(bool|int|float|str)\b|\[|function-|Input should", line.partition(": is ")[0]), (
                line
            )


VALUES = [
    None,
    True,
    0,
    -1,
    5,
    2.5,
    10**400,
    "",
    "x",
    "on",
    "a'b",
    "{level}",
    "log(0)",
    [],
    [1],
    ["x"],
    [[]],
    {},
    {"x": 1},
    {"x": {}},
]


def places(value, path=()):
    yield path
    if isinstance(value, dict | list):
        for step, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*path, step))


@cache
def document_and_places(path):
    document = read_yaml(read_text(path), source=path.name).values
    return document, [place for place in places(document) if place]


def mutated(document, path, change, value):
    document = copy.deepcopy(document)
    inside = document
    for step in path[:-1]:
        inside = inside[step]
    if change == "replaced":
        inside[path[-1]] = value
    elif change == "removed":
        del inside[path[-1]]
    elif isinstance(inside, dict):
        inside[f"{path[-1]}x"] = inside.pop(path[-1])
    else:
        inside.append(inside[path[-1]])
    return document


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_a_mutated_study_is_a_study_or_a_line_that_names_the_key(data):
    original, paths = document_and_places(data.draw(st.sampled_from(SHIPPED)))
    path = data.draw(st.sampled_from(paths))
    change = data.draw(st.sampled_from(["replaced", "removed", "renamed"]))
    document = mutated(original, path, change, data.draw(st.sampled_from(VALUES)))
    try:
        parse_study(json.dumps(document), source="x.yaml")  # JSON is YAML 1.2
    except StudyError as error:
        lines = str(error).split("\n")
        assert all(re.match(r"x\.yaml:\d+: [^ ]", line) for line in lines), lines
        assert not any("Input should" in line or "function-" in line for line in lines), lines
        # A control that is no preset any more is told as that: "must be a preset".
        names = [str(step).removesuffix("s") for step in path if isinstance(step, str)][-2:]
        assert any(name in line for line in lines for name in names), (path, lines)


def test_trials_side_by_side_share_nothing():
    from pipeline_tuner.study import Runner
    from pipeline_tuner.study_check import _concurrency

    before = {"before": [{"sql": "TRUNCATE x", "conn_id": "dw"}]}
    found = [
        str(problem)
        for runner in (
            Runner(kind="operator", operator="a.B", concurrent=4),
            Runner(kind="operator", operator="a.B", concurrent=4, options=before),
            Runner(kind="glue", concurrent=8),
            Runner(kind="glue", concurrent=8, options={"concurrent_runs": 8}),
        )
        for problem in _concurrency(runner)
    ]
    assert found == [
        "runner.concurrent: is 4: trials side by side would share what options.before prepares",
        "runner.options.concurrent_runs: is 4, and concurrent is 8: Glue must allow as many runs of the job",
    ]
