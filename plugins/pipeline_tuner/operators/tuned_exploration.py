"""The exploration of a tuned task (`tuned(..., explore=0.2)`): which run tries a challenger, promotion of what is
confirmed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING, Any

from pipeline_tuner import settings
from pipeline_tuner.analysis.exploration import Evidence, ExplorationPolicy, PastRun, Step, next_step
from pipeline_tuner.analysis.goals import GoalError, production_score
from pipeline_tuner.analysis.reference import admits
from pipeline_tuner.exceptions import ConfigurationError
from pipeline_tuner.operators.deadlines import due_at
from pipeline_tuner.production import Choice, Source
from pipeline_tuner.search.one_at_a_time import variations
from pipeline_tuner.store import Store
from pipeline_tuner.store.records import TunedRun
from pipeline_tuner.study import Study
from pipeline_tuner.trial import Candidate

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

LEVELS = 5
"""Levels of a parameter with a range that are tried."""
MIN_EXTRA_S = 60.0
"""A short task is not ended for being slow by less than this."""


@dataclass(frozen=True)
class Exploration:
    """What a tuned task may try in production."""

    share: float = 0.0
    tolerated_loss: float = 0.1
    most_times: float = 2.0
    """A challenger's run that takes so many times the usual duration is ended, and tried again with the reference."""

    def __post_init__(self) -> None:
        if self.most_times <= 1:
            raise ValueError(f"most_times is {self.most_times}, must be above 1")

    @property
    def policy(self) -> ExplorationPolicy:
        """The part of it that decides. Raises ValueError for a share above a half."""
        return ExplorationPolicy(self.share, self.tolerated_loss)


@dataclass(frozen=True)
class Explored:
    """What a run uses, and for how long it may run."""

    choice: Choice
    limit: timedelta | None = None
    """Only for a challenger: after that the run is ended, and its retry has the reference."""


def explored(exploration: Exploration, study: Study, choice: Choice, store: Store, context: Context) -> Explored:
    """What this run uses: the reference, which is the choice, or a challenger in its place.

    A challenger that is confirmed better is promoted first, and is the choice then.
    """
    ti = context["ti"]
    why_not = _why_not(context, study, choice)
    if why_not is not None:
        log.info("Nothing is tried in this run: %s", why_not)
        return Explored(choice)
    runs = store.tuned_runs(study.study, ti.dag_id, ti.task_id)
    reference = Candidate(choice.label, choice.configuration)
    step = _step(exploration, study, choice, reference, runs, f"{ti.dag_id}/{ti.task_id}")
    if step.better is not None:
        return Explored(_promoted(store, study, choice, step.better, runs, f"{ti.dag_id}.{ti.task_id}"))
    if step.challenger is None:
        return Explored(choice)
    challenge = replace(
        choice,
        label=step.challenger.label,
        configuration=step.challenger.configuration,
        source=Source.EXPLORED,
        reason=step.reason,
        problems="",
    )
    limit = _limit(exploration, runs, reference)
    if not _is_in_time(context, limit):
        log.info("Nothing is tried in this run: a slow one would be ended after the DAG run's deadline")
        return Explored(choice)
    return Explored(challenge, limit)


def _why_not(context: Context, study: Study, choice: Choice) -> str | None:
    """Why a run has to be an ordinary one; None where it may try something."""
    ti, run = context["ti"], context.get("dag_run")
    if settings.is_frozen():
        return "[pipeline_tuner] freeze is on"
    if ti.try_number != 1:
        return "it is a retry"
    if getattr(ti, "max_tries", 0) < 1:
        return "the task has no retries, which a failed attempt would need"
    if (ti.map_index if ti.map_index is not None else -1) >= 0:
        return "mapped instances differ from each other"
    if getattr(run, "run_type", None) != "scheduled":
        return "it is no scheduled run"
    if not _is_in_time(context, None):
        return "the deadline of its DAG run is past"
    try:
        whole = study.space.checked(choice.configuration)
    except ConfigurationError as error:
        return f"what runs is not in the study's space: {error}"
    return None if whole == dict(choice.configuration) else "what runs says nothing of some parameters"


def _is_in_time(context: Context, limit: timedelta | None) -> bool:
    """Whether a deadline of the DAG run is far enough away for a challenger's run that is ended for being slow."""
    due = due_at(getattr(context["task"], "dag", None), context.get("dag_run"))
    return due is None or datetime.now(UTC) + (limit or timedelta()) < due


def _step(
    exploration: Exploration, study: Study, choice: Choice, reference: Candidate, runs: tuple[TunedRun, ...], seed: str
) -> Step:
    goal = choice.goal or next(iter(study.goals))
    candidates = tuple(_candidates(study, goal, reference, runs))
    history = [_past(study, goal, run) for run in runs]
    step = next_step(exploration.policy, reference, candidates, history, seed)
    for one in step.evidence:
        if one.runs:
            log.info("%s in %d runs: %s", one.challenger.label, one.runs, one.reason)
    return step


def _candidates(study: Study, goal: str, reference: Candidate, runs: tuple[TunedRun, ...]) -> Iterator[Candidate]:
    """What may be tried: what ran before, presets, then one parameter changed at a time; all within the space.

    What ran before comes first: a promotion that was a mistake is taken back by it.
    """
    seen = {reference.configuration_id}
    changed = (
        Candidate(_label(reference, one), one)
        for one in variations(study.space.searched, LEVELS, reference.configuration)
    )
    for candidate in (*_former(study, runs), *study.preset_candidates, *changed):
        if candidate.configuration_id not in seen and admits(study, goal, candidate.configuration):
            seen.add(candidate.configuration_id)
            yield candidate


def _former(study: Study, runs: tuple[TunedRun, ...]) -> tuple[Candidate, ...]:
    """What the task was a reference with, the oldest first: places must not change between runs."""
    known = {run.configuration_id: Candidate(run.label, run.configuration) for run in runs if not _is_challenge(run)}
    return tuple(one for one in known.values() if _is_whole(study, one.configuration))


def _is_challenge(run: TunedRun) -> bool:
    return run.source == Source.EXPLORED


def _is_whole(study: Study, configuration: Mapping[str, Any]) -> bool:
    try:
        return study.space.checked(configuration) == dict(configuration)
    except ConfigurationError:
        return False


def _label(reference: Candidate, configuration: Mapping[str, Any]) -> str:
    known = reference.configuration
    return " ".join(f"{name}={value}" for name, value in configuration.items() if known.get(name) != value)


def _past(study: Study, goal: str, run: TunedRun) -> PastRun:
    failed = run.status == "failed" and run.failure not in ("lost", "infrastructure")
    return PastRun(run.configuration_id, _score(study, goal, run), _is_challenge(run), failed)


def _score(study: Study, goal: str, run: TunedRun) -> float | None:
    if run.status != "measured":
        return None
    try:
        return production_score(study, goal, run.configuration, run.metrics)
    except GoalError as error:
        log.warning("This run can't be compared: %s", error)
        return None


def _promoted(
    store: Store, study: Study, choice: Choice, found: Evidence, runs: tuple[TunedRun, ...], actor: str
) -> Choice:
    """The choice from now on: promoted, or rolled back to where it is what ran before."""
    new, goal = found.challenger, choice.goal or next(iter(study.goals))
    is_former = any(run.configuration_id == new.configuration_id and not _is_challenge(run) for run in runs)
    action = "roll_back" if is_former else "promote"
    note = f"tried in production against {choice.label}: {found.reason}"
    by = f"exploration of {actor}"
    store.promote(study.study, goal, new.label, new.configuration, actor=by, action=action, note=note)
    log.info("%s %s: %s", "Rolled back to" if is_former else "Promoted", new.label, note)
    return replace(
        choice, label=new.label, configuration=new.configuration, source=Source.PROMOTED, reason=note, problems=""
    )


def _limit(exploration: Exploration, runs: tuple[TunedRun, ...], reference: Candidate) -> timedelta | None:
    """How long a challenger may run, by what the reference usually takes; None where that isn't known."""
    usual = [
        run.metrics["duration_s"]
        for run in runs
        if run.configuration_id == reference.configuration_id and "duration_s" in run.metrics
    ]
    if not usual:
        return None
    expected_s = median(usual)
    return timedelta(seconds=max(expected_s * exploration.most_times, expected_s + MIN_EXTRA_S))
