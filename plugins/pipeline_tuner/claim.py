"""A claim in a study file: a documented value or advice, with its size and where it was measured. No I/O."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, model_validator

from pipeline_tuner.space import ExpressionText, Flag, Frozen, Level

_NUMBER = r"\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})?\.\.({_NUMBER})?")
_PERCENT = re.compile(rf"({_NUMBER})\s*%")


@dataclass(frozen=True)
class Range:
    """From `low` to `high`, both included; one number where they are equal. A missing bound is 0 or infinity."""

    low: float
    high: float

    @classmethod
    def parsed(cls, value: Any) -> Range:
        """A range from `low..high`, `low..`, `..high` or one number. Raises ValueError saying what is right."""
        if isinstance(value, Range):
            return value
        bounds = _bounds(value)
        if bounds is None or not 0 <= bounds[0] <= bounds[1] or math.isinf(bounds[0]):
            raise ValueError(f"is {value!r}, must be a number or `low..high` (`1.2..1.5`, `2..`, `..1.1`)")
        return cls(*bounds)

    @property
    def is_number(self) -> bool:
        """Whether it is one number, as a document prints it."""
        return self.low == self.high

    def widened(self, indifference: float) -> Range:
        """A number with the fraction around it that doesn't matter; a range says itself how wide it is."""
        zone = 1 + indifference
        return Range(self.low / zone, self.high * zone) if self.is_number else self

    def __str__(self) -> str:
        if self.is_number:
            return f"{self.low:.12g}"
        low = f"{self.low:.12g}" if self.low else ""
        return f"{low}..{'' if math.isinf(self.high) else f'{self.high:.12g}'}"


def _bounds(value: Any) -> tuple[float, float] | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value), float(value)
    found = _RANGE.fullmatch(str(value).replace(" ", "")) if isinstance(value, str) else None
    if found is None or not (found[1] or found[2]):
        number = re.fullmatch(_NUMBER, value) if isinstance(value, str) else None
        return (float(value), float(value)) if number else None
    return float(found[1] or 0), float(found[2] or math.inf)


def _fraction(value: Any) -> Any:
    """`5%` as 0.05."""
    found = _PERCENT.fullmatch(value.strip()) if isinstance(value, str) else None
    number = float(found[1]) / 100 if found else value
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < 1:
        raise ValueError(f"is {value!r}, must be a percentage between 0% and 100% (`5%`)")
    return number


RangeText = Annotated[Range, BeforeValidator(Range.parsed), PlainSerializer(str)]


class Claim(Frozen):
    """A value or a piece of advice from a document, to hold against what is measured.

    Advice is `better` over `worse`, with its size (`ratio` or `equal_within`) or without: then only its direction is
    judged. A value is a `metric` with its `value`.
    """

    source: str
    text: str
    better: dict[str, Level] = {}
    """The configuration (part) that the document prefers ..."""
    worse: dict[str, Level] = {}
    """... over this one."""
    metric: ExpressionText | None = None
    """What is compared; the sweep's first goal by default. Larger is better for a rate (`_per_s`) and as the study's
    goals say, smaller is better for all else."""
    ratio: RangeText | None = None
    """How many times better: `1.4..1.6` is between, `2..` at least, and `1.48` within the study's `indifference`."""
    equal_within: Annotated[float, BeforeValidator(_fraction)] | None = None
    """The two don't differ by more than this: `5%`."""
    value: RangeText | None = None
    """The value that the document gives, in the unit of the metric: a number, or `low..high`."""
    comparable: Flag = True
    """False where the document's machine or data can't be compared; `note` says why."""
    note: str = ""

    @model_validator(mode="after")
    def _says_one_thing(self) -> Claim:
        if self.ratio is not None and self.equal_within is not None:
            raise ValueError("give one of 'ratio' and 'equal_within'")
        if (self.ratio or self.equal_within) and not (self.better and self.worse):
            raise ValueError("a ratio is of two configurations: give 'better' and 'worse'")
        if self.ratio is not None and self.ratio.high < 1:
            raise ValueError(f"'ratio' is {self.ratio}: below 1 the other one is better, so swap 'better' and 'worse'")
        if self.value is not None and (self.metric is None or self.worse):
            raise ValueError("'value' is of one configuration: give its 'metric' and no 'worse'")
        return self

    @property
    def is_advice(self) -> bool:
        """Whether it prefers one configuration to another."""
        return bool(self.better and self.worse)

    @property
    def is_value(self) -> bool:
        """Whether it gives a value."""
        return self.metric is not None and self.value is not None


def without_elsewhere(claims: Sequence[Any], foreign: Set[str]) -> list[Any]:
    """The claims as they are written; one that sets another runner's parameters can't be compared, and says so."""
    return [_elsewhere(claim, foreign) if isinstance(claim, Mapping) else claim for claim in claims]


def _elsewhere(claim: Mapping[str, Any], foreign: Set[str]) -> Mapping[str, Any]:
    named = [name for key in ("better", "worse") for name in claim.get(key) or {} if name in foreign]
    if not named:
        return claim
    note = f"{', '.join(dict.fromkeys(named))} is for another runner than this study's"
    return {"source": claim["source"], "text": claim["text"], "comparable": False, "note": note}


def with_present_keys(claim: dict[str, Any]) -> dict[str, Any]:
    """A stored claim as its sweep wrote it: before 0.1 a value's upper bound was the key `high`."""
    high = claim.get("high")
    values = {key: value for key, value in claim.items() if key != "high"}
    return {**values, "value": f"{values['value']}..{high}"} if high is not None else values
