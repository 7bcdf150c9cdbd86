"""What production runs with now for each goal, and why: the same order as a production run's own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from pipeline_tuner.analysis.validity import Envelope
from pipeline_tuner.store.records import LastSeen, ProductionConfiguration
from pipeline_tuner.web.rendering import page_reads


@dataclass(frozen=True)
class InProduction:
    """A configuration's name, where it comes from, and what there is to say about it."""

    label: str
    source: str
    note: str


def in_production(study: str, goals: Iterable[str]) -> dict[tuple[str, str], InProduction]:
    """What a production run of the study would use for each goal, were it to start now."""
    definition = (page_reads().newest_sweep(study) or {}).get("study_definition") or {}
    fallback = str(definition.get("fallback") or definition.get("control") or "")
    seen = page_reads().last_seen(study)
    return {(study, goal): _decided(page_reads().production(study, goal), seen, fallback) for goal in goals}


def _decided(found: ProductionConfiguration | None, seen: LastSeen, fallback: str) -> InProduction:
    if found is None:
        return InProduction(fallback, "fallback", "nothing was recommended yet")
    problems = "; ".join(Envelope.from_dict(found.validity).problems(seen.workload, seen.environment))
    if found.has_expired(datetime.now(UTC)):
        return InProduction(fallback, "fallback", f"the recommendation of {found.label} expired")
    if problems and found.source == "recommended":
        return InProduction(fallback, "fallback", f"{found.label} does not hold any more: {problems}")
    return InProduction(found.label, found.source, problems)
