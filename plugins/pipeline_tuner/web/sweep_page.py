"""A sweep's page: its tabs (decision, configurations, parameters, trials, claims, environment), and the comparison of
two to six configurations.

A tab reads what it shows and nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Any
from urllib.parse import quote

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import HTMLResponse

from pipeline_tuner.analysis.comparison import MetricComparison
from pipeline_tuner.analysis.comparison import compare as compare_metric
from pipeline_tuner.charts.gains import intervals
from pipeline_tuner.charts.style import page_specification
from pipeline_tuner.metric_names import metric_name, metric_order
from pipeline_tuner.recommendation import Recommendation
from pipeline_tuner.report.chart_values import bars_of, bound_of
from pipeline_tuner.report.decisions import DECISION_HEADER, decision_cells
from pipeline_tuner.report.files import ANALYSIS, DETAILS
from pipeline_tuner.report.tables import Row as TableRow
from pipeline_tuner.space import Configuration
from pipeline_tuner.store.page_reads import SORTABLE, Row
from pipeline_tuner.trial import TrialResult
from pipeline_tuner.web.in_production import in_production, production_dags
from pipeline_tuner.web.rendering import analysis_html, page_reads, render, root_of
from pipeline_tuner.web.security import User, form_token, may_trigger, readable_dags
from pipeline_tuner.web.sweep_charts import (
    MAX_TRIALS,
    Insights,
    Specification,
    answers_of,
    comparison_address,
    insights_of,
)
from pipeline_tuner.web.sweep_lookup import Progress, held, page_count, progress_of, readable_sweep

router = APIRouter()
Page = Annotated[int, Query(ge=1, le=1_000_000)]
MIN_COMPARED, MAX_COMPARED = 2, 6
METRIC_COLUMNS = 6
SPREAD_THAT_SHOWS = 0.01
"""A metric whose medians lie closer together than this fraction tells no configuration from another."""


class Tab(StrEnum):
    """The parts of a sweep's page, in their order."""

    DECISION = "decision"
    CONFIGURATIONS = "configurations"
    TRIALS = "trials"
    PARAMETERS = "parameters"
    CLAIMS = "claims"
    ANALYSIS = "analysis"
    ENVIRONMENT = "environment"


TITLES = {
    Tab.DECISION: "Decision",
    Tab.CONFIGURATIONS: "Configurations",
    Tab.TRIALS: "Trials",
    Tab.PARAMETERS: "Parameters",
    Tab.CLAIMS: "Document claims",
    Tab.ANALYSIS: "Analysis",
    Tab.ENVIRONMENT: "Environment",
}


DRAWN_ELSEWHERE = {
    "effects-": "?tab=parameters",
    "scaling-": "?tab=parameters",
    "pareto-": "?tab=configurations",
}
"""Charts of the analysis that a tab draws, by the start of their names: nothing is drawn twice."""


@dataclass(frozen=True)
class Opened:
    """The sweep that is looked at, and what of it."""

    request: Request
    user: BaseUser
    row: Row
    stored: list[Row]
    progress: Progress
    goal: str
    parameter: str
    sort: str
    page: int
    details: bool = False

    @property
    def sweep_id(self) -> str:
        """The sweep's name."""
        return str(self.row["sweep_id"])

    @property
    def insights(self) -> Insights:
        """What its trials say."""
        return insights_of(self.row, self.stored, self.progress)


@router.get("/sweeps/{sweep_id}", response_class=HTMLResponse)
def sweep(
    request: Request,
    user: User,
    sweep_id: str,
    tab: Tab = Tab.DECISION,
    goal: str = "",
    parameter: str = "",
    sort: str = "planned",
    page: Page = 1,
    details: bool = False,
) -> HTMLResponse:
    """One sweep, live while it runs and as a report after."""
    row = readable_sweep(user, sweep_id)
    opened = Opened(request, user, row, _in_order(row, page_reads().recommendations(sweep_id)), progress_of(row),
                    goal, parameter, sort, page, details)  # fmt: skip
    same_run = [s for s in page_reads().sweeps_of_run(row["dag_id"], row["run_id"]) if s["sweep_id"] != sweep_id]
    return render(
        request,
        f"sweep_{tab}.html",
        sweep=row,
        tab=tab,
        tabs={one: title for one, title in TITLES.items() if _is_shown(one, row)},
        progress=opened.progress,
        same_run=same_run,
        **_CONTENTS[tab](opened),
    )


def _in_order(row: Row, stored: Sequence[Row]) -> list[Row]:
    """The recommendations in the order of the sweep's goals."""
    goals = list((row["options"] or {}).get("goals", ()))
    return sorted(stored, key=lambda r: goals.index(r["goal"]) if r["goal"] in goals else len(goals))


def _is_shown(tab: Tab, row: Row) -> bool:
    if tab is Tab.CLAIMS:
        return bool((row["study_definition"] or {}).get("claims"))
    return bool(row["analysis"]) if tab is Tab.ANALYSIS else True


def _decision(opened: Opened) -> dict[str, Any]:
    answers = answers_of(opened.row, opened.stored, opened.progress)
    focus = next((a for a in answers if a.goal == opened.goal), answers[0] if answers else None)
    stored = {row["goal"]: row for row in held(opened.stored)}
    study, goals = opened.row["study"], [answer.goal for answer in answers]
    runs = _readable_runs(opened.user, study)
    return {
        "header": DECISION_HEADER,
        "decisions": [(answer, decision_cells(answer)) for answer in answers],
        "stored": stored,
        "changes": dict(_first_changes(answers)),
        "focus_changes": _differing_from(focus.configuration or {}, _runs_now(focus)) if focus else {},
        "given_up": _differing_from(_runs_now(focus), focus.configuration or {}) if focus else {},
        "focus": focus,
        "chart": _intervals(opened, focus) if focus else None,
        "running": in_production(study, goals, runs),
        "runs_in": production_dags(runs, study),
        "labels": page_reads().labels(opened.sweep_id),
        "seen": {row["goal"]: row["promotion_id"] for row in page_reads().newest_promotions([study])},
        "can_act": bool(opened.stored) and may_trigger(opened.user, opened.row["dag_id"]),
        "token": form_token(opened.user),
    }


def _first_changes(answers: Sequence[Recommendation]) -> Iterator[tuple[str, Configuration]]:
    """What each configuration to use changes against what runs now, by the first goal that it is for."""
    told = set()
    for answer in answers:
        now = _runs_now(answer)
        if now and answer.label not in told:
            told.add(answer.label)
            yield answer.goal, _differing_from(answer.configuration or {}, now)


def _differing_from(configuration: Configuration, other: Configuration) -> Configuration:
    """What a configuration has otherwise than another, where there is another."""
    return {name: value for name, value in configuration.items() if other and other.get(name) != value}


def _runs_now(answer: Recommendation) -> Configuration:
    """What production runs with now, where that is known and something else than the decision says."""
    known = answer.evidence.get(answer.reference or "")
    return known.configuration if known and answer.label and answer.label != answer.reference else {}


def _readable_runs(user: BaseUser, study: str) -> list[Row]:
    readable = readable_dags(user)
    return [run for run in page_reads().production_runs(study) if run["dag_id"] in readable]


def _intervals(opened: Opened, answer: Recommendation) -> Specification | None:
    control = (opened.row["study_definition"] or {}).get("control", "")
    address = comparison_address(opened.sweep_id, control if control in answer.evidence else None)
    bars = bars_of(answer.evidence, reference=answer.reference, address=address)
    budget = (opened.row["options"] or {}).get("budget") or {}
    if not bars:
        return None
    zone, bound = float(budget.get("indifference") or 0), bound_of(bars, answer.label, answer.regret_bound)
    return page_specification(intervals(bars, zone=zone, bound=bound))


def _configurations(opened: Opened) -> dict[str, Any]:
    found = opened.insights
    goal = opened.goal if opened.goal in found.rows else next(iter(found.rows), "")
    rows = found.rows.get(goal, ())
    control = (opened.row["study_definition"] or {}).get("control", "")
    address = comparison_address(opened.sweep_id, control if control in [row.label for row in rows] else None)
    return {
        "address_of": {row.label: address(row.label) if row.label != control else "" for row in rows},
        "goal": goal,
        "goals": list(found.rows),
        "rows": rows,
        "metrics": distinguishing_metrics(rows),
        "parameters": _differing_parameters(rows),
        "trade_off": found.trade_off,
        "too_many": opened.progress.done > MAX_TRIALS,
    }


def distinguishing_metrics(rows: Sequence[TableRow]) -> list[str]:
    """The metrics in which configurations differ, those that matter first."""
    names = sorted({name for row in rows for result in row.results for name in result.metrics}, key=metric_order)
    return [name for name in names if _differ([row.median(name) for row in rows])][:METRIC_COLUMNS]


def _differ(medians: Sequence[float | None]) -> bool:
    known = [value for value in medians if value is not None]
    return len(known) > 1 and max(known) - min(known) > SPREAD_THAT_SHOWS * max(abs(value) for value in known)


def _differing_parameters(rows: Sequence[TableRow]) -> list[str]:
    return [name for name, _ in _differing([row.evidence.configuration for row in rows])]


def _trials(opened: Opened) -> dict[str, Any]:
    count = page_reads().trial_count(opened.sweep_id)
    page = min(opened.page, page_count(count))
    trials = page_reads().trials(opened.sweep_id, sort=opened.sort, page=page)
    sort = opened.sort if opened.sort in SORTABLE else "planned"
    differing = [name for name, _ in _differing([trial["configuration"] for trial in trials])]
    return {
        "trials": [trial | {"configuration": _only(trial["configuration"], differing)} for trial in trials],
        "sort": sort,
        "orders": list(SORTABLE),
        "page": page,
        "pages": page_count(count),
    }


def _only(configuration: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """A configuration in so far as it differs from the others that are shown."""
    return {name: configuration[name] for name in names if name in configuration}


def _parameters(opened: Opened) -> dict[str, Any]:
    found = opened.insights
    name = opened.parameter if opened.parameter in found.parameters else next(iter(found.parameters), "")
    return {
        "courses": found.courses,
        "effects": found.effects,
        "scaling": found.scaling,
        "main": found.answers[0].goal if found.answers else "",
        "parameter": name,
        "parameters": found.parameters,
        "response": found.response(name) if name else None,
        "has_model": bool(name) and found.has_model(name),
    }


def _claims(opened: Opened) -> dict[str, Any]:
    return {"claims": analysis_html(opened.insights.claims, (), "")}


def _analysis(opened: Opened) -> dict[str, Any]:
    address = f"{root_of(opened.request)}/sweeps/{quote(opened.sweep_id)}"
    elsewhere = {start: f"{address}{where}" for start, where in DRAWN_ELSEWHERE.items()}
    elsewhere |= {f"intervals-{row['goal']}": f"{address}?goal={quote(row['goal'])}" for row in opened.stored}
    charts = page_reads().chart_names(opened.sweep_id)
    links = {ANALYSIS: f"{address}?tab=analysis", DETAILS: f"{address}?tab=analysis&details=1"}
    text = opened.row["analysis_details" if opened.details else "analysis"] or ""
    return {"analysis": analysis_html(text, charts, f"{address}/charts", elsewhere, links)}


def _environment(opened: Opened) -> dict[str, Any]:
    return {"checks": opened.insights.checks}


_CONTENTS: dict[Tab, Callable[[Opened], dict[str, Any]]] = {
    Tab.DECISION: _decision,
    Tab.CONFIGURATIONS: _configurations,
    Tab.TRIALS: _trials,
    Tab.PARAMETERS: _parameters,
    Tab.CLAIMS: _claims,
    Tab.ANALYSIS: _analysis,
    Tab.ENVIRONMENT: _environment,
}


@dataclass(frozen=True)
class Compared:
    """One configuration beside the first one: its trials' medians, and their ratios to the first's."""

    label: str
    metrics: dict[str, MetricComparison]


@router.get("/sweeps/{sweep_id}/compare", response_class=HTMLResponse)
def compare(
    request: Request,
    user: User,
    sweep_id: str,
    c: Annotated[list[str] | None, Query()] = None,
    a: str = "",
    b: str = "",
) -> HTMLResponse:
    """Two or more configurations of a sweep side by side, metric by metric, each against the first."""
    row = readable_sweep(user, sweep_id)
    labels = list(dict.fromkeys(filter(None, c or [a, b])))
    if not MIN_COMPARED <= len(labels) <= MAX_COMPARED:
        raise HTTPException(422, f"Choose two to {MAX_COMPARED} configurations to compare")
    trials = page_reads().trials_of(sweep_id, labels)
    configurations = {t["label"]: t["configuration"] for t in trials}
    if any(label not in configurations for label in labels):
        raise HTTPException(404, "One of these configurations is not in this sweep")
    results = page_reads().results_of(trials)
    base, *others = labels
    compared = [Compared(label, _comparisons(results[label], results[base])) for label in others]
    own = _comparisons(results[base], results[base])
    metrics = sorted({name for one in compared for name in one.metrics} or own, key=metric_order)
    same = [name for name in metrics if compared and all(_is_same(one.metrics.get(name)) for one in compared)]
    return render(
        request,
        "compare.html",
        sweep=row,
        labels=labels,
        differing=_differing([configurations[label] for label in labels]),
        metrics=[name for name in metrics if name not in same],
        same=[metric_name(name).title for name in same],
        own=own,
        compared=compared,
    )


def _is_same(found: MetricComparison | None) -> bool:
    return found is not None and found.is_exact and not found.differs


def _differing(configurations: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Any]]]:
    """The parameters that are not the same in all, with their values; None where one is not used."""
    names = dict.fromkeys(name for one in configurations for name in one)
    found = [(name, [one.get(name) for one in configurations]) for name in names]
    return [(name, values) for name, values in found if any(a != b for a, b in pairwise(values))]


def _comparisons(first: Sequence[TrialResult], second: Sequence[TrialResult]) -> dict[str, MetricComparison]:
    """Every metric that both have, the first as a ratio to the second."""
    names = {name for result in (*first, *second) for name in result.metrics}
    found = {name: compare_metric(first, second, name) for name in names}
    return {name: comparison for name, comparison in found.items() if comparison is not None}
