"""The study: one YAML file that says which job, which knobs, what "best" means and what it may cost."""

from __future__ import annotations

from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pipeline_tuner.claim import Claim, with_present_keys
from pipeline_tuner.exceptions import ConfigurationError, StudyError
from pipeline_tuner.expression import Expression
from pipeline_tuner.measurement import first_problem
from pipeline_tuner.nights import Nights
from pipeline_tuner.space import FORMER_TYPES, Configuration, ExpressionText, Frozen, Scalar, Space
from pipeline_tuner.trial import Candidate

StrategyName = Literal["adaptive", "presets", "one_at_a_time", "grid", "sobol", "staged", "nightly"]


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

    trials: int = Field(default=40, ge=1, le=1000)
    blocks: int = Field(default=3, ge=1, le=30)
    """Blocks that every surviving candidate is measured in before anything is said; below 3 the answer abstains."""
    rounds: int = Field(default=3, ge=1, le=20)
    batch: int = Field(default=8, ge=1, le=100)
    """New configurations a round."""
    confirm_blocks: int = Field(default=5, ge=0, le=30)
    minutes: float | None = Field(default=None, gt=0)
    indifference: float = Field(default=0.05, gt=0, lt=1)
    """Differences below this fraction don't matter to the user."""
    confidence: float = Field(default=0.95, ge=0.5, lt=1)
    payback_runs: int | None = Field(default=None, ge=1)
    """Runs in production that a sweep should have paid for itself in: it stops where the next trials cost more time
    than they are expected to save in so many runs. By default it uses its whole budget."""
    trial_timeout_s: float = Field(default=900, gt=0)
    repeats: int = Field(default=1, ge=1, le=100)
    """Repeats of the work inside a trial's process, after the warm-up."""
    min_work_s: float = Field(default=0.0, ge=0, le=3600)
    """Seconds of work that a trial measures at least: shorter work is repeated in the same process, up to 100 times,
    and its figures are the medians. A trial of half a second is mostly noise; one of ten isn't worth a repeat."""
    warmups: int = Field(default=1, ge=0, le=10)


class Workload(Frozen):
    """The data that trials run on. `options` go to the job as they are."""

    name: str
    sizes: dict[str, float] = {"full": 1.0}
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
        if self.default_size not in self.sizes:
            raise ValueError(f"'default_size' is {self.default_size!r}, must be one of {', '.join(self.sizes)}")
        if self.screening is not None and self.screening not in self.sizes:
            raise ValueError(f"'screening' is {self.screening!r}, must be one of {', '.join(self.sizes)}")
        return self


class Runner(Frozen):
    """How a trial is run: a plain process, spark-submit through an Airflow connection, or Glue."""

    kind: Literal["process", "spark_submit", "glue"] = "spark_submit"
    conn_id: str | None = None
    warm: bool = False
    """Keep the job's process between trials (Spark's JVM with it; each trial gets a Spark context of its own): many
    short trials, one machine. Not with `command` and not on Glue."""
    command: tuple[str, ...] = ()
    """For a job of one's own: the program and its arguments; `{config}` and `{measurement}` are filled in."""
    connections: dict[str, str] = {}
    """Roles of the job (`source`, `target`) and the Airflow connections that fill them."""
    options: dict[str, Any] = {}


class Study(BaseModel):
    """A validated study. Build it with `load_study` or `parse_study`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    study: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    job: str
    description: str = ""
    owner: str = "data-engineering"
    tags: tuple[str, ...] = ()
    runner: Runner = Runner()
    workload: Workload
    space: Space
    presets: dict[str, dict[str, Scalar]] = {}
    control: str
    """The preset that is repeated in every block."""
    fallback: str | None = None
    """The preset that production runs with where there is no valid recommendation; the control by default."""
    goals: dict[str, Goal] = Field(min_length=1)
    prefer: ExpressionText | None = None
    """Among tied configurations, the one for which this expression is smallest is picked."""
    strategy: StrategyName = "adaptive"
    strategies: dict[str, tuple[dict[str, Scalar] | str, ...]] = {}
    """Named lists of configurations, or of presets' names, that reproduce a documented experiment."""
    stages: dict[str, tuple[str, ...]] = {}
    """For the staged strategy: names of stages in order, and the parameters that each may change."""
    budget: Budget = Budget()
    schedule: str | None = None
    """When the nights are, as cron (`0 1 * * *`, UTC): a scheduled run is a night, any other run a whole sweep."""
    nights: Nights = Nights()
    prices: dict[str, float] = {}
    claims: tuple[Claim, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _has_what_its_runner_has(cls, values: Any) -> Any:
        """Leave out the parameters of other runners, so that no search spends a trial on them."""
        try:
            return _for_runner(values, values.get("runner", {}).get("kind", "spark_submit"))
        except (AttributeError, KeyError, TypeError):
            return values  # something of the wrong type, which the fields' own checks name

    @field_validator("presets")
    @classmethod
    def _has_presets(cls, presets: dict[str, dict[str, Scalar]]) -> dict[str, dict[str, Scalar]]:
        if not presets:
            raise ValueError("needs at least one preset, to be the control")
        return presets

    @model_validator(mode="after")
    def _parts_fit(self) -> Study:
        for key, preset in (("control", self.control), ("fallback", self.fallback or self.control)):
            if preset not in self.presets:
                raise ValueError(f"{key}: is {preset!r}, must be a preset: {', '.join(self.presets)}")
        for name, partial in self.presets.items():
            _checked(self.space, f"presets.{name}", partial)
        for name, entries in self.strategies.items():
            for entry in entries:
                self._check_entry(f"strategies.{name}", entry)
        for name, goal in self.goals.items():
            unknown = set(goal.balance) - set(self.goals)
            if unknown:
                raise ValueError(f"goals.{name}.balance: {', '.join(sorted(unknown))} is no goal of this study")
        strangers = set(self.nights.goals) - set(self.goals)
        if strangers:
            raise ValueError(f"nights.goals: {', '.join(sorted(strangers))} is no goal of this study")
        return self

    def _check_entry(self, key: str, entry: Configuration | str) -> None:
        if not isinstance(entry, str):
            _checked(self.space, key, entry)
        elif entry not in self.presets:
            raise ValueError(f"{key}: {entry!r} is no preset; there are {', '.join(self.presets)}")

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
            if not any(foreign & set(partial) for partial in partials)
        },
    }


def _without(names: Set[str], values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


def _checked(space: Space, key: str, partial: Configuration) -> None:
    try:
        space.checked(partial)
    except ConfigurationError as error:
        raise ValueError(f"{key}: {error}") from None


def parse_study(text: str, *, source: str = "study") -> Study:
    """A study from YAML text. Raises StudyError naming source, key, value and what would be right."""
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise StudyError(f"{source} is not YAML: {error}") from None
    if not isinstance(values, dict):
        raise StudyError(f"{source} must be a mapping with the keys {', '.join(Study.model_fields)}")
    try:
        return Study.model_validate(values)
    except ValidationError as error:
        raise StudyError(f"{source}: {_described(error)}") from None


def _described(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    given = problem["input"]
    shown = f" (is {given!r})" if problem["type"] != "missing" and not isinstance(given, dict | list) else ""
    if problem["type"] == "extra_forbidden":
        return f"{'.'.join(map(str, problem['loc']))}: no such key; is it misspelt or in the wrong place?"
    return first_problem(error).replace("Value error, ", "") + shown


def load_study(path: Path) -> Study:
    """The study in a YAML file. Raises StudyError, with the file's name, where it is missing or wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise StudyError(f"{path} can't be read: {error.strerror}") from None
    return parse_study(text, source=path.name)
