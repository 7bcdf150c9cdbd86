"""The written analysis as a whole: which sections it has, in which order, its files and charts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from pipeline_tuner.analysis.evidence import settled
from pipeline_tuner.jobs import description_of
from pipeline_tuner.monitoring.report import over_the_nights
from pipeline_tuner.recommendation import Recommendation
from pipeline_tuner.report import (
    conclusions,
    configurations,
    failures_and_validity,
    first_pages,
    partitions,
    previous_best,
    scaling,
    search,
    stages,
    time_spent,
)
from pipeline_tuner.report.data import ReportData, Section
from pipeline_tuner.report.files import ANALYSIS, DETAILS
from pipeline_tuner.report.markdown import escaped
from pipeline_tuner.study import Study
from pipeline_tuner.sweep import SweepOptions
from pipeline_tuner.trial import TrialResult

FRONT = (
    ("Decision", first_pages.decision),
    ("Why", first_pages.why),
    ("Compared", first_pages.compared),
    ("What it cost", first_pages.cost),
    ("Claims of documents", first_pages.claims),
    ("Parameters that matter", first_pages.parameters),
)
"""Two to four pages, in the order of the sweep's page."""
SECTIONS: tuple[tuple[str, Callable[[ReportData], str]], ...] = (
    ("Settings", configurations.settings),
    ("Results", configurations.results),
    ("Comparison", configurations.comparison),
    ("Other goals", configurations.other_goals),
    ("Gap to the previous best", previous_best.gap),
    ("Best known on this machine", previous_best.best_on_this_machine),
    ("Partitions, batches and rate limits", partitions.partitions),
    ("What each stage is worth", stages.stages),
    ("Key findings", conclusions.key_findings),
    ("What works and what limits", conclusions.works_and_limits),
    ("Steps, stages and tables", time_spent.time_spent),
    ("What came out", time_spent.output),
    ("What matters", conclusions.what_matters),
    ("Scaling", scaling.scaling),
    ("Trade-offs", conclusions.trade_offs),
    ("Next configurations to try", conclusions.next_to_try),
    ("Claims held against the measurements", conclusions.claims),
    ("Over the nights", over_the_nights),
    ("How the search went", search.how_the_search_went),
    ("Failed trials", failures_and_validity.failures),
    ("Where this holds", failures_and_validity.validity),
    ("Environment", failures_and_validity.environment),
    ("How it was measured", failures_and_validity.method),
)
"""Everything else, in the details. A part with nothing to say is left out."""


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
) -> Path:
    """Write `analysis.md`, the details and all charts into the folder (made where missing); the path of `analysis.md`.

    `history` are trials of earlier sweeps of the same workload and environment. `environment` and `workload`
    are taken from the trials' own measurements where they aren't given.
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
    )
    title = f"# {escaped(data.study.study)}"
    details = _parts(data, sections_of(study.job))
    rest = f"Everything else ({', '.join(_lowered(title) for title in details)}): [{DETAILS}]({DETAILS})."
    _write(folder / DETAILS, [f"{title}: the details", f"What to run: [{ANALYSIS}]({ANALYSIS})."], details)
    _write(folder / ANALYSIS, [f"{title}: what to run, and how sure that is"], _parts(data, FRONT), rest)
    return folder / ANALYSIS


def _parts(data: ReportData, sections: Iterable[tuple[str, Callable[[ReportData], str]]]) -> dict[str, str]:
    made = ((title, section(data)) for title, section in sections)
    return {title: text for title, text in made if text}


def _write(path: Path, head: Sequence[str], parts: Mapping[str, str], *end: str) -> None:
    sections = (f"## {title}\n\n{text}" for title, text in parts.items())
    path.write_text("\n\n".join([*head, *sections, *end]) + "\n", encoding="utf-8")


def _lowered(title: str) -> str:
    return title[0].lower() + title[1:]


def sections_of(job: str) -> Iterator[tuple[str, Callable[[ReportData], str]]]:
    """Titles and writers of the sections of every job, with the job's own in their places."""
    description = description_of(job)
    own: tuple[Section, ...] = resolve_name(description.sections) if description and description.sections else ()
    for title, write in SECTIONS:
        yield title, write
        yield from ((section.title, section.write) for section in own if section.after == title)


def _first_record(results: Sequence[TrialResult], part: str) -> Mapping[str, Any]:
    records = (getattr(r.measurement, part) for r in results if r.status == "measured" and r.measurement is not None)
    return next((record for record in records if record), {})
