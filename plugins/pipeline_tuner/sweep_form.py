"""The form that starts a sweep: its fields, for Airflow's trigger form and for the page. No I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, get_args

from pipeline_tuner.exceptions import StudyError
from pipeline_tuner.study import StrategyName, Study


class FieldKind(StrEnum):
    """What a field takes."""

    CHOICE = "choice"
    CHOICES = "choices"
    """One or more of them, in their order."""
    INTEGER = "integer"
    NUMBER = "number"


class FormError(StudyError):
    """A filled form that can't be taken: what is wrong with each field, by the field's name."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__("\n".join(problems.values()))
        self.problems = dict(problems)


SEARCH, BUDGET, REPRODUCIBILITY = "Search", "Budget", "Reproducibility"


@dataclass(frozen=True)
class FormField:
    """One field. `default` is valid; None where it may stay empty and is.

    `low` is the smallest number, or what a number must be above where it `excludes_low`.
    """

    name: str
    title: str
    help: str
    kind: FieldKind
    default: Any
    section: str = BUDGET
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    is_optional: bool = False
    excludes_low: bool = False


def strategies_of(study: Study) -> tuple[str, ...]:
    """The strategies that a sweep of the study may have, its own lists among them."""
    return (*(name for name in get_args(StrategyName) if name != "staged" or study.stages), *study.strategies)


def form_of(study: Study) -> tuple[FormField, ...]:
    """The study's budget and choices, in the order of the form."""
    return (*_search(study), *_budget(study), FormField(
        "seed", "Seed", "The same seed, the same plan.", FieldKind.INTEGER, 0, REPRODUCIBILITY, low=0
    ))  # fmt: skip


def _search(study: Study) -> Sequence[FormField]:
    sizes = study.workload.sizes
    return (
        FormField("strategy", "Strategy", "How the sweep chooses which configurations to measure.", FieldKind.CHOICE,
                  study.strategy, SEARCH, strategies_of(study)),
        FormField("goals", "Goals", "The first one leads the search; the others are read off the same trials.",
                  FieldKind.CHOICES, tuple(study.goals), SEARCH, tuple(study.goals)),
        FormField("size", "Workload size", ", ".join(f"{name}: {part:.0%} of the data" for name, part in sizes.items()),
                  FieldKind.CHOICE, study.workload.default_size, SEARCH, tuple(sizes)),
    )  # fmt: skip


def _budget(study: Study) -> Sequence[FormField]:
    budget = study.budget
    return (
        _integer("trials", "Trials", "At most this many, the confirmation's included.", budget.trials, 1, 1000),
        _integer("blocks", "Blocks", "Repeats of each candidate in the search. With fewer than 3, the confirmation "
                 "alone decides.", budget.blocks, 1, 30),
        _integer("rounds", "Rounds", "Rounds of planning; the study sets the most.", budget.rounds, 1, budget.rounds),
        _integer("confirm_blocks", "Confirmation blocks", "Fresh blocks for the finalists.",
                 budget.confirm_blocks, 0, 30),
        _integer("repeats", "Repeats", "Of the work inside one trial.", budget.repeats, 1, 100),
        FormField("min_work_s", "Seconds of work",
                  "That a trial measures at least: shorter work is repeated inside it. Empty: chosen from what a "
                  "trial costs and what its noise is made of.",
                  FieldKind.NUMBER, budget.min_work_s, low=0, is_optional=True),
        FormField("minutes", "Minutes", "No new round starts that would end later; only the least confirmation of an "
                  "answer may end later. Empty: no limit.", FieldKind.NUMBER, budget.minutes, low=0, is_optional=True,
                  excludes_low=True),
        FormField("cost", "Cost", "What all trials may cost together, in the unit of their metric or goal `cost`. "
                  "Empty: no limit.", FieldKind.NUMBER, budget.cost, low=0, is_optional=True, excludes_low=True),
        FormField("payback_runs", "Pays within runs", "Stop where more trials cost more time than they are expected to "
                  "save in so many runs; empty: use all trials.", FieldKind.INTEGER, budget.payback_runs, low=1,
                  is_optional=True),
    )  # fmt: skip


def _integer(name: str, title: str, words: str, default: int, low: int, high: int) -> FormField:
    return FormField(name, title, words, FieldKind.INTEGER, default, low=low, high=high)


def chosen_in(fields: Sequence[FormField], given: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """What a filled form chose, as a run's conf has it; a field that was left empty is left out.

    Raises FormError for every text that is no number within the field's bounds, or no choice of the field.
    """
    texts = {field: [text.strip() for text in given.get(field.name, ()) if text.strip()] for field in fields}
    filled = {field: found for field, found in texts.items() if found}
    problems = {field.name: words for field, found in filled.items() if (words := _problem(field, found))}
    if problems:
        raise FormError(problems)
    return {field.name: _value(field, found) for field, found in filled.items()}


def _problem(field: FormField, texts: Sequence[str]) -> str:
    """What is wrong with what was given for a field; empty where it can be taken."""
    if field.choices:
        is_known = set(texts) <= set(field.choices)
        return "" if is_known else f"{field.title}: {', '.join(texts)!r} is none of {', '.join(field.choices)}"
    try:
        value = float(_value(field, texts))
    except ValueError:
        return f"{field.title}: {texts[0]!r} is no {field.kind}"
    is_low = field.low is not None and (value <= field.low if field.excludes_low else value < field.low)
    is_high = field.high is not None and value > field.high
    if math.isfinite(value) and not is_low and not is_high:
        return ""
    return f"{field.title}: {texts[0]} is not {_bounds_of(field)}"


def _bounds_of(field: FormField) -> str:
    lowest = f"above {field.low:g}" if field.excludes_low else f"at least {field.low or 0:g}"
    return lowest if field.high is None else f"{lowest} and at most {field.high:g}"


def _value(field: FormField, texts: Sequence[str]) -> Any:
    if field.kind is FieldKind.CHOICES:
        return [choice for choice in field.choices if choice in texts]
    if field.kind is FieldKind.CHOICE:
        return texts[0]
    return int(texts[0]) if field.kind is FieldKind.INTEGER else float(texts[0])
