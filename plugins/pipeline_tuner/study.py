"""The study: one YAML file that says which job, which knobs, what "best" means and what it may cost."""

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
from pipeline_tuner.expression import Expression
from pipeline_tuner.monitoring.nights import Nights
from pipeline_tuner.problems import Problem, problems_of, refuse, shown
from pipeline_tuner.space import (
    FORMER_TYPES,
    ExpressionText,
    Flag,
    Frozen,
    Level,
    Parameter,
    Real,
    RunnerKind,
    Space,
    Whole,
)
from pipeline_tuner.study_check import Parts, StrategyName, mapping, misfits, oddities
from pipeline_tuner.study_yaml import read_text, read_yaml
from pipeline_tuner.trial import Candidate


class Goal(Frozen):
    """What "best" means: one expression over metrics, prices and parameters, or several goals balanced."""

    maximize: ExpressionText | None = None
    minimize: ExpressionText | None = None
    balance: tuple[str, ...] = ()
    """Names of other goals, weighed equally as ratios to the control."""
    unit: str = ""
    constraints: tuple[ExpressionText, ...] = ()
    """What a configuration must hold to be recommended: `memory_peak_fraction < 0.8`."""
    help: str = ""

    @model_validator(mode="after")
    def _says_one_thing(self) -> Goal:
        if sum(map(bool, (self.maximize, self.minimize, self.balance))) != 1:
            raise ValueError("give exactly one of 'maximize', 'minimize' and 'balance'")
        return self

    @property
    def expression(self) -> Expression | None:
        """The figure that the goal is about; None for a balanced goal."""
        text = self.maximize or self.minimize
        return Expression(text) if text else None


class Budget(Frozen):
    """What a sweep may cost, and how sure it has to be."""

    trials: Whole = Field(default=40, ge=1, le=1000)
    blocks: Whole = Field(default=3, ge=1, le=30)
    """Blocks that every surviving candidate is measured in before anything is said; below 3 the answer abstains."""
    rounds: Whole = Field(default=3, ge=1, le=20)
    batch: Whole = Field(default=8, ge=1, le=100)
    """New configurations a round."""
    confirm_blocks: Whole = Field(default=5, ge=0, le=30)
    minutes: Real | None = Field(default=None, gt=0)
    cost: Real | None = Field(default=None, gt=0)
    """What a sweep's trials may cost together, in the unit of their metric `cost`, or else of the study's goal `cost`.
    A sweep that can't be had for it is shortened or refused before it starts, and no trial starts beyond it."""
    indifference: Real = Field(default=0.05, gt=0, lt=1)
    """Differences below this fraction don't matter to the user."""
    confidence: Real = Field(default=0.95, ge=0.5, lt=1)
    payback_runs: Whole | None = Field(default=None, ge=1)
    """Runs in production that a sweep should have paid for itself in: it stops where the next trials cost more time
    than they are expected to save in so many runs. By default it uses its whole budget."""
    trial_timeout_s: Real = Field(default=900, gt=0)
    repeats: Whole = Field(default=1, ge=1, le=100)
    """Repeats of the work inside a trial's process, after the warm-up."""
    min_work_s: Real | None = Field(default=0.0, ge=0, le=3600)
    """Seconds of work that a trial measures at least: shorter work is repeated in the same process, up to 100 times,
    and its values are the medians. `null`: chosen from what a trial costs and what its noise is made of."""
    warmups: Whole = Field(default=1, ge=0, le=10)


class Workload(Frozen):
    """The data that trials run on. `options` go to the job as they are."""

    name: str
    sizes: dict[str, Real] = {"full": 1.0}
    """Named fractions of the workload that a sweep can run on."""
    default_size: str = "full"
    screening: str | None = None
    """A smaller size that is believed to rank configurations as the whole does. The adaptive search then explores on
    it, checks the belief on configurations measured at both sizes, and drops it where they disagree; finalists run in
    full."""
    options: dict[str, Any] = {}
    help: str = ""

    @model_validator(mode="after")
    def _default_exists(self) -> Workload:
        named = {"default_size": self.default_size, "screening": self.screening or self.default_size}
        refuse(
            Problem((key,), f"is {size!r}, must be one of {', '.join(self.sizes)}")
            for key, size in named.items()
            if size not in self.sizes
        )
        return self


class Runner(Frozen):
    """How a trial is run: a plain process, spark-submit through an Airflow connection, Glue, or an Airflow operator."""

    kind: RunnerKind = "spark_submit"
    conn_id: str | None = None
    warm: Flag = False
    """Keep the job's process between trials (Spark's JVM with it; each trial gets a Spark context of its own): many
    short trials, one machine. Not with `command` and not on Glue."""
    command: tuple[str, ...] = ()
    """For a job of one's own: the program and its arguments; `{config}` and `{measurement}` are filled in."""
    connections: dict[str, str] = {}
    """Roles of the job (`source`, `target`) and the Airflow connections that fill them."""
    operator: str | None = None
    """For `kind: operator`: the operator's class, `airflow.providers.standard.operators.bash.BashOperator` ..."""
    arguments: dict[str, Any] = {}
    """... and its arguments, templates among them; parameters say in `sets` which of them they set."""
    options: dict[str, Any] = {}
    concurrent: Whole = Field(default=1, ge=1, le=64)
    """Trials that run side by side: only where they share no machine (Glue, an operator whose work is elsewhere)."""

    @property
    def environment(self) -> str:
        """Where trials run that share no machine: at most `concurrent` at a time there, whatever study they are of."""
        places = [str(value) for name, value in sorted(self.arguments.items()) if name.endswith("conn_id")]
        return " ".join([self.kind, *([self.operator] if self.operator else []), self.conn_id or "", *places]).strip()


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
