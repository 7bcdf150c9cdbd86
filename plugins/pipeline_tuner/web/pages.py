"""The pages that only read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, get_args

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from pipeline_tuner.analysis.comparison import MetricComparison
from pipeline_tuner.analysis.comparison import compare as compare_metric
from pipeline_tuner.analysis.validity import Envelope
from pipeline_tuner.production import Choice
from pipeline_tuner.store.page_reads import PAGE_SIZE, SORTABLE, Row
from pipeline_tuner.store.records import LastSeen
from pipeline_tuner.study import StrategyName
from pipeline_tuner.trial import TrialResult
from pipeline_tuner.web.charts import polyline
from pipeline_tuner.web.insights import insights_of
from pipeline_tuner.web.night_chart import NightChart, night_chart
from pipeline_tuner.web.production import in_production
from pipeline_tuner.web.rendering import analysis_html, page_reads, render, root_of
from pipeline_tuner.web.security import User, form_token, may_trigger, readable_dags, require_read
from pipeline_tuner.web.sweeps import readable_sweep
from pipeline_tuner.web.trial_charts import span_chart, throughput_chart

router = APIRouter()
Page = Annotated[int, Query(ge=1, le=1_000_000)]


@router.get("/", response_class=HTMLResponse)
def studies(request: Request, user: User) -> HTMLResponse:
    """All studies at a glance."""
    sweeps = page_reads().studies(readable_dags(user))
    names = [row["study"] for row in sweeps]
    recommendations = _by_study(_held(page_reads().newest_recommendations(names)))
    running: dict[tuple[str, str], Choice] = {}
    for name, rows in recommendations.items():
        running |= in_production(name, [row["goal"] for row in rows])
    return render(
        request,
        "studies.html",
        sweeps=sweeps,
        recommendations=recommendations,
        running=running,
        promotions=_by_study_and_goal(page_reads().newest_promotions(names)),
        nights={row["study"]: row for row in page_reads().newest_nights(names)},
        progress={row["sweep_id"]: _progress(row) for row in sweeps if row["status"] == "running"},
    )


@router.get("/studies/{study}", response_class=HTMLResponse)
def study(request: Request, user: User, study: str, page: Page = 1) -> HTMLResponse:
    """One study: what runs in production, its sweeps, its history, its decisions."""
    sweeps, count = page_reads().sweeps(study, readable_dags(user), page)
    if not sweeps:
        raise HTTPException(404, "No sweep of this study that you may see")
    recommendations = _held(page_reads().newest_recommendations([study]))
    nights, alerts = page_reads().nights(study), page_reads().alerts(study)
    return render(
        request,
        "study.html",
        study=study,
        sweeps=sweeps,
        pages=_pages(count),
        page=page,
        recommendations=recommendations,
        histories={row["goal"]: _history(study, row["goal"]) for row in recommendations},
        promotions=page_reads().promotions(study),
        in_production=_by_study_and_goal(page_reads().newest_promotions([study])),
        running=in_production(study, [row["goal"] for row in recommendations]),
        production_runs=page_reads().production_runs(study),
        nights=nights,
        alerts=alerts,
        night_charts=_night_charts(nights, alerts, {row["goal"]: row["unit"] for row in recommendations}),
        progress={row["sweep_id"]: _progress(row) for row in sweeps if row["status"] == "running"},
        can_act=may_trigger(user, sweeps[0]["dag_id"]),
        form=_start_form(study),
        token=form_token(user),
    )


@router.get("/sweeps/{sweep_id}", response_class=HTMLResponse)
def sweep(request: Request, user: User, sweep_id: str, sort: str = "planned", page: Page = 1) -> HTMLResponse:
    """One sweep, live while it runs and as a report after."""
    row = readable_sweep(user, sweep_id)
    trials, count = page_reads().trials(sweep_id, sort=sort, page=page)
    goals = list((row["options"] or {}).get("goals", ()))
    recommendations = sorted(
        _held(page_reads().recommendations(sweep_id)),
        key=lambda r: goals.index(r["goal"]) if r["goal"] in goals else len(goals),
    )
    progress = _progress(row)
    charts = f"{root_of(request)}/sweeps/{sweep_id}/charts"
    return render(
        request,
        "sweep.html",
        sweep=row,
        progress=progress,
        same_run=[s for s in page_reads().sweeps_of_run(row["dag_id"], row["run_id"]) if s["sweep_id"] != sweep_id],
        recommendations=recommendations,
        insights=insights_of(row, recommendations, progress),
        analysis=analysis_html(row["analysis"] or "", page_reads().chart_names(sweep_id), charts),
        trials=trials,
        sort=sort if sort in SORTABLE else "planned",
        page=page,
        pages=_pages(count),
        labels=page_reads().labels(sweep_id),
        can_act=may_trigger(user, row["dag_id"]),
        token=form_token(user),
    )


@router.get("/trials/{trial_id}", response_class=HTMLResponse)
def trial(request: Request, user: User, trial_id: str) -> HTMLResponse:
    """One trial: its configuration, figures, checks and the job's own evidence."""
    row = page_reads().trial(trial_id)
    if row is None:
        raise HTTPException(404, "No such trial")
    require_read(user, row["dag_id"])
    measurement = row["measurement"] or {}
    details = measurement.get("details") or {}
    return render(
        request,
        "trial.html",
        trial=row,
        measurement=measurement,
        details=details,
        throughput=throughput_chart(details),
        spans=span_chart(details),
    )


@router.get("/sweeps/{sweep_id}/compare", response_class=HTMLResponse)
def compare(request: Request, user: User, sweep_id: str, a: str, b: str) -> HTMLResponse:
    """Two configurations of a sweep side by side, metric by metric."""
    row = readable_sweep(user, sweep_id)
    trials = page_reads().trials_of(sweep_id, [a, b])
    configurations = {t["label"]: t["configuration"] for t in trials}
    if a not in configurations or b not in configurations:
        raise HTTPException(404, "One of these configurations is not in this sweep")
    results = page_reads().results_of(trials)
    return render(
        request,
        "compare.html",
        sweep=row,
        a=a,
        b=b,
        configurations=configurations,
        comparisons=_comparisons(results[b], results.get(a, ())),
    )


@router.get("/runs/{dag_id}/{run_id:path}", response_class=HTMLResponse)
def sweep_of_run(request: Request, user: User, dag_id: str, run_id: str) -> Response:
    """The sweep behind an Airflow DAG run, of several the running one, else the first; or a word that there is none."""
    require_read(user, dag_id)
    sweeps = page_reads().sweeps_of_run(dag_id, run_id)
    if not sweeps:
        detail = "This run has not planned a trial so far. The page looks again every few seconds."
        return render(request, "problem.html", title="No sweep here yet", detail=detail, is_live=True)
    shown = next((one for one in sweeps if one["status"] == "running"), sweeps[0])
    return RedirectResponse(f"{root_of(request)}/sweeps/{shown['sweep_id']}", status_code=303)


@router.get("/tasks/{dag_id}/{task_id}/{map_index}/{run_id:path}", response_class=HTMLResponse)
def trial_of_task(request: Request, user: User, dag_id: str, task_id: str, map_index: int, run_id: str) -> Response:
    """The trial that a task instance took, or its sweep."""
    require_read(user, dag_id)
    sweep_ids = [one["sweep_id"] for one in page_reads().sweeps_of_run(dag_id, run_id)]
    trial_id = page_reads().trial_of_task(sweep_ids, task_id, map_index)
    if trial_id is None:
        return sweep_of_run(request, user, dag_id, run_id)
    return RedirectResponse(f"{root_of(request)}/trials/{trial_id}", status_code=303)


def _comparisons(first: Sequence[TrialResult], second: Sequence[TrialResult]) -> list[MetricComparison]:
    """Every metric that both have, the first as a ratio to the second."""
    names = sorted({name for result in (*first, *second) for name in result.metrics})
    found = (compare_metric(first, second, name) for name in names)
    return [comparison for comparison in found if comparison is not None]


def _history(study: str, goal: str) -> dict[str, Any]:
    rows = [row for row in page_reads().history(study, goal) if row["estimate"]]
    return {"rows": rows, "line": polyline([row["estimate"] for row in rows])}


def _held(rows: Sequence[Row]) -> list[Row]:
    """Recommendations with why they do not hold for data and machine as they are now; empty where they do."""
    seen = {study: page_reads().last_seen(study) for study in {row["study"] for row in rows}}
    return [row | {"problems": _problems(row["document"], seen[row["study"]])} for row in rows]


def _problems(document: Mapping[str, Any], seen: LastSeen) -> tuple[str, ...]:
    return Envelope.from_dict(document.get("validity") or {}).problems(seen.workload, seen.environment)


def _start_form(study: str) -> dict[str, Any]:
    """The choices of the form that starts a sweep, with those of the study's newest sweep picked."""
    row = page_reads().newest_sweep(study) or {}
    definition, options = row.get("study_definition") or {}, row.get("options") or {}
    named = definition.get("strategies") or {}
    known = [name for name in get_args(StrategyName) if name != "staged" or definition.get("stages")]
    workload = definition.get("workload") or {}
    return {
        "strategies": [*known, *named],
        "strategy": definition.get("strategy", ""),
        "sizes": list(workload.get("sizes") or ()),
        "size": options.get("size", ""),
        "trials": (definition.get("budget") or {}).get("trials", ""),
    }


def _night_charts(nights: Sequence[Row], alerts: Sequence[Row], units: Mapping[str, str]) -> dict[str, NightChart]:
    """A chart for each goal that the nights have figures of."""
    figures = page_reads().night_values([night["night_id"] for night in nights])
    goals = dict.fromkeys(figure["goal"] for figure in figures)
    charts = {goal: night_chart(goal, units.get(goal, ""), nights, figures, alerts) for goal in sorted(goals)}
    return {goal: chart for goal, chart in charts.items() if chart is not None}


def _progress(row: dict[str, Any]) -> dict[str, Any]:
    """Counts with the part done and an estimate of the seconds left; the budget bounds rounds not planned yet."""
    counts = dict(page_reads().progress(row["sweep_id"]))
    done = (counts.get("measured") or 0) + (counts.get("failed") or 0)
    planned = counts.get("planned") or 0
    trial_s = float(counts.get("trial_s") or 0)
    budget = (row.get("options") or {}).get("budget") or {}
    more = max(0, int(budget.get("trials") or 0) - planned)
    fraction = done / planned if planned else 0.0
    left = {"left_s": (planned - done) * trial_s, "more": more, "most_left_s": (planned - done + more) * trial_s}
    return counts | {"done": done, "fraction": fraction, **left}


def _pages(count: int) -> int:
    return max(1, -(-count // PAGE_SIZE))


def _by_study(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    grouped: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        grouped.setdefault(row["study"], []).append(row)
    return grouped


def _by_study_and_goal(rows: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["study"], row["goal"]): row for row in rows}
