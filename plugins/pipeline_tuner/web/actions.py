"""The actions of the page: promote, roll back, start a sweep. Each needs the right to trigger the study's DAG."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from airflow.api.common.trigger_dag import trigger_dag
from airflow.exceptions import AirflowException
from airflow.models.dag import DagModel
from airflow.utils.types import DagRunTriggeredByType
from fastapi import APIRouter, Depends, Form, HTTPException, Request
from fastapi.responses import RedirectResponse, Response

from pipeline_tuner.connections import open_store
from pipeline_tuner.exceptions import StudyError
from pipeline_tuner.sweep import sweep_options
from pipeline_tuner.sweep_form import FormError, chosen_in, form_of
from pipeline_tuner.web.in_production import decision_before, known_definition
from pipeline_tuner.web.pages import refused_start
from pipeline_tuner.web.rendering import page_reads, root_of
from pipeline_tuner.web.security import User, require_act
from pipeline_tuner.web.sweep_lookup import known_sweep

router = APIRouter()
MAX_LETTERS, MAX_FIELDS = 500, 60
Field = Annotated[str, Form(max_length=MAX_LETTERS)]
Seen = Annotated[int | None, Form(ge=0)]
"""The newest decision that the page showed beside the form."""


@router.post("/sweeps/{sweep_id}/promote")
def promote(
    request: Request,
    user: User,
    sweep_id: str,
    goal: Field,
    label: Field,
    token: Field,
    note: Field = "",
    seen: Seen = None,
) -> RedirectResponse:
    """Make a configuration of this sweep what production runs with for a goal."""
    sweep = known_sweep(sweep_id)
    require_act(user, sweep["dag_id"], token)
    if goal not in sweep["study_definition"]["goals"]:
        raise HTTPException(422, "This study has no such goal")
    trials = page_reads().trials_of(sweep_id, [label])
    if not trials:
        raise HTTPException(404, "No such configuration in this sweep")
    if any(trial["failure"] in ("check_failed", "out_of_memory", "bad_configuration") for trial in trials):
        raise HTTPException(409, "A trial of this configuration gave a wrong result or failed: it can't be promoted")
    with open_store() as store:
        store.promote(
            sweep["study"], goal, label, trials[0]["configuration"], actor=user.get_name(), sweep_id=sweep_id,
            note=note, seen=seen,
        )  # fmt: skip
    return _to_study(request, sweep["study"])


@router.post("/studies/{study}/roll-back")
def roll_back(
    request: Request, user: User, study: str, goal: Field, token: Field, note: Field = "", seen: Seen = None
) -> RedirectResponse:
    """Return to the configuration that production ran with before the newest promotion of a goal."""
    require_act(user, _newest_sweep(study)["dag_id"], token)
    decisions = page_reads().promotions(study, goal, limit=200)
    # What the page promised: later decisions are told apart from a form sent twice where this one is written.
    earlier = decision_before([row for row in decisions if seen is None or row["promotion_id"] <= seen])
    if earlier is None:
        raise HTTPException(409, "There is no earlier promotion of this goal to return to")
    with open_store() as store:
        store.promote(
            study,
            goal,
            earlier["label"],
            earlier["configuration"],
            actor=user.get_name(),
            sweep_id=earlier["sweep_id"],
            action="roll_back",
            note=note,
            seen=seen,
        )
    return _to_study(request, study)


async def filled(request: Request) -> Mapping[str, Sequence[str]]:
    """The texts of a form's fields; raises 422 where one is too long."""
    form = await request.form(max_fields=MAX_FIELDS)
    texts = {name: [str(value) for value in form.getlist(name)] for name in form}
    if any(len(text) > MAX_LETTERS for found in texts.values() for text in found):
        raise HTTPException(422, "A text in this form is too long")
    return texts


@router.post("/studies/{study}/start")
def start(
    request: Request,
    user: User,
    study: str,
    token: Field,
    form: Annotated[Mapping[str, Sequence[str]], Depends(filled)],
) -> Response:
    """Start a sweep: trigger the study's DAG in this user's name."""
    dag_id = _own_dag(study) or _newest_sweep(study)["dag_id"]
    require_act(user, dag_id, token)
    try:
        conf = _chosen(study, form)
    except FormError as error:
        return refused_start(request, user, study, form, error.problems)
    except (StudyError, ValueError) as error:
        return refused_start(request, user, study, form, {"": str(error)})
    try:
        run = trigger_dag(
            dag_id,
            triggered_by=DagRunTriggeredByType.UI,
            triggering_user_name=user.get_name(),
            conf=json.dumps(conf),
        )
    except (AirflowException, ValueError) as error:
        raise HTTPException(409, f"Airflow did not start the run: {error}") from None
    if run is None:
        raise HTTPException(409, "Airflow did not start the run: is the DAG paused or gone?")
    return _to_study(request, study)


def _chosen(study: str, form: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The run's conf, checked as its first task would check it; raises StudyError."""
    definition = known_definition(study)
    if definition is None:
        raise HTTPException(409, "This study can't be read any more: start its DAG in Airflow")
    conf = chosen_in(form_of(definition), form)
    sweep_options(definition, "check", conf)
    return conf


def _newest_sweep(study: str) -> dict[str, Any]:
    row = page_reads().newest_sweep(study)
    if row is None:
        raise HTTPException(404, "No such study")
    return row


def _own_dag(study: str) -> str | None:
    """The DAG that `tuning_dag` makes of the study itself: its newest sweep may be a companion's, of another DAG."""
    dag = DagModel.get_dagmodel(f"tune_{study}")
    return dag.dag_id if dag and not dag.is_stale else None


def _to_study(request: Request, study: str) -> RedirectResponse:
    return RedirectResponse(f"{root_of(request)}/studies/{study}", status_code=303)
