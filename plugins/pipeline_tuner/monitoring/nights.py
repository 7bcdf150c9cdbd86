"""The `nights` of a study file (challengers, blocks, minutes, tune, promote, notify, keep_days), and the
records of champions and alerts. No I/O.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, Literal

from pydantic import Field, model_validator

from pipeline_tuner.space import Configuration, Flag, Frozen, Real, Scalar, Whole

NIGHTLY = "nightly"
"""The strategy of scheduled runs."""


class Notify(Frozen):
    """Whom to call when a night has alerts: a function, or an Airflow notifier's class with its arguments."""

    call: str = Field(pattern=r"^[A-Za-z_][\w.]*\.[A-Za-z_]\w*$")
    """`package.module.name`. A function is called with `message`, `alerts` and the task's `context`; a notifier finds
    `message` and `alerts` in its templates."""
    arguments: dict[str, Any] = {}


TUNE_WORDS: dict[str, dict[str, Any]] = {"nightly": {"every": 1}, "weekly": {"days": 7}, "monthly": {"days": 30}}
SLACK = timedelta(hours=12)
"""A week after a sweep of the afternoon is the night before or the night after: a night in seven, not in eight."""


class Tune(Frozen):
    """Which nights are a whole sweep, with the study's own strategy, rather than a watch over production."""

    every: int | None = Field(default=None, ge=1)
    """Each night that comes so many nights after the last whole sweep, whoever started that."""
    days: int | None = Field(default=None, ge=1)
    """Each night that comes so many days after it, to half a day: of a weekly schedule, every night with 7."""
    after: tuple[Literal["change", "expiry"], ...] = ()
    """`change`: since the last whole sweep a night confirmed a change, a loss or another machine. `expiry`: what
    production follows expires before the next night would, or has expired."""

    @model_validator(mode="after")
    def _names_a_night(self) -> Tune:
        if self.every is None and self.days is None and not self.after:
            raise ValueError(
                "name the nights: weekly, a number of nights as 'every' or of days as 'days', or 'after' with change "
                "or expiry"
            )
        return self


class TuningReason(StrEnum):
    """Why a night is a whole sweep."""

    FIRST = "first"
    DUE = "due"
    CHANGE = "change"
    EXPIRY = "expiry"


@dataclass(frozen=True)
class PastNights:
    """What decides whether a night is a whole sweep."""

    since_tuning: int | None
    """Nights since the last whole sweep, tonight included; None where there was none."""
    age: timedelta = timedelta()
    """How long before tonight that sweep was."""
    has_changed: bool = False
    """Whether a night since then confirmed a change, a loss or another machine."""
    expires: bool = False
    """Whether a recommendation that production follows will have expired by the next night."""
    has_failed: bool = False
    """Whether the night before was a whole sweep and failed."""


def tuning_reason(tune: Tune | None, past: PastNights) -> TuningReason | None:
    """Why tonight is a whole sweep; None where it only watches."""
    if tune is None:
        return None
    if past.since_tuning is None:
        return TuningReason.FIRST
    if past.has_failed:  # it is tried again on the night after this one: production stays watched
        return None
    if tune.every is not None and past.since_tuning >= tune.every:
        return TuningReason.DUE
    if tune.days is not None and past.age >= timedelta(days=tune.days) - SLACK:
        return TuningReason.DUE
    if "change" in tune.after and past.has_changed:
        return TuningReason.CHANGE
    return TuningReason.EXPIRY if "expiry" in tune.after and past.expires else None


class Nights(Frozen):
    """What a scheduled run of the study does. Its `schedule` says when."""

    goals: tuple[str, ...] = ()
    """The goals to watch; all by default."""
    challengers: Whole = Field(default=2, ge=0, le=20)
    """Configurations beside the control and what production runs with: the best known one, and the one that was not
    looked at for longest, in turn."""
    blocks: Whole = Field(default=3, ge=1, le=30)
    confirm_blocks: Whole = Field(default=5, ge=0, le=30)
    """Fresh blocks where the first ones point at alerts; none on a quiet night."""
    minutes: Real = Field(default=30, gt=0)
    """What a night may take: fewer challengers, then fewer blocks are measured where it would take longer."""
    latest_start_hours: Real = Field(default=4, gt=0)
    """A night that can't start within this time is missed: it would measure beside the day's work."""
    tune: Tune | None = None
    """Which nights are whole sweeps, within `minutes`; none by default. `weekly` is short for `days: 7`."""
    promote: Flag = False
    """Whether a night may promote what it confirmed to be better, and roll back what it confirmed to be worse."""
    notify: Notify | None = None
    """By default the option `notify` in `[pipeline_tuner]` of Airflow's configuration."""
    keep_days: Whole | None = Field(default=400, ge=1)
    """Sweeps and production runs are removed when they are older, except what production follows; null keeps all.
    The values of the nights stay."""

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, values: Any) -> Any:
        """`notify: package.module.function` is short for a call without arguments, `tune: weekly` for seven days."""
        if not isinstance(values, dict):
            return values
        if isinstance(values.get("notify"), str):
            values = {**values, "notify": {"call": values["notify"]}}
        if isinstance(values.get("tune"), str) and values["tune"] in TUNE_WORDS:
            values = {**values, "tune": TUNE_WORDS[values["tune"]]}
        return values


class Champion(Frozen):
    """What production ran with for a goal when the night began."""

    label: str
    configuration: dict[str, Scalar]
    source: str
    """promoted, recommended or fallback."""


AlertKind = Literal["promoted", "rolled_back", "withdrawn", "better", "worse", "change", "machine"]


@dataclass(frozen=True)
class Alert:
    """One thing that a night confirmed, for one goal (or for the whole study: no goal)."""

    kind: AlertKind
    words: str
    goal: str = ""
    promotes: tuple[str, Configuration] | None = None
    """Label and configuration that production is to run with from now on."""
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class NightValue:
    """One configuration's median value for one goal in one night."""

    goal: str
    label: str
    configuration_id: str
    role: Literal["champion", "control", "challenger"]
    value: float
    trials: int
