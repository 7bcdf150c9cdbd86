"""The parts of a study file: `goals`, `budget` (trials, blocks, confirm_blocks, minutes, cost, confidence,
...), `workload` and `runner`, with their keys and defaults. No I/O.
"""

from __future__ import annotations

from typing import Any

from pydantic import (
    Field,
    model_validator,
)

from pipeline_tuner.expression import Expression, parsed
from pipeline_tuner.problems import Problem, refuse
from pipeline_tuner.space import (
    ExpressionText,
    Flag,
    Frozen,
    Real,
    RunnerKind,
    Whole,
)

MINUTES_OF_A_YEAR = 525_600
"""No time of a study is longer: a number beyond what clocks take is a slip."""


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
        """The metric or expression that the goal is about; None for a balanced goal."""
        text = self.maximize or self.minimize
        return parsed(text) if text else None


class Budget(Frozen):
    """What a sweep may cost, and how sure it has to be."""

    trials: Whole = Field(default=40, ge=1, le=1000)
    blocks: Whole = Field(default=3, ge=1, le=30)
    """Blocks that every surviving candidate is measured in at least. The search names a best one from 3 on; with fewer,
    the confirmation alone decides."""
    rounds: Whole = Field(default=3, ge=1, le=20)
    batch: Whole = Field(default=8, ge=1, le=100)
    """New configurations a round."""
    confirm_blocks: Whole = Field(default=5, ge=0, le=30)
    minutes: Real | None = Field(default=None, gt=0, le=MINUTES_OF_A_YEAR)
    cost: Real | None = Field(default=None, gt=0)
    """What a sweep's trials may cost together, in the unit of their metric `cost`, or else of the study's goal `cost`.
    A sweep that can't be had for it is shortened or refused before it starts, and no trial starts beyond it."""
    indifference: Real = Field(default=0.05, gt=0, lt=1)
    """Differences below this fraction don't matter to the user."""
    confidence: Real = Field(default=0.95, ge=0.5, lt=1)
    payback_runs: Whole | None = Field(default=None, ge=1)
    """Runs in production that a sweep should have paid for itself in: it stops where the next trials cost more time
    than they are expected to save in so many runs. By default it uses its whole budget."""
    trial_timeout_s: Real = Field(default=900, gt=0, le=60 * MINUTES_OF_A_YEAR)
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
