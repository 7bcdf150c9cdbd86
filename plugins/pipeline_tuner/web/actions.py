"""What the page can change: promote, roll back, start a sweep. Each needs the right to trigger the study's DAG."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, get_args

from airflow.api.common.trigger_dag import trigger_dag
from airflow.exceptions import AirflowException
from airflow.models.dag import DagModel
from airflow.utils.types import DagRunTriggeredByType
from fastapi import APIRouter, Form, HTTPException, Request
from fastapi.responses import RedirectResponse

from pipeline_tuner.connections import open_store
from pipeline_tuner.exceptions import StudyError
from pipeline_tuner.study import StrategyName, stored_study
from pipeline_tuner.sweep import sweep_options
from pipeline_tuner.web.rendering import page_reads, root_of
from pipeline_tuner.web.security import User, require_act
from pipeline_tuner.web.sweeps import known_sweep

router = APIRouter()
Field = Annotated[str, Form(max_length=500)]


@router.post("/sweeps/{sweep_id}/promote")
def promote(
    request: Request, user: User, sweep_id: str, goal: Field, label: Field, token: Field, note: Field = ""
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
            sweep["study"], goal, label, trials[0]["configuration"], actor=user.get_name(), sweep_id=sweep_id, note=note
        )
    return _to_study(request, sweep["study"])


@router.post("/studies/{study}/roll-back")
def roll_back(
    request: Request, user: User, study: str, goal: Field, token: Field, note: Field = ""
) -> RedirectResponse:
    """Return to the configuration that production ran with before the newest promotion of a goal."""
    require_act(user, _newest_sweep(study)["dag_id"], token)
    decisions = page_reads().promotions(study, goal, limit=200)
    earlier = decision_before(decisions)
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
        )
    return _to_study(request, study)


@router.post("/studies/{study}/start")
def start(
    request: Request,
    user: User,
    study: str,
    token: Field,
    strategy: Field = "",
    size: Field = "",
    trials: Field = "",
) -> RedirectResponse:
    """Start a sweep: trigger the study's DAG in this user's name."""
    newest = _newest_sweep(study)
    dag_id = _own_dag(study) or newest["dag_id"]
    require_act(user, dag_id, token)
    conf: dict[str, Any] = {"strategy": strategy, "size": size, "trials": int(trials) if trials.isdigit() else None}
    conf = {key: value for key, value in conf.items() if value}
    try:
        definition = stored_study(newest["study_definition"])
        sweep_options(definition, "check", conf)
    except (StudyError, ValueError) as error:
        raise HTTPException(422, str(error)) from None
    if strategy and strategy not in (*get_args(StrategyName), *definition.strategies):
        raise HTTPException(422, "This study has no such strategy")
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


def decision_before(decisions: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """What a roll-back returns to: the decision before the one in force. `decisions` are one goal's, newest first.

    A roll-back steps past what it undid, so a second one goes further back.
    """
    undone = 0
    for index, decision in enumerate(decisions):
        if decision["action"] == "roll_back":
            undone += 1
            continue
        if undone:
            undone -= 1
            continue
        return next((d for d in decisions[index + 1 :] if d["action"] == "promote"), None)
    return None


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
