"""`runner.kind: operator` in a study: the Airflow operator to run, and where its metrics are read from. No I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from pipeline_tuner.argument_forms import form_problem
from pipeline_tuner.argument_paths import path_problem
from pipeline_tuner.command_check import pattern_problems
from pipeline_tuner.exceptions import StudyError
from pipeline_tuner.problems import Problem, problems_of
from pipeline_tuner.space import Frozen, Parameter
from pipeline_tuner.study_parts import Runner, Workload

DOTTED_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
OF_OTHER_KINDS = ("conn_id", "warm", "connections")
"""Fields of a runner that mean nothing to an operator, which has its own arguments for that."""


class Statement(Frozen):
    """An SQL statement, and the Airflow connection that it is run on."""

    sql: str
    conn_id: str


class Observations(Frozen):
    """`runner.options` of an operator: what is done before a trial and looked at after it, in no trial's time."""

    before: tuple[Statement, ...] = ()
    """Statements that make each trial begin alike: `TRUNCATE orders_copy`."""
    metrics: dict[str, str | Statement] = {}
    """Values: a regular expression with one group over what the operator logs and prints, or a statement's value."""
    checks: dict[str, str | Statement] = {}
    """What must hold: a regular expression that the log must match, or a statement whose value must be true."""

    @property
    def conn_ids(self) -> tuple[str, ...]:
        """The connections that the statements are run on, each once."""
        statements = [*self.before, *self.metrics.values(), *self.checks.values()]
        return tuple(dict.fromkeys(one.conn_id for one in statements if isinstance(one, Statement)))


def observations_of(options: Mapping[str, Any], *place: str) -> Observations:
    """The observations in `runner.options`, or what else `place` names. Raises StudyError naming key and value."""
    problems = list(_observation_problems(options))
    if problems:
        raise StudyError(str(problems[0].below(*(place or ("runner", "options")))))
    return Observations.model_validate(dict(options))


def operator_problems(
    runner: Runner, parameters: Mapping[str, Parameter], workload: Workload | None
) -> Iterator[Problem]:
    """What is wrong with a study's operator: what would not act is refused."""
    if runner.kind != "operator":
        for name in ("operator", "arguments"):
            if getattr(runner, name):
                yield Problem(("runner", name), f"is for kind: operator, this is {runner.kind}")
        return
    for problem in (*_settings(runner), *(one.below("options") for one in _observation_problems(runner.options))):
        yield problem.below("runner")
    templates = json.dumps(runner.arguments, default=str)
    for name, parameter in parameters.items():
        yield from _place(name, parameter, templates)
    if workload and any(size != 1 for size in workload.sizes.values()) and "tuner.fraction" not in templates:
        words = "the operator must use {{ tuner.fraction }} in its arguments, or all sizes are the whole"
        yield Problem(("workload", "sizes"), words)


def _settings(runner: Runner) -> Iterator[Problem]:
    if not DOTTED_NAME.fullmatch(runner.operator or ""):
        right = "must be a class such as airflow.providers.standard.operators.bash.BashOperator"
        yield Problem(("operator",), f"is {runner.operator!r}, {right}" if runner.operator else f"is missing: {right}")
    for name in OF_OTHER_KINDS:
        if getattr(runner, name):
            yield Problem((name,), "has no meaning for kind: operator, which has 'arguments': leave it out")
    if "task_id" in runner.arguments:
        yield Problem(("arguments", "task_id"), "a trial's operator has the trial's own: leave it out")


def _observation_problems(options: Mapping[str, Any]) -> Iterator[Problem]:
    try:
        known = Observations.model_validate(dict(options))
    except ValidationError as error:
        yield from problems_of(error, Observations, dict(options))
        return
    for key, found in (("metrics", known.metrics), ("checks", known.checks)):
        for name, one in found.items():
            if isinstance(one, str):
                yield from pattern_problems((key, name), one, is_metric=key == "metrics")


def _place(name: str, parameter: Parameter, templates: str) -> Iterator[Problem]:
    if parameter.sets is None and not _is_used(name, templates):
        words = f"nothing says what it sets: give it 'sets', or use {{{{ tuner.configuration.{name} }}}} in an argument"
        yield Problem(("space", "parameters", name), words)
    sets = parameter.sets
    problem = None if sets is None else path_problem(sets) or form_problem(name, sets)
    if problem:
        yield Problem(("space", "parameters", name, "sets"), problem)


def _is_used(name: str, templates: str) -> bool:
    known = re.escape(name)
    return bool(re.search(rf"\btuner\.configuration(\.{known}\b|\[\s*\\?['\"]{known}\\?['\"]\s*\])", templates))
