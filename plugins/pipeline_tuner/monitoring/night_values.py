"""The values of a night by configuration, changes of level in them, and whether the machine is another one. No I/O."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pipeline_tuner.analysis.goals import GoalError, goal_value, larger_is_better
from pipeline_tuner.monitoring.drift import Change, changes
from pipeline_tuner.monitoring.nights import NightValue
from pipeline_tuner.monitoring.validity import measured_envelope
from pipeline_tuner.space import configuration_id
from pipeline_tuner.study import Study
from pipeline_tuner.sweep import SweepOptions
from pipeline_tuner.trial import TrialResult
from pipeline_tuner.wording import percent

CAUSES = {
    "machine": "the control moved alike, so the machine changed and not the job",
    "job": "the control did not move, so the job (or its data) changed and not the machine",
    "unclear": "whether machine or job changed can't be told yet",
}


def night_values(study: Study, options: SweepOptions, results: Sequence[TrialResult]) -> tuple[NightValue, ...]:
    """The median of each configuration for each goal with a value of its own (a balanced goal has none)."""
    found = []
    for goal in options.goals:
        if study.goals[goal].balance:
            continue
        values: dict[str, list[float]] = defaultdict(list)
        labels: dict[str, str] = {}
        for result in results:
            value = _value(study, goal, result)
            if value is not None:
                identity = configuration_id(result.plan.configuration)
                values[identity].append(value)
                labels.setdefault(identity, result.plan.label)
        for identity, known in values.items():
            role = _role(study, options, goal, identity)
            median = statistics.median(known)
            found.append(NightValue(goal, labels[identity], identity, role, median, len(known)))
    return tuple(found)


def _value(study: Study, goal: str, result: TrialResult) -> float | None:
    if result.status != "measured" or result.plan.fraction != 1.0:
        return None
    try:
        return goal_value(study, goal, result)
    except GoalError:
        return None


def _role(
    study: Study, options: SweepOptions, goal: str, identity: str
) -> Literal["champion", "control", "challenger"]:
    champion = options.champions.get(goal)
    if champion is not None and configuration_id(champion.configuration) == identity:
        return "champion"
    return "control" if identity == study.control_candidate.configuration_id else "challenger"


def series(nights: Sequence[Sequence[NightValue]], goal: str, identity: str) -> list[float | None]:
    """One configuration's value over the nights; None for a night without it."""
    return [
        next((f.value for f in night if f.goal == goal and f.configuration_id == identity), None) for night in nights
    ]


def changes_of(study: Study, goal: str, identity: str, nights: Sequence[Sequence[NightValue]]) -> tuple[Change, ...]:
    """The changes of level of one configuration over nights on one machine, oldest first."""
    control = study.control_candidate.configuration_id
    beside = series(nights, goal, control) if control != identity else ()
    return changes(series(nights, goal, identity), beside, larger_is_better=larger_is_better(study, goal))


def change_words(change: Change, *, larger_is_better: bool) -> str:
    """A change in words: by how much, and what changed."""
    return f"{moved_words(change, larger_is_better=larger_is_better)}: {CAUSES[change.cause]}"


def moved_words(change: Change, *, larger_is_better: bool) -> str:
    """By how much a change is better or worse, with its interval."""
    shift = change.ratio.value - 1
    is_loss = shift < 0 if larger_is_better else shift > 0
    low, high = sorted((abs(change.ratio.low - 1), abs(change.ratio.high - 1)))
    return f"{'Worse' if is_loss else 'Better'} by {percent(abs(shift))} ({percent(low)} to {percent(high)})"


def differences(
    results: Sequence[TrialResult], environment: Mapping[str, Any], workload: Mapping[str, Any]
) -> tuple[str, ...]:
    """How an earlier night differs from this one's trials in machine, versions or size of data, in words.

    Sizes count from a factor of two on. Empty where the two nights can be compared.
    """
    return measured_envelope(results).problems(workload, environment)
