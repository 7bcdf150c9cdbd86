"""The downloads of a sweep: trials as CSV, everything as JSON, the analysis as Markdown, its charts."""

from __future__ import annotations

import csv
import io
import json

from fastapi import APIRouter, HTTPException
from fastapi.responses import PlainTextResponse, Response

from pipeline_tuner.web.rendering import page_reads
from pipeline_tuner.web.security import User
from pipeline_tuner.web.sweep_lookup import readable_sweep

router = APIRouter()
COLUMNS = ("trial_id", "phase", "round", "block", "position", "label", "is_control", "status", "failure", "reason")
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


@router.get("/sweeps/{sweep_id}/trials.csv")
def trials_csv(user: User, sweep_id: str) -> Response:
    """Every trial with its configuration and metrics, a column each."""
    readable_sweep(user, sweep_id)
    trials = page_reads().all_trials(sweep_id)
    parameters = sorted({name for trial in trials for name in trial["configuration"]})
    metrics = sorted({name for trial in trials for name in trial["metrics"]})
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([*COLUMNS, *parameters, *metrics])
    for trial in trials:
        values = [trial[column] for column in COLUMNS]
        values += [trial["configuration"].get(name, "") for name in parameters]
        values += [trial["metrics"].get(name, "") for name in metrics]
        writer.writerow([_plain(value) for value in values])
    return _file(text.getvalue(), "text/csv", f"{sweep_id}.csv")


@router.get("/sweeps/{sweep_id}/sweep.json")
def sweep_json(user: User, sweep_id: str) -> Response:
    """The sweep, its trials and its recommendations."""
    document = {
        "sweep": readable_sweep(user, sweep_id),
        "trials": page_reads().all_trials(sweep_id),
        "recommendations": page_reads().recommendations(sweep_id),
    }
    return _file(json.dumps(document, default=str, indent=1), "application/json", f"{sweep_id}.json")


@router.get("/sweeps/{sweep_id}/analysis.md")
def analysis(user: User, sweep_id: str) -> Response:
    """The written analysis."""
    row = readable_sweep(user, sweep_id)
    return _markdown(row["analysis"], f"{sweep_id}.md")


@router.get("/sweeps/{sweep_id}/analysis-details.md")
def analysis_details(user: User, sweep_id: str) -> Response:
    """Everything that the analysis leaves to its details."""
    row = readable_sweep(user, sweep_id)
    return _markdown(row["analysis_details"], f"{sweep_id}-details.md")


@router.get("/sweeps/{sweep_id}/charts/{name}.svg")
def chart(user: User, sweep_id: str, name: str) -> Response:
    """A plot of the written analysis. As a chart of a page it can't run scripts; opened alone, the policy forbids."""
    readable_sweep(user, sweep_id)
    svg = page_reads().chart(sweep_id, name)
    if svg is None:
        raise HTTPException(404, "No such chart")
    return Response(svg, media_type="image/svg+xml")


def _plain(value: object) -> object:
    """Text that a spreadsheet would run as a formula is made plain."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value


def _markdown(text: str | None, name: str) -> Response:
    if not text:
        raise HTTPException(404, "No analysis was written for this sweep")
    return _file(text, "text/markdown", name)


def _file(text: str, kind: str, name: str) -> Response:
    safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
    return PlainTextResponse(text, media_type=kind, headers={"Content-Disposition": f'attachment; filename="{safe}"'})
