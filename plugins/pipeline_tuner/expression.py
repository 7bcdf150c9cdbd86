"""The expressions of study files (constraints, conditions, features, goals): which functions and operators there are,
parsed safely.

They are parsed once, may use names, numbers, strings, arithmetic, comparisons, `and`/`or`/`not`,
`in`, the conditional `a if c else b` and the functions of FUNCTIONS; anything else is refused at parse.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

FUNCTIONS: dict[str, Callable[..., float]] = {
    "min": min,
    "max": max,
    "abs": abs,
    "log": math.log,
    "sqrt": math.sqrt,
    "ceil": math.ceil,
    "floor": math.floor,
}


def _of_numbers(operation: Callable[..., Any]) -> Callable[..., Any]:
    """Python's arithmetic without text: `'a' * 1000000000` is a gigabyte."""

    def computed(left: Any, right: Any) -> Any:
        if not isinstance(left, int | float) or not isinstance(right, int | float):
            raise TypeError(f"{left!r} and {right!r} are not both numbers")
        return operation(left, right)

    return computed


SHOWN = 120
"""Characters of an expression in a message."""
OPERATORS: dict[type, Callable[..., Any]] = {
    ast.Add: _of_numbers(operator.add),
    ast.Sub: _of_numbers(operator.sub),
    ast.Mult: _of_numbers(operator.mul),
    ast.Div: _of_numbers(operator.truediv),
    ast.FloorDiv: _of_numbers(operator.floordiv),
    ast.Mod: _of_numbers(operator.mod),
    ast.USub: operator.neg,
    ast.Not: operator.not_,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda item, group: item in group,
    ast.NotIn: lambda item, group: item not in group,
}
STRUCTURE = (
    ast.Expression, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.And, ast.Or, ast.Compare, ast.IfExp,
    ast.Call, ast.Name, ast.Load, ast.Constant, ast.Tuple, ast.List,
)  # fmt: skip


@dataclass(frozen=True)
class Expression:
    """One parsed expression, evaluated against named values. Raises ValueError for bad text or names."""

    text: str

    def __post_init__(self) -> None:
        for node in ast.walk(self._tree):
            if not isinstance(node, STRUCTURE) and type(node) not in OPERATORS:
                raise ValueError(f"{type(node).__name__} is not allowed in the expression {self.text!r}")
            if isinstance(node, ast.Call) and not (isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS):
                raise ValueError(f"only {', '.join(FUNCTIONS)} can be called in the expression {self.text!r}")
            if isinstance(node, ast.Constant) and not isinstance(node.value, int | float | str):
                raise ValueError(f"{node.value!r} is not allowed in the expression {self.text!r}")
        for name in self._uncalled():
            raise ValueError(f"{name} is a function in the expression {self.text!r}: write {name}(...)")

    def _uncalled(self) -> Iterator[str]:
        called = {id(node.func) for node in ast.walk(self._tree) if isinstance(node, ast.Call)}
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Name) and node.id in FUNCTIONS and id(node) not in called:
                yield node.id

    @cached_property
    def _tree(self) -> ast.expr:
        try:
            return ast.parse(self.text, mode="eval").body
        except SyntaxError as error:
            raise ValueError(f"{self.text!r} is not an expression: {error.msg}") from None
        except (ValueError, RecursionError, MemoryError) as error:
            words = str(error) or "it is nested too deeply"
            raise ValueError(f"{self.text[:SHOWN]!r} is not an expression: {words}") from None

    @cached_property
    def names(self) -> frozenset[str]:
        """The values that the expression needs."""
        found = {node.id for node in ast.walk(self._tree) if isinstance(node, ast.Name)}
        return frozenset(found - set(FUNCTIONS))

    def evaluate(self, values: Mapping[str, Any]) -> Any:
        """The expression's value. Raises ValueError naming the value that is missing or does not fit."""
        missing = self.names - set(values)
        if missing:
            raise ValueError(f"{self.text!r} needs {', '.join(sorted(missing))}")
        try:
            return _evaluate(self._tree, values)
        except (TypeError, ValueError, ArithmeticError, RecursionError) as error:
            raise ValueError(f"{self.text[:SHOWN]!r} can't be computed: {error}") from None


@lru_cache(maxsize=1024)
def parsed(text: str) -> Expression:
    """The expression, parsed once: an analysis asks for the same few with every trial. Raises ValueError as it does."""
    return Expression(text)


def _evaluate(node: ast.expr, values: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return values[name]
        case ast.Tuple(elts=items) | ast.List(elts=items):
            return [_evaluate(item, values) for item in items]
        case ast.UnaryOp(op=op, operand=operand):
            return OPERATORS[type(op)](_evaluate(operand, values))
        case ast.BinOp(left=left, op=op, right=right):
            return OPERATORS[type(op)](_evaluate(left, values), _evaluate(right, values))
        case ast.BoolOp(op=ast.And(), values=parts):
            return all(_evaluate(part, values) for part in parts)
        case ast.BoolOp(values=parts):
            return any(_evaluate(part, values) for part in parts)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return _evaluate(body if _evaluate(test, values) else orelse, values)
        case ast.Compare(left=left, ops=ops, comparators=rights):
            return _compare(_evaluate(left, values), ops, [_evaluate(right, values) for right in rights])
        case ast.Call(func=ast.Name(id=name), args=arguments):
            return FUNCTIONS[name](*(_evaluate(argument, values) for argument in arguments))
    raise ValueError(f"{type(node).__name__} is not allowed in an expression")


def _compare(left: Any, ops: list[ast.cmpop], rights: list[Any]) -> bool:
    for op, right in zip(ops, rights, strict=True):
        if not OPERATORS[type(op)](left, right):
            return False
        left = right
    return True
