"""The addresses of the pages of studies, a study and a trial: what each shows and its queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Annotated, Any

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from pipeline_tuner.charts.runs import partitions, throughput
from pipeline_tuner.charts.style import page_specification
from pipeline_tuner.measurement_details import Details, records_in
from pipeline_tuner.store.page_reads import PAGE_SIZE, Row
from pipeline_tuner.study import Study
from pipeline_tuner.sweep_form import FieldKind, FormField, form_of
from pipeline_tuner.web.history_charts import Past, histories
from pipeline_tuner.web.in_production import decision_before, in_production, known_definition, production_dags
from pipeline_tuner.web.rendering import page_reads, render, root_of
from pipeline_tuner.web.security import User, form_token, may_trigger, readable_dags, require_read
from pipeline_tuner.web.studies_page import study_lines
from pipeline_tuner.web.sweep_lookup import held, page_count, progress_of
from pipeline_tuner.web.task_savings import task_savings
from pipeline_tuner.web.trial_evidence import rates_of, spans_of

router = APIRouter()
Page = Annotated[int, Query(ge=1, le=1_000_000)]


@router.get("/", response_class=HTMLResponse)
def studies(request: Request, user: User) -> HTMLResponse:
    """All studies at a glance, those that ask for somebody named first."""
    readable = sorted(readable_dags(user))
    lines = study_lines(readable, datetime.now(UTC))
    swept = {line.study for line in lines}
    return render(
        request,
        "studies.html",
        lines=lines,
        asking=[line for line in lines if line.asks],
        only_noted=[name for name in page_reads().noted_studies(readable) if name not in swept],
    )


@router.get("/studies/{study}", response_class=HTMLResponse)
def study(request: Request, user: User, study: str, page: Page = 1) -> HTMLResponse:
    """One study: what runs in production, its sweeps, its history, its decisions."""
    return _study_page(request, user, study, page)


def refused_start(
    request: Request, user: BaseUser, study: str, given: Mapping[str, Sequence[str]], problems: Mapping[str, str]
) -> Response:
    """The page of a study with its form as it was filled in and what is wrong beside the fields; 422.

    :param problems: By the field's name; under an empty name what is wrong with the whole.
    """
    if "text/html" not in request.headers.get("accept", ""):
        raise HTTPException(422, "\n".join(problems.values()))
    return _study_page(request, user, study, given=given, problems=problems)


def _study_page(
    request: Request, user: BaseUser, study: str, page: int = 1, *,
    given: Mapping[str, Sequence[str]] | None = None, problems: Mapping[str, str] = MappingProxyType({}),
) -> HTMLResponse:  # fmt: skip
    readable = readable_dags(user)
    sweeps, count = page_reads().sweeps(study, readable, page)
    production_runs = [row for row in page_reads().production_runs(study) if row["dag_id"] in readable]
    dag_id = page_reads().newest_dag(study, readable)
    if dag_id is None and not production_runs:
        raise HTTPException(404, "No sweep and no production run of this study that you may see")
    recommendations = _in_order_of_goals(study)
    nights, alerts = page_reads().nights(study), page_reads().alerts(study)
    promotions = page_reads().promotions(study, limit=200)
    definition = known_definition(study)
    past = Past(study, definition, nights, alerts, production_runs, promotions)
    return render(
        request,
        "study.html",
        status_code=422 if problems else 200,
        study=study,
        sweeps=sweeps,
        pages=page_count(count),
        page=page,
        recommendations=recommendations,
        promotions=promotions[:PAGE_SIZE],
        earlier=_earlier(promotions),
        in_production=_by_study_and_goal(page_reads().newest_promotions([study])),
        running=in_production(study, [row["goal"] for row in recommendations], production_runs),
        production_runs=production_runs,
        task_savings=task_savings(study, readable),
        nights=nights,
        night_ids={night["night_id"] for night in nights},
        alerts=alerts,
        histories=histories(past, {row["goal"]: row["unit"] for row in recommendations}),
        progress={row["sweep_id"]: progress_of(row) for row in sweeps if row["status"] == "running"},
        can_act=dag_id is not None and may_trigger(user, dag_id),
        form=_start_form(definition, given),
        problems=problems,
        dag_id=dag_id,
        runs_in=production_dags(production_runs, study),
        runs_known=bool(production_runs),
        token=form_token(user),
    )


def _in_order_of_goals(study: str) -> list[Row]:
    """The newest decisions of a study, in the order of its goals."""
    newest = page_reads().newest_sweep(study) or {}
    goals = list((newest.get("study_definition") or {}).get("goals") or ())
    found = held(page_reads().newest_recommendations([study]))
    return sorted(found, key=lambda row: goals.index(row["goal"]) if row["goal"] in goals else len(goals))


@router.get("/trials/{trial_id}", response_class=HTMLResponse)
def trial(request: Request, user: User, trial_id: str) -> HTMLResponse:
    """One trial: its configuration, metrics, checks and the job's own evidence."""
    row = page_reads().trial(trial_id)
    if row is None:
        raise HTTPException(404, "No such trial: it may be of a sweep that was removed when its time was over")
    require_read(user, row["dag_id"])
    measurement = row["measurement"] or {}
    details = measurement.get("details") or {}
    return render(
        request,
        "trial.html",
        trial=row,
        control=page_reads().control_beside(row),
        measurement=measurement,
        evidence={name: rows for name in ("partitions", "stages") if (rows := records_in(details.get(name)))},
        unknown=Details.of(details).throughput_unknown,
        throughput=page_specification(throughput(rates)) if len(rates := rates_of(details)) > 2 else None,
        spans=page_specification(partitions(spans)) if len(spans := spans_of(details)) > 1 else None,
    )


@router.get("/dags/{dag_id}", response_class=HTMLResponse)
def study_of_dag(request: Request, user: User, dag_id: str) -> Response:
    """The study behind an Airflow DAG: the one that it sweeps, else the one that its newest production run used."""
    require_read(user, dag_id)
    study = page_reads().study_of_dag(dag_id)
    if study is None:
        detail = "This DAG has swept nothing so far, and no run of it has used what a study recommends."
        return render(request, "problem.html", title="No study here yet", detail=detail, is_live=True)
    return RedirectResponse(f"{root_of(request)}/studies/{study}", status_code=303)


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


def _earlier(promotions: Sequence[Row]) -> dict[str, str]:
    """What a roll-back of each goal returns to; goals without an earlier promotion are left out."""
    goals = dict.fromkeys(row["goal"] for row in promotions)
    found = {goal: decision_before([row for row in promotions if row["goal"] == goal]) for goal in goals}
    return {goal: before["label"] for goal, before in found.items() if before is not None}


def _start_form(
    definition: Study | None, given: Mapping[str, Sequence[str]] | None = None
) -> dict[str, list[FormField]]:
    """The fields of the form that starts a sweep, by section, as Airflow's own trigger form has them.

    :param given: What was filled in before; without it the study's own values.
    """
    sections: dict[str, list[FormField]] = {}
    for field in form_of(definition) if definition else ():
        sections.setdefault(field.section, []).append(field if given is None else _filled(field, given))
    return sections


def _filled(field: FormField, given: Mapping[str, Sequence[str]]) -> FormField:
    texts = tuple(given.get(field.name, ()))
    return replace(field, default=texts if field.kind is FieldKind.CHOICES else next(iter(texts), None))


def _by_study_and_goal(rows: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["study"], row["goal"]): row for row in rows}
