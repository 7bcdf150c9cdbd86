"""The study: the whole of a study file, read and validated; its presets, control and goals."""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from pipeline_tuner.claim import Claim, with_present_keys, without_elsewhere
from pipeline_tuner.exceptions import ConfigurationError, StudyError
from pipeline_tuner.monitoring.nights import Nights
from pipeline_tuner.problems import Problem, problems_of, refuse, shown
from pipeline_tuner.space import (
    FORMER_TYPES,
    ExpressionText,
    Level,
    Parameter,
    Real,
    Space,
)
from pipeline_tuner.study_check import Parts, StrategyName, mapping, misfits, oddities
from pipeline_tuner.study_parts import Budget, Goal, Runner, Workload
from pipeline_tuner.study_yaml import read_text, read_yaml
from pipeline_tuner.trial import Candidate


def _entry(value: Any) -> Any:
    if not isinstance(value, str | Mapping):
        raise ValueError(f"is {shown(value)}, must be a preset's name, or parameters with values")
    return value


Entry = Annotated[dict[str, Level] | str, BeforeValidator(_entry)]


def _name(text: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", text):
        raise ValueError(f"is {text!r}, must be up to 63 lower-case letters, digits and _, a letter first")
    return text


class Study(BaseModel):
    """A validated study. Build it with `load_study` or `parse_study`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    study: Annotated[str, AfterValidator(_name)]
    job: str
    description: str = ""
    owner: str = "data-engineering"
    tags: tuple[str, ...] = ()
    runner: Runner = Runner()
    workload: Workload
    space: Space
    presets: dict[str, dict[str, Level]] = Field(min_length=1)
    control: str
    """The preset that is repeated in every block."""
    fallback: str | None = None
    """The preset that production runs with where there is no valid recommendation; the control by default."""
    goals: dict[str, Goal] = Field(min_length=1)
    prefer: ExpressionText | None = None
    """Among tied configurations, the one for which this expression is smallest is picked."""
    strategy: StrategyName = "adaptive"
    strategies: dict[str, tuple[Entry, ...]] = {}
    """Named lists of configurations, or of presets' names, that reproduce a documented experiment."""
    stages: dict[str, tuple[str, ...]] = {}
    """For the staged strategy: names of stages in order, and the parameters that each may change."""
    budget: Budget = Budget()
    schedule: str | None = None
    """When the nights are, as cron (`0 1 * * *`, UTC): a scheduled run is a night, any other run a whole sweep."""
    nights: Nights = Nights()
    prices: dict[str, Real] = {}
    claims: tuple[Claim, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _has_what_its_runner_has(cls, values: Any) -> Any:
        """Leave out the parameters of other runners, so that no search spends a trial on them."""
        return _of_its_runner(values)

    @model_validator(mode="after")
    def _parts_fit(self) -> Study:
        refuse(misfits(Parts(self.model_dump(), self.space.parameters, self.space)))
        return self

    def preset(self, name: str) -> Candidate:
        """A preset as a whole configuration. Raises ConfigurationError naming those that exist."""
        if name not in self.presets:
            raise ConfigurationError(f"preset {name!r} does not exist; there are {', '.join(self.presets)}")
        return Candidate(name, self.space.checked(self.presets[name]))

    @property
    def control_candidate(self) -> Candidate:
        """The configuration repeated in every block."""
        return self.preset(self.control)

    @property
    def preset_candidates(self) -> tuple[Candidate, ...]:
        """Every preset, the control first."""
        names = [self.control, *(name for name in self.presets if name != self.control)]
        return tuple(self.preset(name) for name in names)


def stored_study(definition: Mapping[str, Any]) -> Study:
    """A study as a sweep stored it, whatever its types were called then. Raises pydantic's ValidationError."""
    try:
        space = definition["space"]
        parameters = {name: _with_present_type(parameter) for name, parameter in space["parameters"].items()}
    except (AttributeError, KeyError, TypeError):
        return Study.model_validate(definition)  # no study: what is missing is named there
    claims = [with_present_keys(claim) for claim in definition.get("claims", ())]
    return Study.model_validate({**definition, "space": {**space, "parameters": parameters}, "claims": claims})


def _with_present_type(parameter: Mapping[str, Any]) -> Mapping[str, Any]:
    kind = parameter["type"]
    values = {"values": [False, True]} if kind == "boolean" else {}
    return {**parameter, **values, "type": FORMER_TYPES.get(kind, kind)}


def _of_its_runner(values: Any) -> Any:
    try:
        return _for_runner(values, values.get("runner", {}).get("kind", "spark_submit"))
    except (AttributeError, KeyError, TypeError):
        return values  # something of the wrong type, which the fields' own checks name


def _for_runner(values: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """The values without other runners' parameters: presets lose them, named lists that set one are left out."""
    parameters = values["space"]["parameters"]
    foreign = {name for name, p in parameters.items() if p.get("runners") and kind not in p["runners"]}
    if not foreign:
        return values
    return {
        **values,
        "space": {**values["space"], "parameters": _without(foreign, parameters)},
        "presets": {name: _without(foreign, preset) for name, preset in values["presets"].items()},
        "strategies": {
            name: partials
            for name, partials in values.get("strategies", {}).items()
            if not any(foreign & set(partial) for partial in partials if isinstance(partial, Mapping))
        },
        "claims": without_elsewhere(values.get("claims", ()), foreign),
    }


def _without(names: Set[str], values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


def parse_study(text: str, *, source: str = "study") -> Study:
    """A study from YAML text. Raises StudyError with a line for each problem: source, line, key, what is right."""
    document = read_yaml(text, source=source)
    if not isinstance(document.values, dict):
        raise StudyError(f"{source} must be a mapping with the keys {', '.join(Study.model_fields)}")
    problems = dict.fromkeys((*document.problems, *study_problems(document.values)))
    if problems:
        placed = sorted((document.line(one.path), one) for one in problems)
        raise StudyError("\n".join(f"{source}:{line}: {one}" for line, one in placed))
    return Study.model_validate(document.values)


def study_problems(values: Mapping[str, Any]) -> list[Problem]:
    """All that is wrong with a study's values; a part that is wrong hides none of the others' problems."""
    own = _of_its_runner(values)
    found = [*misfits(_parts(own)), *oddities(_parts(own))]
    try:
        Study.model_validate(own)
    except ValidationError as error:
        known = set(found)
        # What the whole study's validator says was said by `misfits` already, and in this place without its path.
        found = [*(one for one in problems_of(error, Study, own) if one not in known), *found]
    return found


def _parts(values: Mapping[str, Any]) -> Parts:
    written = mapping(mapping(values.get("space")).get("parameters"))
    parameters = {name: parameter for name, one in written.items() if (parameter := _valid(Parameter, one))}
    return Parts(
        values,
        parameters,
        _valid(Space, values.get("space")),
        runner=_valid(Runner, values.get("runner", {})),
        workload=_valid(Workload, values.get("workload")),
        goals={name: goal for name, one in mapping(values.get("goals")).items() if (goal := _valid(Goal, one))},
    )


Part = TypeVar("Part", bound=BaseModel)


def _valid(model: type[Part], value: Any) -> Part | None:
    try:
        return model.model_validate(value)
    except ValidationError:
        return None


def load_study(path: Path) -> Study:
    """The study in a YAML file. Raises StudyError, with the file's name, where it is missing or wrong."""
    return parse_study(read_text(path), source=path.name)
