"""Checks of a study's `runner`: its command, its patterns for metrics, options that would do nothing. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline_tuner.command import FILES, Command, variable
from pipeline_tuner.exceptions import ConfigurationError
from pipeline_tuner.problems import Path, Problem, no_such, shown
from pipeline_tuner.space import Parameter
from pipeline_tuner.spark_application import METRICS, ApplicationOptions, is_application, parsed_options
from pipeline_tuner.study_parts import Runner

OPTIONS: dict[str, tuple[str, ...]] = {
    "process": ("metrics", "checks", "script"),
    "spark_submit": ("conf", "jars", "packages", "name", "script"),
}
"""`runner.options` by kind of runner; Glue's are checked where they are read."""
OBSERVED = ("duration_s", "core_seconds", "startup_s", "teardown_s")
"""Metrics of every command that is timed from outside."""


ANYTHING = ("", "?\n")
"""What no pattern is about: one that finds something in both is found everywhere."""


def given_by_a_command(runner: Runner) -> tuple[str, ...] | None:
    """The metrics of a command that is timed from outside; None where the job itself says what it measured."""
    application = runner.kind == "spark_submit" and is_application(runner.options)
    if not application and (runner.kind != "process" or not is_observed(runner)):
        return None
    metrics = runner.options.get("metrics")
    return (*OBSERVED, *(METRICS if application else ()), *(metrics if isinstance(metrics, Mapping) else ()))


def is_observed(runner: Runner) -> bool:
    """Whether the program can't be changed: it is timed from outside, its metrics are read from what it prints."""
    return any(runner.options.get(key) is not None for key in ("metrics", "checks"))


def runner_problems(runner: Runner, parameters: Mapping[str, Parameter], names: Sequence[str]) -> Iterator[Problem]:
    """What is wrong with a runner; `names` are all parameters', `parameters` those that are valid."""
    found = (
        *_settings(runner),
        *_patterns(runner, names),
        *_command(runner, parameters, names),
        *_application(runner, names),
    )
    yield from (problem.below("runner") for problem in found)


def _settings(runner: Runner) -> Iterator[Problem]:
    if runner.command and runner.kind != "process":
        yield Problem(("command",), f"is for kind: process, this is {runner.kind}")
    if runner.conn_id and runner.kind == "process":
        yield Problem(("conn_id",), "has no meaning for kind: process: leave it out")
    if runner.warm and (runner.command or runner.kind == "glue"):
        yield Problem(("warm",), f"can't be with {'a command' if runner.command else 'kind: glue'}: leave it out")
    if runner.warm and is_application(runner.options):
        yield Problem(("warm",), "can't be with an application that can't be changed: leave it out")
    known = None if runner.kind == "spark_submit" and is_application(runner.options) else OPTIONS.get(runner.kind)
    for name in runner.options if known else ():
        if name not in (known or ()):
            yield Problem(("options", name), f"no such option of kind: {runner.kind}; {no_such(name, known or ())}")


def _application(runner: Runner, names: Sequence[str]) -> Iterator[Problem]:
    """An application that can't be changed: every parameter must reach it by a setting or an argument."""
    if runner.kind != "spark_submit" or not is_application(runner.options):
        return
    options = parsed_options(runner.options)
    if not isinstance(options, ApplicationOptions):
        yield from options
        return
    for name in options.conf:
        if not name.startswith("spark."):
            yield Problem(("options", "conf", name), "is no setting of Spark: those begin with 'spark.'")
    for name in options.filled.placeholders:
        if name not in names and name not in FILES:
            words = f"{{{name}}} is no parameter; {no_such(name, names)} (write {{{{{name}}}}} for such a text)"
            yield Problem(("options",), words)
    for name in names:
        if name not in options.filled.placeholders:
            yield Problem(("options",), f"nothing uses the parameter {name}: give conf or arguments {{{name}}}")


def _patterns(runner: Runner, names: Sequence[str]) -> Iterator[Problem]:
    if runner.kind != "process" and not is_application(runner.options):
        return
    for key in ("metrics", "checks"):
        patterns = runner.options.get(key)
        if patterns is not None and not isinstance(patterns, Mapping):
            yield Problem(("options", key), f"is {shown(patterns)}, must be a mapping: names with regular expressions")
            continue
        for name, pattern in (patterns or {}).items():
            if key == "metrics" and name in names:
                yield Problem(("options", key, name), "is the name of a parameter: give the metric another")
            yield from pattern_problems(("options", key, name), pattern, is_metric=key == "metrics")


def pattern_problems(path: Path, pattern: Any, *, is_metric: bool) -> Iterator[Problem]:
    """What is wrong with the pattern of a metric or a check."""
    if not isinstance(pattern, str):
        yield Problem(path, f"is {shown(pattern)}, must be a regular expression, in quotes")
        return
    if is_metric and not re.fullmatch(r"[A-Za-z_]\w*", str(path[-1])):
        yield Problem(path, "must be a name of letters, digits and _: a goal uses it")
    try:
        groups = re.compile(pattern, re.MULTILINE).groups
    except (re.error, OverflowError, RecursionError) as error:
        yield Problem(path, f"{shown(pattern)} is no regular expression: {error}")
        return
    if is_metric and groups != 1:
        yield Problem(path, f"{shown(pattern)} must have one group (...) around the number, it has {groups}")
    elif all(re.search(pattern, text, re.MULTILINE) for text in ANYTHING):
        yield Problem(path, f"{shown(pattern)} is found in whatever a program prints: say what stands around it")


def _command(runner: Runner, parameters: Mapping[str, Parameter], names: Sequence[str]) -> Iterator[Problem]:
    if runner.kind != "process":
        return
    if not runner.command:
        if is_observed(runner):
            yield Problem(("command",), "is missing: metrics and checks are read from what a command prints")
        return
    command = Command(runner.command)
    yield from _texts(command)
    yield from _placeholders(command, names)
    if not is_observed(runner) and not command.names("measurement"):
        yield Problem(
            ("command",),
            "tells the program no place for its measurement: give it {measurement}, or have the metrics read from what "
            "it prints by runner.options.metrics",
        )
    yield from _unused(command, names)
    yield from _values(command, parameters)


def _texts(command: Command) -> Iterator[Problem]:
    for place, part in enumerate(command.parts):
        if "\0" in part or (place == 0 and not part.strip()):
            yield Problem(("command", place), f"is {shown(part)}, which is no {'argument' if place else 'program'}")


def _placeholders(command: Command, names: Sequence[str]) -> Iterator[Problem]:
    for name in command.placeholders:
        if name not in names and name not in FILES:
            words = (
                f"{{{name}}} is no parameter; {no_such(name, (*names, *FILES))} (write {{{{{name}}}}} for such a text)"
            )
            yield Problem(("command",), words)
    by_variable: dict[str, str] = {variable(name): name for name in FILES}
    for name in names:
        other = by_variable.setdefault(variable(name), name)
        if other != name or name in FILES:
            yield Problem(("command",), f"the parameter {name} has the variable {variable(name)} of {other}: rename it")


def _unused(command: Command, names: Sequence[str]) -> Iterator[Problem]:
    for name in names:
        if not command.uses(name):
            yield Problem(
                ("command",), f"nothing uses the parameter {name}: give the program {{{name}}} or ${variable(name)}"
            )


def _values(command: Command, parameters: Mapping[str, Parameter]) -> Iterator[Problem]:
    for name, parameter in parameters.items():
        for value in (*parameter.values, parameter.default):
            if isinstance(value, str) and "\0" in value:
                yield Problem(("command",), f"the parameter {name} has the value {shown(value)}, which is no argument")
                break
            try:
                command.filled({name: value})
            except ConfigurationError as error:
                yield Problem(("command",), str(error))
                break
