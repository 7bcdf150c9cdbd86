"""Parameters and their types, conditions on them, and configurations of the space they span. No I/O."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import product
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from pipeline_tuner.exceptions import ConfigurationError
from pipeline_tuner.expression import Expression
from pipeline_tuner.problems import Path, Problem, no_such, refuse, shown

Scalar = bool | int | float | str
Configuration = Mapping[str, Scalar]
"""One value for each active parameter of a space."""
RunnerKind = Literal["process", "spark_submit", "glue", "operator"]
"""How trials run. A runner is named here, in `runners/runner_of_study.py`, and its options in `command_check.py`."""

SIZE = re.compile(r"(\d+(?:\.\d+)?)([kmgt])i?b?")
"""An amount of memory as Spark writes it; a bare number is none."""


def text_of(value: Scalar) -> str:
    """A value as text: booleans are `true` and `false`, numbers have a decimal point."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _parsed(text: str) -> str:
    Expression(text)
    return text


def _level(value: Any) -> Any:
    if isinstance(value, int | float) and not is_finite(value):
        raise ValueError(f"is {value}, must be a finite number")
    if not isinstance(value, bool | int | float | str):
        raise ValueError(f"is {shown(value)}, must be text, a number, true or false")
    return value


def _whole(value: Any) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and is_finite(value)
    if not is_number or value != int(value):
        raise ValueError(f"is {shown(value)}, must be a whole number")
    return int(value)


def _real(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float) or not is_finite(value):
        raise ValueError(f"is {shown(value)}, must be a finite number")
    return value


def _flag(value: Any) -> Any:
    if not isinstance(value, bool):
        raise ValueError(f"is {shown(value)}, must be true or false")
    return value


def is_finite(value: float) -> bool:
    """Whether a number is one that can be computed with: an integer may be too large for that."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


ExpressionText = Annotated[str, AfterValidator(_parsed)]
Level = Annotated[Scalar, BeforeValidator(_level)]
Whole = Annotated[int, BeforeValidator(_whole)]
Real = Annotated[float, BeforeValidator(_real)]
Flag = Annotated[bool, BeforeValidator(_flag)]
"""What a study says, taken as it is written: no text is a number, and no number is true."""


class Frozen(BaseModel):
    """A pydantic model that refuses unknown keys and never changes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


FORMER_TYPES = {"choice": "categorical", "boolean": "categorical", "number": "float"}
"""What the types of parameters were called before 0.1: stored studies still say it."""


class Parameter(Frozen):
    """One parameter of a job.

    Either `values` (the levels to choose from; numbers keep their order) or `low` and `high` is given. A switch is
    categorical with `values: [false, true]`.
    """

    type: Literal["categorical", "integer", "float"]
    default: Level
    values: tuple[Level, ...] = ()
    low: Real | None = None
    high: Real | None = None
    log: Flag = False
    """Whether the parameter acts by ratios (1, 10, 100) rather than by differences."""
    unit: str = ""
    help: str = ""
    when: ExpressionText | None = None
    """The parameter exists only in configurations where this holds: `method == 'jdbc'`."""
    tried: tuple[Level, ...] | None = None
    """The levels that a search chooses among: all by default, none (`[]`) to leave the parameter to presets."""
    sets: str | None = None
    """The argument of an Airflow operator that the parameter sets: `conf.spark.sql.shuffle.partitions`, `env.BATCH`."""
    runners: tuple[RunnerKind, ...] = ()
    """The parameter exists only in studies whose `runner.kind` is one of these; in all by default."""

    @field_validator("type", mode="before")
    @classmethod
    def _is_no_former_type(cls, value: Any) -> Any:
        if value == "boolean":
            raise ValueError("is 'boolean', which is 'categorical' with values: [false, true]")
        if isinstance(value, str) and value in FORMER_TYPES:
            raise ValueError(f"is {value!r}, which is called {FORMER_TYPES[value]!r}")
        return value

    @model_validator(mode="after")
    def _is_complete(self) -> Parameter:
        refuse(self._missing() or self._unfit())
        return self

    def _missing(self) -> list[Problem]:
        if self.type == "categorical":
            wanted = "is missing: a categorical parameter needs 'values', the list to choose from"
            return [] if self.values else [Problem(("values",), wanted)]
        if not self.values and (self.low is None or self.high is None):
            return [Problem((), "give either 'values' or both 'low' and 'high'")]
        return [Problem(("values", at), words) for at, v in enumerate(self.values) if (words := self._no_number(v))]

    def _unfit(self) -> Iterator[Problem]:
        if self.low is not None and self.high is not None and self.low > self.high:
            yield Problem(("low",), f"is {self.low:g}, must not be above 'high', which is {self.high:g}")
        if self.log and min(self._bounds, default=1) <= 0:
            yield Problem(("log",), "'log: true' needs values above 0")
        if words := self.problem(self.default):
            yield Problem(("default",), words)
        for at, value in enumerate(self.tried or ()):
            if words := self.problem(value):
                yield Problem(("tried", at), words)

    @property
    def searched(self) -> Parameter:
        """The parameter as a search sees it: only the levels that are to be tried."""
        if self.tried is None:
            return self
        return self.model_copy(update={"values": self.tried or (self.default,)})

    @property
    def _bounds(self) -> tuple[float, ...]:
        if self.values and self.is_ordered:
            return tuple(float(value) for value in self.values)
        return tuple(bound for bound in (self.low, self.high) if bound is not None)

    @cached_property
    def sizes(self) -> Mapping[Scalar, float]:
        """Bytes by value of a categorical parameter over amounts of memory (`512m`, `1g`); empty for all else."""
        found = [SIZE.fullmatch(str(value).strip().lower()) for value in self.values]
        if self.type != "categorical" or not all(found):
            return {}
        return {
            value: float(match[1]) * 1024 ** "bkmgt".index(match[2] or "b")
            for value, match in zip(self.values, found, strict=True)
            if match is not None
        }

    @property
    def is_ordered(self) -> bool:
        """Whether larger and smaller mean something for this parameter."""
        return self.type != "categorical"

    @property
    def is_switch(self) -> bool:
        """Whether it is on or off."""
        return bool(self.values) and all(isinstance(value, bool) for value in self.values)

    def problem(self, value: Any) -> str | None:
        """What is wrong with a value, in words that follow the parameter's name; None where nothing is."""
        if self.type == "categorical":
            # Python takes true for 1: they are the same place in a list, and not the same setting.
            is_listed = any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in self.values)
            return None if is_listed else f"is {shown(value)}, must be one of {', '.join(map(text_of, self.values))}"
        return self._no_number(value) or self._out_of_range(value)

    def exact(self, value: Scalar) -> Scalar:
        """The value as the parameter's type has it: `8.0` of an integer is 8, the same configuration."""
        is_whole = self.type == "integer" and isinstance(value, float) and value.is_integer()
        return int(value) if is_whole else value

    def _no_number(self, value: Any) -> str | None:
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and is_finite(value)
        if self.type == "integer":
            return None if is_number and value == int(value) else f"is {shown(value)}, must be a whole number"
        return None if is_number else f"is {shown(value)}, must be a finite number"

    def _out_of_range(self, value: float) -> str | None:
        low = self.low if self.low is not None else min(self._bounds)
        high = self.high if self.high is not None else max(self._bounds)
        return None if low <= value <= high else f"is {value}, must be from {low:g} to {high:g}"

    def levels(self, count: int = 5) -> tuple[Scalar, ...]:
        """The values to try: those listed, or `count` spread evenly (by ratio where `log`)."""
        if self.values:
            return self.values
        return tuple(dict.fromkeys(self.at(step / max(count - 1, 1)) for step in range(count)))

    def at(self, fraction: float) -> Scalar:
        """The value at a fraction of the range, 0 the lowest and 1 the highest."""
        if self.values:
            levels = self.levels()
            return levels[min(int(fraction * len(levels)), len(levels) - 1)]
        low, high = float(self.low or 0), float(self.high or 0)
        value = low * (high / low) ** fraction if self.log else low + (high - low) * fraction
        return round(value) if self.type == "integer" else value

    def position(self, value: Scalar) -> float:
        """The inverse of `at` for ordered parameters and the rank of the level for others, in 0..1."""
        if self.values:
            levels = self.levels()
            if value in levels:
                return levels.index(value) / max(len(levels) - 1, 1)
        number, bounds = float(value), self._bounds
        low, high = min(bounds), max(bounds)
        if high == low:
            return 0.0
        if self.log:
            return math.log(number / low) / math.log(high / low)
        return (number - low) / (high - low)


class Space(Frozen):
    """All parameters of a job with the constraints between them.

    `features` are expressions over parameters (and the workload's numbers) that say what a configuration
    amounts to, such as rows per partition; a search learns from them beside the raw values.
    """

    parameters: dict[str, Parameter] = Field(min_length=1)
    constraints: tuple[ExpressionText, ...] = ()
    features: dict[str, ExpressionText] = {}

    @model_validator(mode="after")
    def _names_are_known(self) -> Space:
        conditions = {name: parameter.when for name, parameter in self.parameters.items() if parameter.when}
        refuse(unknown_names(self.constraints, conditions, self.parameters))
        if words := self.problem(self.complete({})):
            refuse([Problem((), f"the parameters' defaults break the space: {words}")])
        return self

    @cached_property
    def searched(self) -> Space:
        """The space as a search sees it: what is not to be tried stays at its default."""
        return self.model_copy(update={"parameters": {name: p.searched for name, p in self.parameters.items()}})

    @cached_property
    def _constraints(self) -> tuple[Expression, ...]:
        return tuple(Expression(text) for text in self.constraints)

    def is_active(self, name: str, values: Configuration) -> bool:
        """Whether a parameter exists in a configuration that holds these values."""
        condition = self._conditions.get(name)
        try:
            return condition is None or bool(condition.evaluate({**self._defaults, **values}))
        except ValueError as error:
            raise ConfigurationError(f"the condition of {name}: {error}") from None

    @cached_property
    def _conditions(self) -> dict[str, Expression]:
        return {name: Expression(p.when) for name, p in self.parameters.items() if p.when}

    @cached_property
    def _defaults(self) -> dict[str, Scalar]:
        return {name: parameter.default for name, parameter in self.parameters.items()}

    def complete(self, partial: Configuration) -> dict[str, Scalar]:
        """A whole configuration: defaults filled in, inactive parameters left out, in the space's order.

        Raises ConfigurationError for a parameter that is none, and a condition that can't be computed.
        """
        for name in partial:
            if name not in self.parameters:
                raise ConfigurationError(f"{name}: no such parameter; {no_such(name, self.parameters)}")
        values = {**self._defaults, **partial}
        return {
            name: parameter.exact(values[name])
            for name, parameter in self.parameters.items()
            if self.is_active(name, values)
        }

    def problem(self, configuration: Configuration) -> str | None:
        """Why a whole configuration is not in the space, or None where it is."""
        for name, value in configuration.items():
            problem = self.parameters[name].problem(value)
            if problem:
                return f"{name} {problem}"
        values = {**self._defaults, **configuration}
        return next(filter(None, (_broken(constraint, values) for constraint in self._constraints)), None)

    def checked(self, partial: Configuration) -> dict[str, Scalar]:
        """`complete`, refusing with ConfigurationError what is not in the space."""
        configuration = self.complete(partial)
        problem = self.problem(configuration)
        if problem:
            raise ConfigurationError(problem)
        return configuration

    def grid(self, levels: int = 3) -> Iterator[dict[str, Scalar]]:
        """Every valid combination of levels, once."""
        seen: set[str] = set()
        for values in product(*(p.levels(levels) for p in self.parameters.values())):
            configuration = self.complete(dict(zip(self.parameters, values, strict=True)))
            identity = configuration_id(configuration)
            if identity not in seen and self.problem(configuration) is None:
                seen.add(identity)
                yield configuration


def unknown_names(
    constraints: Sequence[str], conditions: Mapping[str, str], parameters: Collection[str]
) -> Iterator[Problem]:
    """What constraints and conditions use that is no parameter, with paths below `space`."""
    texts: dict[Path, str] = {("constraints", at): text for at, text in enumerate(constraints)}
    texts |= {("parameters", name, "when"): text for name, text in conditions.items()}
    for path, text in texts.items():
        for name in sorted(Expression(text).names - set(parameters)):
            yield Problem(path, f"{text!r} uses {name}, which is no parameter; {no_such(name, parameters)}")


def _broken(constraint: Expression, values: Configuration) -> str | None:
    try:
        if constraint.evaluate(values):
            return None
    except ValueError as error:
        return f"the constraint {error}"
    used = ", ".join(f"{name}={text_of(values[name])}" for name in sorted(constraint.names))
    return f"the constraint {constraint.text!r} does not hold for {used}"


def configuration_id(configuration: Configuration) -> str:
    """A short identity: equal for equal configurations, whatever the order of their keys."""
    text = json.dumps(dict(configuration), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def difference(configuration: Configuration, reference: Configuration) -> str:
    """What a configuration changes against another, for people: `partitions=8 method=copy`."""
    changed = [f"{name}={value}" for name, value in configuration.items() if reference.get(name) != value]
    return " ".join(changed) or "as control"
