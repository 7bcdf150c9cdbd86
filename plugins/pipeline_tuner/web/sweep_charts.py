"""The charts on a sweep's page, drawn from its trials so far; each is computed when its tab asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from pipeline_tuner.analysis.effects import expected_values
from pipeline_tuner.analysis.evidence import settled
from pipeline_tuner.analysis.goals import GoalError, goal_value, larger_is_better
from pipeline_tuner.analysis.tie_breaking import trade_off
from pipeline_tuner.charts.gains import effects
from pipeline_tuner.charts.parameters import Course, parallel_coordinates, parameter_response
from pipeline_tuner.charts.style import Value, page_specification
from pipeline_tuner.exceptions import PipelineTunerError
from pipeline_tuner.measurement import is_usable
from pipeline_tuner.recommend import recommend
from pipeline_tuner.recommendation import Recommendation
from pipeline_tuner.report.chart_values import effect_bars, trade_off_chart
from pipeline_tuner.report.conclusions import claims
from pipeline_tuner.report.data import ReportData
from pipeline_tuner.report.scaling import scaling_charts
from pipeline_tuner.report.tables import Row as TableRow
from pipeline_tuner.report.tables import rows_of
from pipeline_tuner.space import Scalar
from pipeline_tuner.store.page_reads import Row
from pipeline_tuner.study import Study, stored_study
from pipeline_tuner.sweep import SweepOptions
from pipeline_tuner.trial import TrialResult
from pipeline_tuner.web.rendering import page_reads
from pipeline_tuner.web.sweep_lookup import Progress
from pipeline_tuner.wording import with_unit

Specification = dict[str, Any]
"""A chart as the page's script draws it."""
MAX_TRIALS = 2000
"""Sweeps with more trials show what their last task stored; reading all of them would make the page slow."""


class Insights:
    """What a sweep's trials say; parts with nothing to say are empty. `data` is None where nothing can be read."""

    def __init__(self, data: ReportData | None = None, results: Sequence[TrialResult] = ()) -> None:
        self._data, self._results = data, results

    @property
    def answers(self) -> tuple[Recommendation, ...]:
        """The decisions; provisional while the sweep runs."""
        return self._data.recommendations if self._data else ()

    @cached_property
    def rows(self) -> Mapping[str, tuple[TableRow, ...]]:
        """The configurations by goal, the best first."""
        return {answer.goal: tuple(rows_of(answer, self._results)) for answer in self.answers}

    @cached_property
    def claims(self) -> str:
        """The study's claims with their verdicts, a Markdown table."""
        return claims(self._data) if self._data and self._data.study.claims else ""

    @cached_property
    def trade_off(self) -> Specification | None:
        """The first two goals with a metric of their own against each other, the control at (1, 1)."""
        return _trade_off(self._data) if self._data else None

    @cached_property
    def courses(self) -> Specification | None:
        """Every trial over the parameters to the first goal."""
        return _courses(self._data, self._parameters) if self._data else None

    @cached_property
    def effects(self) -> Specification | None:
        """What each parameter is worth for the first goal."""
        return _effects(self._data) if self._data else None

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """The parameters that were measured at two levels or more, the one that matters most first."""
        return tuple(name for name in self._parameters if len({dot.at for dot in self._dots(name)}) > 1)

    def response(self, parameter: str) -> Specification:
        """How the first goal responds to a parameter, with what the model expects."""
        assert self._data is not None  # there are no parameters without
        main = self._data.main
        title = f"{main.goal} ({main.unit})" if main.unit else main.goal
        expected = list(_expected(self._data, parameter))
        return page_specification(parameter_response(self._dots(parameter), expected, parameter=parameter, y=title))

    def has_model(self, parameter: str) -> bool:
        """Whether the response shows what the model expects."""
        return self._data is not None and next(_expected(self._data, parameter), None) is not None

    @cached_property
    def scaling(self) -> tuple[tuple[str, Specification], ...]:
        """Each parallelism parameter with the law that fits."""
        charts = scaling_charts(self._data) if self._data else ()
        return tuple((name, page_specification(chart)) for name, chart in charts)

    @cached_property
    def checks(self) -> tuple[tuple[str, int, int], ...]:
        """Each check with the trials that passed it and those that had it."""
        return _checks(self._results)

    @cached_property
    def _parameters(self) -> tuple[str, ...]:
        return tuple(_by_importance(self._data)) if self._data else ()

    def _dots(self, parameter: str) -> list[Value]:
        found = (_dot(self._data, parameter, result) for result in self._results) if self._data else ()
        return [dot for dot in found if dot is not None]


def answers_of(sweep: Row, stored: Sequence[Row], progress: Progress) -> tuple[Recommendation, ...]:
    """A sweep's decisions as they were stored, or what its trials say so far."""
    return _documents(stored) or insights_of(sweep, stored, progress).answers


def insights_of(sweep: Row, stored: Sequence[Row], progress: Progress) -> Insights:
    """What a sweep says: from what it recommends, or from its trials as they are now while it runs."""
    if not progress.done or progress.done > MAX_TRIALS:
        return Insights()
    documents = _documents(stored)
    key = (sweep["sweep_id"], progress.done, sweep["status"], sweep["ended_at"])
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


@dataclass(frozen=True, eq=False)
class _Inputs:
    """Carries what is computed from past the cache's key: the key alone says whether it changed."""

    sweep: Row
    answers: tuple[Recommendation, ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Inputs)

    def __hash__(self) -> int:
        return 0


@lru_cache(maxsize=16)
def _computed(key: tuple[Any, ...], inputs: _Inputs) -> Insights:
    try:
        study = stored_study(inputs.sweep["study_definition"])
        options = SweepOptions.model_validate(inputs.sweep["options"])
    except ValueError:
        # A sweep of an older version of the plugin: its tables and stored analysis still show.
        return Insights()
    results = settled(page_reads().results_of_sweep(key[0]))
    answers = inputs.answers or _answers(study, options, results)
    return Insights(ReportData(study, options, results, answers, (), {}, {}, Path()) if answers else None, results)


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
    found = trade_off(data.study, data.recommendations, data.options.budget.indifference)
    if found is None:
        return None
    return page_specification(trade_off_chart(found, comparison_address(data.options.sweep_id, data.control_label)))


def comparison_address(sweep_id: str, base: str | None) -> Callable[[str], str]:
    """Where a configuration's dot leads to: its comparison with the control (`base`), from the sweep's page."""
    if base is None:
        return lambda label: ""
    return lambda label: f"{quote(sweep_id)}/compare?{urlencode([('c', base), ('c', label)])}"


def _effects(data: ReportData) -> Specification | None:
    try:
        bars = effect_bars(data.effects)
    except (ValueError, ArithmeticError):
        return None
    known = [bar for bar in bars if is_usable(bar.value)]
    return page_specification(effects(known)) if known else None


def _by_importance(data: ReportData) -> list[str]:
    try:
        first = [effect.parameter for effect in data.effects.effects]
    except (ValueError, ArithmeticError):
        first = []
    return list(dict.fromkeys([*first, *data.study.space.parameters]))


def _courses(data: ReportData, parameters: Sequence[str]) -> Specification | None:
    found = [course for result in data.results if (course := _course(data, result)) is not None]
    if len({tuple(course.configuration.items()) for course in found}) < 3:
        return None
    up = larger_is_better(data.study, data.main.goal)
    return page_specification(parallel_coordinates(found, parameters, goal=data.main.goal, up=up))


def _course(data: ReportData, result: TrialResult) -> Course | None:
    value = _value(data, result)
    return None if value is None else Course(result.plan.configuration, value, *_words(data, result, value))


def _value(data: ReportData, result: TrialResult) -> float | None:
    """The first goal's value of a trial on the whole workload."""
    if result.status != "measured" or result.plan.fraction < 1.0:
        return None
    try:
        return goal_value(data.study, data.main.goal, result)
    except GoalError:
        return None


def _words(data: ReportData, result: TrialResult, value: float) -> tuple[str, str]:
    """What a pointer shows of a trial, and where a click on it leads."""
    words = f"{result.plan.label}, block {result.plan.block}: {with_unit(value, data.main.unit)}"
    return words, f"../trials/{quote(result.plan.trial_id)}"


def _dot(data: ReportData, name: str, result: TrialResult) -> Value | None:
    level, value = result.plan.configuration.get(name), _value(data, result)
    if level is None or value is None:
        return None
    kind = "pick" if result.plan.label == data.main.label else "other" if result.plan.is_control else "tied"
    words, href = _words(data, result, value)
    return Value(_shown(level), value, kind=kind, words=words, href=href)


def _shown(level: Scalar) -> float | str:
    return level if isinstance(level, int | float) and not isinstance(level, bool) else str(level)


def _expected(data: ReportData, name: str) -> Iterator[Value]:
    """What the model expects of the pick at each level of a parameter, where it tells the parameter from others."""
    base = data.main.estimate.value if data.main.estimate else None
    if base is None or data.subject is None or not is_usable(base):
        return
    up = larger_is_better(data.study, data.main.goal)
    found = expected_values(data.effects, name, data.subject.evidence.configuration, base, up=up)
    for level, value in found.items():
        if is_usable(value.low) and is_usable(value.high):
            words = f"{name} {level}: {with_unit(value.value, data.main.unit)}"
            yield Value(_shown(level), value.value, value.low, value.high, words=words)
