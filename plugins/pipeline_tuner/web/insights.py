"""What a sweep's trials say so far, as charts that the page draws itself: intervals, trade-offs, effects, scaling."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from pipeline_tuner.analysis.evidence import settled
from pipeline_tuner.analysis.goals import GoalError, goal_value
from pipeline_tuner.charts.effects import effects
from pipeline_tuner.charts.look import page_specification
from pipeline_tuner.charts.pareto import gain_pairs, pareto
from pipeline_tuner.charts.response import Dot, response
from pipeline_tuner.exceptions import PipelineTunerError
from pipeline_tuner.measurement import is_usable
from pipeline_tuner.recommend import recommend
from pipeline_tuner.recommendation import Recommendation
from pipeline_tuner.report.data import ReportData
from pipeline_tuner.report.growth import scaling_charts
from pipeline_tuner.report.meaning import claims, effect_bars
from pipeline_tuner.report.tables import Row as TableRow
from pipeline_tuner.report.tables import rows_of
from pipeline_tuner.store.page_reads import Row
from pipeline_tuner.study import Study, stored_study
from pipeline_tuner.sweep import SweepOptions
from pipeline_tuner.trial import TrialResult
from pipeline_tuner.web.rendering import page_reads
from pipeline_tuner.wording import with_unit

Specification = dict[str, Any]
"""A chart as the page's script draws it."""
MAX_TRIALS = 2000
"""Sweeps with more trials show what their last task stored; reading all of them would make the page slow."""


@dataclass(frozen=True)
class Insights:
    """What a sweep's trials say; empty parts are not shown. `answers` are provisional while the sweep runs."""

    answers: tuple[Recommendation, ...] = ()
    rows: Mapping[str, tuple[TableRow, ...]] = field(default_factory=dict)
    """The configurations by goal, the best first."""
    claims: str = ""
    """The study's claims with their verdicts, a Markdown table."""
    trade_off: Specification | None = None
    effects: Specification | None = None
    responses: Mapping[str, Specification] = field(default_factory=dict)
    """How the first goal responds to each parameter, the one that matters most first."""
    scaling: tuple[tuple[str, Specification], ...] = ()
    checks: tuple[tuple[str, int, int], ...] = ()
    """Each check with the trials that passed it and those that had it."""


def answers_of(sweep: Row, stored: Sequence[Row], progress: Mapping[str, Any]) -> tuple[Recommendation, ...]:
    """A sweep's decisions as they were stored, or what its trials say so far."""
    return _documents(stored) or insights_of(sweep, stored, progress).answers


def insights_of(sweep: Row, stored: Sequence[Row], progress: Mapping[str, Any]) -> Insights:
    """The charts of a sweep: from what it recommends, or from its trials as they are now while it runs."""
    if not progress["done"] or progress["done"] > MAX_TRIALS:
        return Insights()
    documents = _documents(stored)
    key = (sweep["sweep_id"], progress["done"], sweep["status"], sweep["ended_at"])
    return _computed(key, _Inputs(sweep, documents))


def _documents(stored: Sequence[Row]) -> tuple[Recommendation, ...]:
    documents = (_document(row["document"]) for row in stored if row["document"].get("reason"))
    return tuple(document for document in documents if document is not None)


def _document(document: Mapping[str, Any]) -> Recommendation | None:
    try:
        return Recommendation.from_dict(document)
    except (KeyError, TypeError, ValueError):
        # Of an older version of the plugin that nothing reads any more: the stored analysis and the trials still show.
        return None


class _Inputs:
    """Carries what is computed from past the cache's key: the key alone says whether it changed."""

    def __init__(self, sweep: Row, answers: tuple[Recommendation, ...]) -> None:
        self.sweep, self.answers = sweep, answers

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Inputs)

    def __hash__(self) -> int:
        return 0


@lru_cache(maxsize=64)
def _computed(key: tuple[Any, ...], inputs: _Inputs) -> Insights:
    try:
        study = stored_study(inputs.sweep["study_definition"])
        options = SweepOptions.model_validate(inputs.sweep["options"])
    except ValueError:
        # A sweep of an older version of the plugin: its tables and stored analysis still show.
        return Insights()
    results = settled(page_reads().results_of_sweep(key[0]))
    answers = inputs.answers or _answers(study, options, results)
    checks = _checks(results)
    if not answers:
        return Insights(checks=checks)
    data = ReportData(study, options, results, answers, (), {}, {}, Path())
    return Insights(
        answers,
        {answer.goal: tuple(rows_of(answer, results)) for answer in answers},
        claims(data) if study.claims else "",
        _trade_off(data),
        _effects(data),
        dict(_responses(data)),
        tuple((name, page_specification(chart)) for name, chart in scaling_charts(data)),
        checks,
    )


def _checks(results: Sequence[TrialResult]) -> tuple[tuple[str, int, int], ...]:
    counts: dict[str, list[int]] = {}
    for result in results:
        for check in result.measurement.checks if result.measurement else ():
            entry = counts.setdefault(check.name, [0, 0])
            entry[0] += check.passed
            entry[1] += 1
    return tuple((name, passed, had) for name, (passed, had) in counts.items())


def _answers(study: Study, options: SweepOptions, results: Sequence[TrialResult]) -> tuple[Recommendation, ...]:
    try:
        return recommend(study, options, results)
    except (PipelineTunerError, ValueError):
        return ()


def _trade_off(data: ReportData) -> Specification | None:
    """The first two goals with a figure of their own against each other, the control at (1, 1)."""
    own = [answer for answer in data.recommendations if not data.study.goals[answer.goal].balance]
    if len(own) < 2:
        return None
    first, second = own[:2]
    gains = {}
    for label, entry in first.evidence.items():
        other = second.evidence.get(label)
        if entry.ratio and other and other.ratio and not entry.exclusion:
            gains[label] = (entry.ratio.value, other.ratio.value)
    if len(gains) < 3 or not all(is_usable(value) for pair in gains.values() for value in pair):
        return None
    pairs = gain_pairs(gains, comparison_address(data.options.sweep_id, data.control_label))
    return page_specification(pareto(pairs, x=first.goal, y=second.goal))


def comparison_address(sweep_id: str, base: str) -> Callable[[str], str]:
    """Where a configuration's dot leads to: its comparison with the control, from the sweep's page."""
    return lambda label: f"{quote(sweep_id)}/compare?{urlencode([('c', base), ('c', label)])}"


def _effects(data: ReportData) -> Specification | None:
    try:
        bars = effect_bars(data.effects)
    except (ValueError, ArithmeticError):
        return None
    known = [bar for bar in bars if is_usable(bar.value)]
    return page_specification(effects(known)) if known else None


def _responses(data: ReportData) -> Iterator[tuple[str, Specification]]:
    """The parameters that were measured at two levels or more."""
    goal, picked = data.main.goal, data.main.label
    for name in _by_importance(data):
        dots = [dot for result in data.results if (dot := _dot(data, goal, name, picked, result)) is not None]
        if len({dot.level for dot in dots}) > 1:
            unit = data.main.unit
            yield name, page_specification(response(dots, parameter=name, y=f"{goal} ({unit})" if unit else goal))


def _by_importance(data: ReportData) -> list[str]:
    try:
        first = [effect.parameter for effect in data.effects.effects]
    except (ValueError, ArithmeticError):
        first = []
    return list(dict.fromkeys([*first, *data.study.space.parameters]))


def _dot(data: ReportData, goal: str, name: str, picked: str | None, result: TrialResult) -> Dot | None:
    level, label = result.plan.configuration.get(name), result.plan.label
    if level is None or result.status != "measured" or result.plan.fraction < 1.0:
        return None
    try:
        value = goal_value(data.study, goal, result)
    except GoalError:
        return None
    kind = "pick" if label == picked else "other" if result.plan.is_control else "tied"
    words = f"{label}, block {result.plan.block}: {with_unit(value, data.main.unit)}"
    shown = level if isinstance(level, int | float) and not isinstance(level, bool) else str(level)
    return Dot(shown, value, kind, words, f"../trials/{quote(result.plan.trial_id)}")
