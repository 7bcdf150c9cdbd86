"""What expressions of a study come to: goals that are no number, conditions that depend on themselves. No I/O.

Each is computed once with made-up metrics, so that a study whose every trial would fail is refused before the first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import product
from math import prod
from typing import Any

from pipeline_tuner.expression import Expression
from pipeline_tuner.problems import Path, Problem
from pipeline_tuner.space import Parameter

MADE_UP = (0.5, 1.5, 1000.0)
"""Values that all metrics are given in turn, each a little larger than the one before by name."""
MAX_CHOICES = 10_000


def goal_problem(
    path: Path, text: Any, parameters: Mapping[str, Parameter], fixed: Collection[str]
) -> Iterator[Problem]:
    """Why what a goal maximises or minimises is nothing that a trial measures. `fixed`: names that are no metrics."""
    expression = _expression(text)
    if expression is None:
        return
    if not expression.names - set(fixed):
        yield Problem(path, f"{text!r} names no metric, so that no trial could change it")
        return
    value = _value(expression, parameters)
    if isinstance(value, ValueError):
        yield Problem(path, str(value))
    elif isinstance(value, bool) or not isinstance(value, int | float):
        yield Problem(
            path, f"{text!r} is true or false, or a text: a goal is a number, a condition goes to 'constraints'"
        )


def constraint_problem(path: Path, text: Any, parameters: Mapping[str, Parameter]) -> Iterator[Problem]:
    """Why a constraint holds always or never, or is no condition."""
    expression = _expression(text)
    if expression is None:
        return
    value = _value(expression, parameters)
    if not expression.names:
        yield Problem(path, f"{text!r} names neither a metric nor a parameter")
    elif isinstance(value, ValueError):
        yield Problem(path, str(value))
    elif not isinstance(value, bool):
        yield Problem(path, f"{text!r} is no condition: compare it, as in `spill_bytes < 1000`")


def condition_problems(conditions: Mapping[str, str], parameters: Mapping[str, Parameter]) -> Iterator[Problem]:
    """Conditions (`when`) that depend on their own parameter, or that no choice fulfils; paths below `space`."""
    uses = {name: Expression(text).names for name, text in conditions.items()}
    for name, text in conditions.items():
        path = ("parameters", name, "when")
        if not uses[name]:
            yield Problem(path, f"{text!r} names no parameter")
        elif name in _reached(name, uses):
            yield Problem(path, f"{text!r} depends on {name} itself: a parameter can't say whether it is active")
        elif _is_never(Expression(text), parameters):
            yield Problem(path, f"{text!r} holds for no choice, so that {name} would never be active")


def _reached(name: str, uses: Mapping[str, frozenset[str]]) -> set[str]:
    """All names that a condition depends on, by way of others' conditions too."""
    found: set[str] = set()
    waiting = set(uses[name])
    while waiting:
        one = waiting.pop()
        found.add(one)
        waiting |= uses.get(one, frozenset()) - found
    return found


def _is_never(expression: Expression, parameters: Mapping[str, Parameter]) -> bool:
    """Whether a condition over parameters with few values holds for none of them."""
    names = sorted(expression.names)
    choices = [parameters[name].values for name in names if name in parameters]
    if len(choices) < len(names) or not 0 < prod(map(len, choices)) <= MAX_CHOICES:
        return False
    try:
        return not any(expression.evaluate(dict(zip(names, chosen, strict=True))) for chosen in product(*choices))
    except ValueError:
        return False


def _expression(text: Any) -> Expression | None:
    try:
        return Expression(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _value(expression: Expression, parameters: Mapping[str, Parameter]) -> Any:
    """What the expression comes to with the first made-up metrics that it can be computed for; else the error."""
    value: Any = None
    for made_up in MADE_UP:
        values: dict[str, Any] = {
            name: made_up * (1 + place / 100) for place, name in enumerate(sorted(expression.names))
        }
        values |= {name: one.default for name, one in parameters.items() if name in expression.names}
        try:
            return expression.evaluate(values)
        except ValueError as error:
            value = error
    return value
