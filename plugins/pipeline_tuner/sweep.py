"""The options of a sweep (`SweepOptions`): the study's budget and strategy, as changed by the trigger form. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError

from pipeline_tuner.exceptions import StudyError
from pipeline_tuner.monitoring.nights import NIGHTLY, Champion
from pipeline_tuner.problems import problems_of
from pipeline_tuner.space import Frozen, configuration_id
from pipeline_tuner.study import Budget, Study


class SweepOptions(Frozen):
    """One sweep's choices. Everything that planning and recommending read beside the study and the results."""

    sweep_id: str
    strategy: str
    """A strategy's name, or the name of one of the study's own lists in `strategies`."""
    goals: tuple[str, ...] = Field(min_length=1)
    size: str
    """The workload's size, one of the study's `workload.sizes`."""
    seed: int = 0
    budget: Budget
    champions: dict[str, Champion] = {}
    """What production ran with for each goal when the sweep began."""
    prepared_cost: float | None = None
    """What the run before the trials cost: before the first of them it is all that is known."""

    @property
    def is_night(self) -> bool:
        """Whether this sweep watches over production rather than searches."""
        return self.strategy == NIGHTLY

    @property
    def primary_goal(self) -> str:
        """The goal that search follows; the others are read off the same trials."""
        return self.goals[0]


def sweep_options(study: Study, sweep_id: str, chosen: Mapping[str, Any] | None = None) -> SweepOptions:
    """The study's defaults with what was chosen in the trigger form; empty choices keep the default.

    Raises StudyError naming the option, its value and what would be right.
    """
    given = {key: value for key, value in (chosen or {}).items() if value not in (None, "", [])}
    budget_keys = set(Budget.model_fields)
    unknown = set(given) - budget_keys - {"strategy", "goals", "size", "seed"}
    if unknown:
        raise StudyError(f"option {', '.join(sorted(unknown))}: no such option")
    _refuse(study, given, "goals", study.goals)
    _refuse(study, given, "size", study.workload.sizes)
    changed = study.budget.model_dump() | {key: value for key, value in given.items() if key in budget_keys}
    try:
        return SweepOptions(
            sweep_id=sweep_id,
            strategy=given.get("strategy", study.strategy),
            goals=tuple(given.get("goals", study.goals)),
            size=given.get("size", study.workload.default_size),
            seed=given.get("seed", 0),
            budget=Budget.model_validate(changed),
        )
    except ValidationError as error:
        found = problems_of(error, Budget, changed | given)
        raise StudyError("\n".join(f"option {problem}" for problem in found)) from None


def _refuse(study: Study, given: Mapping[str, Any], key: str, known: Mapping[str, Any]) -> None:
    values = given.get(key, ())
    for value in [values] if isinstance(values, str) else values:
        if value not in known:
            raise StudyError(f"option {key} is {value!r}, study {study.study} has {', '.join(known)}")


def night_options(study: Study, sweep_id: str, champions: Mapping[str, Champion]) -> SweepOptions:
    """A night's options: the study's `nights`, with room for the control, the champions and the challengers."""
    nights, goals = study.nights, study.nights.goals or tuple(study.goals)
    watched = {goal: champions[goal] for goal in goals if goal in champions}
    members = {configuration_id(champion.configuration) for champion in watched.values()}
    count = len(members | {study.control_candidate.configuration_id}) + nights.challengers
    changes = {
        "trials": min(count * (nights.blocks + nights.confirm_blocks), 1000),
        "rounds": 1,
        "blocks": nights.blocks,
        "confirm_blocks": nights.confirm_blocks,
        "minutes": nights.minutes,
    }
    return SweepOptions(
        sweep_id=sweep_id,
        strategy=NIGHTLY,
        goals=goals,
        size=study.workload.default_size,
        budget=study.budget.model_copy(update=changes),
        champions=watched,
    )


def tuning_night_options(study: Study, sweep_id: str, champions: Mapping[str, Champion]) -> SweepOptions:
    """A whole sweep's options within a night's minutes: the study's own strategy and goals."""
    minutes = min(study.nights.minutes, study.budget.minutes or study.nights.minutes)
    return sweep_options(study, sweep_id, {"minutes": minutes}).model_copy(update={"champions": dict(champions)})
