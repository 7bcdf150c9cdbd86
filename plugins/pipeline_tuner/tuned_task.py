"""`tuned(...)`: the keyword that lets a task of any operator run with what its study recommends, and its arguments.

Importing this module and calling `tuned` reads nothing and connects to nothing: a DAG's parse pays for neither.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

log = logging.getLogger(__name__)

MAX_EXPLORED = 0.5
Hook = Callable[..., None]


@dataclass(frozen=True)
class TunedTask:
    """The two hooks that `tuned` hands to an operator. Nothing that goes wrong in them fails the task."""

    study: str
    goal: str | None = None
    sets: Mapping[str, str] | None = None
    fallback: str | None = None
    results_conn_id: str | None = None
    explore: float = 0.0
    metrics: Mapping[str, Any] | None = None
    checks: Mapping[str, Any] | None = None
    own_before: Hook | None = None
    own_after: Hook | None = None

    def before(self, context: Any) -> None:
        """Before the task runs, also when it goes on after a deferral: put the configuration into its arguments."""
        if self.own_before is not None:
            self.own_before(context)
        try:
            from pipeline_tuner.operators.tuned_run import begin_run

            begin_run(self, context)
        except Exception as error:
            log.warning("Pipeline Tuner can't take part in this run: %s: %s", type(error).__name__, error)

    def after(self, context: Any, result: Any = None) -> None:
        """After the task succeeded: note how long it took, and the numbers that it returned."""
        try:
            from pipeline_tuner.operators.tuned_run import end_run

            end_run(self, context["ti"], result)
        except Exception as error:
            log.warning("Pipeline Tuner can't note this run: %s: %s", type(error).__name__, error)
        if self.own_after is not None:
            self.own_after(context, result)


def tuned(
    study: str,
    *,
    goal: str | None = None,
    sets: Mapping[str, str] | None = None,
    fallback: str | None = None,
    explore: float = 0.0,
    metrics: Mapping[str, Any] | None = None,
    checks: Mapping[str, Any] | None = None,
    results_conn_id: str | None = None,
    pre_execute: Hook | None = None,
    post_execute: Hook | None = None,
) -> dict[str, Any]:
    """Arguments for any operator: `SparkSubmitOperator(task_id="load", ..., **tuned("orders_load"))`.

    Where nothing valid is recommended, or anything is wrong, the task runs with its arguments as written.

    :param study: Name of a study, or the path of its file; there need not be one yet.
    :param goal: Goal whose recommendation is followed; the study's first by default.
    :param sets: Parameter to the argument that it sets (`{"memory": "conf.spark.executor.memory"}`); goes before what
        the study's parameters say in their own `sets`.
    :param fallback: Preset to run with where nothing valid is recommended; the arguments as written by default.
    :param explore: Part of the runs, up to 0.5, that may try something else than what production runs with: one
        change at a time within the study's space, beside a run of the reference. What is confirmed better is promoted.
        Only in scheduled runs of tasks that have retries. Nothing is tried by default.
    :param metrics: More metrics of a run: what the task logs, by a regular expression with one group
        (`{"rows": r"loaded (\\d+)"}`), or a statement's value (`{"rows": {"sql": "SELECT ...", "conn_id": "dw"}}`).
        Patterns of the study's own `runner.options.metrics` count, too.
    :param checks: What must hold after a run, by a regular expression or a statement: a run that fails one is noted as
        failed, and what was tried in it is dropped. The task itself goes on.
    :param results_conn_id: Airflow connection to the results database; `pipeline_tuner_default` by default.
    :param pre_execute: A hook of your own, called before the configuration is put in.
    :param post_execute: A hook of your own, called after the run is noted.
    """
    if not 0 <= explore <= MAX_EXPLORED:
        raise ValueError(
            f"explore is {explore}, must be from 0 to {MAX_EXPLORED}: beside what is tried, the usual runs"
        )
    places = dict(sets) if sets is not None else None
    task = TunedTask(
        study, goal, places, fallback, results_conn_id, explore, metrics, checks, pre_execute, post_execute
    )
    return {"pre_execute": task.before, "post_execute": task.after}


def tuned_task_of(operator: object) -> TunedTask | None:
    """What `tuned` gave to an operator; None for any other."""
    # The other hook may be wrapped: `run_if` and `skip_if` do so.
    owner = getattr(getattr(operator, "_post_execute_hook", None), "__self__", None)
    return owner if isinstance(owner, TunedTask) else None
