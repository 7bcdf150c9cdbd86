"""The written analysis of a sweep: Markdown with its charts beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline_tuner.analysis.evidence import settled
from pipeline_tuner.analysis.glue_prices import Prices
from pipeline_tuner.monitoring.report import over_the_nights
from pipeline_tuner.recommendation import Recommendation
from pipeline_tuner.report import (
    answers,
    background,
    growth,
    inside,
    known,
    meaning,
    partitions,
    search,
    stages,
    streaming,
)
from pipeline_tuner.report.data import ReportData
from pipeline_tuner.report.dedup_advice import code_and_infrastructure
from pipeline_tuner.report.markdown import escaped
from pipeline_tuner.study import Study
from pipeline_tuner.sweep import SweepOptions
from pipeline_tuner.trial import TrialResult

FILE = "analysis.md"
SECTIONS = (
    ("Recommendation", answers.recommended),
    ("Results", answers.results),
    ("Comparison", answers.comparison),
    ("Gap to the previous best", known.gap),
    ("Best known on this machine", known.best_on_this_machine),
    ("Partitions, batches and rate limits", partitions.partitions),
    ("What each stage is worth", stages.stages),
    ("Key findings", meaning.key_findings),
    ("What works and what limits", meaning.works_and_limits),
    ("Steps, stages and tables", inside.time_spent),
    ("What came out", inside.output),
    ("What matters", meaning.what_matters),
    ("Scaling", growth.scaling),
    ("Where the time goes", streaming.where_the_time_goes),
    ("Workers, volume, pipelines and batches", streaming.workers_volume_batches),
    ("Trade-offs", meaning.trade_offs),
    ("Next configurations to try", meaning.next_to_try),
    ("Code and infrastructure", code_and_infrastructure),
    ("Claims held against the measurements", meaning.claims),
    ("Over the nights", over_the_nights),
    ("How the search went", search.how_the_search_went),
    ("Failed trials", background.failures),
    ("Cost and payback", background.payback),
    ("Where this holds", background.validity),
    ("Environment", background.environment),
    ("How it was measured", background.method),
)


def write_report(
    folder: Path,
    study: Study,
    options: SweepOptions,
    results: Sequence[TrialResult],
    recommendations: Sequence[Recommendation],
    *,
    history: Sequence[TrialResult] = (),
    environment: Mapping[str, Any] | None = None,
    workload: Mapping[str, Any] | None = None,
    glue_prices: Prices | None = None,
) -> Path:
    """Write `analysis.md` and its charts into the folder (made where missing); the path of the Markdown.

    `history` are trials of earlier sweeps of the same workload and environment. `environment` and `workload`
    are taken from the trials' own measurements where they aren't given; `glue_prices` say what a dedup costs on Glue.
    Sections with nothing to say are left out.
    Raises ValueError without a recommendation: a sweep that ended in NoRecommendationError has none to write on.
    """
    if not recommendations:
        raise ValueError("there is no recommendation to write on")
    folder.mkdir(parents=True, exist_ok=True)
    whole = settled(results)
    data = ReportData(
        study=study,
        options=options,
        results=whole,
        recommendations=tuple(recommendations),
        history=tuple(history),
        environment=environment or _first_record(whole, "environment"),
        workload=workload or _first_record(whole, "workload"),
        folder=folder,
        glue_prices=glue_prices,
    )
    path = folder / FILE
    path.write_text(_document(data), encoding="utf-8")
    return path


def _document(data: ReportData) -> str:
    parts = [f"# {escaped(data.study.study)}: what to run, and how sure that is"]
    for title, section in SECTIONS:
        text = section(data)
        if text:
            parts.append(f"## {title}\n\n{text}")
    return "\n\n".join(parts) + "\n"


def _first_record(results: Sequence[TrialResult], part: str) -> Mapping[str, Any]:
    records = (getattr(r.measurement, part) for r in results if r.status == "measured" and r.measurement is not None)
    return next((record for record in records if record), {})
