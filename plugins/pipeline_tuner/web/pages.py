"""The pages that only read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, get_args

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from pipeline_tuner.production import Choice
from pipeline_tuner.store.page_reads import Row
from pipeline_tuner.study import StrategyName
from pipeline_tuner.web.charts import polyline
from pipeline_tuner.web.night_chart import NightChart, night_chart
from pipeline_tuner.web.production import in_production
from pipeline_tuner.web.rendering import page_reads, render, root_of
from pipeline_tuner.web.security import User, form_token, may_trigger, readable_dags, require_read
from pipeline_tuner.web.sweeps import held, page_count, progress_of
from pipeline_tuner.web.trial_charts import span_chart, throughput_chart

router = APIRouter()
Page = Annotated[int, Query(ge=1, le=1_000_000)]


@router.get("/", response_class=HTMLResponse)
def studies(request: Request, user: User) -> HTMLResponse:
    """All studies at a glance."""
    sweeps = page_reads().studies(readable_dags(user))
    names = [row["study"] for row in sweeps]
    recommendations = _by_study(held(page_reads().newest_recommendations(names)))
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
        progress={row["sweep_id"]: progress_of(row) for row in sweeps if row["status"] == "running"},
    )


@router.get("/studies/{study}", response_class=HTMLResponse)
def study(request: Request, user: User, study: str, page: Page = 1) -> HTMLResponse:
    """One study: what runs in production, its sweeps, its history, its decisions."""
    sweeps, count = page_reads().sweeps(study, readable_dags(user), page)
    readable = readable_dags(user)
    production_runs = [row for row in page_reads().production_runs(study) if row["dag_id"] in readable]
    if not sweeps and not production_runs:
        raise HTTPException(404, "No sweep and no production run of this study that you may see")
    recommendations = held(page_reads().newest_recommendations([study]))
    nights, alerts = page_reads().nights(study), page_reads().alerts(study)
    return render(
        request,
        "study.html",
        study=study,
        sweeps=sweeps,
        pages=page_count(count),
        page=page,
        recommendations=recommendations,
        histories={row["goal"]: _history(study, row["goal"]) for row in recommendations},
        promotions=page_reads().promotions(study),
        in_production=_by_study_and_goal(page_reads().newest_promotions([study])),
        running=in_production(study, [row["goal"] for row in recommendations]),
        production_runs=production_runs,
        nights=nights,
        alerts=alerts,
        night_charts=_night_charts(nights, alerts, {row["goal"]: row["unit"] for row in recommendations}),
        progress={row["sweep_id"]: progress_of(row) for row in sweeps if row["status"] == "running"},
        can_act=bool(sweeps) and may_trigger(user, sweeps[0]["dag_id"]),
        form=_start_form(study),
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
    """The trial that a task instance took, or its sweep; for a tuned task the study that it follows."""
    require_read(user, dag_id)
    sweep_ids = [one["sweep_id"] for one in page_reads().sweeps_of_run(dag_id, run_id)]
    trial_id = page_reads().trial_of_task(sweep_ids, task_id, map_index)
    if trial_id is None:
        study = page_reads().study_of_task(dag_id, task_id)
        if study is not None and not sweep_ids:
            return RedirectResponse(f"{root_of(request)}/studies/{study}", status_code=303)
        return sweep_of_run(request, user, dag_id, run_id)
    return RedirectResponse(f"{root_of(request)}/trials/{trial_id}", status_code=303)


def _history(study: str, goal: str) -> dict[str, Any]:
    rows = [row for row in page_reads().history(study, goal) if row["estimate"]]
    return {"rows": rows, "line": polyline([row["estimate"] for row in rows])}


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


def _by_study(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    grouped: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        grouped.setdefault(row["study"], []).append(row)
    return grouped


def _by_study_and_goal(rows: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["study"], row["goal"]): row for row in rows}
